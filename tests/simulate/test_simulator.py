"""0 LSB against two witnesses: TFLite's reference kernels (every tensor) and TFLite Micro (every output)."""

from __future__ import annotations

from pathlib import Path

import graph_maker as maker
import numpy as np
import pytest
from witnesses import assert_equals_witnesses

from edgedet.errors import ConversionError, ShapeError, UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import read_tflite
from edgedet.simulate.simulator import Simulator

litert = pytest.importorskip("ai_edge_litert.interpreter")
tflm = pytest.importorskip("tflite_micro")

SOFT = 0.05  # a scale for activations


def assert_equal_everywhere(
    graph: g.Graph, inputs: tuple[np.ndarray, ...] | None = None, reference: bool = True
) -> None:
    """Compare every tensor with the reference kernels and every output with TFLite Micro."""
    q_inputs = maker.GraphMaker(99).codes(graph) if inputs is None else inputs
    assert_equals_witnesses(graph, q_inputs, reference)


def all_codes() -> np.ndarray:
    return np.arange(256, dtype=np.uint8).view(np.int8).reshape(1, 16, 16, 1)


CONVS = {
    "3x3": {"kernel": (3, 3)},
    "1x1": {"kernel": (1, 1)},
    "1x1 stride 2": {"kernel": (1, 1), "stride": (2, 2)},
    "stride 2": {"kernel": (3, 3), "stride": (2, 2)},
    "4x4 stride 2": {"kernel": (4, 4), "stride": (2, 2)},
    "valid": {"kernel": (3, 3), "padding": "VALID"},
    "valid stride 2": {"kernel": (3, 2), "stride": (2, 1), "padding": "VALID"},
    "dilated": {"kernel": (3, 3), "dilation": (2, 3)},
    "relu": {"kernel": (3, 3), "activation": "RELU"},
    "relu6": {"kernel": (3, 3), "activation": "RELU6"},
    "relu6 odd zero point": {"kernel": (3, 3), "activation": "RELU6", "zero_point": -37},
    "relu_n1_to_1": {"kernel": (3, 3), "activation": "RELU_N1_TO_1", "zero_point": 11},
    "per tensor": {"kernel": (3, 3), "per_channel": False},
    "no bias": {"kernel": (3, 3), "bias": False},
    "saturating": {"kernel": (3, 3), "spread": 4.0},
    "zero point 127": {"kernel": (3, 3), "zero_point": 127},
}


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (5, 12)])
@pytest.mark.parametrize("case", CONVS)
def test_conv_2d_equals_both_interpreters(case: str, size: tuple[int, int]) -> None:
    m = maker.GraphMaker(len(case))
    x = m.input((1, *size, 5), SOFT, -13)
    # TFLite refuses an int8 convolution without bias, TFLite Micro takes it.
    assert_equal_everywhere(m.graph([m.conv(x, 7, **CONVS[case])]), reference=case != "no bias")


@pytest.mark.parametrize("multiplier", [1, 3])
@pytest.mark.parametrize("case", CONVS)
def test_depthwise_conv_2d_equals_both_interpreters(case: str, multiplier: int) -> None:
    m = maker.GraphMaker(len(case))
    x = m.input((1, 9, 8, 4), SOFT, 21)
    options = dict(CONVS[case])
    if "stride" in options:
        options["stride"] = (2, 2)  # TFLite's depthwise convolution takes equal strides only
    assert_equal_everywhere(m.graph([m.conv(x, 4 * multiplier, depthwise=True, **options)]))


def test_depthwise_conv_2d_5x5_equals_both_interpreters() -> None:
    m = maker.GraphMaker(0)
    assert_equal_everywhere(m.graph([m.conv(m.input((1, 13, 11, 16)), 16, (5, 5), depthwise=True, activation="RELU6")]))


def test_conv_2d_on_one_pixel_equals_both_interpreters() -> None:
    m = maker.GraphMaker(0)
    x = m.input((1, 1, 1, 32), SOFT, 3)
    assert_equal_everywhere(m.graph([m.conv(m.conv(x, 16, (1, 1)), 8, (3, 3))]))


