"""Projects around a network for Ethos-U: what they hold, what is refused, and with TFLM_ROOT that they build."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tflm_checkout as tflm
from builders import compile_all, project

from edgedet.deploy.api import deploy
from edgedet.errors import ConfigError
from edgedet.npu.cores import NpuOptions

pytest.importorskip("tflite_micro", reason="needs the extra tflm")
pytest.importorskip("ethosu", reason="needs the extra vela (ethos-u-vela)")
TARGET = "ethos-u55-128"
REGISTERS = "TINY_NPU_REGISTERS=0x48102000"  # Corstone-300's
MODULES = {"make": "tiny", "cmake": "tiny", "zephyr": "edgedet_tiny", "cmsis-pack": "module"}
NO_NPU = "error: the driver finds no Ethos-U55 at that address"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("esp-idf", "no chip that ESP-IDF builds for has that NPU; take project make, cmake, zephyr, cmsis-pack"),
        ("arduino", "Arduino's libraries of TFLite Micro come without the operator"),
        ("platformio", "PlatformIO's libraries of TFLite Micro come without the operator"),
    ],
)
def test_builders_without_the_npu_are_refused(kind: str, words: str, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no project {kind} around target {TARGET}: {words}"):
        deploy(tiny_model, TARGET, tmp_path / "out", project=kind)
    assert not (tmp_path / "out").exists()


def test_boards_sdk_takes_no_project(tiny_model: Path, tmp_path: Path) -> None:
    npu = NpuOptions(preset="grove-vision-ai-v2")
    for options, board in ((npu, None), (None, "grove_vision_ai_v2")):
        with pytest.raises(ConfigError, match=r"no project make around preset grove-vision-ai-v2: .*docs/grove.md"):
            deploy(tiny_model, "ethos-u55-64", tmp_path / "out", project="make", npu=options, board=board)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("target", "npu", "words"),
    [
        ("ethos-u55-32", None, "Zephyr's options know ethos-u55-64, "),
        (
            "ethos-u65-256",
            NpuOptions(memory_mode="Dedicated_Sram", system_config="Ethos_U65_High_End"),
            "Zephyr starts the NPU without the",
        ),
    ],
)
def test_zephyr_refuses_what_its_driver_does_not_know(
    target: str, npu: NpuOptions | None, words: str, tiny_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        deploy(tiny_model, target, tmp_path / "out", project="zephyr", npu=npu)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", MODULES)
def test_project_has_the_npu_in_its_module(kind: str, tmp_path: Path) -> None:
    out = project("RTMDet head", kind, tmp_path, name="tiny", target=TARGET)
    module = out / MODULES[kind]
    assert {"tiny_npu.h", "tiny_npu.c", "tiny_npu_board.c", "tiny_model_vela.tflite"} <= {
        p.name for p in module.iterdir()
    }
    resolver = (module / "tiny_op_resolver.h").read_text(encoding="utf-8")
    assert re.findall(r"resolver\.(\w+)\(", resolver) == ["AddEthosU"]
    (example,) = out.rglob("example.c")
    assert "wrong = tiny_npu_start();" in example.read_text(encoding="utf-8")
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    present = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert set(manifest["files"]) == present - {"manifest.json"}
    assert f"operator of {TARGET}" in (out / "README.md").read_text(encoding="utf-8")


def test_manifests_ask_for_the_driver(tmp_path: Path) -> None:
    zephyr = project("RTMDet head", "zephyr", tmp_path / "zephyr", name="tiny", target=TARGET)
    options = (zephyr / "prj.conf").read_text(encoding="utf-8").splitlines()
    assert {"CONFIG_ETHOS_U=y", "CONFIG_ETHOS_U55_128=y", "CONFIG_TENSORFLOW_LITE_MICRO=y"} <= set(options)
    assert "depends on TENSORFLOW_LITE_MICRO && ETHOS_U" in (zephyr / "edgedet_tiny" / "Kconfig").read_text("utf-8")
    pack = project("RTMDet head", "cmsis-pack", tmp_path / "pack", name="tiny", target=TARGET)
    root = ElementTree.parse(pack / "edgedet.tiny.pdsc").getroot()
    required = [dict(element.attrib) for element in root.iter("require")]
    assert {"Cclass": "Machine Learning", "Cgroup": "NPU Support", "Csub": "Ethos-U Driver"} in required
    assert any(entry.get("Cvariant") == "Ethos-U" for entry in required)


def driver_options() -> tuple[list[str], Path]:
    """Of the compilers for Cortex-M55 with the driver; skips the test where TFLite Micro was not built with it."""
    options, library = tflm.compile_options("TFLM_LIBRARY_ETHOS_U")
    headers = Path(os.environ["TFLM_ROOT"]) / "tensorflow/lite/micro/tools/make/downloads/ethos_u_core_driver/include"
    headers = Path(os.environ.get("ETHOSU_INCLUDE", headers))
    return [
        *options,
        "-isystem",
        str(headers),
        f"-D{REGISTERS}",
        "-mcpu=cortex-m55",
        "-mthumb",
        "-mfloat-abi=hard",
    ], library


@pytest.mark.toolchain
def test_make_builds_for_cortex_m55_and_misses_the_npu_in_qemu(
    tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    names = [option.removeprefix("-D") for option in tflm.cmake_options("TFLM_LIBRARY_ETHOS_U")]
    for tool in ("make", "arm-none-eabi-g++", "qemu-system-arm"):
        require_tool(tool)
    names += [f"ETHOSU_INCLUDE={os.environ[name]}" for name in ("ETHOSU_INCLUDE",) if name in os.environ]
    out = project("RTMDet head", "make", tmp_path, name="tiny", target=TARGET)
    flags = [f"CFLAGS=-O1 {tflm.WARNINGS}", f"CXXFLAGS=-O1 {tflm.WARNINGS}", f"NPU_OPTIONS={REGISTERS}"]
    done = tflm.run("make", "-s", *names, folder=out)
    assert "compiled for ethos-u55-128, which this computer does not have" in done.stderr
    done = tflm.run("make", "-s", "CPU=cortex-m55", *flags, *names, folder=out)
    assert (done.returncode, done.stderr) == (0, "")
    for program in ("selftest", "example"):
        done = tflm.run(
            *("qemu-system-arm", "-M", "mps3-an547", "-nographic", "-monitor", "none", "-serial", "none"),
            *("-semihosting-config", "enable=on,target=native", "-kernel"),
            out / "build" / "cortex-m55" / program,
        )
        assert done.returncode != 0
        assert NO_NPU in done.stdout


@pytest.mark.toolchain
def test_cmake_builds_for_cortex_m55_and_misses_the_npu_in_qemu(
    tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    options = tflm.cmake_options("TFLM_LIBRARY_ETHOS_U")
    for tool in ("arm-none-eabi-g++", "qemu-system-arm"):
        require_tool(tool)
    options += [f"-DETHOSU_INCLUDE={os.environ[name]}" for name in ("ETHOSU_INCLUDE",) if name in os.environ]
    out = project("RTMDet head", "cmake", tmp_path, name="tiny", target=TARGET)
    toolchain = ["--toolchain", str(out / "cortex-m.cmake"), "-DCPU=cortex-m55", "-DQEMU=ON"]
    folder = tflm.build(out, [*toolchain, f"-DNPU_OPTIONS={REGISTERS}", *options])
    done = tflm.run("ctest", "--test-dir", folder, "-V", "--timeout", "60")
    assert f"1: {NO_NPU}" in done.stdout
    assert f"2: {NO_NPU}" in done.stdout


@pytest.mark.toolchain
@pytest.mark.parametrize("kind", ["zephyr", "cmsis-pack"])
def test_sources_compile_for_cortex_m55_against_tflite_micro_and_the_driver(
    kind: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    """Not npu_board.c's part for Zephyr, which needs Zephyr's headers."""
    options, _ = driver_options()
    require_tool("arm-none-eabi-g++")
    out = project("RTMDet head", kind, tmp_path, name="tiny", target=TARGET)
    module = out / MODULES[kind]
    sources = [path for path in out.rglob("*") if path.suffix in (".c", ".cc")]
    sources = [path for path in sources if path != out / "src" / "main.c"]  # of Zephyr's kernel
    includes = [module, module / "kernels" / "include", *{path.parent for path in out.rglob("example.h")}]
    objects = compile_all(tmp_path, sources, includes, options, "arm-none-eabi-")
    assert len(objects) > 15
    (npu,) = [path for path in objects if path.stem == "tiny_npu_board"]
    assert "tiny_npu_open" in tflm.run("arm-none-eabi-nm", "-u", npu).stdout
