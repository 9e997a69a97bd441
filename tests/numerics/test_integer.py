"""Against Python's unbounded integers and fractions; the kernels themselves are compared in tests/evaluate."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from edgedet.numerics import integer as n
from edgedet.numerics.requantize import Requantizer

EDGES = [0, 1, -1, 2, -2, 3, -3, 2**30, -(2**30), 2**31 - 1, -(2**31), 2**31 - 2, 12345, -12345]


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


def slow_multiply(x: int, multiplier: int, shift: int) -> int:
    high = half_up(Fraction((x << max(shift, 0)) * multiplier, 2**31))
    return half_away(Fraction(high, 2 ** max(-shift, 0)))


def test_high_mul_edges_match_fractions() -> None:
    for a in EDGES:
        for b in EDGES:
            expected = min(half_up(Fraction(a * b, 2**31)), 2**31 - 1)
            assert int(n.saturating_rounding_doubling_high_mul(a, b)) == expected, (a, b)


def test_rounding_divide_ties_go_away_from_zero() -> None:
    for x in [*range(-20, 21), 2**31 - 1, -(2**31)]:
        for exponent in (0, 1, 2, 3, 30, 31):
            assert int(n.rounding_divide_by_pot(x, exponent)) == half_away(Fraction(x, 2**exponent)), (x, exponent)


def test_multiply_by_quantized_multiplier_matches_fractions() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-(2**22), 2**22, 500)
    for real in (0.9999, 0.5, 0.25, 0.0123, 1.7, 3e-6, 2.0**-9):
        multiplier, shift = n.quantize_multiplier(real)
        got = n.multiply_by_quantized_multiplier(x, multiplier, shift).tolist()
        assert got == [slow_multiply(v, multiplier, shift) for v in x.tolist()]


def test_multiply_by_quantized_multiplier_left_shift_wraps_at_32_bits() -> None:
    assert int(n.multiply_by_quantized_multiplier(2**30, 2**30, 2)) == 0
    assert int(n.multiply_by_quantized_multiplier(2**30, 2**30, 1)) == -(2**30)


@pytest.mark.parametrize(
    ("real", "expected"),
    [
        (0.0, (0, 0)),
        (1.0, (2**30, 1)),
        (0.5, (2**30, 0)),
        (1 - 2.0**-40, (2**30, 1)),
        (2.0**-32, (2**30, -31)),
        (2.0**-33, (0, 0)),
        (-0.25, (-(2**30), -1)),
    ],
)
def test_quantize_multiplier_edges(real: float, expected: tuple[int, int]) -> None:
    assert n.quantize_multiplier(real) == expected


def test_quantize_multipliers_keeps_shape() -> None:
    multiplier, shift = n.quantize_multipliers(np.array([[0.5, 0.25]]))
    assert multiplier.tolist() == [[2**30, 2**30]]
    assert shift.tolist() == [[0, -1]]


@pytest.mark.parametrize(
    ("activation", "scale", "zero_point", "expected"),
    [
        ("NONE", 0.1, 3, (-128, 127)),
        ("RELU", 0.1, -5, (-5, 127)),
        ("RELU6", 6 / 255, -128, (-128, 127)),
        ("RELU6", 0.1, -100, (-100, -40)),
        ("RELU6", 0.01, 0, (0, 127)),
        ("RELU_N1_TO_1", 0.4, 1, (-2, 4)),
    ],
)
def test_activation_range_codes(activation: str, scale: float, zero_point: int, expected: tuple[int, int]) -> None:
    assert n.activation_range(activation, scale, zero_point) == expected


def test_rounded_average_ties_go_away_from_zero() -> None:
    total = np.array([3, -3, 5, -5, 0, 1, -1])
    assert n.rounded_average(total, 2).tolist() == [2, -2, 3, -3, 0, 1, -1]
    assert n.rounded_average(total, 4).tolist() == [1, -1, 1, -1, 0, 0, 0]


def test_mean_multiplier_is_the_ratio_over_count() -> None:
    for count in (1, 2, 7, 36, 576, 36864):
        multiplier, shift = n.mean_multiplier(0.37, count)
        assert multiplier * 2.0 ** (shift - 31) == pytest.approx(0.37 / count, rel=1e-6)
        assert 0 < multiplier < 2**31


def requantizers() -> list[tuple[float, int, tuple[int, int]]]:
    reals = (0.9, 0.5, 0.25, 2.0**-9, 0.0031, 0.00173, 1.1e-4, 2.0**-13, 3.3e-6)
    limits = ((-128, 127), (-128, 0), (5, 90))
    return [(real, zero, limit) for real in reals for zero in (-128, 5, 127) for limit in limits]


@pytest.mark.parametrize(("real", "zero_point", "limits"), requantizers())
def test_requantizer_every_accumulator_equals_integers(real: float, zero_point: int, limits: tuple[int, int]) -> None:
    reach = 40_000
    multiplier, shift = n.quantize_multipliers(np.array([real, real * 0.77]))
    offset = np.array([17, -12_345])
    fast = Requantizer(multiplier, shift, offset, zero_point, limits, np.full(2, reach))
    assert fast.proven
    sums = np.repeat(np.arange(-reach, reach + 1)[:, None], 2, axis=1)
    out = np.empty(sums.shape, np.int8)
    fast(sums.astype(np.float32), out, np.empty(sums.shape))
    assert (out == n.requantize(sums + offset, multiplier, shift, zero_point, *limits)).all()


def test_requantizer_left_shift_uses_integers() -> None:
    multiplier, shift = n.quantize_multipliers(np.array([3.7]))
    slow = Requantizer(multiplier, shift, np.array([0]), 3, (-128, 127), np.array([1000]))
    assert not slow.proven
    sums = np.arange(-50, 51)[:, None]
    out = np.empty(sums.shape, np.int8)
    slow(sums.astype(np.float32), out, np.empty(sums.shape))
    assert (out == n.requantize(sums, multiplier, shift, 3)).all()


def test_requantizer_random_layers_are_proven_and_exact() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        channels = int(rng.integers(1, 40))
        multiplier, shift = n.quantize_multipliers(10 ** rng.uniform(-5, -1, channels))
        offset = rng.integers(-30_000, 30_000, channels)
        zero_point = int(rng.integers(-128, 128))
        reach = rng.integers(1, 2**22, channels)
        fast = Requantizer(multiplier, shift, offset, zero_point, (-128, 127), reach)
        assert fast.proven
        sums = rng.integers(-reach, reach + 1, (512, channels))
        out = np.empty(sums.shape, np.int8)
        fast(sums.astype(np.float32), out, np.empty(sums.shape))
        assert (out == n.requantize(sums + offset, multiplier, shift, zero_point)).all()


def test_reduce_multiplier_rounds_ties_up_and_saturates() -> None:
    q31 = np.array([0, 1 << 30, (1 << 30) + 0x7FFF, (1 << 30) + 0x8000, 0x7FFEFFFF, 0x7FFF0000, 0x7FFFFFFF])
    expected = [0, 1 << 14, 1 << 14, (1 << 14) + 1, 0x7FFF, 0x7FFF, 0x7FFF]
    np.testing.assert_array_equal(n.reduce_multiplier(q31), expected)
