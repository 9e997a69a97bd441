"""Networks with exponential boxes on the whole way: the int8 file holds logarithms, and every decoder exp()."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from generated import assert_self_test_passes
from random_weights import random_detector, random_pictures

from edgedet.chain import ChainRequest, run_chain
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.paths import DataPaths
from edgedet.deploy.api import deploy
from edgedet.diagnose.inspect import InspectRequest, inspect_model
from edgedet.diagnose.measures import output_damage
from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.evaluate.evaluator import evaluate
from edgedet.exchange.export.api import ExportRequest, export
from edgedet.finetune.qat import QatRequest
from edgedet.graph.flatbuffer import read_tflite
from edgedet.graph.metadata import METADATA_NAME, parse_contracts
from edgedet.net.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgedet.net.runtime import TorchRuntime
from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint
from edgedet.runtimes.open import open_runtime
from edgedet.training.loop import TrainRequest, train

SMALL_M = ("exp_boxes=true", "deepen=0.1", "widen=0.125", "stacked_convs=1")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small rtmdet_m as MMDetection has it: SiLU, channel attention, exponential boxes; random weights."""
    file = load_model_file("rtmdet_m", SMALL_M)
    weights = random_detector(file.model, 2, seed=3).state_dict()
    outputs = OutputSpec(("red", "green"), category_ids=(1, 2))
    path = tmp_path_factory.mktemp("exp") / "exp.pt"
    save_checkpoint(Checkpoint(file.model, file.preprocess.spec((96, 64)), outputs, weights, {}), path)
    return path


@pytest.fixture(scope="module")
def int8_file(checkpoint: Path, tiny_coco_once: Path) -> Path:
    out = checkpoint.parent / "int8"
    request = QuantizeRequest(checkpoint, DataPaths(tiny_coco_once), out, calib_images=4, effort="fast")
    return quantize_checkpoint(request).model


