"""The Arduino library: by the rules of its specification, and built by the builder of the Arduino IDE."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tflm_checkout as tflm
from builders import BOARD, GOLDEN, PICTURE, project

pytest.importorskip("jinja2", reason="needs the extra c99")
pytestmark = pytest.mark.toolchain
# Of the Arduino library specification, revision 2.
REQUIRED = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"}
OPTIONAL = {"includes", "dot_a_linkage", "depends"}
CATEGORY = "Data Processing"  # one of those that the specification lists


def properties(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_library_follows_the_specification(tmp_path: Path) -> None:
    out = project("RTMDet head", "arduino", tmp_path, name="tiny")
    found = properties(out / "library.properties")
    assert set(found) <= REQUIRED | OPTIONAL
    assert set(found) >= REQUIRED
    assert all(found.values())
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_ .-]{0,62}", found["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])
    assert (found["category"], found["dot_a_linkage"]) == (CATEGORY, "true")
    assert (out / "src" / found["includes"]).is_file()
    assert list(out.rglob("*.ino")) == [out / "examples" / "Detect" / "Detect.ino"]
    # Only src/ is searched for headers, so nothing may lie deeper.
    assert not [path for path in (out / "src").iterdir() if path.is_dir()]
    assert {path.suffix for path in (out / "src").iterdir()} == {".c", ".h"}


@pytest.mark.parametrize(
    ("kind", "last"),
    [("RTMDet head", PICTURE), pytest.param("float32, uint8 and int16 ends", GOLDEN, marks=pytest.mark.long)],
)
def test_builder_of_the_arduino_ide_builds_the_sketch_and_it_passes(
    kind: str, last: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    builder = require_tool("arduino-builder")
    out = project(kind, "arduino", tmp_path, name="tiny")
    libraries = tmp_path / "libraries"
    shutil.copytree(out, libraries / "tiny")
    (tmp_path / "built").mkdir()
    done = tflm.run(
        *(builder, "-compile", "-fqbn", "edgedet:host:host", "-warnings", "all"),
        *("-hardware", BOARD, "-hardware", "/usr/share/arduino-builder", "-tools", "/usr/bin"),
        *("-libraries", libraries, "-build-path", tmp_path / "built"),
        libraries / "tiny" / "examples" / "Detect" / "Detect.ino",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr
    done = tflm.run(tmp_path / "built" / "Detect.ino.elf")
    assert done.stdout.splitlines()[-1] == last
