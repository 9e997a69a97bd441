"""Projects whose builders are here: make and CMake, on this computer and on emulated microcontrollers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflm_checkout as tflm
from builders import GOLDEN, PICTURE, project
from c_audit_modules import MODELS
from PIL import Image

from edgedet.commands.main import main

pytest.importorskip("jinja2", reason="needs the extra c99")
pytestmark = pytest.mark.toolchain
MAKE_FLAGS = f"CFLAGS=-O1 {tflm.WARNINGS}"


def made(folder: Path, *options: str) -> list[str]:
    """Build and run everything without warnings; what it printed."""
    done = tflm.run("make", "-s", MAKE_FLAGS, *options, folder=folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("kind", "width", "height"),  # of the photo: twice the network's input, so that halves of boxes are exact
    [
        ("RTMDet head", 128, 64),
        pytest.param("grey camera", 128, 64, marks=pytest.mark.long),
        pytest.param("blue first", 128, 64, marks=pytest.mark.long),
        pytest.param("FOMO head", 192, 128, marks=pytest.mark.long),
    ],
)
def test_make_prints_what_predict_finds_in_the_photo(
    kind: str, width: int, height: int, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("make")
    photo = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)).save(photo)
    out = project(kind, "make", tmp_path, name="tiny", image=photo)
    lines = made(out)
    assert lines[0] == "PASS"  # the self-test
    assert lines[-1] == PICTURE
    expected = predicted(MODELS[kind](tmp_path), photo)
    assert expected  # else the comparison would show nothing
    assert lines[1:-2] == [printed(found) for found in expected]
    assert lines[-2] == f"{len(expected)} detections in {width // 2}x{height // 2} px"


def predicted(model: Path, photo: Path) -> list[dict[str, Any]]:
    """What `edgedet predict` writes of a photo."""
    result = photo.with_suffix(".json")
    assert main(["predict", str(model), str(photo), "--out", str(photo.with_suffix("")), "--json", str(result)]) == 0
    return list(json.loads(result.read_text(encoding="utf-8"))["images"][0]["detections"])


def printed(found: dict[str, Any]) -> str:
    """The line of the example, of the picture at half the size; it cuts decimals off."""
    left, top, right, bottom = (int(side / 2) for side in found["box_xyxy_px"])
    return f"{found['class']}: {int(found['score'] * 100)} %, left {left}, top {top}, right {right}, bottom {bottom}"


def test_make_runs_on_an_emulated_cortex_m4(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    out = project("RTMDet head", "make", tmp_path)
    assert made(out, "CPU=cortex-m4")[-1] == PICTURE
    done = tflm.run("make", "-s", "CPU=cortex-m3", folder=out)
    assert done.returncode != 0
    assert "CPU is 'cortex-m3': give cortex-m4, cortex-m7, cortex-m33 or cortex-m55" in done.stderr


def test_make_says_when_the_chip_sees_something_else(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("make")
    out = project("RTMDet head", "make", tmp_path)
    text = (out / "picture.c").read_text(encoding="utf-8")
    rows, _, table = text.partition("picture_detections[")
    (out / "picture.c").write_text(f"{rows}picture_detections[{table.replace('f, 0}', 'f, 1}', 1)}", encoding="utf-8")
    assert (out / "picture.c").read_text(encoding="utf-8") != text
    done = tflm.run("make", "-s", folder=out)
    assert done.returncode != 0
    assert done.stdout.splitlines()[-1].startswith("FAIL: the stored picture gives other detections")


def test_make_model_without_contracts_compares_with_the_golden_outputs(
    tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("make")
    assert made(project("float32, uint8 and int16 ends", "make", tmp_path))[-1] == GOLDEN


@pytest.mark.parametrize("cpu", [pytest.param("", marks=pytest.mark.long), "cortex-m55"])
def test_cmake_builds_and_runs_here_and_on_an_emulated_cortex_m55(
    cpu: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("qemu-system-arm")
    out = project("RTMDet head", "cmake", tmp_path, name="tiny")
    options = ["--toolchain", str(out / "cortex-m.cmake"), f"-DCPU={cpu}", "-DQEMU=ON"] if cpu else []
    done = tflm.run(require_tool("ctest"), "--test-dir", tflm.build(out, options), "-V")
    assert done.returncode == 0, done.stdout
    assert f"2: {PICTURE}" in done.stdout
    assert "1: PASS" in done.stdout


@pytest.mark.parametrize("option", ["-DCPU=cortex-m4", "-DQEMU=ON"])
def test_cmake_for_a_processor_without_a_toolchain_file_stops_at_once(
    option: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    out = project("RTMDet head", "cmake", tmp_path)
    done = tflm.run(require_tool("cmake"), "-S", out, "-B", tmp_path / "build", option)
    assert done.returncode != 0
    assert f"-DCMAKE_TOOLCHAIN_FILE={out}/cortex-m.cmake, or leave both out" in " ".join(done.stderr.split())


@pytest.mark.parametrize("build", ["make", "cmake"])
@pytest.mark.parametrize(("kind", "last"), [("RTMDet head", PICTURE), ("float32, uint8 and int16 ends", GOLDEN)])
def test_target_tflm_builds_and_runs_with_a_real_tflite_micro(
    build: str, kind: str, last: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    pytest.importorskip("tflite_micro", reason="needs the extra tflm")
    options = tflm.cmake_options()
    out = project(kind, build, tmp_path, target="tflm")
    if build == "cmake":
        done = tflm.run(require_tool("ctest"), "--test-dir", tflm.build(out, options), "-V")
        assert (done.returncode, f"2: {last}" in done.stdout) == (0, True), done.stdout
        return
    assert made(out, *(option.removeprefix("-D") for option in options))[-1] == last


def test_make_without_tflite_micro_says_what_is_missing(
    tmp_path: Path, require_tool: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TFLM_ROOT", raising=False)
    pytest.importorskip("tflite_micro", reason="needs the extra tflm")
    require_tool("make")
    out = project("RTMDet head", "make", tmp_path, target="tflm")
    done = tflm.run("make", "-s", folder=out)
    assert done.returncode != 0
    assert "TFLM_ROOT is '', which holds no tensorflow/lite/micro/micro_interpreter.h: give the checkout" in done.stderr
