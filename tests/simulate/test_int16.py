"""int16 activations, 0 LSB against two witnesses: TFLite's reference kernels (every tensor) and TFLite Micro."""

from __future__ import annotations

import numpy as np
import pytest
from int16_graphs import CONVS, GENERAL, SOFT, Int16Maker
from witnesses import assert_equals_witnesses

from edgedet.errors import UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import serialize
from edgedet.numerics.integer import quantize_multiplier
from edgedet.simulate.simulator import Simulator

litert = pytest.importorskip("ai_edge_litert.interpreter")
tflm = pytest.importorskip("tflite_micro")


def assert_equal_everywhere(graph: g.Graph, inputs: tuple[np.ndarray, ...] | None = None) -> dict[int, np.ndarray]:
    """Compare every tensor with the reference kernels and every output with TFLite Micro."""
    q_inputs = Int16Maker(99).wide_codes(graph) if inputs is None else inputs
    return assert_equals_witnesses(graph, q_inputs)


def all_wide_codes() -> np.ndarray:
    return np.arange(2**16, dtype=np.uint16).view(np.int16).reshape(1, 256, 256, 1)


def all_narrow_codes() -> np.ndarray:
    return np.arange(256, dtype=np.uint8).view(np.int8).reshape(1, 16, 16, 1)


def random_scales(seed: int, count: int, low: float = 1e-6, high: float = 1e-2) -> list[float]:
    values = np.exp(np.random.default_rng(seed).uniform(np.log(low), np.log(high), count))
    return [float(v) for v in values.astype(np.float32)]


@pytest.mark.parametrize("size", [(8, 8), (9, 7), (5, 12)])
@pytest.mark.parametrize("case", CONVS)
def test_conv_2d_equals_both_interpreters(case: str, size: tuple[int, int]) -> None:
    m = Int16Maker(len(case))
    x = m.wide_input((1, *size, 5))
    found = assert_equal_everywhere(m.graph([m.wide_conv(x, 7, **CONVS[case])]))
    assert found[m.operators[0].outputs[0]].any()


@pytest.mark.parametrize("channels", [(1, 1), (6, 1), (4, 3)])
@pytest.mark.parametrize("case", CONVS)
def test_depthwise_conv_2d_equals_both_interpreters(case: str, channels: tuple[int, int]) -> None:
    depth, multiplier = channels
    m = Int16Maker(len(case))
    x = m.wide_input((1, 9, 8, depth))
    assert_equal_everywhere(m.graph([m.wide_conv(x, depth * multiplier, depthwise=True, **CONVS[case])]))


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("exponent", range(-33, 9, 2))
def test_convolution_with_extreme_multipliers_equals_both_interpreters(exponent: int, depthwise: bool) -> None:
    """Multipliers from 2^-33 (rounds to zero) to 2^8, and those whose 16-bit form saturates."""
    m = Int16Maker(exponent + 40)
    x = m.wide_input((1, 6, 7, 8))
    m.wide_conv(x, 8, bias_size=2**30 if exponent < 0 else 0, depthwise=depthwise)
    mantissas = m.rng.uniform(0.5, 1.0, 8)
    mantissas[:3] = 0.5, 1 - 2.0**-17, 1 - 2.0**-20
    m.rescale_weights(0, mantissas * 2.0**exponent)
    assert_equal_everywhere(m.graph([m.operators[0].outputs[0]]))


def test_conv_2d_with_products_beyond_int32_wraps_like_both_interpreters() -> None:
    m = Int16Maker(3)
    x = m.wide_input((1, 6, 7, 8))
    y = m.wide_conv(x, 8)
    m.rescale_weights(0, np.full(8, 200.0))
    assert_equal_everywhere(m.graph([y]), (np.full((1, 6, 7, 8), 32767, np.int16),))


