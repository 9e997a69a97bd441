"""The import table of the design, and the sizes of modules and functions."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgedet"

# Importable by everything; they import only each other.
BOTTOM = {"errors", "structs", "fileio", "resources", "config"}
# The most specific name that fits a module is its layer: a folder, or one module of a folder. Each may import itself,
# BOTTOM, and the layers named here. Without from_fx, convert is the file side: graph, flatbuffer, metadata, summary.
ALLOWED: dict[str, set[str]] = {
    "numerics": set(),
    "data": {"numerics"},
    "net": {"numerics", "data"},
    # train shows pictures and the AP table of its validation split, so it uses evaluate.
    "train": {"numerics", "data", "net", "convert", "evaluate"},
    "quantize": {"numerics", "data", "net", "train", "convert"},
    # The folder's public function runs the whole step, conversion and the written file included.
    "quantize.api": {"numerics", "data", "net", "train", "quantize", "convert", "convert.from_fx"},
    # Training with fake quantization and fine-tuning after a substitution measure what they made.
    "quantize.qat": {
        "numerics",
        "data",
        "net",
        "train",
        "quantize",
        "quantize.api",
        "quantize.qat_check",
        "convert",
        "convert.from_fx",
        "evaluate",
    },
    "quantize.qat_check": {"data", "evaluate"},
    "quantize.substitute": {
        "numerics",
        "data",
        "net",
        "train",
        "quantize",
        "quantize.api",
        "convert",
        "evaluate",
        "deploy",
    },
    "convert": {"numerics"},
    "convert.from_fx": {"numerics", "net", "quantize", "convert"},
    "evaluate": {"numerics", "data", "convert", "evaluate.c99_runtime"},
    # Generated C is a runtime, too: it needs the generator, and is imported only when it is asked for.
    "evaluate.c99_runtime": {"numerics", "data", "convert", "evaluate", "deploy"},
    "deploy": {"numerics", "data", "convert", "evaluate"},
    # Runs every form of a network against the others, so it knows all layers but deploy.
    "diagnose": {
        "numerics",
        "data",
        "net",
        "train",
        "quantize",
        "quantize.api",
        "convert",
        "convert.from_fx",
        "evaluate",
    },
    # Findings about a file; only what needs torch (lint.checkpoint) knows quantize.
    "lint": {"numerics", "convert", "deploy", "lint.checkpoint"},
    "lint.checkpoint": {"lint", "train", "quantize", "quantize.api", "convert", "convert.from_fx"},
    "report": set(),
}
# Top-level programs: they call the public API of every layer.
PROGRAMS = {"cli", "commands", "demo", "__main__"}
HEAVY = {"torch", "tensorflow", "cv2", "onnx", "onnx2tf", "rich", "tensorboard"}
LIGHT_LAYERS = ("numerics", "data", "convert", "evaluate", "deploy")
# Drawing and augmentation may use OpenCV (extra `train`); nothing light imports them, as the test below shows.
CV2_PREFIXES = ("data.synth", "data.augment")

MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def layer_of(module: str) -> str:
    """The most specific name of the table that the module belongs to."""
    parts = module.split(".")
    pair = ".".join(parts[:2])
    return pair if pair in ALLOWED else parts[0]


def imports_of(path: Path, module: str) -> list[tuple[str, bool]]:
    """Absolute names that a module imports; True when the import stands at module level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    type_checking = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in type_checking:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in lazy) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import in {module}"
            found += [(f"{node.module}.{alias.name}", id(node) not in lazy) for alias in node.names]
    return found


def own_module(name: str) -> str | None:
    """`edgedet.a.b.C` -> `a.b`; None for names outside the package."""
    if name != "edgedet" and not name.startswith("edgedet."):
        return None
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in MODULES:
        parts.pop()
    return ".".join(parts)


@pytest.mark.parametrize("module", [m for m in MODULES if m and layer_of(m) not in PROGRAMS])
def test_imports_module_follows_the_table(module: str) -> None:
    layer = layer_of(module)
    for name, _ in imports_of(MODULES[module], module):
        target = own_module(name)
        if target is None or not target or target in BOTTOM:
            continue
        assert layer not in BOTTOM, f"edgedet.{module} is importable by all and may not import edgedet.{target}"
        target_layer = layer_of(target)
        allowed = ALLOWED[layer] | {layer}
        assert target_layer in allowed, (
            f"edgedet.{module} imports edgedet.{target}; {layer} may import {sorted(allowed | BOTTOM)}"
        )


@pytest.mark.parametrize("module", [m for m in MODULES if m and layer_of(m) in LIGHT_LAYERS])
def test_imports_light_layer_has_no_heavy_package(module: str) -> None:
    for name, at_top in imports_of(MODULES[module], module):
        package = name.split(".")[0]
        if package == "cv2" and module.startswith(CV2_PREFIXES):
            continue
        if package == "rich":
            assert not at_top, f"edgedet.{module}: rich belongs to the extra `train`; import it inside a function"
        else:
            assert package not in HEAVY, f"edgedet.{module} imports {name}"


def run_python(code: str) -> str:
    """stdout of a fresh interpreter that sees this checkout."""
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); {code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_edgedet_loads_no_third_party_package() -> None:
    loaded = run_python("before = set(sys.modules); import edgedet; print(sorted(set(sys.modules) - before))")
    assert loaded == "['edgedet']"


@pytest.mark.parametrize(
    "module",
    [
        "edgedet.evaluate.evaluator",
        "edgedet.evaluate.runtimes",
        "edgedet.evaluate.simulator",
        "edgedet.deploy.api",
        "edgedet.lint.api",
        "edgedet.convert.flatbuffer",
        "edgedet.cli",
    ],
)
def test_import_light_module_leaves_heavy_packages_out(module: str) -> None:
    assert importlib.util.find_spec(module), f"{module} is gone; mend the list of this test"
    loaded = run_python(f"import {module}; print(' '.join(sys.modules))").split()
    assert not HEAVY & set(loaded)


@pytest.mark.parametrize("module", [m for m in MODULES if m])
def test_size_module_and_functions_stay_short(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    assert text.count("\n") < 400, f"edgedet/{MODULES[module].relative_to(PACKAGE)} has {text.count(chr(10))} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert lines < 50, f"edgedet.{module}.{node.name} has {lines} body lines"
