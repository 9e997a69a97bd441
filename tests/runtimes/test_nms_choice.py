"""Other limits of decoding than the contract's, for a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgedet.commands.main import main
from edgedet.contract.api import contract
from edgedet.contract.request import ContractRequest
from edgedet.contracts import NmsChoice, OutputSpec
from edgedet.errors import ConfigError
from edgedet.evaluate.detect import detect
from edgedet.graph.model import load_int8_model
from edgedet.head_spec import HeadSpec
from edgedet.runtimes.open import open_runtime
from edgedet.runtimes.protocol import Runtime


def found(runtime: Runtime, picture: Path) -> list[list[float]]:
    """Boxes, scores and labels at a low threshold."""
    found = detect(runtime, picture, 0.05).in_input
    return [[*box, score, label] for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True)]


def test_limits_hold_in_numpy_and_c(toy_model: Path, toy_data: Path) -> None:
    pytest.importorskip("jinja2")
    picture = sorted((toy_data / "valid").glob("*.png"))[0]
    usual = found(open_runtime(toy_model, "sim"), picture)
    one, three = NmsChoice(nms_iou=0.1, max_detections=100), NmsChoice(max_detections=3)
    fewer = found(open_runtime(toy_model, "sim", one), picture)
    assert 3 < len(fewer) < len(usual)
    assert found(open_runtime(toy_model, "sim", three), picture) == usual[:3]
    assert found(open_runtime(toy_model, "c99", one), picture) == fewer
    assert found(open_runtime(toy_model, "c99", three), picture) == usual[:3]


def test_class_agnostic_holds_in_numpy_and_c(toy_model: Path, toy_data: Path) -> None:
    pytest.importorskip("jinja2")
    suppressed, one = 0, NmsChoice(nms_iou=0.01)
    each = open_runtime(toy_model, "sim", one)
    numpy, c = (open_runtime(toy_model, name, replace(one, class_agnostic=True)) for name in ("sim", "c99"))
    for picture in sorted((toy_data / "valid").glob("*.png")):
        agnostic = found(numpy, picture)
        assert found(c, picture) == agnostic
        suppressed += len(found(each, picture)) - len(agnostic)
    assert suppressed > 0


@pytest.mark.parametrize("agnostic", [False, True])
def test_thresholds_of_classes_hold_in_numpy_and_c(
    toy_model: Path, toy_data: Path, tmp_path: Path, agnostic: bool
) -> None:
    """Levels without, rows with one class for all; the contract's thresholds where none is given."""
    pytest.importorskip("jinja2")
    file = tmp_path / "m.tflite"
    chosen = (0.2, 0.6, 0.35)
    contract(ContractRequest(toy_model, file, class_thresholds=chosen, agnostic=agnostic or None))
    outputs = load_int8_model(file).outputs
    assert (outputs.class_thresholds, outputs.score_threshold, outputs.head.agnostic) == (chosen, 0.2, agnostic)
    seen, runtimes = 0, [open_runtime(file, name) for name in ("sim", "c99")]
    for picture in sorted((toy_data / "valid").glob("*.png")):
        numpy, c = (detect(runtime, picture, None).in_input for runtime in runtimes)
        for one, other in ((numpy.boxes, c.boxes), (numpy.scores, c.scores), (numpy.labels, c.labels)):
            np.testing.assert_array_equal(one, other)
        assert all(numpy.scores > np.array(chosen, np.float32)[numpy.labels])
        low = detect(runtimes[0], picture, 0.2).in_input
        assert len(low) >= len(numpy)
        seen += len(low) - len(numpy)
    assert seen > 0


def test_predict_takes_them_and_leaves_the_file(
    toy_model: Path, toy_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = toy_model.read_bytes()
    argv = ["predict", str(toy_model), str(toy_data / "valid"), "--out", str(tmp_path / "o"), "--json", "-"]
    assert main([*argv, "--max-detections", "2"]) == 0
    assert {len(image["detections"]) for image in json.loads(capfd.readouterr().out)["images"]} == {2}
    assert toy_model.read_bytes() == before
    assert main([*argv, "--nms-iou", "1.5"]) == 2
    assert "expected a number in (0, 1]" in capfd.readouterr().err


def test_head_without_nms_refuses_its_limit() -> None:
    fomo = replace(OutputSpec(("a",), (8,)), head=HeadSpec("fomo", "cells", tensors=("cls_8",)))
    with pytest.raises(ConfigError, match=r"`nms_iou` 0\.5: the head fomo has no NMS"):
        NmsChoice(nms_iou=0.5).applied(fomo)
