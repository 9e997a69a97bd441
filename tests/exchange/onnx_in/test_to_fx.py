"""Every operator as a network of its own: float against onnxruntime, int8 against both witnesses of the simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_maker import OnnxMaker
from witnesses import assert_equals_witnesses

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import UnsupportedOpError
from edgedet.exchange.onnx_in.clean import cleaned
from edgedet.exchange.onnx_in.equal import onnx_outputs, require_equal
from edgedet.exchange.onnx_in.load import load_onnx
from edgedet.exchange.onnx_in.to_fx import CONVERTERS, fx_from_onnx
from edgedet.head_spec import HeadSpec
from edgedet.quantize.api import quantize_model
from edgedet.quantize.fx.qparams import input_params
from edgedet.quantize.fx.separate import separate_prescribed

SIZE = (16, 12)  # width, height
PREPROCESS = PreprocessSpec(*SIZE)

Build = Callable[[OnnxMaker], list[str]]


def scales(m: OnnxMaker, height: float, width: float) -> list[str]:
    return [m.constant([], "float32"), m.constant([1, 1, height, width])]


def unary(kind: str, **attributes: object) -> Build:
    return lambda m: [m.add(kind, [m.conv("x", 3, 4)], **attributes)]


def lone(kind: str, *constants: object) -> Build:
    """An activation of a sum, and of a tensor that something else reads, too."""

    def build(m: OnnxMaker) -> list[str]:
        a, b = m.conv("x", 3, 4), m.conv("x", 3, 4)
        total = m.add("Add", [a, b])
        more = [m.constant(value) for value in constants]
        return [m.add(kind, [total, *more]), m.add(kind, [a, *more]), m.conv(b, 4, 2)]

    return build


def constant_operands(m: OnnxMaker) -> list[str]:
    y = m.add("Mul", [m.conv("x", 3, 4), m.constant(0.5)])
    y = m.add("Add", [y, m.constant(np.arange(4).reshape(4, 1, 1) / 8)])
    y = m.add("Relu", [y])
    y = m.add("Sub", [y, m.constant(np.arange(4).reshape(1, 4, 1, 1) / 8)])
    z = m.add("Div", [y, m.constant(4.0)])
    z = m.add("Sub", [m.constant(1.0), z])
    return [y, m.add("Mul", [z, m.constant(np.linspace(0.5, 1.5, 12 * 16).reshape(1, 1, 12, 16))]), m.add("Neg", [z])]


def shuffled(m: OnnxMaker) -> list[str]:
    """ShuffleNet's shuffle, and the halves that FastestDet reads through a lost batch axis."""
    y = m.conv("x", 3, 6)
    s = m.add("Reshape", [y, m.shape(1, 2, 3, 12, 16)])
    s = m.add("Transpose", [s], perm=[0, 2, 1, 3, 4])
    s = m.conv(m.add("Reshape", [s, m.shape(1, 6, 12, 16)]), 6, 4)
    h = m.add("Reshape", [y, m.shape(3, 2, 192)])
    h = m.add("Reshape", [m.add("Transpose", [h], perm=[1, 0, 2]), m.shape(2, -1, 3, 12, 16)])
    first, second = (m.add("Gather", [h, m.constant(i, "int64")], axis=0) for i in (0, 1))
    return [s, m.add("Concat", [second, m.conv(first, 3, 3)], axis=1)]


def focus(m: OnnxMaker) -> list[str]:
    """YOLOX's first layer."""
    parts = []
    for row, column in ((0, 0), (1, 0), (0, 1), (1, 1)):
        ends, axes, steps = m.shape(2**31 - 1, 2**31 - 1), m.shape(2, 3), m.shape(2, 2)
        parts.append(m.add("Slice", ["x", m.shape(row, column), ends, axes, steps]))
    return [m.conv(m.add("Concat", parts, axis=1), 12, 4)]