def test_conv_2d_beyond_float32_sums_equals_both_interpreters() -> None:
    """3 * 3 * 200 products of 127 * 128 exceed 2^24: the layer must be summed in float64."""
    m = maker.GraphMaker(0)
    x = m.input((1, 4, 4, 200), SOFT, 0)
    y = m.conv(x, 4, zero_point=0)
    weights = m.operators[0].inputs[1]
    old = m.tensors[weights]
    extreme = np.full(old.shape, 127, np.int8)
    extreme[1] = -127
    extreme[2, ..., ::2] = -126
    m.tensors[weights] = g.Tensor(old.name, old.shape, old.dtype, old.quantization, extreme)
    rng = np.random.default_rng(0)
    assert_equal_everywhere(m.graph([y]), (rng.choice(np.array([-128, 127, 126], np.int8), (1, 4, 4, 200)),))
    old_out = m.tensors[y]
    m.tensors[y] = g.Tensor(old_out.name, old_out.shape, "int8", maker.quantization(m.scale(y) * 500, 0))
    assert_equal_everywhere(m.graph([y]), (np.full((1, 4, 4, 200), 127, np.int8),))


def test_conv_2d_output_scale_below_product_equals_both_interpreters() -> None:
    """Multiplier above 1: left shift, no float shortcut."""
    m = maker.GraphMaker(0)
    x = m.input((1, 4, 4, 2), SOFT, 0)
    y = m.conv(x, 3, (1, 1), zero_point=4)
    old = m.tensors[y]
    m.tensors[y] = g.Tensor(old.name, old.shape, "int8", maker.quantization(m.scale(y) / 3000, 4))
    assert_equal_everywhere(m.graph([y]), (np.random.default_rng(0).integers(-2, 3, (1, 4, 4, 2)).astype(np.int8),))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
def test_binary_all_pairs_equal_both_interpreters(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = np.arange(256, dtype=np.uint8).view(np.int8)
    first, second = np.repeat(codes, 256).reshape(1, 256, 256, 1), np.tile(codes, 256).reshape(1, 256, 256, 1)
    m = maker.GraphMaker(seed)
    scales = [float(np.float32(s)) for s in 10 ** rng.uniform(-2, 0, 2)]
    zeros = [int(z) for z in rng.integers(-128, 128, 3)]
    a, b = (m.input(first.shape, s, z) for s, z in zip(scales, zeros[:2], strict=True))
    out = scales[0] * scales[1] * 90 if kind == "MUL" else max(scales) * rng.uniform(0.7, 2)
    activation = ("NONE", "RELU", "RELU6")[seed % 3]
    assert_equal_everywhere(
        m.graph([m.add(kind, [a, b], first.shape, (out, zeros[2]), g.ElementwiseOptions(activation))]), (first, second)
    )


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize(
    "shapes", [((1, 1, 1, 6), (1, 5, 4, 6)), ((1, 5, 4, 6), (1, 1, 1, 6)), ((1, 5, 4, 1), (1, 5, 4, 6))]
)
def test_binary_broadcasts_like_both_interpreters(kind: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    m = maker.GraphMaker(3)
    a, b = m.input(shapes[0], 0.02, -9), m.input(shapes[1], 0.05, 77)
    assert_equal_everywhere(m.graph([m.add(kind, [a, b], (1, 5, 4, 6), (0.06, 3), g.ElementwiseOptions())]))


def test_binary_with_constant_equals_both_interpreters() -> None:
    m = maker.GraphMaker(3)
    a = m.input((1, 4, 4, 3), 0.02, -9)
    b = m.tensor(
        (1, 1, 1, 3), "int8", maker.quantization(0.01, 5), np.array([-128, 0, 127], np.int8).reshape(1, 1, 1, 3)
    )
    assert_equal_everywhere(m.graph([m.add("MUL", [a, b], (1, 4, 4, 3), (0.02, 3), g.ElementwiseOptions("RELU"))]))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH", "HARD_SWISH", "RELU", "RELU6", "LEAKY_RELU", "QUANTIZE"])
def test_unary_all_codes_equal_both_interpreters(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale, zero_point = float(np.float32(10 ** rng.uniform(-3, 0))), int(rng.integers(-128, 128))
    target = (float(np.float32(scale * 2 ** rng.uniform(-1, 2))), int(rng.integers(-128, 128)))
    target = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0), "RELU6": (scale, zero_point)}.get(kind, target)
    if kind == "RELU6" and zero_point + 6 / scale > 127:
        scale = 6 / 40  # TFLite Micro asks that 6 has a code
        zero_point = -20
        target = (scale, zero_point)
    m = maker.GraphMaker(seed)
    x = m.input((1, 16, 16, 1), scale, zero_point)
    options = g.LeakyReluOptions(float(np.float32(0.1))) if kind == "LEAKY_RELU" else g.NoOptions()
    assert_equal_everywhere(m.graph([m.add(kind, [x], (1, 16, 16, 1), target, options)]), (all_codes(),))


@pytest.mark.parametrize("kind", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(2, 2, "VALID"), (3, 2, "SAME"), (5, 1, "SAME"), (13, 1, "SAME")]
)
def test_pool_equals_both_interpreters(kind: str, size: int, stride: int, padding: str) -> None:
    for side in (6, 7):
        m = maker.GraphMaker(size)
        x = m.input((1, side, side + 1, 3), SOFT, 9)
        assert_equal_everywhere(m.graph([m.pool(kind, x, size, stride, padding, "RELU6" if size == 3 else "NONE")]))


