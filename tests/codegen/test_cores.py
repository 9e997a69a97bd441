"""Generated C on the processors of docs/cores.md; their table is made by bench/cores_table.py."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from c_audit_modules import make_module

pytest.importorskip("jinja2", reason="needs the extra c99")
pytestmark = pytest.mark.toolchain
sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from cores import CORES, Core  # noqa: E402
from cores_table import passes  # noqa: E402

HERE_TOO = ("Cortex-M0+",)  # of the tools that every test of C needs


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_module("RTMDet head", tmp_path_factory.mktemp("cores") / "detector")


def test_table_has_every_core() -> None:
    text = (Path(__file__).parents[2] / "docs" / "cores.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert [(row[0][2:], row[1], row[2].split()[0]) for row in rows] == [(c.name, c.path, c.compiler) for c in CORES]
    assert all(row[5].startswith(("PASS, 4 of 4 modules, 0 LSB", "only compiled")) for row in rows)


@pytest.mark.parametrize("core", [c for c in CORES if c.name in HERE_TOO and "gcc" in c.compiler], ids=lambda c: c.name)
def test_self_test_passes_on_an_emulated_core(core: Core, module: Path, require_tool: Callable[..., str]) -> None:
    require_tool(core.compiler)
    require_tool("qemu-system-arm")
    assert passes(core, module) is True


@pytest.mark.long
@pytest.mark.parametrize("core", CORES, ids=lambda core: f"{core.name} {core.path} {core.compiler}")
def test_self_test_passes_on_every_core_whose_tools_are_here(core: Core, module: Path) -> None:
    programs = [core.compiler, *filter(None, (core.linker, *(core.runner or ())[:1]))]
    if missing := [program for program in programs if not shutil.which(program)]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    assert passes(core, module) is (None if core.runner is None else True)