@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6"])
@pytest.mark.parametrize("kind", ["ADD", "SUB"])
@pytest.mark.parametrize("shape", [(1, 9, 8, 6), (1, 1, 1, 6), (1, 1, 1, 1)])
def test_add_sub_equal_both_interpreters(kind: str, activation: str, shape: tuple[int, ...]) -> None:
    for index, scale in enumerate(random_scales(1, 12)):
        m = Int16Maker(index)
        other, out = scale * float(m.rng.uniform(0.01, 3)), scale * float(m.rng.uniform(0.1, 8))
        x, y = m.wide_input((1, 9, 8, 6), scale), m.wide_input(shape, other)
        z = m.wide(kind, [x, y], (1, 9, 8, 6), out, g.ElementwiseOptions(activation, **GENERAL))
        assert_equal_everywhere(m.graph([z]))


@pytest.mark.parametrize("kind", ["ADD", "SUB"])
@pytest.mark.parametrize("exponents", [(-8, -8, -8), (-8, -9, -8), (-10, -9, -8), (-8, -9, -9)])
def test_add_sub_of_powers_of_two_equal_both_interpreters_without_the_option(
    kind: str, exponents: tuple[int, int, int]
) -> None:
    m = Int16Maker(0)
    x, y = (m.wide_input((1, 9, 8, 6), 2.0**e) for e in exponents[:2])
    z = m.wide(kind, [x, y], (1, 9, 8, 6), 2.0 ** exponents[2], g.ElementwiseOptions(**GENERAL))
    assert_equal_everywhere(m.graph([z]))


def test_add_of_powers_of_two_with_the_option_is_refused() -> None:
    m = Int16Maker(0)
    x, y = m.wide_input((1, 4, 4, 2), 2.0**-8), m.wide_input((1, 4, 4, 2), 2.0**-9)
    z = m.wide("ADD", [x, y], (1, 4, 4, 2), 2.0**-8, g.ElementwiseOptions())
    with pytest.raises(UnsupportedOpError, match="pot_scale_int16"):
        Simulator(m.graph([z]))


def test_add_whose_output_scale_is_too_small_is_refused() -> None:
    m = Int16Maker(0)
    x, y = m.wide_input((1, 4, 4, 2), 0.01), m.wide_input((1, 4, 4, 2), 0.01)
    z = m.wide("ADD", [x, y], (1, 4, 4, 2), 0.02 / 32768, g.ElementwiseOptions(**GENERAL))
    with pytest.raises(UnsupportedOpError, match="is too small"):
        Simulator(m.graph([z]))


def settled_output_scale(first: float, second: float, scale: float) -> float:
    """Next larger scale whose MUL multiplier is the same in float32 (TFLite) and float64 (TFLite Micro)."""
    candidates = (np.float32(scale).view(np.int32) + np.arange(2**14, dtype=np.int32)).view(np.float32)
    in_float32 = (np.float32(first) * np.float32(second) / candidates).astype(np.float64)
    exact = first * second / candidates.astype(np.float64)
    for candidate, a, b in zip(candidates, in_float32, exact, strict=True):
        if quantize_multiplier(float(a)) == quantize_multiplier(float(b)):
            return float(candidate)
    raise AssertionError("no neighbouring scale gives equal multipliers")


@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6"])
@pytest.mark.parametrize("shape", [(1, 9, 8, 6), (1, 1, 1, 6)])
@pytest.mark.parametrize("log2_multiplier", [-34, -30, -22, -15, -12, -4, -1, 0, 1, 3])
def test_mul_equals_both_interpreters(activation: str, shape: tuple[int, ...], log2_multiplier: int) -> None:
    for index, scale in enumerate(random_scales(2, 6, 1e-3)):  # smaller ones overflow 6 / output scale
        m = Int16Maker(index)
        other = float(np.float32(scale * m.rng.uniform(0.01, 3)))
        out = settled_output_scale(scale, other, scale * other / 2.0**log2_multiplier * float(m.rng.uniform(1, 2)))
        x, y = m.wide_input((1, 9, 8, 6), scale), m.wide_input(shape, other)
        z = m.wide("MUL", [x, y], (1, 9, 8, 6), out, g.ElementwiseOptions(activation))
        assert_equal_everywhere(m.graph([z]))