def decoded(m: OnnxMaker) -> list[str]:
    """A YOLOv8-like end: distribution, boxes in pixels, scores, all in one tensor."""
    box, cls = m.conv("x", 3, 16), m.conv("x", 3, 2)
    rows = m.add("Reshape", [m.add("Concat", [box, cls], axis=1), m.shape(1, 18, 192)])
    box, cls = m.add("Split", [rows, m.shape(16, 2)], outputs=2, axis=1)
    box = m.add("Transpose", [m.add("Reshape", [box, m.shape(1, 4, 4, 192)])], perm=[0, 2, 1, 3])
    weight = m.constant(np.arange(4).reshape(1, 4, 1, 1))
    box = m.add("Conv", [m.add("Softmax", [box], axis=1), weight], kernel_shape=[1, 1])
    box = m.add("Reshape", [box, m.shape(1, 4, 192)])
    low, high = (m.add("Slice", [box, m.shape(a), m.shape(b), m.shape(1)]) for a, b in ((0, 2), (2, 4)))
    anchors = m.constant(np.stack(np.meshgrid(np.arange(16) + 0.5, np.arange(12) + 0.5)).reshape(1, 2, 192))
    low, high = m.add("Sub", [anchors, low]), m.add("Add", [anchors, high])
    box = m.add(
        "Concat", [m.add("Div", [m.add("Add", [low, high]), m.constant(2.0)]), m.add("Sub", [high, low])], axis=1
    )
    return [m.add("Concat", [m.add("Mul", [box, m.constant(np.full((1, 192), 8.0))]), m.add("Sigmoid", [cls])], axis=1)]


def classifier(m: OnnxMaker) -> list[str]:
    y = m.add("Relu", [m.conv("x", 3, 4, stride=2)])
    flat = m.add("Flatten", [y])
    y = m.add("Gemm", [flat, m.constant(m.rng.normal(0, 0.1, (5, 192))), m.constant(np.ones(5))], transB=1)
    y = m.add("MatMul", [m.add("Relu", [y]), m.constant(m.rng.normal(0, 1, (5, 3)))])
    return [m.add("Softmax", [y], axis=-1)]


def moved(m: OnnxMaker) -> list[str]:
    y = m.conv("x", 3, 8)
    deep = m.add("DepthToSpace", [y], blocksize=2, mode="DCR")
    first, second = m.add("Split", [y, m.shape(3, 5)], outputs=2, axis=1)
    rows = m.add("Squeeze", [m.add("ReduceMean", [second], axes=[2, 3], keepdims=1), m.shape(2, 3)])
    rows = m.add("Unsqueeze", [rows, m.shape(2, 3)])
    wide = m.add("MatMul", [m.add("Transpose", [y], perm=[0, 2, 3, 1]), m.constant(m.rng.normal(0, 1, (8, 2)))])
    return [m.conv(deep, 2, 2), m.add("SpaceToDepth", [first], blocksize=2), m.add("Mul", [second, rows]), wide]


def hard(m: OnnxMaker) -> list[str]:
    """Hard sigmoids and hard swishes, whole and written out, with a gate as in squeeze-and-excite."""
    three, six = m.constant(3.0), m.constant(6.0)
    y = m.conv("x", 3, 4)
    clip = m.add("Clip", [m.add("Add", [y, three]), m.constant(0.0), six])
    swish = m.add("Div", [m.add("Mul", [y, clip]), six])
    gate = m.conv(m.add("GlobalAveragePool", [swish]), 4, 4, 1)
    gate = m.add("Div", [m.add("Clip", [m.add("Add", [gate, three]), m.constant(0.0), six]), six])
    z = m.add("Mul", [swish, gate])
    whole = m.add("HardSigmoid", [m.conv(z, 4, 4)], alpha=0.2, beta=0.5)
    again = m.conv(z, 4, 4)
    other = m.add("Mul", [again, m.add("HardSigmoid", [again], alpha=1 / 6, beta=0.5)])
    unit = m.add("Clip", [m.add("MaxPool", [y], kernel_shape=[2, 2]), m.constant(0.0), m.constant(1.0)])
    return [m.conv(whole, 4, 2), other, m.conv(unit, 4, 2), m.add("HardSwish", [y])]


def pool(kind: str, **attributes: object) -> Build:
    return lambda m: [m.add(kind, [m.conv("x", 3, 4)], **attributes)]


def transposed(kernel: int, stride: int, **attributes: object) -> Build:
    def build(m: OnnxMaker) -> list[str]:
        weight = m.constant(m.rng.normal(0, 0.3, (4, 3, kernel, kernel)))
        bias = m.constant(m.rng.normal(0, 0.3, 3))
        options = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, **attributes}
        return [m.add("ConvTranspose", [m.add("Relu", [m.conv("x", 3, 4)]), weight, bias], **options)]

    return build


