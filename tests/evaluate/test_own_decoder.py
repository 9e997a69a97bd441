from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgedet.contract.api import contract
from edgedet.contract.request import ContractRequest
from edgedet.contracts import Detections, PreprocessSpec
from edgedet.data.coco.build import load_split
from edgedet.errors import ConfigError
from edgedet.evaluate.evaluator import evaluate
from edgedet.evaluate.predict import predict
from edgedet.graph.flatbuffer import read_tflite
from edgedet.numerics.decode import decode_float
from edgedet.runtimes.open import open_runtime


@pytest.fixture
def headless(toy_model: Path, tmp_path: Path) -> Path:
    """The toy detector with a contract that does not say what its outputs mean."""
    out = tmp_path / "headless.tflite"
    contract(ContractRequest(model=toy_model, out=out, head="none", classes=("red", "green", "blue")))
    return out


def test_evaluate_own_decoder_gets_real_outputs_and_the_same_ap(
    headless: Path, toy_model: Path, toy_data: Path, tmp_path: Path
) -> None:
    split, ours = load_split(toy_data, "valid"), open_runtime(toy_model)
    graph = read_tflite(headless)
    names = [graph.tensors[index].name for index in graph.outputs]
    seen = []

    def decode(outputs: tuple[np.ndarray, ...], preprocess: PreprocessSpec, score_threshold: float) -> Detections:
        seen.append((preprocess, score_threshold, {array.dtype.name for array in outputs}))
        by_name = dict(zip(names, outputs, strict=True))  # head none: the order of the file
        ordered = [by_name[name] for name in ours.outputs.tensor_names]
        return decode_float(ordered, ours.outputs, score_threshold=score_threshold)

    runtime = open_runtime(headless)
    report = evaluate(runtime, split, decode=decode)
    assert report.ap == evaluate(ours, split).ap
    assert seen == [(runtime.preprocess, 0.001, {"float32"})] * len(split.images)
    predict(runtime, [split.images[0].path], tmp_path / "own", decode=decode)
    predict(ours, [split.images[0].path], tmp_path / "ours")
    found, expected = (json.loads((tmp_path / n / "detections.json").read_text()) for n in ("own", "ours"))
    assert found["images"] == expected["images"]
    assert found["images"][0]["detections"]


def test_evaluate_head_none_says_what_is_missing(headless: Path, toy_data: Path) -> None:
    with pytest.raises(ConfigError, match=r"head none, .*edgedet contract FILE --head .*decode function"):
        evaluate(open_runtime(headless), load_split(toy_data, "valid"))
