"""Operators on codes one by one, and resizing: 0 LSB against TFLite's reference kernels and TFLite Micro."""

from __future__ import annotations

import graph_maker as maker
import numpy as np
import pytest
from witnesses import assert_equals_witnesses

from edgedet.errors import UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.simulate.simulator import Simulator

pytest.importorskip("ai_edge_litert.interpreter")
pytest.importorskip("tflite_micro")

CODES = np.arange(256, dtype=np.uint8).view(np.int8)


def all_pairs() -> tuple[np.ndarray, np.ndarray]:
    """Every pair of codes, as two images."""
    return np.repeat(CODES, 256).reshape(1, 256, 256, 1), np.tile(CODES, 256).reshape(1, 256, 256, 1)


@pytest.mark.parametrize("seed", range(8))
def test_prelu_all_pairs_equal_both_interpreters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m = maker.GraphMaker(seed)
    first, second = all_pairs()
    scales = [float(np.float32(s)) for s in 10 ** rng.uniform(-3, 0, 2)]
    zeros = [int(z) for z in rng.integers(-128, 128, 3)]
    x, alpha = (m.input(first.shape, s, z) for s, z in zip(scales, zeros[:2], strict=True))
    # Ratios from far below to far above 1, so that both multipliers shift either way.
    target = (float(np.float32(scales[0] * 2 ** rng.uniform(-5, 5))), zeros[2])
    assert_equals_witnesses(m.graph([m.add("PRELU", [x, alpha], first.shape, target)]), (first, second))


@pytest.mark.parametrize("alpha", [(1, 1, 6), (6,), (5, 4, 6), (1, 4, 1), (1,), (1, 5, 1, 6)])
def test_prelu_with_constant_alpha_broadcasts_like_both_interpreters(alpha: tuple[int, ...]) -> None:
    m = maker.GraphMaker(3)
    x = m.input((2, 5, 4, 6), 0.02, 30)
    codes = m.rng.integers(-128, 128, alpha).astype(np.int8)
    y = m.add("PRELU", [x, m.tensor(alpha, "int8", maker.quantization(0.004, -11), codes)], (2, 5, 4, 6), (0.03, -40))
    graph = m.graph([y])
    assert_equals_witnesses(graph, m.codes(graph))


@pytest.mark.parametrize("kind", ["MAXIMUM", "MINIMUM"])
@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 5, 4, 6), (2, 5, 4, 6)),
        ((1, 1, 1, 6), (2, 5, 4, 6)),
        ((2, 5, 4, 6), (6,)),
        ((2, 5, 4, 1), (4, 6)),
        ((1, 5, 1, 6), (2, 1, 4, 1)),
        ((2, 5, 4, 6), (1,)),
    ],
)
def test_maximum_minimum_broadcast_like_both_interpreters(kind: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    m = maker.GraphMaker(4)
    a, b = (m.input(shape, 0.02, -9) for shape in shapes)
    constant = m.tensor((6,), "int8", maker.quantization(0.02, -9), np.array([-128, 127, -9, 0, 5, -60], np.int8))
    y = m.same(kind, [a, b], np.broadcast_shapes(*shapes))
    graph = m.graph([y, m.same(kind, [constant, y], m.tensors[y].shape)])
    assert_equals_witnesses(graph, m.codes(graph))


def test_maximum_of_two_scales_is_refused() -> None:
    """The interpreters would compare codes of different meaning."""
    m = maker.GraphMaker(4)
    a, b = m.input((1, 4), 0.02), m.input((1, 4), 0.03)
    with pytest.raises(UnsupportedOpError, match="must share one"):
        Simulator(m.graph([m.same("MAXIMUM", [a, b], (1, 4))]))


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1.0, 3.7, -0.3, -1.0])
def test_leaky_relu_any_slope_equals_tflite_micro(alpha: float) -> None:
    m = maker.GraphMaker(5)
    outputs = []
    for source, target in (((0.05, 3), (0.03, -20)), ((0.1, -128), (0.1, 127)), ((0.002, 127), (0.3, 0))):
        x = m.input((1, 16, 16, 1), *source)
        outputs.append(m.add("LEAKY_RELU", [x], (1, 16, 16, 1), target, g.LeakyReluOptions(float(np.float32(alpha)))))
    assert_equals_witnesses(m.graph(outputs), (CODES.reshape(1, 16, 16, 1),) * 3, reference=alpha >= 0)


