"""SOFTMAX of int8 in 32-bit fixed point, as TFLite Micro computes it.

LiteRT takes another algorithm for int8, with a table of floats; its codes can differ by 1.
"""

from __future__ import annotations

import math

import numpy as np

from edgedet.errors import UnsupportedOpError
from edgedet.numerics import fixed_point
from edgedet.numerics.integer import quantize_multiplier, rounding_divide_by_pot, saturating_rounding_doubling_high_mul

INTEGER_BITS = 5  # of a scaled difference
SUM_INTEGER_BITS = 12  # of the sum of exponentials
MAX_DEPTH = 2**SUM_INTEGER_BITS - 1  # values of a row whose sum always fits
OUTPUT = (1 / 256, -128)  # (scale, zero point) of the output, fixed


def exponentials(scale: float, beta: float) -> np.ndarray:
    """exp(-beta * scale * d) for every difference d of a code to the largest one of its row.

    Args:
        scale: of the input.
        beta: factor of the differences, > 0.
    Returns:
        int64 (256,), raw values with 0 integer bits; 0 where the kernels leave a code out.
    Raises:
        UnsupportedOpError: the product of beta and the scale is so small that the kernels refuse it.
    """
    real = min(float(np.float32(beta)) * scale * 2.0 ** (31 - INTEGER_BITS), 2.0**31 - 1.0)
    if not real > 1.0:
        raise UnsupportedOpError(f"SOFTMAX: input scale {scale} with beta {beta} is too small")
    multiplier, shift = quantize_multiplier(real)
    radius = math.floor((2**INTEGER_BITS - 1) * 2.0 ** (31 - INTEGER_BITS) / 2.0**shift)
    difference = -np.arange(256, dtype=np.int64)
    known = np.maximum(difference, -radius)
    scaled = saturating_rounding_doubling_high_mul(known << shift, multiplier)
    values = fixed_point.exp_on_negative_values(scaled, INTEGER_BITS)
    return np.where(difference >= -radius, values, 0)


def softmax(codes: np.ndarray, exps: np.ndarray) -> np.ndarray:
    """SOFTMAX along the last axis.

    Args:
        codes: int8 (..., depth), depth at most `MAX_DEPTH`.
        exps: from `exponentials`.
    Returns:
        int8, same shape, of scale and zero point `OUTPUT`. Where the exponentials of a row sum up to 512, TFLite
        Micro shifts by more bits than an int32 has; here such rows are -128, as the formula says.
    """
    wide = codes.astype(np.int64)
    values = exps[wide.max(axis=-1, keepdims=True) - wide]
    total = rounding_divide_by_pot(values, SUM_INTEGER_BITS).sum(axis=-1, keepdims=True)
    # The sum is at least 1: it has this many bits above those of 1, and the rest is x of 1 + x in [1, 2).
    bits = np.floor(np.log2(total)).astype(np.int64)
    x = (total << (31 - bits)) - 2**31
    scaled = saturating_rounding_doubling_high_mul(fixed_point.one_over_one_plus(x), values)
    over_unit = bits - (31 - SUM_INTEGER_BITS)
    result: np.ndarray = np.clip(rounding_divide_by_pot(scaled, over_unit + 23) - 128, -128, 127).astype(np.int8)
    return result
