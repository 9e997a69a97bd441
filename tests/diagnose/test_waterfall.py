from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from device_line import DeviceOnPty, build_device
from torch.fx import GraphModule

import edgedet
from edgedet.commands.main import main
from edgedet.data.coco.split import CocoSplit
from edgedet.deploy.api import deploy
from edgedet.diagnose.inspect import InspectRequest, inspect_model
from edgedet.diagnose.waterfall import (
    REMEDIES,
    Step,
    Waterfall,
    WaterfallRequest,
    add_to_report,
    find_guilty,
    measure_waterfall,
)
from edgedet.errors import ConfigError, DataError, ToolchainError
from edgedet.evaluate.evaluator import evaluate
from edgedet.net.runtime import TorchRuntime
from edgedet.runtimes.open import open_runtime


def steps(*changes: tuple[str, float]) -> list[Step]:
    """A chain with these changes behind a float step."""
    made, ap = [Step("float", "float", 0.5, 0.7, 9)], 0.5
    for key, change in changes:
        made.append(Step(key, key, ap + change, 0.7, 9, "before", change))
        ap += change
    return made


@pytest.mark.parametrize(
    ("changes", "guilty"),
    [
        ((("folded", 0.0), ("weights", -0.004)), ""),
        ((("folded", 0.0), ("weights", -0.005)), ""),  # not beyond
        ((("weights", -0.01), ("fake_quant", -0.02), ("integer", 0.001)), "fake_quant"),
        ((("weights", -0.02), ("fake_quant", -0.01)), "weights"),
        ((("weights", 0.0), ("activations", -0.3), ("fake_quant", -0.006)), "fake_quant"),  # not in the chain
        ((("integer", 0.0), ("tflm", -0.1)), "tflm"),
        ((("fake_quant", -0.006), ("xnnpack", -0.1)), "fake_quant"),  # XNNPACK is not on the way to the chip
        ((("fake_quant", -0.004), ("xnnpack", -0.1)), "xnnpack"),
    ],
)
def test_find_guilty_takes_the_largest_drop_beyond_the_limit(
    changes: tuple[tuple[str, float], ...], guilty: str
) -> None:
    assert find_guilty(steps(*changes), 0.005) == guilty


@pytest.mark.slow
def test_measure_waterfall_rows_equal_separate_evaluations(pico: Path, split: CocoSplit, maker: ModuleType) -> None:
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("tflite_micro")
    seen: list[tuple[int, int]] = []
    request = WaterfallRequest(pico / maker.MODEL, pico / maker.CHECKPOINT, split, checked_images=2)
    waterfall = measure_waterfall(request, lambda done, total: seen.append((done, total)))
    keys = [step.key for step in waterfall.steps]
    assert keys == ["float", "folded", "weights", "activations", "fake_quant", "integer", "xnnpack", "tflm"]
    assert [note.partition(":")[0] for note in waterfall.notes] == ["3 images"]
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == list(range(1, len(seen) + 1))
    float_ap = evaluate(TorchRuntime.from_checkpoint(pico / maker.CHECKPOINT), split).ap.ap
    assert waterfall.step("float").ap == float_ap
    assert waterfall.step("integer").ap == evaluate(open_runtime(pico / maker.MODEL), split).ap.ap
    assert waterfall.step("integer").note.startswith("2 images: 0 of ")
    assert waterfall.step("tflm").images == 2
    assert waterfall.step("tflm").change == 0  # the same integers
    together = waterfall.step("fake_quant").ap - waterfall.step("folded").ap
    alone = waterfall.step("weights").change + waterfall.step("activations").change
    assert together == pytest.approx(alone + waterfall.interaction)