@pytest.mark.parametrize("shape", [(1, 7, 5, 3), (1, 6, 6, 64), (1, 1, 1, 4), (1, 40, 40, 2)])
@pytest.mark.parametrize("same_scale", [True, False])
def test_mean_equals_both_interpreters(shape: tuple[int, ...], same_scale: bool) -> None:
    m = maker.GraphMaker(5)
    x = m.input(shape, 0.031, -11)
    params = (m.scale(x), -11) if same_scale else (0.017, 40)
    kept = m.add("MEAN", [x, m.constant([1, 2])], (1, 1, 1, shape[3]), params, g.ReduceOptions(True))
    flat = m.add("MEAN", [x, m.constant([2, 1])], (1, shape[3]), params, g.ReduceOptions(False))
    assert_equal_everywhere(m.graph([kept, flat]))


def test_reduce_max_equals_both_interpreters() -> None:
    m = maker.GraphMaker(5)
    x = m.input((1, 5, 4, 3), 0.031, -11)
    assert_equal_everywhere(
        m.graph([m.same("REDUCE_MAX", [x, m.constant([1, 2])], (1, 1, 1, 3), g.ReduceOptions(True))])
    )


@pytest.mark.parametrize("scale", [0.4, 0.031])
def test_sum_equals_tflite_micro(scale: float) -> None:
    """LiteRT's reference SUM gives codes that are not the sum; the chip's are."""
    m = maker.GraphMaker(5)
    x = m.input((1, 5, 4, 3), 0.031, -11)
    y = m.add("SUM", [x, m.constant([1, 2])], (1, 1, 1, 3), (scale, 3), g.ReduceOptions(True))
    assert_equal_everywhere(m.graph([y]), reference=False)


@pytest.mark.parametrize("options", [g.ResizeOptions(), g.ResizeOptions(True), g.ResizeOptions(False, True)])
@pytest.mark.parametrize("kind", ["RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR"])
@pytest.mark.parametrize("size", [(6, 10), (3, 5), (7, 13), (2, 3), (1, 1)])
def test_resize_equals_both_interpreters(kind: str, options: g.ResizeOptions, size: tuple[int, int]) -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 3, 5, 4), SOFT, 7)
    assert_equal_everywhere(m.graph([m.same(kind, [x, m.constant(size)], (1, *size, 4), options)]))


