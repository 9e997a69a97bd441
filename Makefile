# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
# Both create .venv and install the versions of constraints.txt into it.

SHELL := /bin/bash
comma := ,
.DEFAULT_GOAL := help
.PHONY: help venv demo test faults fuzz test-long test-models test-onnx lint docs format format-c bench clean distclean

VENV := .venv
PY := $(VENV)/bin/python
EXTRAS := train,runtime,tflm,vela,onnx,dev
DEMO_OUT := demo_out
# python3.11 is what constraints.txt was made for; any later python3 is tried when it is absent or a shim that does not run.
PYTHON ?= $(shell for p in python3.11 python3; do $$p -c '' 2>/dev/null && { command -v $$p; break; }; done)

# -qq: errors only. A second attempt, because one lost connection among fifty packages should not cost the run.
PIP_INSTALL = $(PY) -m pip install -qq --disable-pip-version-check --retries 5 -c constraints.txt
define install
	@echo "installing edgedet[$(1)] into $(VENV), a few minutes the first time"
	@$(PIP_INSTALL) -e ".[$(1)]" || { echo "pip failed; once more in 10 s"; sleep 10; $(PIP_INSTALL) -e ".[$(1)]"; }
endef

help:
	@echo "make venv       .venv with the versions of constraints.txt, which the others make by themselves"
	@echo "make demo       synthetic data -> quantize -> evaluate -> deploy, with the committed checkpoint"
	@echo "make test       the test suite (without the 1.9 GB extra 'onnx2tf')"
	@echo "make test-long  further variants of what the suite shows, some minutes"
	@echo "make test-models: every shipped network through the whole chain, some minutes"
	@echo "make test-onnx  the tests that cross-check with onnx2tf and TensorFlow"
	@echo "make fuzz       10,000 damaged files of each kind, an hour; make fuzz SECONDS=300: as many as fit into 5 minutes"
	@echo "make faults     kills, full disks and disk errors at every system call of the commands that write; needs gcc"
	@echo "make lint       ruff and mypy;  make format: let ruff mend what it can"
	@echo "make docs       the documentation as a site, site/index.html; a broken link is an error"
	@echo "make bench      speed and memory, with pytest-benchmark"
	@echo "make clean      caches and demo output;  make distclean: .venv too"

venv: $(VENV)/installed

$(VENV)/created:
	@if [ -z "$(PYTHON)" ]; then echo "error: no python3 found; edgedet needs Python 3.11 or later" >&2; exit 2; fi
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "error: edgedet needs Python 3.11 or later, \
	$(PYTHON) is %d.%d; name another with: make PYTHON=/path/to/python3.11" % v[:2])'
	@$(PYTHON) -m venv --clear $(VENV) || { echo "error: $(PYTHON) can't create a virtual environment; on Debian: \
	apt install python3-venv" >&2; rm -rf $(VENV); exit 2; }
	@touch $@

$(VENV)/installed: $(VENV)/created pyproject.toml constraints.txt
	$(call install,$(EXTRAS))
	@touch $@

$(VENV)/installed-onnx: $(VENV)/installed
	$(call install,$(EXTRAS)$(comma)onnx2tf)
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(call install,$(EXTRAS)$(comma)docs)
	@touch $@

demo: $(VENV)/installed
	$(PY) -m edgedet.demo --out $(DEMO_OUT)

# A worker for each core, one thread in each: threads of several torch processes on the same cores wait for each other.
# loadfile: the tests of a module share its fixtures, some of which train. A worker takes up to 1 GB.
test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -m "not onnx and not long" -n auto --maxprocesses 8 --dist loadfile

# Further variants of what the suite shows on one.
test-long: $(VENV)/installed
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -m long -n auto --maxprocesses 8 --dist loadfile

test-models: $(VENV)/installed
	EDGEDET_EVERY_MODEL=1 OMP_NUM_THREADS=1 $(PY) -m pytest -q tests/test_every_model.py tests/test_catalog.py \
		tests/exchange/export/qdq/test_check.py tests/exchange/onnx_in/test_own_contract.py tests/deploy/targets/test_web.py

test-onnx: $(VENV)/installed-onnx
	$(PY) -m pytest -q -m onnx

# Writes its table into docs/reliability.md, except when SECONDS cuts it short. FUZZ_SEED=1 takes other files.
SECONDS ?=
FUZZ_SEED ?= 0
fuzz: $(VENV)/installed
	$(PY) tests/fuzz/run.py --seed $(FUZZ_SEED) $(if $(SECONDS),--seconds $(SECONDS),--count 10000 --write docs/reliability.md)
faults: $(VENV)/installed
	$(PY) tests/faults/run.py --write

lint: $(VENV)/installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# --strict: a warning is an error. The variable silences an advertisement of the theme.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(PY) -m mkdocs build --strict --quiet
	@echo "site/index.html"

format: $(VENV)/installed
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

format-c:
	clang-format -i kernels/include/*.h kernels/src/*.[ch] firmware_export/qemu/*.[ch]

bench: $(VENV)/installed
	$(PY) -m pytest -q bench --benchmark-columns=min,median,max,rounds

clean:
	rm -rf $(DEMO_OUT) site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .benchmarks
	find edgedet tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