@pytest.mark.slow
def test_measure_waterfall_missing_interpreter_leaves_a_note(
    pico: Path, split: CocoSplit, maker: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgedet.diagnose import waterfall as module

    def only_simulator(path: Path, name: str) -> object:
        if name != "sim":
            raise ToolchainError(f"{name} is not installed")
        return open_runtime(path, name)

    monkeypatch.setattr(module, "open_runtime", only_simulator)
    request = WaterfallRequest(pico / maker.MODEL, pico / maker.CHECKPOINT, split, images=1)
    waterfall = measure_waterfall(request)
    assert [step.key for step in waterfall.steps][-1] == "integer"
    assert [note.partition(": ")[2].partition(":")[0] for note in waterfall.notes[:-1]] == ["ref", "xnnpack", "tflm"]
    assert waterfall.images == 1


@pytest.mark.slow
def test_measure_waterfall_fine_tuned_and_substituted_say_so(
    pico: Path, split: CocoSplit, tmp_path: Path, maker: ModuleType
) -> None:
    def trained(lowered: GraphModule) -> GraphModule:
        with torch.no_grad():
            for parameter in lowered.parameters():
                parameter *= torch.from_numpy(
                    np.random.default_rng(0).uniform(0.8, 1.2, parameter.shape).astype(np.float32)
                )
        return lowered

    maker.write_detector(tmp_path, change=trained)
    (tmp_path / "other").mkdir()
    maker.write_detector(tmp_path / "other", "rtmdet_nano_relu")
    request = WaterfallRequest(
        tmp_path / maker.MODEL, pico / maker.CHECKPOINT, split, 1, tmp_path / "other" / maker.CHECKPOINT, 1
    )
    waterfall = measure_waterfall(request)
    assert [step.key for step in waterfall.steps][:4] == ["float", "folded", "substituted", "weights"]
    assert waterfall.step("substituted").note == "relu -> relu6"
    assert waterfall.step("weights").after == "substituted"
    assert waterfall.step("weights").note == "fine-tuned weights"
    assert "fine-tuned" in waterfall.notes[0]
    assert "1 images: AP moves" in waterfall.notes[-1]


def test_waterfall_request_without_images_raises(split: CocoSplit) -> None:
    with pytest.raises(ConfigError, match="expected at least 1"):
        WaterfallRequest(Path("m"), Path("c"), split, images=0)


def test_waterfall_text_marks_the_guilty_step_and_report_holds_it(tmp_path: Path) -> None:
    made = steps(("folded", 0.0), ("weights", -0.002), ("activations", -0.04), ("fake_quant", -0.05))
    made[2] = Step("weights", "weights int8", 0.498, 0.7, 9, "folded", -0.002)
    waterfall = Waterfall(tuple(made), "fake_quant", 0.005, -0.012, "valid", 9, ("something",))
    lines = waterfall.text().splitlines()
    assert [line for line in lines if "<- guilty" in line] == [next(x for x in lines if x.startswith("fake_quant"))]
    assert any(line.startswith("what helps: --calibration auto, --int16 auto") for line in lines)
    assert "note: something" in lines
    report = tmp_path / "report.json"
    report.write_text('{"model": "m"}')
    add_to_report(waterfall, report)
    content = json.loads(report.read_text())
    assert content["model"] == "m"
    assert content["waterfall"]["steps"][4]["key"] == content["waterfall"]["guilty"] == "fake_quant"


def test_waterfall_every_step_of_the_chain_has_a_remedy(pico: Path, split: CocoSplit, maker: ModuleType) -> None:
    request = WaterfallRequest(pico / maker.MODEL, pico / maker.CHECKPOINT, split, images=1, checked_images=1)
    chain = {step.key for step in measure_waterfall(request).steps if step.after and not step.aside}
    assert chain <= REMEDIES.keys()
    assert REMEDIES.keys() - chain <= {"substituted", "device"}


@pytest.fixture(scope="module")
def program(pico: Path, tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., str]) -> list[str]:
    require_tool("gcc")
    return build_device(
        deploy(pico / "model_int8.tflite", "c99", tmp_path_factory.mktemp("device") / "pico").out, "-O0"
    )


@pytest.mark.toolchain
def test_waterfall_has_the_row_on_the_device(pico: Path, split: CocoSplit, program: list[str]) -> None:
    with DeviceOnPty(program, 3, 0.02) as device:
        request = WaterfallRequest(
            pico / "model_int8.tflite", pico / "model.pt", split, 1, checked_images=1, runtime=f"serial:{device.port}",
            send="image",
        )  # fmt: skip
        waterfall = measure_waterfall(request)
    step = waterfall.step("device")
    sent = f"{request.runtime}, images sent"
    assert (step.label, step.after, step.change, step.note) == ("on the device", "integer", 0.0, sent)
    assert waterfall.device is not None
    assert waterfall.device.device_ms is not None
    assert waterfall.to_json()["device"]["device_ms"]["network"]["min"] > 0.0
    assert "on the device" in waterfall.text()


@pytest.mark.toolchain
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


@pytest.mark.slow
def test_python_measures_and_inspects_as_the_requests_do(pico: Path, split: CocoSplit, tmp_path: Path) -> None:
    """`Model.waterfall` and `Model.inspect`, with a broken image: left out, or named with the argument for it."""
    folder = tmp_path / "pictures"
    shutil.copytree(split.images[0].path.parent, folder)
    model, files = edgedet.load(pico / "model_int8.tflite"), [pico / "model_int8.tflite", pico / "model.pt"]
    annotations = folder / split.ann_path.name
    shutil.copy(split.ann_path, annotations)
    (folder / split.images[0].path.name).write_bytes(b"no picture")
    data = edgedet.open_dataset(val_ann=annotations, val_images=folder)
    for measure in (model.waterfall, model.inspect):
        with pytest.raises(DataError, match=r"1 of 3 images can't be read: .* by `skip_broken`"):
            measure(pico / "model.pt", data, images=2)
    whole = replace(split, images=split.images[1:2])
    measured = model.waterfall(edgedet.load(pico / "model.pt"), data, images=1, skip_broken=True)
    assert measured.steps == measure_waterfall(WaterfallRequest(files[0], files[1], whole, 1)).steps
    inspected = model.inspect(pico / "model.pt", data, images=2, skip_broken=True)
    expected = inspect_model(InspectRequest(files[0], files[1], replace(split, images=split.images[1:]), 2))
    assert inspected.layers == expected.layers
    with pytest.raises(ConfigError, match="can't measure the waterfall of a checkpoint; make it int8 with"):
        edgedet.load(pico / "model.pt").waterfall(pico / "model.pt", data)
