"""ESP-IDF, PlatformIO, Zephyr and CMSIS-Pack: their own validators, and what their manifests name, built."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tflm_checkout as tflm
import yaml
from builders import PICTURE, builders_python, compile_and_run, project, require_folder

pytest.importorskip("jinja2", reason="needs the extra c99")
pytestmark = pytest.mark.toolchain


def listed(text: str, begin: str, end: str) -> list[str]:
    """Words between two words of a CMake file."""
    return text.partition(begin)[2].partition(end)[0].split()


def c_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.c")}


def test_esp_idf_lists_every_source_and_the_component_manager_takes_the_manifest(
    tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    out = project("RTMDet head", "esp-idf", tmp_path, name="tiny")
    component, main = out / "components" / "edgedet_tiny", out / "main"
    text = (component / "CMakeLists.txt").read_text(encoding="utf-8")
    assert set(listed(text, "SRCS", "INCLUDE_DIRS")) == c_files(component)
    includes = [component / folder for folder in listed(text, "INCLUDE_DIRS", ")")]
    text = (main / "CMakeLists.txt").read_text(encoding="utf-8")
    assert set(listed(text, "SRCS", "INCLUDE_DIRS")) == c_files(main)
    assert listed(text, "REQUIRES", ")") == ["edgedet_tiny"]
    size = re.search(r"^factory, +app, +factory, 0x10000, (\d+)K,$", (out / "partitions.csv").read_text(), re.MULTILINE)
    assert size is not None
    assert int(size[1]) % 64 == 0  # an app begins and ends at a multiple of 64 KiB
    command = [require_tool("compote"), "component", "pack", "--name", "tiny", "--dest-dir", tmp_path / "dist"]
    done = tflm.run(*command, folder=component)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "dist").glob("tiny_*.tgz"))) == 1
    # With another main program, since FreeRTOS is not here.
    plain = project("RTMDet head", "make", tmp_path / "plain", name="tiny") / "main.c"
    sources = [component / name for name in c_files(component)] + [main / name for name in c_files(main) - {"main.c"}]
    assert compile_and_run(tmp_path, [*sources, plain], [*includes, main]) == PICTURE


def test_esp_idf_builds_and_runs_on_its_linux_target(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    idf = require_folder("IDF_PATH", "ESP-IDF")
    python = builders_python(require_tool("compote"))
    out = project("RTMDet head", "esp-idf", tmp_path, name="tiny")
    options = ["-G", "Ninja", "-DIDF_TARGET=linux", f"-DPYTHON={python}", "-DPYTHON_DEPS_CHECKED=1"]
    environment = {**os.environ, "IDF_PATH": str(idf), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    for command in (["cmake", "-S", str(out), "-B", str(out / "build"), *options], ["ninja", "-C", str(out / "build")]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    try:  # the program of a device does not end
        printed = subprocess.run(
            [out / "build" / "tiny_example.elf"], capture_output=True, timeout=3, check=False
        ).stdout
    except subprocess.TimeoutExpired as stopped:
        printed = stopped.stdout or b""
    assert PICTURE in printed.decode("utf-8").splitlines()


def test_platformio_takes_the_manifests_and_the_sources_pass_here(
    tmp_path: Path, require_tool: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = project("RTMDet head", "platformio", tmp_path, name="tiny")
    library = out / "lib" / "tiny"
    includes = [library / json.loads((library / "library.json").read_text(encoding="utf-8"))["build"]["includeDir"]]
    sources = [path for folder in (library / "src", out / "src") for path in folder.iterdir() if path.suffix != ".h"]
    assert compile_and_run(tmp_path, sources, [*includes, out / "src"], "g++") == PICTURE
    pio = require_tool("pio")
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(tmp_path / "core"))
    monkeypatch.setenv("PLATFORMIO_SETTING_ENABLE_TELEMETRY", "no")
    done = tflm.run(pio, "pkg", "pack", library, "-o", tmp_path / "tiny.tar.gz")
    assert done.returncode == 0, done.stdout + done.stderr
    done = tflm.run(pio, "project", "config", "--lint", "-d", out)
    assert "is free from linting errors" in done.stdout, done.stdout


def test_zephyr_names_every_source_and_west_takes_the_manifest(
    tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    out = project("RTMDet head", "zephyr", tmp_path, name="tiny")
    module = out / "edgedet_tiny"
    text = (module / "CMakeLists.txt").read_text(encoding="utf-8")
    kernels = set(listed(text, "foreach(kernel", ")"))
    assert kernels | set(listed(text, "zephyr_library_sources(", ")")) == c_files(module)
    assert {path for path in c_files(module) if path.startswith("kernels/")} == kernels
    includes = [module / folder for folder in listed(text, "zephyr_include_directories(", ")")]
    named, option = (text.index(words) for words in ("named(edgedet_kernels)", "cc_option(-fno-if-conversion2)"))
    assert named < option < text.index("foreach(kernel")  # an option of the kernels' library, where the compiler has it
    app = (out / "CMakeLists.txt").read_text(encoding="utf-8")
    assert {f"src/{name}" for name in c_files(out / "src")} == set(listed(app, "PRIVATE", ")"))
    assert yaml.safe_load((module / "zephyr" / "module.yml").read_text()) == {
        "name": "edgedet_tiny",
        "build": {"cmake": ".", "kconfig": "Kconfig"},
    }
    symbol = re.findall(r"^config (\w+)$", (module / "Kconfig").read_text(encoding="utf-8"), re.MULTILINE)
    assert symbol == ["EDGEDET_TINY"]
    assert "CONFIG_EDGEDET_TINY=y" in (out / "prj.conf").read_text(encoding="utf-8")
    assert "if(CONFIG_EDGEDET_TINY)" in text
    plain = project("RTMDet head", "make", tmp_path / "plain", name="tiny") / "main.c"
    sources = [module / name for name in c_files(module)] + sorted(
        set((out / "src").glob("*.c")) - {out / "src/main.c"}
    )
    assert compile_and_run(tmp_path, [*sources, plain], [*includes, out / "src"]) == PICTURE
    check = (
        "import sys; from west.manifest import Manifest, ImportFlag; "
        "m = Manifest.from_data(open(sys.argv[1]).read(), import_flags=ImportFlag.IGNORE); "
        "print([p.name for p in m.projects][1:], m.projects[0].path)"
    )
    done = tflm.run(builders_python(require_tool("west")), "-c", check, out / "west.yml")
    assert done.stdout == "['zephyr'] tiny_app\n", done.stderr


def test_cmsis_pack_lists_every_file_and_its_schema_takes_it(tmp_path: Path) -> None:
    out = project("RTMDet head", "cmsis-pack", tmp_path, name="tiny")
    (pack,) = out.glob("*.pdsc")
    root = ElementTree.parse(pack).getroot()
    vendor, name, version = root.findtext("vendor"), root.findtext("name"), root.find("releases/release")
    assert pack.name == f"{vendor}.{name}.pdsc"
    assert version is not None
    component = root.find("components/component")
    assert component is not None
    assert component.get("Cversion") == version.get("version")
    files = {element.get("name", ""): element for element in component.iter("file")}
    assert all((out / file).exists() for file in files)
    sources = {file for file, element in files.items() if element.get("category") == "sourceC"}
    assert sources == c_files(out)
    templates = {file for file, element in files.items() if element.get("attr") == "template"}
    assert {path.name for path in (out / "example").iterdir()} == {Path(file).name for file in templates}
    includes = [out / file for file, element in files.items() if element.get("category") == "include"]
    paths = [out / file for file in sorted(sources)]
    assert compile_and_run(tmp_path, paths, [*includes, out / "example"]) == PICTURE


def test_cmsis_pack_is_valid_by_the_schema_of_the_format(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    schema = require_folder("PACK_XSD", "schema of CMSIS-Pack")
    for kind in ("RTMDet head", "many operators, int8"):
        out = project(kind, "cmsis-pack", tmp_path / kind.split()[0], name="tiny")
        done = tflm.run(require_tool("xmllint"), "--noout", "--schema", schema, out / "edgedet.tiny.pdsc")
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "build",
    [
        "esp-idf",
        *(pytest.param(kind, marks=pytest.mark.long) for kind in ("arduino", "platformio", "zephyr", "cmsis-pack")),
    ],
)
def test_target_tflm_has_its_sources_and_asks_for_tflite_micro(build: str, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro", reason="needs the extra tflm")
    out = project("RTMDet head", build, tmp_path, name="tiny", target="tflm")
    manifests = {
        "esp-idf": ("components/edgedet_tiny/idf_component.yml", "espressif/esp-tflite-micro", "tiny_network.cc"),
        "arduino": ("library.properties", "depends=Chirale_TensorFLowLite", "tiny_network.cpp"),
        "platformio": ("platformio.ini", "Chirale_TensorFLowLite.git", "tiny_network.cpp"),
        "zephyr": ("prj.conf", "CONFIG_TENSORFLOW_LITE_MICRO=y", "tiny_network.cc"),
        "cmsis-pack": ("edgedet.tiny.pdsc", 'Cgroup="TensorFlow"', "tiny_network.cc"),
    }
    manifest, word, source = manifests[build]
    assert word in (out / manifest).read_text(encoding="utf-8")
    assert len(list(out.rglob(source))) == 1
    assert not list(out.rglob("tiny_selftest*"))
    shutil.rmtree(out)