def batch_norm(m: OnnxMaker) -> list[str]:
    """Behind a pool, where no convolution can take it in; and a sigmoid side by side with other values."""
    statistics = [m.constant(v) for v in ([1.5, 0.5, 2.0, 1.0], [0.1, 0.2, 0.3, 0.4], [0.2] * 4, [1.0, 2.0, 0.5, 1.5])]
    y = m.add("MaxPool", [m.conv("x", 3, 4)], kernel_shape=[2, 2], strides=[2, 2])
    y = m.add("BatchNormalization", [y, *statistics])
    return [m.add("Concat", [m.add("Sigmoid", [y]), m.add("Tanh", [y]), y], axis=1)]


CASES: dict[str, Build] = {
    "relu6 of a sum": lone("Clip", 0.0, 6.0),
    "relu of a sum": lone("Relu"),
    "leaky relu": unary("LeakyRelu", alpha=0.1),
    "prelu": lambda m: [m.add("PRelu", [m.conv("x", 3, 4), m.constant([[[0.1]], [[0.2]], [[0.3]], [[-0.1]]])])],
    "silu": lambda m: [m.add("Mul", [(y := m.conv("x", 3, 4)), m.add("Sigmoid", [y])])],
    "hard": hard,
    "batch norm": batch_norm,
    "constant operands": constant_operands,
    "conv uneven pads": lambda m: [m.conv("x", 3, 4, stride=2, pads=[0, 1, 2, 0])],
    "conv same lower": lambda m: [m.conv("x", 3, 4, stride=2, pads=None, auto_pad="SAME_LOWER")],
    "conv groups": lambda m: [m.conv(m.conv("x", 3, 72, 1), 72, 72, group=2), m.conv("x", 3, 6, group=3)],
    "conv dilated": lambda m: [m.conv("x", 3, 4, dilations=[2, 2], pads=[2] * 4)],
    "max pool stride 2": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "max pool ceil": pool("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "max pool spp": pool("MaxPool", kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4),
    "average pool": pool("AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4),
    "average pool counts pads": pool(
        "AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1
    ),
    "global max pool": pool("GlobalMaxPool"),
    "nearest": lambda m: [m.add("Resize", [m.conv("x", 3, 2), *scales(m, 2, 2)], mode="nearest",
                                coordinate_transformation_mode="asymmetric", nearest_mode="floor")],
    "nearest half pixel": lambda m: [m.add("Resize", [m.conv("x", 3, 2), *scales(m, 2, 3)], mode="nearest")],
    "linear half pixel": lambda m: [m.add("Resize", [m.conv("x", 3, 2), *scales(m, 2, 2)], mode="linear")],
    "linear asymmetric": lambda m: [m.add("Resize", [m.conv("x", 3, 2), *scales(m, 2, 2)], mode="linear",
                                          coordinate_transformation_mode="asymmetric")],
    "linear align corners": lambda m: [m.add("Resize", [m.conv("x", 3, 2), *scales(m, 2, 2)], mode="linear",
                                             coordinate_transformation_mode="align_corners")],
    "transposed 4 2": transposed(4, 2, pads=[1] * 4),
    "transposed 2 2": transposed(2, 2),
    "transposed 3 2": transposed(3, 2, pads=[1] * 4, output_padding=[1, 1]),
    "pad": lambda m: [m.conv(m.add("Pad", ["x", m.shape(0, 0, 1, 2, 0, 0, 0, 1)]), 3, 4),
                      m.add("Pad", [m.conv("x", 3, 2), m.shape(0, 0, 1, 1, 0, 0, 1, 1)])],
    "shuffled": shuffled,
    "focus": focus,
    "decoded": decoded,
    "classifier": classifier,
    "moved": moved,
}  # fmt: skip


def written(build: Build, folder: Path, opset: int = 17) -> Path:
    m = OnnxMaker()
    return m.save(folder / "m.onnx", build(m), (1, 3, SIZE[1], SIZE[0]), opset)


def none_spec(count: int) -> OutputSpec:
    return OutputSpec((), (), head=HeadSpec("none", "none", tuple(f"output_{i}" for i in range(count)), "none"))


@pytest.mark.parametrize("name", CASES)
def test_fx_from_onnx_equals_onnxruntime_and_int8_equals_its_witnesses(name: str, tmp_path: Path) -> None:
    network = load_onnx(written(CASES[name], tmp_path))
    operators, constants = cleaned(network.model)
    outputs = [value.name for value in network.model.graph.output]
    module = fx_from_onnx(network, operators, constants, outputs)
    rng = np.random.default_rng(1)
    pictures = rng.random((6, 3, SIZE[1], SIZE[0]), np.float32)
    expected = onnx_outputs(network.model, {"x": pictures[:1]}, outputs, network.path)
    with torch.no_grad():
        found = [value.numpy() for value in module(torch.from_numpy(pictures))]
    require_equal(expected, [value[:1] for value in found], outputs, name)

    separated, _ = separate_prescribed(module, input_params(PREPROCESS))
    quantized = quantize_model(separated, PREPROCESS, none_spec(len(outputs)), [torch.from_numpy(pictures)])
    codes = rng.integers(-128, 128, (1, SIZE[1], SIZE[0], 3), np.int8)
    graph = quantized.graph
    # LiteRT's SOFTMAX may differ by one code from TFLite Micro's, which the simulator follows.
    has_softmax = any(op.kind == "SOFTMAX" for op in graph.operators)
    # The int8 arithmetic against fake quantization: a few rounding steps of 1 code add up.
    values = assert_equals_witnesses(graph, (codes,), reference=not has_softmax)
    real = torch.from_numpy((codes.astype(np.float32) + 128) / 255).permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = quantized.fake_quant(real)
    for index, target in zip(graph.outputs, wanted, strict=True):
        tensor = graph.tensors[index]
        assert tensor.quantization is not None
        shown = (values[index].astype(np.float64) - tensor.quantization.zero_point[0]) * tensor.quantization.scale[0]
        shown = shown.transpose(0, 3, 1, 2) if shown.ndim == 4 else shown
        assert shown.shape == tuple(target.shape)
        steps = np.abs(shown - target.numpy()) / tensor.quantization.scale[0]
        assert steps.max() < 4.5
        assert steps.mean() < 0.5


@pytest.mark.parametrize("opset", [11, 13, 20])
def test_fx_from_onnx_opsets(opset: int, tmp_path: Path) -> None:
    def build(m: OnnxMaker) -> list[str]:
        y = m.add("Relu", [m.conv("x", 3, 4)])
        y = m.add("Resize", [y, *scales(m, 2, 2)], mode="nearest")
        return [m.add("Softmax", [m.add("Transpose", [y], perm=[0, 2, 3, 1])], axis=3)]

    network = load_onnx(written(build, tmp_path, opset))
    outputs = [value.name for value in network.model.graph.output]
    module = fx_from_onnx(network, *cleaned(network.model), outputs)
    picture = np.random.default_rng(0).random((1, 3, SIZE[1], SIZE[0]), np.float32)
    expected = onnx_outputs(network.model, {"x": picture}, outputs, network.path)
    require_equal(expected, [value.detach().numpy() for value in module(torch.from_numpy(picture))], outputs, "opset")


UNSUPPORTED: dict[str, tuple[Build, str]] = {
    "operator": (unary("Erf"), r"node 'n1' \(Erf\): operator Erf is not supported.*`outputs` y0"),
    "clip": (lambda m: [m.add("Clip", [m.conv("x", 3, 4), m.constant(-1.0), m.constant(1.0)])], r"a clip to -1\.\.1"),
    "cubic": (lambda m: [m.add("Resize", ["x", *scales(m, 2, 2)], mode="cubic")], "mode cubic"),
    "pad reflect": (lambda m: [m.add("Pad", ["x", m.shape(0, 0, 1, 1, 0, 0, 1, 1)], mode="reflect")], "mode reflect"),
    "two tensors multiplied": (
        lambda m: [m.add("MatMul", [m.conv("x", 3, 2), m.conv("x", 3, 2, pads=[0, 0, 6, 2])])],
        "a product of two computed tensors",
    ),
    "batch axis": (lambda m: [m.add("Reshape", [m.conv("x", 3, 4), m.shape(4, 192)])], "lose the batch axis"),
    "square": (lambda m: [m.add("Mul", [(y := m.conv("x", 3, 4)), y])], "both operands are the same tensor"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_fx_from_onnx_unsupported_names_node_and_way_out(name: str, tmp_path: Path) -> None:
    build, message = UNSUPPORTED[name]
    network = load_onnx(written(build, tmp_path))
    outputs = [value.name for value in network.model.graph.output]
    with pytest.raises(UnsupportedOpError, match=message):
        fx_from_onnx(network, *cleaned(network.model), outputs)


def test_converters_every_operator_has_a_case(tmp_path: Path) -> None:
    seen = set[str]()
    for build in CASES.values():
        m = OnnxMaker()
        build(m)
        seen |= {node.op_type for node in m.nodes}
    # Nothing to do, or of opsets that the version converter is needed for.
    assert set(CONVERTERS) - seen == {"Cast", "Dropout", "Identity", "QuantizePair", "Upsample"}