@pytest.mark.parametrize("seed", range(6))
def test_abs_all_codes_equal_both_interpreters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = (float(np.float32(10 ** rng.uniform(-3, 0))), int(rng.integers(-128, 128)))
    ratio = 1.0 if seed == 0 else 2 ** rng.uniform(-3, 3)
    m = maker.GraphMaker(seed)
    x = m.input((1, 16, 16, 1), *source)
    y = m.add("ABS", [x], (1, 16, 16, 1), (float(np.float32(source[0] * ratio)), int(rng.integers(-128, 128))))
    assert_equals_witnesses(m.graph([y]), (CODES.reshape(1, 16, 16, 1),))


RESIZES = [
    ((1, 1), (33, 7)),
    ((2, 3), (2, 3)),
    ((7, 5), (1, 1)),
    ((3, 4), (12, 13)),
    ((40, 3), (7, 31)),
    ((5, 1), (9, 9)),
]


@pytest.mark.parametrize("options", [g.ResizeOptions(), g.ResizeOptions(True), g.ResizeOptions(False, True)])
@pytest.mark.parametrize(("size", "target"), RESIZES)
def test_resize_bilinear_of_extreme_codes_equals_both_interpreters(
    size: tuple[int, int], target: tuple[int, int], options: g.ResizeOptions
) -> None:
    m = maker.GraphMaker(6)
    x = m.input((2, *size, 3), 0.05, 7)
    graph = m.graph([m.same("RESIZE_BILINEAR", [x, m.constant(target)], (2, *target, 3), options)])
    for codes in (m.codes(graph)[0], m.rng.choice(np.array([-128, 127], np.int8), (2, *size, 3))):
        assert_equals_witnesses(graph, (codes,))


def test_resize_bilinear_that_leads_outside_its_input_is_refused() -> None:
    """1024 / 55 rounds up to 19, and 54 steps of 19 / 1024 end beyond the only pixel."""
    m = maker.GraphMaker(6)
    x = m.input((1, 1, 1, 3), 0.05, 7)
    y = m.same("RESIZE_BILINEAR", [x, m.constant([8, 55])], (1, 8, 55, 3), g.ResizeOptions())
    with pytest.raises(UnsupportedOpError, match="1 to 55 rows or columns: steps of 19/1024 lead outside"):
        Simulator(m.graph([y]))


@pytest.mark.parametrize("kind", ["REDUCE_MAX", "REDUCE_MIN"])
@pytest.mark.parametrize("axes", [(0,), (-1,), (1, 2), (3, 1), (2, 3, 1, 0)])
def test_reduce_extreme_equals_both_interpreters(kind: str, axes: tuple[int, ...]) -> None:
    m = maker.GraphMaker(7)
    x = m.input((2, 5, 1, 6), 0.05, 7)
    gone = {axis % 4 for axis in axes}
    kept = tuple(1 if i in gone else side for i, side in enumerate((2, 5, 1, 6)))
    outputs = [m.same(kind, [x, m.constant(axes)], kept, g.ReduceOptions(True))]
    if len(gone) < 4:
        dropped = tuple(side for i, side in enumerate((2, 5, 1, 6)) if i not in gone)
        outputs.append(m.same(kind, [x, m.constant(axes)], dropped, g.ReduceOptions(False)))
    graph = m.graph(outputs)
    assert_equals_witnesses(graph, m.codes(graph))


@pytest.mark.parametrize("kind", ["ARG_MAX", "ARG_MIN"])
@pytest.mark.parametrize("shape", [(2, 5, 1, 6), (1, 9), (7,)])
def test_arg_extreme_equals_both_interpreters(kind: str, shape: tuple[int, ...]) -> None:
    """Few different codes, so that some are equal."""
    m = maker.GraphMaker(8)
    x = m.input(shape, 0.05, 7)
    outputs = []
    for axis in range(-len(shape), len(shape)):
        rest = tuple(side for i, side in enumerate(shape) if i != axis % len(shape))
        y = m.tensor(rest, "int32", None)
        m.operators.append(g.Operator(kind, (x, m.constant(axis)), (y,), g.ArgOptions()))
        outputs.append(y)
    codes = m.rng.choice(np.array([-128, 127, 5], np.int8), shape)
    assert_equals_witnesses(m.graph(outputs), (codes,))


def test_arg_max_to_int64_is_refused() -> None:
    m = maker.GraphMaker(8)
    x = m.input((1, 4), 0.05, 7)
    m.operators.append(g.Operator("ARG_MAX", (x, m.constant(1)), (m.tensor((1,), "int64", None),), g.ArgOptions(4)))
    with pytest.raises(UnsupportedOpError, match="its output is int64; TFLite Micro has int32 only"):
        Simulator(m.graph([m.operators[0].outputs[0]]))
