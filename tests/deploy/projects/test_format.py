"""Generated C and C++ have the style of .clang-format: both targets, every project, with the default name.

Tables of numbers and lines whose length the model decides lie between `clang-format off` and `on`. A longer name makes
longer lines, which stay as they are.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import project
from c_audit_tools import REPO

from edgedet.deploy.projects.layout import PROJECTS

pytest.importorskip("jinja2", reason="needs the extra c99")
pytestmark = pytest.mark.toolchain
SUFFIXES = (".c", ".h", ".cc", ".cpp", ".ino")
NEEDS = {"tflm": "tflite_micro", "ethos-u55-128": "ethosu"}
KINDS = ("RTMDet head", "float32, uint8 and int16 ends")


def generated(kind: str, target: str, folder: Path) -> list[Path]:
    """All files of all projects that a compiler takes, each text once."""
    found: dict[bytes, Path] = {}
    builds = [build for build in PROJECTS if target != "ethos-u55-128" or build in ("make", "zephyr")]
    for build in builds:
        out = project(kind, build, folder / build, target=target)
        found |= {path.read_bytes(): path for path in out.rglob("*") if path.suffix in SUFFIXES}
    return list(found.values())


@pytest.mark.parametrize(
    ("kind", "target", "module"),
    [
        (KINDS[0], "c99", "jinja2"),
        *(pytest.param(KINDS[0], target, module, marks=pytest.mark.long) for target, module in NEEDS.items()),
        pytest.param(KINDS[1], "c99", "jinja2", marks=pytest.mark.long),
        *(pytest.param(KINDS[1], target, module, marks=pytest.mark.long) for target, module in NEEDS.items()),
    ],
)
def test_generated_code_has_one_style(
    kind: str, target: str, module: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    pytest.importorskip(module, reason=f"target {target} needs it")
    program = require_tool("clang-format")
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    if " 14." not in version:
        pytest.skip(f"other versions format otherwise than clang-format 14; found {version.strip()}")
    files = generated(kind, target, tmp_path)
    assert len(files) > 20
    command = [program, f"--style=file:{REPO / '.clang-format'}", "--dry-run", "-Werror", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
