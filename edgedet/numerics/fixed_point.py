"""exp, logistic and tanh in 32-bit fixed point, the way the reference kernels compute them.

A value with m integer bits is raw / 2^(31 - m). The functions take and return int64 arrays of int32 raw values; every
product is a saturating rounding doubling high multiply, so that the bits agree with the kernels.

Source: the algorithms and constants of gemmlowp, fixedpoint/fixedpoint.h.
"""

from __future__ import annotations

import numpy as np

from edgedet.numerics.integer import INT32_MAX, INT32_MIN, rounding_divide_by_pot
from edgedet.numerics.integer import saturating_rounding_doubling_high_mul as high_mul

# exp(-2^e) with 0 integer bits, for e = -2, -1, 0, ...
_EXP_OF_POWERS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)
_EXP_MINUS_EIGHTH = 1895147668  # exp(-1/8), 0 integer bits
_ONE_THIRD = 715827883  # 0 integer bits
_48_OVER_17 = 1515870810  # 2 integer bits; start of the Newton-Raphson division
_32_OVER_17 = 1010580540  # 2 integer bits
_ONE_Q2 = 1 << 29  # 1.0 with 2 integer bits


def _shift_left_saturating(x: np.ndarray, bits: int) -> np.ndarray:
    result: np.ndarray = np.clip(x << bits, INT32_MIN, INT32_MAX)
    return result


def exp_on_negative_values(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """Exponential of x <= 0.

    Args:
        x: raw values, 0 or negative.
        integer_bits: 1..5 of x.
    Returns:
        Raw values with 0 integer bits; exp(0) is INT32_MAX.
    """
    x = np.asarray(x, np.int64)
    quarter = 1 << (31 - integer_bits - 2)
    fine = (x & (quarter - 1)) - quarter  # in [-1/4, 0)
    coarse = fine - x  # the rest, a multiple of 1/4
    result = _exp_on_last_quarter(_shift_left_saturating(fine, integer_bits))
    for exponent, factor in _EXP_OF_POWERS:
        if exponent < integer_bits:
            bit = 1 << (31 - integer_bits + exponent)
            result = np.where(coarse & bit, high_mul(result, factor), result)
    return np.where(x == 0, INT32_MAX, result)


def _exp_on_last_quarter(a: np.ndarray) -> np.ndarray:
    """exp(a) for a in [-1/4, 0): a Taylor series of 4th order around -1/8."""
    x = a + (1 << 28)
    x2 = high_mul(x, x)
    x3 = high_mul(x2, x)
    x4_over_4 = rounding_divide_by_pot(high_mul(x2, x2), 2)
    higher = rounding_divide_by_pot(high_mul(x4_over_4 + x3, _ONE_THIRD) + x2, 1)
    return _EXP_MINUS_EIGHTH + high_mul(_EXP_MINUS_EIGHTH, x + higher)


def _two_over_one_plus(x: np.ndarray) -> np.ndarray:
    """2 / (1 + x) for x in [0, 1] with 0 integer bits; the result has 2. Three Newton-Raphson steps."""
    half_denominator = (x + INT32_MAX + 1) >> 1
    result = _48_OVER_17 + high_mul(half_denominator, -_32_OVER_17)  # a tie goes up, so that the sign belongs inside
    for _ in range(3):
        error = _ONE_Q2 - high_mul(half_denominator, result)
        result = result + _shift_left_saturating(high_mul(result, error), 2)
    return result


def one_over_one_plus(x: np.ndarray) -> np.ndarray:
    """1 / (1 + x).

    Args:
        x: raw values with 0 integer bits, 0 or positive.
    Returns:
        Raw values with 0 integer bits.
    """
    return _shift_left_saturating(_two_over_one_plus(np.asarray(x, np.int64)), 1)


def logistic(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """Logistic function, 1 / (1 + exp(-x)).

    Args:
        x: raw values.
        integer_bits: of x.
    Returns:
        Raw values with 0 integer bits.
    """
    x = np.asarray(x, np.int64)
    positive = one_over_one_plus(exp_on_negative_values(-np.abs(x), integer_bits))
    return np.where(x == 0, 1 << 30, np.where(x > 0, positive, INT32_MAX - positive))


def tanh(x: np.ndarray, integer_bits: int) -> np.ndarray:
    """Hyperbolic tangent.

    Args:
        x: raw values.
        integer_bits: 0..4 of x.
    Returns:
        Raw values with 0 integer bits.
    """
    x = np.asarray(x, np.int64)
    # One integer bit more at the same raw value doubles x: tanh(x) = (1 - e) / (1 + e) with e = exp(-2 |x|).
    exponential = exp_on_negative_values(-np.abs(x), integer_bits + 1)
    positive = _shift_left_saturating(_two_over_one_plus(exponential) - _ONE_Q2, 2)
    return np.where(x == 0, 0, np.where(x > 0, positive, -positive))
