"""The integer arithmetic of TFLite's reference kernels, TFLite Micro and CMSIS-NN (default build), bit-exactly.

One requantization for all: saturating rounding doubling high multiply by a Q31 multiplier, then a rounding division by
a power of two. The first rounds ties up (towards plus infinity), the second half away from zero. Accumulators are int32
on the chip and int64 here; a left shift wraps at 32 bits like the kernels' does, other overflows are outside the
contract.

Source: gemmlowp, fixedpoint/fixedpoint.h; TFLite, kernels/internal/common.h and quantization_util.cc.
"""

from __future__ import annotations

import math

import numpy as np

from edgedet.numerics.affine import round_half_away

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
ACTIVATION_LIMITS: dict[str, tuple[float | None, float | None]] = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


def quantize_multiplier(real: float) -> tuple[int, int]:
    """Write a real multiplier as multiplier * 2^(shift - 31).

    Args:
        real: >= 0 (negative only for LEAKY_RELU's slope), finite; as a double.
    Returns:
        (multiplier in 2^30..2^31-1 or 0, shift: positive to the left, at least -31).
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    # |fraction| is below 1, so the product has at most 53 bits: exact, and rounding it is too.
    scaled = fraction * 2.0**31
    multiplier = int(math.copysign(math.floor(abs(scaled) + 0.5), scaled))
    if abs(multiplier) == 2**31:
        multiplier //= 2
        shift += 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def quantize_multipliers(reals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`quantize_multiplier` over an array.

    Returns:
        (multipliers, shifts), int64, same shape.
    """
    pairs = np.array([quantize_multiplier(float(real)) for real in np.ravel(reals)], np.int64).reshape(-1, 2)
    return pairs[:, 0].reshape(np.shape(reals)), pairs[:, 1].reshape(np.shape(reals))


def reduce_multiplier(multiplier: np.ndarray | int) -> np.ndarray:
    """Q31 multiplier rounded to Q15, ties up; what would not fit saturates.

    Args:
        multiplier: from `quantize_multiplier`, 0 or 2^30..2^31-1.
    Returns:
        int64, 0 or 2^14..2^15-1.
    """
    multiplier = np.asarray(multiplier, np.int64)
    return np.where(multiplier < 0x7FFF0000, (multiplier + (1 << 15)) >> 16, 0x7FFF)


def saturating_rounding_doubling_high_mul(a: np.ndarray | int, b: np.ndarray | int) -> np.ndarray:
    """High half of 2 * a * b: (a * b * 2) / 2^32, rounded to nearest, ties up; -2^31 * -2^31 saturates.

    Args:
        a, b: int32 values in int64 (or Python int), broadcasting.
    Returns:
        int64 array of int32 values.
    """
    product = np.asarray(a, np.int64) * np.asarray(b, np.int64)
    result: np.ndarray = np.minimum((product + (1 << 30)) >> 31, INT32_MAX)
    return result


def rounding_divide_by_pot(x: np.ndarray | int, exponent: np.ndarray | int) -> np.ndarray:
    """Divide by a power of two: x / 2^exponent, rounded to nearest, ties away from zero.

    Args:
        x: integers in int64.
        exponent: 0..31, broadcasting.
    """
    x = np.asarray(x, np.int64)
    exponent = np.asarray(exponent, np.int64)
    half = (np.int64(1) << exponent) >> 1
    magnitude = (np.abs(x) + half) >> exponent
    result: np.ndarray = np.where(x < 0, -magnitude, magnitude)
    return result


def multiply_by_quantized_multiplier(
    x: np.ndarray | int, multiplier: np.ndarray | int, shift: np.ndarray | int
) -> np.ndarray:
    """Scale: x * multiplier * 2^(shift - 31), with the double rounding of the reference kernels.

    Args:
        x: int32 values in int64.
        multiplier: Q31, from `quantize_multiplier`.
        shift: positive: x is shifted left first; negative: the product is divided after.
    Returns:
        int64 array, broadcast shape.
    """
    shift = np.asarray(shift, np.int64)
    left = np.maximum(shift, 0)
    shifted = np.asarray(x, np.int64) << left
    if left.any():
        shifted = ((shifted - INT32_MIN) & 0xFFFFFFFF) + INT32_MIN
    return rounding_divide_by_pot(saturating_rounding_doubling_high_mul(shifted, multiplier), left - shift)


def requantize(
    accumulator: np.ndarray,
    multiplier: np.ndarray | int,
    shift: np.ndarray | int,
    zero_point: int,
    low: int = -128,
    high: int = 127,
) -> np.ndarray:
    """Accumulators to int8: clip(multiply_by_quantized_multiplier(acc) + zero_point, low, high).

    Args:
        accumulator: integers, last axis channels when the multiplier is per channel.
        multiplier, shift: scalar or (channels,).
        zero_point: of the output.
        low, high: activation range, from `activation_range`.
    Returns:
        int8, same shape.
    """
    scaled = multiply_by_quantized_multiplier(accumulator, multiplier, shift)
    result: np.ndarray = np.clip(scaled + zero_point, low, high).astype(np.int8)
    return result


def activation_range(
    activation: str, scale: float, zero_point: int, low: int = -128, high: int = 127
) -> tuple[int, int]:
    """Codes between which a fused activation clamps.

    Args:
        activation: NONE, RELU, RELU6, RELU_N1_TO_1.
        scale: of the output; used as float32, as the kernels do.
        zero_point: of the output.
        low, high: range of the type.
    Returns:
        (smallest, largest) code.
    """
    below, above = ACTIVATION_LIMITS[activation]

    def code(limit: float) -> int:
        return zero_point + int(round_half_away(np.array(np.float32(limit) / np.float32(scale))))

    return (low if below is None else max(low, code(below)), high if above is None else min(high, code(above)))


def mean_multiplier(real: float, count: int) -> tuple[int, int]:
    """Multiplier of MEAN: the scale ratio with 1 / count folded in.

    Args:
        real: input scale / output scale, as a double.
        count: elements that are averaged, >= 1.
    Returns:
        (multiplier, shift) for `multiply_by_quantized_multiplier`.
    Source: TFLite, kernels/internal/reference/reduce.h.
    """
    multiplier, shift = quantize_multiplier(real)
    fold = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << fold) // count, shift - fold


def rounded_average(total: np.ndarray, count: np.ndarray | int) -> np.ndarray:
    """AVERAGE_POOL_2D's division: total / count, rounded to nearest, ties away from zero.

    Args:
        total: sums of raw codes (zero points included), integers.
        count: elements in each sum, >= 1, broadcasting.
    Returns:
        int64.
    """
    total = np.asarray(total, np.int64)
    magnitude = (np.abs(total) + np.asarray(count) // 2) // count
    result: np.ndarray = np.where(total < 0, -magnitude, magnitude)
    return result
