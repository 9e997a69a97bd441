"""int16 arithmetic against Python integers and hand-computed values; the simulator's tests hold the interpreters."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.errors import UnsupportedOpError
from edgedet.numerics import int16
from edgedet.numerics.integer import multiply_by_quantized_multiplier, quantize_multiplier, quantize_multipliers


def slow_requantize(value: int, multiplier: int, shift: int, low: int, high: int) -> int:
    """Python integers; the wrap to int32 is explicit."""
    reduced = 0x7FFF if multiplier >= 0x7FFF0000 else (multiplier + 0x8000) // 2**16
    rounded = (value * reduced + 2 ** (14 - shift)) // 2 ** (15 - shift)
    wrapped = (rounded + 2**31) % 2**32 - 2**31
    return min(max(wrapped, low), high)


@pytest.mark.parametrize("exponent", range(-31, 14))
def test_requantize_wide_equals_python_integers(exponent: int) -> None:
    rng = np.random.default_rng(exponent + 40)
    multiplier, shift = quantize_multiplier(float(rng.uniform(0.5, 1.0)) * 2.0**exponent)
    values = np.concatenate([rng.integers(-(2**bits), 2**bits, 20) for bits in range(1, 48)])
    values = np.concatenate([values, [-(2**47), 2**47 - 1, 0, 1, -1]])
    for limits in ((-32768, 32767), (0, 1000)):
        expected = [slow_requantize(int(v), multiplier, shift, *limits) for v in values]
        np.testing.assert_array_equal(int16.requantize_wide(values, multiplier, shift, *limits), expected)


def test_requantize_wide_ties_go_up() -> None:
    multiplier, shift = quantize_multiplier(0.5)
    found = int16.requantize_wide(np.array([-3, -1, 1, 3]), multiplier, shift)
    np.testing.assert_array_equal(found, [-1, 0, 1, 2])


@pytest.mark.parametrize(
    ("bias_bits", "real", "is_exact"),
    [(20, 1e-4, True), (30, 1e-3, True), (46, 1e-9, False), (20, 300.0, False), (20, 2.0**-31, True)],
)
@pytest.mark.parametrize("limits", [(-32768, 32767), (0, 32767), (0, 600)])
def test_wide_requantizer_equals_requantize_wide(
    bias_bits: int, real: float, is_exact: bool, limits: tuple[int, int]
) -> None:
    rng = np.random.default_rng(bias_bits)
    channels, reach = 7, 2**27
    multiplier, shift = quantize_multipliers(real * rng.uniform(0.6, 1.7, channels))
    bias = rng.integers(-(2**bias_bits), 2**bias_bits, channels)
    requantizer = int16.WideRequantizer(multiplier, shift, bias, limits, np.full(channels, reach))
    accumulator = rng.integers(-reach, reach + 1, (500, channels)) >> rng.integers(0, 27, (500, channels))
    accumulator[0], accumulator[1] = reach, -reach
    accumulator[2] = -bias // np.maximum(1, np.abs(bias) // reach)
    out = np.empty(accumulator.shape, np.int16)
    requantizer(accumulator.astype(np.float64), out, np.empty(accumulator.shape))
    assert requantizer.exact == is_exact
    np.testing.assert_array_equal(out, int16.requantize_wide(accumulator + bias, multiplier, shift, *limits))


@pytest.mark.parametrize("real", [1e-9, 2.0**-31, 2.0**-8, 0.3, 0.5, 0.999999999, 1.0, 1.7, 2.0, 9.3])
def test_rescale_equals_multiply_by_quantized_multiplier(real: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(-(2**27), 2**27, 20_000) >> rng.integers(0, 27, 20_000)
    multiplier, shift = quantize_multiplier(real)
    expected = multiply_by_quantized_multiplier(x, multiplier, shift)
    int16.rescale(x, multiplier, shift)
    np.testing.assert_array_equal(x, expected)


def test_widen_table_by_128_is_lossless() -> None:
    table = int16.widen_table((0.05, -128), (0.05 / 128, 0))
    codes = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int64)
    np.testing.assert_array_equal(table, np.minimum((codes + 128) * 128, 32767))


@pytest.mark.parametrize("wide", [True, False])
def test_requantize_table_by_one_half_saturates_and_rounds_ties_up(wide: bool) -> None:
    table = int16.requantize_table((1.0, 0), (2.0, 0), wide)
    assert table.dtype == (np.int16 if wide else np.int8)
    limits = np.iinfo(table.dtype)
    np.testing.assert_array_equal(table, np.clip((int16.CODES + 1) >> 1, limits.min, limits.max))


@pytest.mark.parametrize("scale", [1e-9, 1 / 12288, 1 / 4096, 0.0007, 0.05, 5.3])
def test_logistic_table_is_close_to_the_function(scale: float) -> None:
    """Within 2 steps of 2^-15 where the table reaches; beyond it the function differs from 1 by less than 1 step."""
    table = int16.logistic_table(scale)
    exact = 32768 / (1 + np.exp(-np.clip(int16.CODES * scale, -700, 700)))
    assert np.abs(table - exact).max() < 2
    order = np.argsort(int16.CODES)
    assert (np.diff(table[order].astype(np.int64)) >= 0).all()


def test_logistic_table_of_a_huge_scale_raises() -> None:
    with pytest.raises(UnsupportedOpError, match="too large"):
        int16.logistic_table(5.4)


def test_add_constants_of_equal_scales_are_halves() -> None:
    first, second, multiplier, shift = int16.add_constants(0.01, 0.01, 0.01, sign=-1)
    np.testing.assert_array_equal(first, int16.CODES << 14)
    np.testing.assert_array_equal(second, -first)
    assert (multiplier, shift) == quantize_multiplier(2.0**-14)


@pytest.mark.parametrize(
    ("scales", "expected"),
    [((0.25, 0.5, 2.0), True), ((0.25, 0.5, 3.0), False), ((0.25, 0.5, 2.001), True), ((0.25, 0.5, 2.002), False)],
)
def test_are_powers_of_two_has_a_tolerance(scales: tuple[float, ...], expected: bool) -> None:
    assert int16.are_powers_of_two(scales) is expected
