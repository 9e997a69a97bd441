"""The device's side of the serial protocol around TFLite Micro."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tflm_checkout
from device_line import DeviceOnPty, open_device
from toy_detector import write_toy_model

from edgedet.data.coco.build import load_split
from edgedet.deploy.api import deploy
from edgedet.device.link import Patience
from edgedet.evaluate.evaluator import evaluate
from edgedet.runtimes.open import open_runtime

pytestmark = pytest.mark.toolchain


def test_device_c_of_tflm_compiles_without_warnings_with_and_without_contracts(
    toy_model: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    plain = write_toy_model(tmp_path / "plain.tflite", metadata=False)
    for number, (model, name) in enumerate(((toy_model, "faces"), (plain, None))):
        out = deploy(model, "tflm", tmp_path / str(number), name=name).out
        stem = "" if name is None else f"{name}_"
        for compiler, source, standard in (("gcc", "device.c", "c99"), ("g++", "device_main.cc", "c++17")):
            command = [require_tool(compiler), f"-std={standard}", "-O2", *tflm_checkout.WARNINGS.split()]
            command += [f"-I{out}", f"-I{out / 'kernels' / 'include'}", "-c", str(out / (stem + source))]
            done = subprocess.run([*command, "-o", str(tmp_path / "a.o")], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")


def test_device_on_tflm_gives_the_bytes_and_the_ap_of_the_simulator(
    toy_model: Path, toy_data: Path, tmp_path: Path
) -> None:
    options = tflm_checkout.cmake_options()
    folder = tflm_checkout.build(deploy(toy_model, "tflm", tmp_path / "project").out, options, "device")
    split, simulator = load_split(toy_data, "valid"), open_runtime(toy_model, "sim")
    with DeviceOnPty([str(folder / "device"), "-"], 3, 0.05) as device:
        runtime = open_device(device, toy_model)
        found = evaluate(runtime, split)
        x = simulator.prepare(np.full((64, 96, 3), 99, np.uint8))
        for ours, theirs in zip(runtime.invoke(x), simulator.invoke(x), strict=True):
            assert ours.tobytes() == theirs.tobytes()
    assert found.ap == evaluate(simulator, split).ap
    assert "target tflm" in found.arithmetic


@pytest.mark.long
def test_device_on_tflm_on_an_emulated_uart_gives_the_ap_of_the_simulator(
    toy_model: Path, toy_data: Path, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("qemu-system-arm")
    project = deploy(toy_model, "tflm", tmp_path / "project").out
    options = [*tflm_checkout.cmake_options("TFLM_LIBRARY_M55"), "-DCPU=cortex-m55", "-DQEMU=ON"]
    folder = tflm_checkout.build(project, [*options, "--toolchain", str(project / "cortex-m.cmake")], "device")
    emulator = "qemu-system-arm -M mps3-an547 -nographic -monitor none -serial stdio"
    command = [*emulator.split(), "-semihosting-config", "enable=on,target=native", "-kernel", str(folder / "device")]
    split = load_split(toy_data, "valid")
    with DeviceOnPty(command, 1, 0.05) as device:
        found = evaluate(open_device(device, toy_model, Patience(reply_s=0.4, attempts=40)), split, max_images=2)
    assert found.ap == evaluate(open_runtime(toy_model, "sim"), split, max_images=2).ap