def test_shape_operators_equal_both_interpreters() -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 4, 6, 4), SOFT, 7)
    paddings = m.constant([[0, 0], [1, 2], [0, 3], [0, 0]])
    value = m.tensor((1,), "int8", maker.quantization(SOFT, 7), np.array([-99], np.int8))
    reshaped = m.same("RESHAPE", [x, m.constant([1, 24, 4])], (1, 24, 4), g.ReshapeOptions((1, 24, 4)))
    cut = [m.constant(v) for v in ([0, 1, 0, 0], [1, 4, 5, 4], [1, 1, 2, 1])]
    outputs = [
        m.same("PAD", [x, paddings], (1, 7, 9, 4)),
        m.same("PADV2", [x, paddings, value], (1, 7, 9, 4)),
        reshaped,
        m.same("EXPAND_DIMS", [reshaped, m.constant(1)], (1, 1, 24, 4)),
        m.same("TRANSPOSE", [x, m.constant([0, 3, 1, 2])], (1, 4, 4, 6)),
        m.same("STRIDED_SLICE", [x, *cut], (1, 3, 3, 4), g.StridedSliceOptions()),
        m.same("SLICE", [x, m.constant([0, 1, 2, 0]), m.constant([1, 2, -1, 4])], (1, 2, 4, 4)),
        m.same("SPACE_TO_DEPTH", [x], (1, 2, 3, 16), g.BlockSizeOptions(2)),
        m.same("DEPTH_TO_SPACE", [x], (1, 8, 12, 1), g.BlockSizeOptions(2)),
        m.same("PACK", [x, x], (1, 2, 4, 6, 4), g.PackOptions(2, 1)),
        m.same("MAXIMUM", [x, value], (1, 4, 6, 4)),
        m.same("MINIMUM", [x, value], (1, 4, 6, 4)),
        m.concat([x, x, x]),
    ]
    assert_equal_everywhere(m.graph(outputs))


def test_squeeze_and_split_equal_both_interpreters() -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 1, 6, 4), SOFT, 7)
    squeezed = m.same("SQUEEZE", [x], (6, 4), g.SqueezeOptions((0, 1)))
    parts = [m.tensor((1, 1, 2, 4), "int8", maker.quantization(SOFT, 7)) for _ in range(3)]
    m.operators.append(g.Operator("SPLIT", (m.constant(2), x), tuple(parts), g.SplitOptions(3)))
    assert_equal_everywhere(m.graph([squeezed, *parts]))


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_fully_connected_equals_both_interpreters(per_channel: bool, bias: bool) -> None:
    m = maker.GraphMaker(2)
    x = m.input((1, 60), 0.02, 13)
    weights = m.rng.integers(-127, 128, (9, 60)).astype(np.int8)
    scale = m.rng.uniform(0.001, 0.002, 9 if per_channel else 1).astype(np.float32)
    inputs = [x, m.tensor((9, 60), "int8", maker.quantization(scale), weights)]
    if bias:
        codes = m.rng.integers(-5000, 5000, 9).astype(np.int32)
        inputs.append(m.tensor((9,), "int32", maker.quantization(scale * np.float32(0.02)), codes))
    y = m.add("FULLY_CONNECTED", inputs, (1, 9), (0.03, -5), g.FullyConnectedOptions("RELU"))
    assert_equal_everywhere(m.graph([y]))


def test_example_of_another_tool_every_tensor_equals(shared_dir: Path) -> None:
    assert_equal_everywhere(read_tflite(shared_dir / "data" / "example_15_ops_int8.tflite"))


def test_detector_every_tensor_equals() -> None:
    assert_equal_everywhere(maker.rtmdet_like(64, classes=4, seed=1))


