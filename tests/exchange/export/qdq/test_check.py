"""Whole networks as QDQ ONNX: the numbers in the file, every operator alone, and AP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from every_model import EVERY_MODEL
from random_weights import random_detector

from edgedet.config import load_model_file
from edgedet.contracts import Detections, OutputSpec
from edgedet.data.paths import DataPaths
from edgedet.data.pictures.drawn_picture import draw_pixels
from edgedet.data.pictures.preprocess import load_pixels, normalize
from edgedet.data.synth.dataset import make_synthetic
from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.evaluate.evaluator import evaluate
from edgedet.exchange.export.onnx_file import open_session
from edgedet.exchange.export.qdq import check as qdq_check
from edgedet.exchange.export.qdq import model as onnx_qdq
from edgedet.exchange.export.qdq.check import check_operators, steps_between, write_qdq
from edgedet.exchange.export.qdq.model import qdq_model
from edgedet.exchange.export.sscma import write_sscma
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.graph.graph import Graph
from edgedet.graph.model import load_int8_model
from edgedet.net.checkpoint import load_checkpoint
from edgedet.numerics.decode import decode_float
from edgedet.quantize.api import quantize_model
from edgedet.resources import resource_dir
from edgedet.runtimes.open import open_runtime

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
QUICK = ("rtmdet_pico_relu6", "rtmdet_nano")  # all kinds of operators between them
NETWORKS = ("rtmdet_pico_relu6", "rtmdet_nano_ncadc_relu6", "rtmdet_nano_relu", "rtmdet_nano")


class OnnxRuntime:
    """An ONNX file of edgedet behind the evaluator's protocol."""

    name, arithmetic = "onnxruntime", "QDQ"

    def __init__(self, data: bytes, like: Path) -> None:
        model = load_int8_model(like)
        self.preprocess, self.outputs, self._session = model.preprocess, model.outputs, open_session(data)

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        return normalize(pixels, self.preprocess).transpose(2, 0, 1)[None]

    def invoke(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        outputs = self._session.run(None, {self._session.get_inputs()[0].name: np.ascontiguousarray(x)})
        return tuple(np.ascontiguousarray(output.transpose(0, 2, 3, 1)) for output in outputs)

    def decode(self, raw: Sequence[np.ndarray], score_threshold: float) -> Detections:
        return decode_float(raw, self.outputs, score_threshold=score_threshold)


def quantized_graph(name: str, int16: Sequence[str] = ()) -> tuple[Graph, np.ndarray]:
    """A network of models/ with random weights, int8, and the codes of a picture for it."""
    file = load_model_file(name)
    preprocess = file.preprocess.spec((32, 32))
    pixels = [draw_pixels(32, 32, seed) for seed in range(2)]
    batch = torch.from_numpy(np.stack([normalize(p, preprocess).transpose(2, 0, 1) for p in pixels]))
    network = random_detector(file.model, 3, 5, 32, 32)
    made = quantize_model(network, preprocess, OutputSpec(("a", "b", "c")), [batch], int16=int16)
    return made.graph, (pixels[0].astype(np.int16) - 128).astype(np.int8)[None]


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in QUICK else EVERY_MODEL) for name in NETWORKS])
def test_every_operator_of_the_networks_differs_by_one_step_at_most(name: str) -> None:
    graph, codes = quantized_graph(name)
    steps = check_operators(graph, codes)
    assert steps.largest <= 1
    assert steps.equal > 0.99  # two roundings meet one in all but some codes of a thousand


