"""QUANTIZE and DEQUANTIZE at the ends of a network, 0 LSB against TFLite's reference kernels and TFLite Micro."""

from __future__ import annotations

import border_graphs as borders
import numpy as np
import pytest
from witnesses import assert_equals_witnesses

from edgedet.errors import UnsupportedOpError
from edgedet.simulate.simulator import Simulator

litert = pytest.importorskip("ai_edge_litert.interpreter")
tflm = pytest.importorskip("tflite_micro")

FLOAT = ("float32", 0.0, 0)
# Scales with and without an exact quotient, tiny, denormal quotients, and large.
SCALES = (1.0, 0.5, 0.05, 1 / 255, 0.1, 3.0, 1e-3, 7.3e-8, 1e5)


def all_codes(dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.arange(limits.min, limits.max + 1).astype(dtype).reshape(1, -1, 256)


def around_every_step(dtype: str, scale: float, zero_point: int) -> np.ndarray:
    """Floats on, below and above every code and every tie between two codes, and beyond both ends."""
    limits = np.iinfo(dtype)
    steps = np.arange(2 * (limits.min - zero_point) - 40, 2 * (limits.max - zero_point) + 41) / 2
    exact = (steps * scale).astype(np.float32)
    return np.stack([np.nextafter(exact, np.float32(-np.inf)), exact, np.nextafter(exact, np.float32(np.inf))])[None]


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("scale", SCALES)
def test_quantize_of_floats_around_every_step_equals_both_interpreters(dtype: str, scale: float) -> None:
    for zero_point in (0,) if dtype == "int16" else (-128, -1, 0, 5, 127):
        x = around_every_step(dtype, scale, zero_point)
        graph = borders.one_cast(x.shape, FLOAT, (dtype, scale, zero_point))
        found = assert_equals_witnesses(graph, (x,))[graph.outputs[0]]
        limits = np.iinfo(dtype)
        assert set(np.unique(found)) == set(range(limits.min, limits.max + 1))


def test_quantize_of_random_bit_patterns_equals_both_interpreters() -> None:
    """Floats of all exponents whose quotient int32 holds; beyond it the interpreters overflow."""
    bits = np.random.default_rng(0).integers(0, 2**32, (1, 200, 500), np.uint32)
    x = bits.view(np.float32)
    x = np.where(np.isfinite(x) & (np.abs(x) < 2.0**30), x, np.float32(0))
    assert_equals_witnesses(borders.one_cast(x.shape, FLOAT, ("int8", 0.7, 9)), (x,))
    assert_equals_witnesses(borders.one_cast(x.shape, FLOAT, ("int16", 0.7, 0)), (x,))


def test_quantize_of_infinity_and_nan_saturates_and_gives_the_zero_point() -> None:
    x = np.array([[np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**31, -(2.0**31), 0.0]], np.float32)
    for dtype, zero_point in (("int8", -5), ("int8", 127), ("int16", 0)):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        (codes,) = Simulator(borders.one_cast(x.shape, FLOAT, (dtype, 1e-5, zero_point))).invoke(x)
        assert codes.tolist() == [[zero_point, high, low, high, low, high, low, zero_point]]


@pytest.mark.parametrize("scale", [*SCALES, 1e-40, 3e38])
@pytest.mark.parametrize(
    ("dtype", "zero_point"), [("int8", -128), ("int8", 17), ("uint8", 0), ("uint8", 200), ("int16", 0)]
)
def test_dequantize_of_every_code_equals_both_interpreters(dtype: str, zero_point: int, scale: float) -> None:
    x = all_codes(dtype)
    assert_equals_witnesses(borders.one_cast(x.shape, (dtype, scale, zero_point), FLOAT), (x,))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (("uint8", 0.02, 128), ("int8", 0.02, 0)),
        (("uint8", 0.02, 3), ("int8", 0.02, -125)),
        (("uint8", 0.02, 255), ("int8", 0.031, -128)),
        (("uint8", 1 / 255, 0), ("int8", 1 / 128, -128)),
        (("int8", 0.02, 0), ("uint8", 0.02, 128)),
        (("int8", 0.5, -7), ("uint8", 0.013, 250)),
        (("int8", 1e-6, 5), ("uint8", 3.0, 1)),
        (("int8", 0.02, 5), ("int16", 0.0001, 0)),
        (("int8", 0.02, 5), ("int16", 0.3, 0)),
        (("int16", 0.0001, 0), ("int8", 0.02, 5)),
        (("int16", 0.5, 0), ("int8", 0.02, 5)),
        (("int16", 0.01, 0), ("int16", 0.013, 0)),
    ],
)
def test_quantize_between_integers_of_every_code_equals_both_interpreters(
    source: tuple[str, float, int], target: tuple[str, float, int]
) -> None:
    x = all_codes(source[0])
    assert_equals_witnesses(borders.one_cast(x.shape, source, target), (x,))


def test_network_with_all_kinds_of_ends_equals_both_interpreters() -> None:
    graph = borders.detector_with_borders()
    rng = np.random.default_rng(1)
    image = rng.normal(0, 1.5, graph.tensors[graph.inputs[0]].shape).astype(np.float32)
    wide = rng.integers(-(2**15), 2**15, graph.tensors[graph.inputs[1]].shape, np.int16)
    narrow = rng.integers(0, 256, graph.tensors[graph.inputs[2]].shape, np.uint8)
    found = assert_equals_witnesses(graph, (image, wide, narrow))
    assert [found[index].dtype.name for index in graph.outputs] == ["float32", "uint8", "int16", "int8"]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (FLOAT, ("uint8", 0.1, 3)),
        (("uint8", 0.1, 3), ("int16", 0.1, 0)),
        (("uint8", 0.1, 3), ("uint8", 0.2, 3)),
        (("int16", 0.1, 0), ("uint8", 0.1, 3)),
    ],
)
def test_quantize_that_tflm_lacks_is_refused(source: tuple[str, float, int], target: tuple[str, float, int]) -> None:
    with pytest.raises(UnsupportedOpError, match=f"from {source[0]} to {target[0]}; TFLite Micro has"):
        Simulator(borders.one_cast((1, 4), source, target))