def test_squeeze_and_excite_with_silu_equals_both_interpreters() -> None:
    m = maker.GraphMaker(6)
    x = m.conv(m.input((1, 16, 12, 3)), 16, stride=(2, 2))
    gate = m.add("LOGISTIC", [x], m.tensors[x].shape, (1 / 256, -128))
    x = m.add("MUL", [x, gate], m.tensors[x].shape, (0.02, -110), g.ElementwiseOptions())
    mean = m.add("MEAN", [x, m.constant([1, 2])], (1, 1, 1, 16), (0.01, -100), g.ReduceOptions(True))
    attention = m.conv(mean, 16, (1, 1), activation="RELU6")
    x = m.add("MUL", [attention, x], m.tensors[x].shape, (0.03, -90), g.ElementwiseOptions())
    assert_equal_everywhere(m.graph([x]))


def test_invoke_twice_gives_same_and_independent_outputs() -> None:
    m = maker.GraphMaker(6)
    graph = m.graph([m.conv(m.input((1, 6, 6, 3)), 4)])
    simulator = Simulator(graph)
    (x,) = m.codes(graph)
    before = x.copy()
    (first,) = simulator.invoke(x)
    kept = first.copy()
    simulator.invoke(np.zeros_like(x))
    (again,) = simulator.invoke(x)
    assert (first == kept).all()
    assert (again == kept).all()
    assert (x == before).all()


def test_invoke_non_contiguous_input_equals_contiguous() -> None:
    m = maker.GraphMaker(6)
    graph = m.graph([m.add("LOGISTIC", [m.input((1, 4, 4, 3), 0.1, 0)], (1, 4, 4, 3), (1 / 256, -128))])
    x = m.rng.integers(-128, 128, (1, 3, 4, 4)).astype(np.int8).transpose(0, 2, 3, 1)
    assert (Simulator(graph).invoke(x)[0] == Simulator(graph).invoke(np.ascontiguousarray(x))[0]).all()


@pytest.mark.parametrize(
    "x", [np.zeros((1, 6, 6, 2), np.int8), np.zeros((1, 6, 6, 3), np.uint8), np.zeros((6, 6, 3), np.int8)]
)
def test_invoke_wrong_input_raises_shape_error(x: np.ndarray) -> None:
    m = maker.GraphMaker(6)
    simulator = Simulator(m.graph([m.conv(m.input((1, 6, 6, 3), name="image"), 4)]))
    with pytest.raises(ShapeError, match=r"input 'image' takes int8 \(1, 6, 6, 3\)"):
        simulator.invoke(x)


def test_simulator_unsupported_operator_names_operator_and_tensor() -> None:
    m = maker.GraphMaker(6)
    y = m.add("NEG", [m.input((1, 4))], (1, 4), (1 / 256, -128), name="scores")
    with pytest.raises(UnsupportedOpError, match=r"operator 0 \(NEG, writes 'scores'\): the simulator has no"):
        Simulator(m.graph([y]))


def test_simulator_relu6_that_rescales_is_refused() -> None:
    m = maker.GraphMaker(6)
    y = m.add("RELU6", [m.input((1, 4), 0.1, 0)], (1, 4), (6 / 255, -128))
    with pytest.raises(UnsupportedOpError, match="TFLite Micro does not"):
        Simulator(m.graph([y]))


def test_simulator_concatenation_of_two_scales_is_refused() -> None:
    m = maker.GraphMaker(6)
    a, b = m.input((1, 2, 2, 1), 0.1), m.input((1, 2, 2, 1), 0.2)
    with pytest.raises(UnsupportedOpError, match="must share one"):
        Simulator(m.graph([m.concat([a, b])]))


def test_simulator_declared_shape_that_contradicts_the_operator_is_refused() -> None:
    m = maker.GraphMaker(6)
    y = m.conv(m.input((1, 8, 8, 3)), 4)
    old = m.tensors[y]
    m.tensors[y] = g.Tensor("wrong", (1, 8, 9, 4), old.dtype, old.quantization)
    with pytest.raises(ConversionError, match=r"'wrong' has shape \(1, 8, 9, 4\), computed \(1, 8, 8, 4\)"):
        Simulator(m.graph([y]))
