"""The row and the comparison of a board, which here is the device program behind a pseudo-terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from device_line import DeviceOnPty, build_device

from edgedet.commands.main import main
from edgedet.data.coco.split import CocoSplit
from edgedet.deploy.api import deploy
from edgedet.diagnose.inspect import InspectRequest, inspect_model
from edgedet.diagnose.waterfall import WaterfallRequest, measure_waterfall

pytestmark = pytest.mark.toolchain


@pytest.fixture(scope="module")
def program(pico: Path, tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., str]) -> list[str]:
    require_tool("gcc")
    return build_device(
        deploy(pico / "model_int8.tflite", "c99", tmp_path_factory.mktemp("device") / "pico").out, "-O1"
    )


def test_waterfall_has_the_row_on_the_device(pico: Path, split: CocoSplit, program: list[str]) -> None:
    with DeviceOnPty(program, 3, 0.02) as device:
        request = WaterfallRequest(
            pico / "model_int8.tflite", pico / "model.pt", split, 1, checked_images=1, runtime=f"serial:{device.port}"
        )
        waterfall = measure_waterfall(request)
    step = waterfall.step("device")
    assert (step.label, step.after, step.change, step.note) == ("on the device", "integer", 0.0, request.runtime)
    assert any(note.startswith("on the device, by its clock: network") for note in waterfall.notes)
    assert "on the device" in waterfall.text()


def test_inspect_compares_the_outputs_of_the_device(pico: Path, split: CocoSplit, program: list[str]) -> None:
    with DeviceOnPty(program) as device:
        request = InspectRequest(
            pico / "model_int8.tflite", pico / "model.pt", split, 1, 1, runtime=f"serial:{device.port}"
        )
        inspection = inspect_model(request)
    assert inspection.outputs is not None
    assert (inspection.outputs.differing, inspection.outputs.images) == (0, 1)
    assert inspection.outputs.outputs > 700
    assert f"outputs of serial:{device.port}: 0 of " in inspection.text()
    assert json.loads(inspection.to_json())["outputs"]["differing"] == 0


def test_waterfall_command_refuses_a_checkpoint_as_model(pico: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["waterfall", str(pico / "model.pt"), "--against", str(pico / "model.pt"), "--data", "x"]) == 2
    assert "model.pt" in capsys.readouterr().err
