"""The import table of docs/ARCHITECTURE.md, and the sizes of modules and functions."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgedet"

# Importable by everything; they import only each other.
BOTTOM = {
    "errors",
    "escape",
    "contracts",
    "head_spec",
    "fileio",
    "outputs",
    "resources",
    "config",
    "progress",
    "terminal",
    "streams",
    "threads",
    "model_keys",
    "texts",
    "typed",
    "notebook",
}
# The layers of docs/ARCHITECTURE.md: each folder may import itself, BOTTOM and the folders named here. The first group
# runs without torch (LIGHT_LAYERS).
ALLOWED: dict[str, set[str]] = {
    "numerics": set(),
    # A board behind a serial line.
    "device": set(),
    "graph": {"numerics"},
    # Arm's NPU: its compiler as a process of its own.
    "npu": {"graph"},
    "simulate": {"numerics", "graph"},
    "data": {"numerics"},
    "drawing": set(),
    # Option groups of the command line that name a data set.
    "options": {"data"},
    "codegen": {"numerics", "graph", "data", "drawing", "device"},
    # Every form in which a file runs on this computer, the generated C among them.
    "runtimes": {"numerics", "graph", "simulate", "data", "codegen", "device"},
    "evaluate": {"numerics", "graph", "data", "runtimes", "options"},
    # What a model needs, and what boards have.
    "hardware": {"numerics", "graph", "npu", "codegen", "runtimes"},
    # report.html of a run folder.
    "page": {"numerics", "data", "runtimes", "evaluate", "drawing"},
    "deploy": {"numerics", "graph", "npu", "simulate", "data", "codegen", "runtimes", "hardware", "page"},
    # What a file of another maker means.
    "contract": {"numerics", "graph"},
    # The writers of int8 formats compare with the simulator, those of float formats with the torch network.
    "exchange": {"numerics", "graph", "simulate", "data", "net", "quantize", "contract"},
    # The folders that train or quantize need torch.
    "net": {"numerics", "data"},
    # training shows pictures and the AP table of its validation split, so it uses evaluate.
    "training": {"numerics", "data", "net", "evaluate"},
    "quantize": {"numerics", "graph", "data", "net"},
    # Training with fake quantization and fine-tuning after a substitution measure what they made.
    "finetune": {"numerics", "graph", "data", "net", "training", "quantize", "runtimes", "evaluate"},
    # Runs every form of a network against the others.
    "diagnose": {"device", "numerics", "graph", "simulate", "data", "net", "quantize", "runtimes", "evaluate"},
    # The keys of the model files, with their meaning.
    "settings": set(),
    # What each model needs on the chip.
    "catalog": {"graph", "net", "quantize", "codegen"},
    # The whole way as one function.
    "chain": {"data", "net", "training", "quantize", "finetune", "diagnose", "drawing"},
    # Findings about a file; only lint.checkpoint needs torch.
    "lint": {"graph", "npu", "exchange", "net", "quantize"},
}
# What needs torch inside a folder that is light otherwise.
TORCH_MODULES = {
    "lint.checkpoint",
    "exchange.checkpoints.api",
    "exchange.checkpoints.torch_file",
    "exchange.export.subject",
    "exchange.export.onnx_float",
    "exchange.export.torchscript",
    "exchange.export.openvino_file",
    "exchange.export.executorch_file",
}
TORCH_FOLDERS = ("exchange.onnx_in.",)
# Top-level programs: they call the public API of every layer.
PROGRAMS = {"api", "commands", "demo", "__main__"}
HEAVY = {
    "torch",
    "tensorflow",
    "cv2",
    "onnx",
    "onnxsim",
    "onnx_graphsurgeon",
    "onnxruntime",
    "onnx2tf",
    "rich",
    "tensorboard",
}
# Libraries of other makers' formats, each of an extra.
MAKERS = {"onnx", "onnxruntime", "onnxsim", "onnx2tf", "tensorflow"}
LIGHT_LAYERS = (
    "numerics",
    "device",
    "graph",
    "npu",
    "simulate",
    "data",
    "codegen",
    "runtimes",
    "evaluate",
    "hardware",
    "deploy",
    "contract",
    "exchange",
    "lint",
)
# Drawing, augmentation and videos may use OpenCV (extra `train`); nothing light imports them, as the test below shows.
CV2_PREFIXES = ("data.synth", "data.augment", "evaluate.video")


def is_light(module: str) -> bool:
    """True for a module that must not need torch."""
    return layer_of(module) in LIGHT_LAYERS and module not in TORCH_MODULES and not module.startswith(TORCH_FOLDERS)


MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


ARCHITECTURE = PACKAGE.parent / "docs" / "ARCHITECTURE.md"


def test_architecture_document_has_the_import_table() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \|([^|]*)\|$", text, re.MULTILINE)
    documented = {layer: set(cell.replace(",", " ").split()) for layer, cell in rows}
    assert documented == ALLOWED
    (bottom,) = re.findall(r"modules that everything may import\s+\(([^)]*)\)", text)
    assert set(re.findall(r"`(\w+)`", bottom)) == BOTTOM


def test_architecture_document_describes_every_folder() -> None:
    text = ARCHITECTURE.read_text(encoding="utf-8")
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("*/__init__.py")}
    nested = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.glob("*/*/__init__.py")}
    assert {name for name in folders | nested if f"`{name}`" not in text} <= {"data/synth"}


def layer_of(module: str) -> str:
    """Folder of a module, or its name when it stands at the top."""
    return module.split(".")[0]


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
        if target is None or not target or layer_of(target) in BOTTOM:
            continue
        assert layer not in BOTTOM, f"edgedet.{module} is importable by all and may not import edgedet.{target}"
        target_layer = layer_of(target)
        allowed = ALLOWED[layer] | {layer}
        assert target_layer in allowed, (
            f"edgedet.{module} imports edgedet.{target}; {layer} may import {sorted(allowed | BOTTOM)}"
        )


@pytest.mark.parametrize("module", [m for m in MODULES if is_light(m)])
def test_imports_light_layer_has_no_heavy_package(module: str) -> None:
    for name, at_top in imports_of(MODULES[module], module):
        package = name.split(".")[0]
        if package in MAKERS and module.startswith(("exchange.onnx", "exchange.export.")):
            assert not at_top, f"edgedet.{module}: {package} belongs to an extra; import it inside a function"
            continue
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
    loaded = run_python(
        "before = set(sys.modules); import edgedet; print(sorted(n for n in set(sys.modules) - before "
        "if n.split('.')[0] not in sys.stdlib_module_names))"
    )
    assert loaded == "['edgedet']"


@pytest.mark.parametrize(
    "module",
    [
        "edgedet.evaluate.evaluator",
        "edgedet.runtimes.open",
        "edgedet.simulate.simulator",
        "edgedet.deploy.api",
        "edgedet.lint.api",
        "edgedet.graph.flatbuffer",
        "edgedet.commands.main",
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