def test_int8_form_logarithms_decode_to_the_boxes_of_the_float_network(checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    form = loaded.int8_form()
    assert (loaded.outputs.head.coding, form.outputs.head.coding) == ("distance", "log_distance")
    whole = TorchRuntime(loaded.build(), loaded.preprocess, loaded.outputs)
    logarithms = TorchRuntime(form.build(), form.preprocess, form.outputs)
    x = whole.prepare(random_pictures(1, 96, 64, seed=1)[0])
    raw, logs = whole.invoke(x), logarithms.invoke(x)
    for distances, plain in zip(raw[1::2], logs[1::2], strict=True):
        np.testing.assert_allclose(distances, np.exp(plain.astype(np.float64)), rtol=1e-6)
    expected, found = whole.decode(raw, 0.01), logarithms.decode(logs, 0.01)
    assert len(expected) == len(found) > 3
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


def test_int8_file_says_that_boxes_are_logarithms(int8_file: Path) -> None:
    (blob,) = [blob for name, blob in read_tflite(int8_file).metadata if name == METADATA_NAME]
    content = json.loads(blob)
    assert content["version"] == 2  # a reader of version 1 refuses it
    assert content["outputs"]["head"] == {"kind": "rtmdet", "coding": "log_distance"}
    # A reader that does not know the coding ends with an error, whatever it does with keys that it does not know.
    content["outputs"]["head"]["coding"] = "cubic_distance"
    with pytest.raises(ConversionError, match=r"coding.*cubic_distance"):
        parse_contracts(json.dumps(content).encode(), "file")


def test_int8_file_gives_the_same_bytes_in_simulator_and_tflm(int8_file: Path) -> None:
    pytest.importorskip("tflite_micro")
    simulator, tflm = open_runtime(int8_file, "sim"), open_runtime(int8_file, "tflm")
    for pixels in random_pictures(2, 96, 64, seed=5):
        x = simulator.prepare(pixels)
        for ours, theirs in zip(simulator.invoke(x), tflm.invoke(x), strict=True):
            assert np.array_equal(ours, theirs)


@pytest.mark.toolchain
def test_int8_file_in_generated_c_gives_the_same_detections(int8_file: Path, tmp_path: Path) -> None:
    simulator, generated = open_runtime(int8_file, "sim"), open_runtime(int8_file, "c99")
    found = 0
    for pixels in random_pictures(3, 96, 64, seed=5):
        x = simulator.prepare(pixels)
        raw = simulator.invoke(x)
        for ours, theirs in zip(raw, generated.invoke(x), strict=True):
            assert np.array_equal(ours, theirs)
        ours, theirs = simulator.decode(raw, 0.05), generated.decode(raw, 0.05)
        assert np.array_equal(ours.boxes, theirs.boxes)
        assert np.array_equal(ours.scores, theirs.scores)
        assert np.array_equal(ours.labels, theirs.labels)
        found += len(ours)
    assert found > 10
    assert_self_test_passes(deploy(int8_file, "c99", tmp_path / "c").out)


def test_deploy_tflm_names_the_coding_in_the_contract(int8_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("tflite_micro")
    out = deploy(int8_file, "tflm", tmp_path / "firmware").out
    assert "log_distance" in (out / "contract.h").read_text()


def test_export_sscma_refuses_logarithms_and_says_what_helps(int8_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOpError, match=r"boxes are their logarithms.*fine-tune the checkpoint"):
        export(ExportRequest(int8_file, "sscma", tmp_path / "sscma.tflite"))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def trained(tiny_coco_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with exponential boxes that has learned some of the rectangles."""
    out = tmp_path_factory.mktemp("trained")
    plain = (
        "threads=1", "mosaic=0.0", "hsv_h=0.0", "hsv_s=0.0", "hsv_v=0.0", "scale_min=1.0", "scale_max=1.0",
        "crop=false", "lr=0.01", "eval_interval=60", "deepen=0.1", "stacked_convs=1", "exp_boxes=true",
    )  # fmt: skip
    result = train(
        TrainRequest("rtmdet_pico_relu6", DataPaths(tiny_coco_once), out, (96, 64), 60, 4, plain, quiet=True)
    )
    assert result.last_ap > 0.05
    return result.last


@pytest.mark.long  # it trains
@pytest.mark.parametrize("method", ["ptq", "qat", "distill"])
def test_quantize_exponential_boxes_keeps_the_ap(
    method: str, trained: Path, tiny_coco_once: Path, tmp_path: Path
) -> None:
    data, out = DataPaths(tiny_coco_once), tmp_path / "q"
    request: QuantizeRequest | QatRequest = QuantizeRequest(trained, data, out, calib_images=6, effort="fast")
    if method != "ptq":
        distill = method == "distill"
        request = QatRequest(
            trained, data, out, epochs=2, batch=4, calib_images=6, threads=1, quiet=True, distill=distill
        )
    result = run_chain(ChainRequest(request, waterfall=True, waterfall_images=6))
    split = data.load("valid")
    before = evaluate(TorchRuntime.from_checkpoint(trained), split).ap.ap
    after = evaluate(open_runtime(result.model), split).ap.ap
    assert before > 0.05
    assert after > before - 0.05  # six pictures: one box more or less is some hundredths
    assert result.waterfall is not None
    steps = {step.key: step.ap for step in result.waterfall.steps}
    assert steps["float"] == pytest.approx(before, abs=1e-9)
    assert steps["folded"] == pytest.approx(before, abs=1e-3)
    assert steps["integer"] == pytest.approx(after, abs=1e-9)


def test_inspect_measures_boxes_not_their_logarithms(int8_file: Path, checkpoint: Path, tiny_coco_once: Path) -> None:
    split = DataPaths(tiny_coco_once).load("valid")
    inspection = inspect_model(InspectRequest(int8_file, checkpoint, split, images=2, sensitivity_images=1))
    assert inspection.damage > 0
    assert {"box_8", "box_16", "box_32"} <= {layer.name for layer in inspection.layers}
    # A shift of all logarithms by log(2) doubles every side: a quarter of the area is common.
    logits, sides = torch.zeros(1, 1, 2, 2), torch.full((1, 4, 2, 2), -1.0)
    doubled = output_damage([logits, sides], [logits, sides + np.log(2.0)], log_boxes=True)
    assert doubled == pytest.approx(4 * 0.5 * 0.75, rel=1e-5)
