"""The int8 file against one that other people's programs make of the same network: onnx2tf and ai-edge-quantizer."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("ai_edge_litert")

import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from random_weights import random_detector, random_pictures
from torch.fx import GraphModule

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.data.pictures.preprocess import load_image, resize_to_input
from edgedet.data.synth.dataset import make_synthetic
from edgedet.diagnose.rebuild import without_rounding
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.graph import Graph
from edgedet.net.checkpoint import load_checkpoint
from edgedet.quantize.api import quantize_model
from edgedet.quantize.calibration.images import ImageFiles
from edgedet.quantize.fx.to_graph import graph_from_fx
from edgedet.quantize.ptq.pipeline import EFFORTS, post_training_quantize
from edgedet.simulate.simulator import Simulator

NEEDED = ("onnx", "onnxsim", "onnx_graphsurgeon", "onnx2tf", "onnxruntime", "tensorflow", "ai_edge_quantizer")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.onnx,
    pytest.mark.slow,
    # LiteRT advises against keeping all tensors outside of debugging.
    pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors:UserWarning"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs the extra onnx2tf ({', '.join(MISSING)})"),
]

REPO = Path(__file__).resolve().parents[2]
IMAGES = 10
CALIBRATION = 16
# The hard sigmoid's clamp to 0..1: in our file saturation does it; in the other it stays operators, one of them float,
# because the quantizer has no int8 MINIMUM.
CLAMP = Counter(["RELU", "DEQUANTIZE", "MINIMUM", "QUANTIZE"])


def load_route() -> ModuleType:
    """The helper module beside this file."""
    spec = importlib.util.spec_from_file_location("onnx_route", Path(__file__).with_name("onnx_route.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["onnx_route"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


route = load_route()


@dataclass(frozen=True, eq=False)
class Case:
    """One network in three forms: fake-quantized, as edgedet's file, and as the other way's."""

    frozen: GraphModule
    graph: Graph
    data: bytes
    crossed: route.Crossed
    probe: np.ndarray  # float32 (1, H, W, 3)
    codes: np.ndarray  # int8 (IMAGES, H, W, 3)


def make_case(frozen: GraphModule, graph: Graph, pixels: np.ndarray, folder: Path) -> Case:
    """pixels: uint8 (IMAGES, H, W, 3); with mean 0 and std 255 the code is pixel - 128."""
    quantization = graph.tensors[graph.inputs[0]].quantization
    assert quantization is not None
    assert (quantization.scale.tolist(), quantization.zero_point.tolist()) == ([np.float32(1 / 255)], [-128])
    assert len(pixels) == IMAGES
    codes = (pixels.astype(np.int16) - 128).astype(np.int8)
    probe = pixels[:1].astype(np.float32) / np.float32(255)
    return Case(frozen, graph, serialize(graph), route.cross(frozen, probe, folder), probe, codes)


# Every shipped model, untrained, on a non-square input; classes 1, 3 and 4 (as many as a box has numbers).
MODELS = {"rtmdet_nano": 3, "rtmdet_nano_relu": 4, "rtmdet_nano_ncadc_relu6": 3, "rtmdet_pico_relu6": 1}
# And one with Hardswish, which no shipped model has.
CASES = {name: (name, (), classes) for name, classes in MODELS.items()} | {
    "hardswish": ("rtmdet_pico_relu6", ("activation=hardswish", "channel_attention=true", "deepen=0.33"), 3)
}
WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    @cache
    def make(name: str) -> Case:
        toml, overrides, classes = CASES[name]
        file = load_model_file(toml, overrides)
        preprocess = file.preprocess.spec((WIDTH, HEIGHT))
        model = random_detector(file.model, classes, seed=3, width=WIDTH, height=HEIGHT)
        pictures = random_pictures(CALIBRATION, WIDTH, HEIGHT, seed=4)
        batch = torch.from_numpy(pictures.astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2)
        quantized = quantize_model(model, preprocess, OutputSpec(tuple("abcd"[:classes])), [batch])
        pixels = random_pictures(IMAGES, WIDTH, HEIGHT, seed=5)
        return make_case(quantized.fake_quant, quantized.graph, pixels, tmp_path_factory.mktemp(name))

    return make


def trained_case(checkpoint_path: Path, train: CocoSplit, valid: CocoSplit, effort: str, folder: Path) -> Case:
    """A checkpoint, quantized as `edgedet quantize` does it, and the first pictures of the other split."""
    checkpoint = load_checkpoint(checkpoint_path)
    images = ImageFiles(train.images[:CALIBRATION], checkpoint.preprocess)
    result = post_training_quantize(checkpoint.build(), checkpoint.preprocess, images, EFFORTS[effort])
    graph = graph_from_fx(result.frozen, checkpoint.preprocess, checkpoint.outputs)
    records = valid.images[:IMAGES]
    pixels = np.stack([resize_to_input(load_image(r.path), checkpoint.preprocess)[0] for r in records])
    return make_case(result.frozen, graph, pixels, folder)


def run(data: bytes, codes: np.ndarray, names: tuple[str, ...]) -> list[list[np.ndarray]]:
    """Outputs of TFLite's reference kernels, by name, of each picture."""
    interpreter = Interpreter(
        model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
    )
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    assert source["dtype"] == np.int8
    indices = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
    found = []
    for picture in codes:
        interpreter.set_tensor(source["index"], picture[None])
        interpreter.invoke()
        found.append([interpreter.get_tensor(indices[name]) for name in names])
    return found


