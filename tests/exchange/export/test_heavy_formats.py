"""Formats whose libraries are extras of their own; each test runs where its library is installed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgedet.data.pictures.preprocess import load_pixels, normalize
from edgedet.exchange.export.api import ExportRequest, export
from edgedet.graph.flatbuffer import read_tflite
from edgedet.graph.metadata import read_contracts
from edgedet.net.checkpoint import load_checkpoint

NAMES = ["cls_8", "box_8", "cls_16", "box_16", "cls_32", "box_32"]


@pytest.fixture(scope="module")
def known(checkpoint: Path, picture: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A picture and what torch makes of it, both NCHW."""
    loaded = load_checkpoint(checkpoint)
    x = np.ascontiguousarray(
        normalize(load_pixels(picture, loaded.preprocess), loaded.preprocess).transpose(2, 0, 1)[None]
    )
    with torch.inference_mode():
        outputs = [output.numpy() for output in loaded.build()(torch.from_numpy(x))]
    return x, dict(zip(NAMES, outputs, strict=True))


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    # float32 sums of 100 convolutions in another order, unless told otherwise.
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_openvino(checkpoint: Path, known: tuple[np.ndarray, dict[str, np.ndarray]], tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    report = export(ExportRequest(checkpoint, "openvino", tmp_path / "m.xml"))
    assert [path.name for path, _ in report.files] == ["m.xml", "m.bin"]
    model = openvino.Core().read_model(tmp_path / "m.xml")
    assert json.loads(model.get_rt_info(["edgedet"]).astype(str))["outputs"]["class_names"] == ["a", "b", "c"]
    outputs = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([known[0]])
    for name, expected in known[1].items():
        assert_close(outputs[name], expected)


@pytest.mark.slow
def test_executorch(checkpoint: Path, known: tuple[np.ndarray, dict[str, np.ndarray]], tmp_path: Path) -> None:
    runtime = pytest.importorskip("executorch.runtime")
    export(ExportRequest(checkpoint, "executorch", tmp_path / "m.pte"))
    method = runtime.Runtime.get().load_program(tmp_path / "m.pte").load_method("forward")
    for found, expected in zip(method.execute([torch.from_numpy(known[0])]), known[1].values(), strict=True):
        assert_close(found.numpy(), expected)


@pytest.mark.onnx
@pytest.mark.parametrize(("bits", "tolerance"), [(32, 1e-4), (16, 2e-2)])  # float16 weights: 2^-11 each
def test_float_tflite(
    bits: int, tolerance: float, checkpoint: Path, known: tuple[np.ndarray, dict[str, np.ndarray]], tmp_path: Path
) -> None:
    pytest.importorskip("onnx2tf")
    from ai_edge_litert.interpreter import Interpreter

    out = tmp_path / "m.tflite"
    export(ExportRequest(checkpoint, f"tflite-float{bits}", out))
    contracts = read_contracts(read_tflite(out), str(out))
    assert contracts.outputs.class_names == ("a", "b", "c")
    interpreter = Interpreter(str(out))
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    assert source["name"] == "input"
    interpreter.set_tensor(source["index"], known[0].transpose(0, 2, 3, 1))
    interpreter.invoke()
    ends = interpreter.get_output_details()
    assert [end["name"] for end in ends] == NAMES
    for end, expected in zip(ends, known[1].values(), strict=True):
        assert_close(interpreter.get_tensor(end["index"]).transpose(0, 3, 1, 2), expected, tolerance)


@pytest.mark.onnx
def test_savedmodel(checkpoint: Path, known: tuple[np.ndarray, dict[str, np.ndarray]], tmp_path: Path) -> None:
    tf = pytest.importorskip("tensorflow")
    pytest.importorskip("onnx2tf")
    out = tmp_path / "saved"
    export(ExportRequest(checkpoint, "savedmodel", out))
    function = tf.saved_model.load(str(out)).signatures["serving_default"]
    outputs = function(input=tf.constant(np.ascontiguousarray(known[0].transpose(0, 2, 3, 1))))
    for name, expected in known[1].items():
        assert_close(outputs[name].numpy().transpose(0, 3, 1, 2), expected)
    contract = json.loads((out / "assets.extra" / "edgedet.json").read_text())
    assert contract["outputs"]["class_names"] == ["a", "b", "c"]