def test_mul_with_unsettled_scales_follows_tflite_micro() -> None:
    m = Int16Maker(0)
    x, y = m.wide_input((1, 64, 64, 16), 0.0003), m.wide_input((1, 64, 64, 16), 0.0004)
    graph = m.graph([m.wide("MUL", [x, y], (1, 64, 64, 16), 0.003, g.ElementwiseOptions())])
    inputs = m.wide_codes(graph)
    chip = tflm.runtime.Interpreter.from_bytes(serialize(graph), arena_size=2_000_000)
    for position, codes in enumerate(inputs):
        chip.set_input(codes, position)
    chip.invoke()
    np.testing.assert_array_equal(Simulator(graph).invoke(*inputs)[0], chip.get_output(0))


# Near 2^-12 the kernels take the scale for 2^-12: inside, at and outside the edges of that neighbourhood.
NEAR_4096TH = [2.0 ** (-12 + step) for step in (-0.0011, -0.00099, -0.0005, -1e-6, 1e-6, 0.0005, 0.00099, 0.0011)]


@pytest.mark.parametrize(
    "scale", [1 / 4096, *NEAR_4096TH, 1 / 12288, 1 / 2048, 2.5, 5.3, 1e-9, *random_scales(3, 20, 1e-7, 1.0)]
)
def test_logistic_all_codes_equal_both_interpreters(scale: float) -> None:
    m = Int16Maker(0)
    x = m.wide_input((1, 256, 256, 1), scale)
    y = m.wide("LOGISTIC", [x], (1, 256, 256, 1), 1 / 32768)
    assert_equal_everywhere(m.graph([y]), (all_wide_codes(),))


@pytest.mark.parametrize("ratio", [1.0, 128.0, 0.37, 3.0, 100.7, 1e-4, 1e-7, 3e4, 1e9])
def test_quantize_all_codes_equal_both_interpreters(ratio: float) -> None:
    """int8 to int16, int16 to int16, int16 to int8; output scale = input scale / ratio."""
    for zero_point in (0, -128, 127, 37):
        m = Int16Maker(0)
        x = m.input((1, 16, 16, 1), SOFT, zero_point)
        y = m.cast(x, "int16", SOFT / ratio)
        assert_equal_everywhere(m.graph([y]), (all_narrow_codes(),))
        m = Int16Maker(0)
        x = m.wide_input((1, 256, 256, 1))
        outputs = [m.cast(x, "int16", SOFT / ratio), m.cast(x, "int8", SOFT / ratio, zero_point)]
        assert_equal_everywhere(m.graph(outputs), (all_wide_codes(),))