def assert_same_everywhere(case: Case) -> None:
    """Every number of every output of every picture: the other file, ours, and the simulator on ours."""
    theirs = run(case.crossed.data, case.codes, case.crossed.outputs)
    ours = run(case.data, case.codes, tuple(case.graph.tensors[i].name for i in case.graph.outputs))
    simulator = Simulator(case.graph)
    assert len(theirs) == len(ours) == IMAGES
    for picture, other, own in zip(case.codes, theirs, ours, strict=True):
        for a, b, c in zip(other, own, simulator.invoke(picture[None]), strict=True):
            assert a.dtype == b.dtype == np.int8
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(c, b)
    # Pictures must say something: constant outputs would be equal, too.
    assert all(len({output[i].tobytes() for output in ours}) == IMAGES for i in range(len(ours[0])))


def assert_same_constants(case: Case) -> None:
    """Every code and scale of every convolution."""
    ours, theirs = route.conv_constants(case.data), route.conv_constants(case.crossed.data)
    assert case.crossed.weights == len(ours) > 50
    assert Counter(c.key for c in theirs) == Counter(c.key for c in ours)


@pytest.mark.parametrize("name", CASES)
def test_onnx_route_exported_network_equals_torch(name: str, untrained: Callable[[str], Case]) -> None:
    import onnxruntime

    case = untrained(name)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(case.crossed.onnx, options, providers=["CPUExecutionProvider"])
    picture = case.probe.transpose(0, 3, 1, 2)
    with torch.inference_mode():
        expected = without_rounding(case.frozen)(torch.from_numpy(picture))
    found = session.run(None, {session.get_inputs()[0].name: picture})
    for a, b in zip(found, expected, strict=True):
        # onnxruntime adds in another order; see SAME.
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=route.SAME * float(b.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_onnx_route_finds_every_tensor(name: str, untrained: Callable[[str], Case]) -> None:
    case = untrained(name)
    model, graph = route.read_tflite(case.crossed.data)
    theirs = Counter(route.kind_of(model, operator) for operator in graph.operators)
    ours = Counter(operator.kind for operator in case.graph.operators)
    clamps = ours["MEAN"]  # one in each channel attention
    for _ in range(clamps):
        ours += CLAMP
    assert theirs == ours
    computed = sum(tensor.data is None for tensor in case.graph.tensors)
    assert case.crossed.activations == computed + 2 * clamps
    # Nothing was left to chance: float32 rounding on one side, measured 0.06 and more on the other.
    assert case.crossed.worst_match < 1e-3 * case.crossed.closest_other


@pytest.mark.parametrize("name", CASES)
def test_onnx_route_constants_are_equal(name: str, untrained: Callable[[str], Case]) -> None:
    assert_same_constants(untrained(name))


@pytest.mark.parametrize("name", CASES)
def test_onnx_route_outputs_are_equal(name: str, untrained: Callable[[str], Case]) -> None:
    assert_same_everywhere(untrained(name))


def test_onnx_route_one_weight_more_gives_other_outputs(untrained: Callable[[str], Case]) -> None:
    # That the comparison can fail: one weight of one inner convolution in our file, one step up or down.
    case = untrained("rtmdet_pico_relu6")
    index = next(o.inputs[1] for o in case.graph.operators[20:] if o.kind == "CONV_2D")
    tensors = list(case.graph.tensors)
    weight = tensors[index].data
    assert weight is not None
    changed = weight.copy()
    changed.flat[0] += 1 if changed.flat[0] < 127 else -1
    tensors[index] = replace(tensors[index], data=changed)
    graph = replace(case.graph, tensors=tuple(tensors))
    other = replace(case, graph=graph, data=serialize(graph))
    with pytest.raises(AssertionError):
        assert_same_constants(other)
    with pytest.raises(AssertionError):
        assert_same_everywhere(other)


def test_onnx_route_trained_network_on_its_own_pictures_is_equal(tmp_path: Path) -> None:
    # The committed checkpoint with all that post-training quantization can do to weights, biases and ranges.
    count = CALIBRATION + IMAGES
    data = make_synthetic(tmp_path / "data", images=count, seed=7, valid_fraction=IMAGES / count)
    checkpoint = REPO / "models" / "rtmdet_pico_relu6_synth.pt"
    case = trained_case(checkpoint, load_split(data, "train"), load_split(data, "valid"), "best", tmp_path)
    assert_same_constants(case)
    assert_same_everywhere(case)


@pytest.mark.parametrize("name", MODELS)
def test_onnx_route_blood_cells_is_equal(name: str, bccd_dir: Path, tmp_path: Path) -> None:
    checkpoint = REPO / "runs" / "results" / name / "last.pt"
    if not checkpoint.is_file():
        pytest.skip(f"{checkpoint} is absent: made by training on BCCD, not part of the repository")
    case = trained_case(checkpoint, load_split(bccd_dir, "train"), load_split(bccd_dir, "valid"), "normal", tmp_path)
    assert_same_constants(case)
    assert_same_everywhere(case)
