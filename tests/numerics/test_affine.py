from __future__ import annotations

import math

import numpy as np
import pytest

from edgedet.numerics.affine import (
    choose_affine,
    dequantize,
    quantize,
    quantize_border,
    round_half_away,
)


def slow_round(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value)


def test_round_half_away_ties_go_away_from_zero() -> None:
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.0, 2.4999, -2.4999], np.float32)
    assert round_half_away(values).tolist() == [1, 2, 3, -1, -2, -3, 0, 2, -2]


def test_round_half_away_largest_float_below_half_gives_zero() -> None:
    below = np.nextafter(np.float32(0.5), np.float32(0))
    assert round_half_away(np.array([below, -below])).tolist() == [0, 0]


def test_round_half_away_large_odd_floats_stay() -> None:
    values = np.array([8388609.0, -8388609.0, 16777216.0], np.float32)
    assert (round_half_away(values) == values).all()


def test_quantize_matches_scalar_loop_with_odd_zero_point() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 3, 1000), np.arange(-64, 64) * 0.125]).astype(np.float32)
    expected = [min(max(int(slow_round(float(v) / 0.25)) + 7, -128), 127) for v in values]
    assert quantize(values, 0.25, 7).tolist() == expected


def test_quantize_saturates_and_keeps_empty() -> None:
    assert quantize(np.array([1e30, -1e30, np.inf, -np.inf]), 0.1, 3).tolist() == [127, -128, 127, -128]
    assert quantize(np.empty((0, 4)), 0.1).shape == (0, 4)


def test_quantize_per_channel_narrow_range() -> None:
    weights = np.array([[1.0, -1.0], [200.0, -200.0]])
    codes = quantize(weights, np.array([[1.0], [1.0]]), 0, -127, 127)
    assert codes.tolist() == [[1, -1], [127, -127]]
    assert codes.dtype == np.int8


def test_quantize_bias_range_gives_int32() -> None:
    codes = quantize(np.array([1e6]), 0.5, 0, -(2**31), 2**31 - 1)
    assert codes.dtype == np.int32
    assert codes[0] == 2_000_000


def test_dequantize_inverts_quantize_on_codes() -> None:
    codes = np.arange(-128, 128).astype(np.int8)
    for scale, zero_point in ((0.1, -128), (0.0039215689, 5), (17.0, 127)):
        assert (quantize(dequantize(codes, scale, zero_point), scale, zero_point) == codes).all()


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (0.5, 6.0), (-6.0, -0.5), (-1e-6, 1e6), (0.0, 6.0)])
def test_choose_affine_represents_zero_and_covers_the_range(low: float, high: float) -> None:
    scale, zero_point = choose_affine(low, high)
    assert -128 <= zero_point <= 127
    assert scale == float(np.float32(scale))
    assert (-128 - zero_point) * scale <= min(low, 0) + scale / 2 + 1e-6 * abs(low)
    assert (127 - zero_point) * scale >= max(high, 0) - scale / 2 - 1e-6 * abs(high)


def test_choose_affine_relu_range_uses_all_codes() -> None:
    assert choose_affine(0.0, 6.0) == (float(np.float32(6 / 255)), -128)


def test_choose_affine_empty_range_gives_usable_scale() -> None:
    assert choose_affine(0.0, 0.0) == (1.0, 0)
    assert choose_affine(0.0, 1e-44) == (1.0, 0)


@pytest.mark.parametrize(("low", "high"), [(np.nan, 1.0), (0.0, np.inf), (1.0, -1.0)])
def test_choose_affine_bad_range_raises(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="finite and ordered"):
        choose_affine(low, high)


def test_quantize_border_of_ties_ends_and_no_number() -> None:
    x = np.array([0.5, 1.5, -0.5, -1.5, 200.0, -200.0, np.inf, -np.inf, np.nan], np.float32)
    assert quantize_border(x, 1.0, 7, "int8").tolist() == [8, 9, 6, 5, 127, -128, 127, -128, 7]
    assert quantize_border(x, 1.0, 0, "int16").tolist() == [1, 2, -1, -2, 200, -200, 32767, -32768, 0]
    assert quantize_border(np.array([3e38], np.float32), 1e-30, 0, "int8").tolist() == [127]