def test_widening_by_128_and_narrowing_again_is_lossless() -> None:
    m = Int16Maker(0)
    x = m.input((1, 16, 16, 1), 0.0471, -13)
    wide = m.cast(x, "int16", m.scale(x) / 128)
    y = m.cast(wide, "int8", m.scale(x), -13)
    found = assert_equal_everywhere(m.graph([wide, y]), (all_narrow_codes(),))
    offsets = all_narrow_codes().astype(np.int64) + 13
    np.testing.assert_array_equal(found[wide], np.clip(offsets * 128, -32768, 32767))
    inside = offsets < 256  # 256 * 128 would be 32768
    np.testing.assert_array_equal(found[y][inside], all_narrow_codes()[inside])


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6"])
@pytest.mark.parametrize("kind", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
def test_pooling_equals_both_interpreters(kind: str, activation: str, padding: str) -> None:
    m = Int16Maker(0)
    x = m.wide_input((1, 9, 7, 3))
    for size, stride in ((2, 2), (3, 2), (5, 1)):
        shape = tuple(-(-n // stride) if padding == "SAME" else (n - size) // stride + 1 for n in (9, 7))
        options = g.PoolOptions((size, size), (stride, stride), padding, activation)
        m.wide(kind, [x], (1, *shape, 3), SOFT, options)
    assert_equal_everywhere(m.graph([op.outputs[0] for op in m.operators]))


@pytest.mark.parametrize("keep_dims", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (24, 24)])
def test_mean_equals_both_interpreters(size: tuple[int, int], keep_dims: bool) -> None:
    for ratio in (1.0, 0.31, 7.3, 1e-5, 900.0):
        m = Int16Maker(0)
        x = m.wide_input((1, *size, 6))
        shape = (1, 1, 1, 6) if keep_dims else (1, 6)
        y = m.wide("MEAN", [x, m.constant([1, 2])], shape, SOFT * ratio, g.ReduceOptions(keep_dims))
        assert_equal_everywhere(m.graph([y]))


def test_mean_of_extreme_codes_equals_both_interpreters() -> None:
    for code in (-32768, 32767):
        m = Int16Maker(0)
        x = m.wide_input((1, 192, 192, 2))
        y = m.wide("MEAN", [x, m.constant([1, 2])], (1, 1, 1, 2), SOFT, g.ReduceOptions(True))
        found = assert_equal_everywhere(m.graph([y]), (np.full((1, 192, 192, 2), code, np.int16),))
        assert (found[y] == code).all()


def test_moving_operators_equal_both_interpreters() -> None:
    m = Int16Maker(0)
    x, y = m.wide_input((1, 4, 5, 8)), m.wide_input((1, 4, 5, 3))
    outputs = [
        m.wide("CONCATENATION", [x, y], (1, 4, 5, 11), SOFT, g.ConcatOptions(3)),
        m.wide("PAD", [x, m.constant([[0, 0], [1, 2], [0, 3], [0, 0]])], (1, 7, 8, 8), SOFT),
        m.wide("RESHAPE", [x, m.constant([1, 20, 8])], (1, 20, 8), SOFT, g.ReshapeOptions((1, 20, 8))),
        m.wide("TRANSPOSE", [x, m.constant([0, 2, 1, 3])], (1, 5, 4, 8), SOFT),
        m.wide("SLICE", [x, m.constant([0, 1, 2, 0]), m.constant([1, 2, 3, 8])], (1, 2, 3, 8), SOFT),
        m.wide("MAXIMUM", [x, x], (1, 4, 5, 8), SOFT),
        m.wide("MINIMUM", [x, m.operators[-1].outputs[0]], (1, 4, 5, 8), SOFT),
    ]
    begin, end, step = m.constant([0, 1, 1, 0]), m.constant([1, 4, 5, 8]), m.constant([1, 2, 1, 3])
    outputs.append(m.wide("STRIDED_SLICE", [x, begin, end, step], (1, 2, 4, 3), SOFT, g.StridedSliceOptions()))
    assert_equal_everywhere(m.graph(outputs))


@pytest.mark.parametrize("options", [g.ResizeOptions(), g.ResizeOptions(True), g.ResizeOptions(False, True)])
def test_resize_nearest_equals_both_interpreters(options: g.ResizeOptions) -> None:
    m = Int16Maker(0)
    x = m.wide_input((1, 4, 5, 8))
    y = m.wide("RESIZE_NEAREST_NEIGHBOR", [x, m.constant([8, 10])], (1, 8, 10, 8), SOFT, options)
    assert_equal_everywhere(m.graph([y]))


def mixed_graph() -> g.Graph:
    """int8 convolution, a block of int16 operators with a SiLU, int8 convolution."""
    m = Int16Maker(7)
    x = m.conv(m.input((1, 13, 11, 3)), 8, stride=(2, 2))
    wide = m.cast(x, "int16", m.scale(x) / 128)
    a = m.wide_conv(wide, 8)
    gate = m.wide("LOGISTIC", [a], m.tensors[a].shape, 1 / 32768)
    scale = settled_output_scale(m.scale(a), 1 / 32768, m.scale(a) * 0.9)
    b = m.wide("MUL", [a, gate], m.tensors[a].shape, scale, g.ElementwiseOptions())
    c = m.wide_conv(b, 8, kernel=(5, 5), depthwise=True, activation="RELU6")
    d = m.wide("ADD", [b, c], m.tensors[b].shape, m.scale(c) * 1.7, g.ElementwiseOptions(**GENERAL))
    y = m.cast(d, "int8", m.scale(d) * 128, -5)
    return m.graph([m.conv(y, 6, activation="RELU"), d])


def test_mixed_graph_equals_both_interpreters() -> None:
    graph = mixed_graph()
    found = assert_equal_everywhere(graph)
    assert {graph.tensors[i].dtype for i in found} == {"int8", "int16"}


def test_simulator_run_twice_gives_the_same_and_leaves_inputs_alone() -> None:
    graph = mixed_graph()
    simulator, q_inputs = Simulator(graph), Int16Maker(5).wide_codes(graph)
    copies = [x.copy() for x in q_inputs]
    first, second = simulator.invoke(*q_inputs), simulator.invoke(*q_inputs)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(copies, q_inputs, strict=True))


def test_operator_without_int16_form_is_named_with_its_dtype() -> None:
    m = Int16Maker(0)
    x = m.wide_input((1, 4, 4, 2))
    y = m.wide("HARD_SWISH", [x], (1, 4, 4, 2), SOFT)
    with pytest.raises(UnsupportedOpError, match=r"operator 0 \(HARD_SWISH.*no int16 HARD_SWISH; in int16 it has"):
        Simulator(m.graph([y]))


def test_conv_2d_with_int32_bias_is_refused() -> None:
    m = Int16Maker(0)
    y = m.wide_conv(m.wide_input((1, 4, 4, 2)), 3, bias_dtype="int32")
    with pytest.raises(UnsupportedOpError, match="is int32; with int16 activations it must be int64"):
        Simulator(m.graph([y]))


def test_conv_2d_with_a_multiplier_beyond_the_shift_is_refused() -> None:
    m = Int16Maker(0)
    y = m.wide_conv(m.wide_input((1, 4, 4, 2)), 3)
    m.rescale_weights(0, np.full(3, 2.0**15))
    with pytest.raises(UnsupportedOpError, match="too large"):
        Simulator(m.graph([y]))


def test_logistic_with_another_output_scale_is_refused() -> None:
    m = Int16Maker(0)
    y = m.wide("LOGISTIC", [m.wide_input((1, 4, 4, 2))], (1, 4, 4, 2), 1 / 256)
    with pytest.raises(UnsupportedOpError, match="must be"):
        Simulator(m.graph([y]))


def test_operator_that_mixes_int8_and_int16_is_refused() -> None:
    m = Int16Maker(0)
    x, y = m.wide_input((1, 4, 4, 2)), m.input((1, 4, 4, 2), SOFT, 0)
    z = m.wide("CONCATENATION", [x, y], (1, 4, 4, 4), SOFT, g.ConcatOptions(3))
    with pytest.raises(UnsupportedOpError, match="is int8, expected int16"):
        Simulator(m.graph([z]))


def test_maximum_with_another_scale_is_refused() -> None:
    m = Int16Maker(0)
    x, y = m.wide_input((1, 4, 4, 2)), m.wide_input((1, 4, 4, 2), 2 * SOFT)
    z = m.wide("MAXIMUM", [x, y], (1, 4, 4, 2), SOFT)
    with pytest.raises(UnsupportedOpError, match="share one"):
        Simulator(m.graph([z]))
