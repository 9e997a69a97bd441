"""Target tflm in layouts of builders that are not here: what their manifests list, built with a real TFLite Micro."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tflm_checkout as tflm
from builders import PICTURE, compile_all, link, project

pytest.importorskip("tflite_micro", reason="needs the extra tflm")
pytestmark = pytest.mark.toolchain
SUFFIXES = (".c", ".cc", ".cpp")


def words(path: Path, begin: str, end: str = ")") -> list[str]:
    """Of a CMake file, between two words."""
    return path.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0].split()


def sources_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES]


def esp_idf(out: Path) -> tuple[list[Path], list[Path]]:
    component, main = out / "components" / "edgedet_tiny", out / "main"
    assert "espressif/esp-tflite-micro" in (component / "idf_component.yml").read_text(encoding="utf-8")
    files = [component / word for word in words(component / "CMakeLists.txt", "SRCS", "INCLUDE_DIRS")]
    files += [main / word for word in words(main / "CMakeLists.txt", "SRCS", "INCLUDE_DIRS")]
    return files, [component / word for word in words(component / "CMakeLists.txt", "INCLUDE_DIRS")] + [main]


def arduino(out: Path) -> tuple[list[Path], list[Path]]:
    sketch = out / "examples" / "Detect"
    return [*sources_in(out / "src"), *sources_in(sketch)], [out / "src", sketch]


def platformio(out: Path) -> tuple[list[Path], list[Path]]:
    library = out / "lib" / "tiny"
    built = json.loads((library / "library.json").read_text(encoding="utf-8"))["build"]
    files = [*sources_in(library / built["srcDir"]), *sources_in(out / "src")]
    return files, [library / built["includeDir"], out / "src"]


def zephyr(out: Path) -> tuple[list[Path], list[Path]]:
    module = out / "edgedet_tiny"
    lists = module / "CMakeLists.txt"
    files = [module / word for begin in ("foreach(kernel", "zephyr_library_sources(") for word in words(lists, begin)]
    files += [out / word for word in words(out / "CMakeLists.txt", "PRIVATE")]
    return files, [module / word for word in words(lists, "zephyr_include_directories(")] + [out / "src"]


def cmsis_pack(out: Path) -> tuple[list[Path], list[Path]]:
    found = [element.attrib for element in ElementTree.parse(out / "edgedet.tiny.pdsc").getroot().iter("file")]
    files = [out / entry["name"] for entry in found if entry["category"].startswith("source")]
    return files, [out / entry["name"] for entry in found if entry["category"] == "include"] + [out / "example"]


LAYOUTS = {
    "esp-idf": esp_idf,
    "arduino": arduino,
    "platformio": platformio,
    "zephyr": zephyr,
    "cmsis-pack": cmsis_pack,
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_what_the_manifest_lists_sees_the_picture_with_a_real_tflite_micro(
    kind: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    options, library = tflm.compile_options()
    require_tool("g++")
    out = project("RTMDet head", kind, tmp_path, name="tiny", target="tflm")
    files, includes = LAYOUTS[kind](out)
    present = {path for path in out.rglob("*") if path.suffix in SUFFIXES}
    assert set(files) == present
    if kind in ("esp-idf", "zephyr"):  # their main programs need an operating system
        plain = project("RTMDet head", "make", tmp_path / "plain", name="tiny", target="tflm")
        files = [path for path in files if path.name != "main.c"] + [plain / "main.c"]
    elif kind == "arduino":  # instead of the sketch
        plain = project("RTMDet head", "make", tmp_path / "plain", name="tiny", target="tflm")
        files = [*files, plain / "main.c"]
    program = link(tmp_path, compile_all(tmp_path, files, includes, options), "g++", (library,))
    done = tflm.run(program)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, PICTURE)