def test_int16_layers_are_carried_over() -> None:
    graph, codes = quantized_graph("rtmdet_pico_relu6", ("neck.out_convs.0.pointwise_conv.conv",))
    assert any(tensor.dtype == "int16" for tensor in graph.tensors)
    assert check_operators(graph, codes).largest <= 1
    with pytest.raises(UnsupportedOpError, match="from opset 21 on"):
        qdq_model(graph, opset=17)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo's checkpoint as int8 file, and drawn pictures that it has not seen."""
    folder = tmp_path_factory.mktemp("qdq")
    make_synthetic(folder / "data", images=40, seed=7, valid_fraction=0.8)
    checkpoint = load_checkpoint(resource_dir("models") / "rtmdet_pico_relu6_synth.pt")
    split = DataPaths(folder / "data").load("train")
    pictures = [normalize(load_pixels(r.path, checkpoint.preprocess), checkpoint.preprocess) for r in split.images]
    batches = [torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2))]
    made = quantize_model(checkpoint.build(), checkpoint.preprocess, checkpoint.outputs, batches)
    write_tflite(made.graph, folder / "model_int8.tflite")
    return folder / "model_int8.tflite", folder / "data"


@pytest.mark.slow
def test_qdq_ap_is_that_of_the_int8_file(demo: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = demo
    check = write_qdq(model, tmp_path / "m.onnx")
    assert "132 operators" in check.result
    split = DataPaths(data).load("valid")
    ours = evaluate(open_runtime(model), split).ap.ap
    theirs = evaluate(OnnxRuntime((tmp_path / "m.onnx").read_bytes(), model), split).ap.ap
    assert ours > 0.1
    # 0.005 is what is promised: a few codes in a thousand differ by one step at each operator, in both directions.
    assert abs(ours - theirs) < 0.005


def test_qdq_file_has_exactly_the_numbers_of_the_int8_file(demo: tuple[Path, Path]) -> None:
    graph = read_tflite(demo[0])
    model = onnx.load_from_string(qdq_model(graph))
    values = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    used = {index for operator in graph.operators for index in (*operator.inputs, *operator.outputs)}
    seen = 0
    for index in sorted(used):
        tensor = graph.tensors[index]
        if tensor.quantization is None:
            continue
        assert np.array_equal(values[f"{tensor.name}_scale"].reshape(-1), tensor.quantization.scale), tensor.name
        if tensor.dtype == "int8":
            assert np.array_equal(values[f"{tensor.name}_zero_point"].reshape(-1), tensor.quantization.zero_point)
        if tensor.data is not None:
            order = {"weight": (0, 3, 1, 2), "bias": (0,)}[tensor.name.rpartition(".")[2]]
            if tensor.quantization.axis == 3:
                order = (3, 0, 1, 2)
            assert np.array_equal(values[f"{tensor.name}_quantized"], tensor.data.transpose(order)), tensor.name
        seen += 1
    assert seen > 300
    assert [end.name for end in model.graph.output] == ["cls_8", "box_8", "cls_16", "box_16", "cls_32", "box_32"]


def test_sscma_centre_priors_of_a_trained_network(demo: tuple[Path, Path], tmp_path: Path) -> None:
    # Its check compares every distance; codes of a trained network reach both ends of int8.
    check, _ = write_sscma(demo[0], tmp_path / "m.tflite", centre_priors=True)
    assert "within two steps" in check.result


def test_a_wrong_scale_is_found_at_its_operator(demo: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_int8_model(demo[0])
    codes = (draw_pixels(model.preprocess.height, model.preprocess.width, 3).astype(np.int16) - 128).astype(np.int8)[
        None
    ]
    wrong = list(model.graph.tensors)
    index = model.graph.operators[20].outputs[0]
    wrong[index] = replace(wrong[index], quantization=replace(wrong[index].quantization, scale=np.float32([1.0])))
    bad = replace(model.graph, tensors=tuple(wrong))
    monkeypatch.setattr(qdq_check, "operators_apart", lambda graph, opset: onnx_qdq.operators_apart(bad, opset))
    with pytest.raises(ConversionError, match=f"computes '{model.graph.tensors[index].name}' up to [0-9]+ steps away"):
        check_operators(model.graph, codes)


def test_steps_between_counts_by_hand() -> None:
    ours = [np.array([0, 1, 2], np.int8), np.array([[-128]], np.int8)]
    steps = steps_between(ours, [np.array([0, 2, 5], np.int8), np.array([[127]], np.int8)])
    assert (steps.equal, steps.within_one, steps.mean, steps.largest) == (0.25, 0.5, (0 + 1 + 3 + 255) / 4, 255)
