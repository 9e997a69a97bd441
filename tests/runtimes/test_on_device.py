"""The device program behind a pseudo-terminal: the same bytes and the same AP as here, whatever the line does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from device_line import DeviceOnPty, build_device, build_device_for_qemu, open_device

from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.deploy.api import deploy
from edgedet.device.link import Patience
from edgedet.evaluate.evaluator import evaluate
from edgedet.runtimes.open import open_runtime

pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def program(toy_model: Path, tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., str]) -> list[str]:
    require_tool("gcc")
    require_tool("make")
    return build_device(deploy(toy_model, "c99", tmp_path_factory.mktemp("device") / "toy").out)


@pytest.fixture(scope="module")
def split(toy_data: Path) -> CocoSplit:
    return load_split(toy_data, "valid")


def test_device_gives_the_bytes_and_the_ap_of_the_simulator(
    program: list[str], toy_model: Path, split: CocoSplit
) -> None:
    expected = evaluate(open_runtime(toy_model, "sim"), split)
    with DeviceOnPty(program) as device:
        found = evaluate(open_runtime(toy_model, f"serial:{device.port}"), split)
    assert 0.0 < expected.ap.ap < 1.0
    assert found.ap == expected.ap
    assert "0 sent again, 0 damaged and 0 late" in found.details[2]


@pytest.mark.parametrize("seed", [0, 100])
def test_device_faults_change_no_byte_of_ap_or_detections(
    program: list[str], toy_model: Path, split: CocoSplit, seed: int
) -> None:
    """5 % of all frames damaged, dropped, doubled or cut, in each direction, and resets in the middle of pictures."""
    simulator = open_runtime(toy_model, "sim")
    expected = evaluate(simulator, split)
    with DeviceOnPty(program, seed, 0.05, resets=(40, 90, 91)) as device:
        runtime = open_device(device, toy_model)
        found = evaluate(runtime, split)
        for record in split.images:
            x = simulator.prepare(np.full((64, 96, 3), record.image_id, np.uint8))
            for ours, theirs in zip(runtime.invoke(x), simulator.invoke(x), strict=True):
                assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
        assert all(faults.count[kind] > 0 for faults in (device.to_device, device.to_computer) for kind in faults.count)
        assert len(device.processes) == 4
    assert found.ap == expected.ap
    assert runtime.run.session.link.traffic.restarts > 0


@pytest.mark.parametrize(("cpu", "share", "images"), [("cortex-m4", 0.05, 2), ("cortex-m55", 0.0, 1)])
def test_device_on_an_emulated_uart_gives_the_ap_of_the_simulator(
    toy_model: Path,
    split: CocoSplit,
    tmp_path: Path,
    require_tool: Callable[..., str],
    cpu: str,
    share: float,
    images: int,
) -> None:
    """Few pictures: the emulator hands about 10,000 bytes a second to the UART."""
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    command = build_device_for_qemu(deploy(toy_model, "c99", tmp_path / "module").out, cpu)
    expected = evaluate(open_runtime(toy_model, "sim"), split, max_images=images)
    with DeviceOnPty(command, 7, share) as device:
        runtime = open_device(device, toy_model, Patience(reply_s=0.4, attempts=40))
        found = evaluate(runtime, split, max_images=images)
        runtime.run.close()
    assert 0.0 < expected.ap.ap < 1.0
    assert found.ap == expected.ap
    if share:
        assert sum(device.to_device.count.values()) + sum(device.to_computer.count.values()) > 2
