"""Arithmetic of operators whose activations are int16: symmetric (zero point 0), weights int8, biases int64.

Convolutions sum in int64 and round once, with a multiplier of 16 bits; the others use the 32-bit requantization of
`integer.py`. TFLite's reference kernels and TFLite Micro agree on every result unless a docstring says otherwise.
"""

from __future__ import annotations

import math

import numpy as np

from edgedet.errors import UnsupportedOpError
from edgedet.numerics.integer import (
    INT32_MIN,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    reduce_multiplier,
)
from edgedet.numerics.tables import Params

INT16_MIN, INT16_MAX = -(2**15), 2**15 - 1
CODES = np.arange(2**16, dtype=np.uint16).view(np.int16).astype(np.int64)  # code of each pair of bytes: 0.., -32768..
LOGISTIC_OUTPUT: Params = (1 / 32768, 0)
MAX_SHIFT = 14  # of a convolution's multiplier to the left: the kernels' single right shift needs one bit at least
_EXACT = 2.0**53  # float64 holds every integer up to here
_ADD_SHIFT = 15  # bits by which ADD and SUB scale their inputs up
# From input scale to the table of LOGISTIC: 24 entries per unit of the input, 512 steps between two entries.
_STEPS_PER_UNIT = 24 * 512
_STEPS_PER_ENTRY = 512


def requantize_wide(
    accumulator: np.ndarray,
    multiplier: np.ndarray | int,
    shift: np.ndarray | int,
    low: int = INT16_MIN,
    high: int = INT16_MAX,
) -> np.ndarray:
    """int64 accumulators of a convolution to int16, with one rounding, ties up.

    Args:
        accumulator: int64 inside -2^47..2^47-1, last axis channels when the multiplier is per channel.
        multiplier, shift: from `quantize_multiplier`, scalar or (channels,); shift at most `MAX_SHIFT`.
        low, high: activation range, from `activation_range`.
    Returns:
        int16, same shape. A product beyond int32 wraps before the clamp, as in the kernels.
    Source: TFLite, kernels/internal/common.cc, MultiplyByQuantizedMultiplier of an int64.
    """
    right = 15 - np.asarray(shift, np.int64)
    half = np.int64(1) << (right - 1)
    scaled = (np.asarray(accumulator, np.int64) * reduce_multiplier(multiplier) + half) >> right
    wrapped = ((scaled - INT32_MIN) & 0xFFFFFFFF) + INT32_MIN
    result: np.ndarray = np.clip(wrapped, low, high).astype(np.int16)
    return result


class WideRequantizer:
    """Accumulators of one layer to int16: `requantize_wide(accumulator + bias)`.

    The formula is evaluated in float64 where every intermediate value is an integer below 2^53 times a power of two,
    hence exact, and no result reaches 2^31; other layers are computed in int64.
    """

    def __init__(
        self, multiplier: np.ndarray, shift: np.ndarray, bias: np.ndarray, limits: tuple[int, int], reach: np.ndarray
    ) -> None:
        """Prepare the constants.

        Args:
            multiplier, shift: int64 (channels,), from `quantize_multipliers`; shift at most `MAX_SHIFT`.
            bias: int64 (channels,).
            limits: (smallest, largest) output code.
            reach: int64 (channels,), largest absolute accumulator that can occur.
        """
        self.multiplier, self.shift, self.bias, self.limits = multiplier, shift, bias, limits
        reduced = reduce_multiplier(multiplier).astype(np.float64)
        unit = 2.0 ** (shift - 15.0)
        largest = (reach + np.abs(bias.astype(np.float64))) * reduced
        self.exact = bool((largest + 0.5 / unit < _EXACT).all() and (largest * unit + 1 < -INT32_MIN).all())
        self._scale = reduced * unit
        self._start = bias * self._scale + 0.5

    def __call__(self, accumulator: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
        """Requantize.

        Args:
            accumulator: float32 or float64 (rows, channels), integral, C-contiguous.
            out: int16 (rows, channels), written.
            scratch: float64 (rows, channels), overwritten.
        """
        if not self.exact:
            total = accumulator.astype(np.int64) + self.bias
            out[...] = requantize_wide(total, self.multiplier, self.shift, *self.limits)
            return
        np.multiply(accumulator, self._scale, out=scratch)
        scratch += self._start
        np.clip(scratch, *self.limits, out=scratch)  # the limits are integers: clamping before the floor is the same
        if self.limits[0] < 0:
            np.floor(scratch, out=scratch)
        np.copyto(out, scratch, casting="unsafe")  # truncates


def rescale(x: np.ndarray, multiplier: int, shift: int) -> None:
    """`multiply_by_quantized_multiplier` in place, with fewer passes.

    Args:
        x: int32 values in int64, overwritten.
        multiplier, shift: from `quantize_multiplier` of a positive number.
    """
    if shift > 0:
        x[...] = multiply_by_quantized_multiplier(x, multiplier, shift)
        return
    x *= multiplier
    x += 1 << 30
    x >>= 31
    if shift < 0:
        # Half away from zero: a negative tie must stay below the half that the shift rounds down from.
        negative = x >> 63
        x += (1 << -shift) >> 1
        x += negative
        x >>= -shift


def requantize_table(source: Params, target: Params, wide: bool) -> np.ndarray:
    """QUANTIZE from int16.

    Args:
        source, target: (scale, zero point).
        wide: the target is int16, else int8.
    Returns:
        int16 or int8 (65536,), indexed by the code as uint16.
    """
    multiplier, shift = quantize_multiplier(source[0] / target[0])
    codes = multiply_by_quantized_multiplier(CODES - source[1], multiplier, shift) + target[1]
    limits = np.iinfo(np.int16 if wide else np.int8)
    result: np.ndarray = np.clip(codes, limits.min, limits.max).astype(limits.dtype)
    return result


def widen_table(source: Params, target: Params) -> np.ndarray:
    """QUANTIZE from int8 to int16.

    Args:
        source, target: (scale, zero point).
    Returns:
        int16 (256,), indexed by the byte of the code.
    """
    codes = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int64)
    multiplier, shift = quantize_multiplier(source[0] / target[0])
    scaled = multiply_by_quantized_multiplier(codes - source[1], multiplier, shift) + target[1]
    result: np.ndarray = np.clip(scaled, INT16_MIN, INT16_MAX).astype(np.int16)
    return result


def logistic_table(scale: float) -> np.ndarray:
    """LOGISTIC by interpolation between 256 values of the function; the output is fixed at scale 1/32768.

    Args:
        scale: of the input.
    Returns:
        int16 (65536,), indexed by the code as uint16.
    Raises:
        UnsupportedOpError: as `logistic_constants`.
    Source: TFLite, kernels/activations.cc and internal/reference/integer_ops/logistic.h.
    """
    multiplier, shift = logistic_constants(scale)
    half = (1 << shift) >> 1
    steps = (CODES * multiplier + half) >> shift
    entry, fraction = np.divmod(np.abs(steps), _STEPS_PER_ENTRY)
    values = logistic_entries()
    below, above = values[np.minimum(entry, 254)], values[np.minimum(entry, 254) + 1]
    height = below * _STEPS_PER_ENTRY + fraction * (above - below)  # 25 bits; a result has 15
    height = np.where(entry >= 255, INT16_MAX << 10, height)
    return (np.where(steps >= 0, height + 512, (1 << 25) - height + 511) >> 10).astype(np.int16)


def logistic_constants(scale: float) -> tuple[int, int]:
    """(multiplier, shift): a code times multiplier * 2^-shift is its place in steps of `logistic_table`.

    Args:
        scale: of the input.
    Raises:
        UnsupportedOpError: the scale is so large that the kernels' 32-bit products would overflow.
    """
    real, shift = scale * _STEPS_PER_UNIT, 0
    if are_powers_of_two((scale,)) and round(math.log2(scale)) == -12:
        real = 3.0  # the kernels take every scale this near to 2^-12 for it
    while real <= INT16_MAX / 2 and shift <= 30:
        real, shift = real * 2.0, shift + 1
    multiplier = int(real)
    if multiplier > 2 * INT16_MAX:
        raise UnsupportedOpError(f"LOGISTIC: int16 input scale {scale} is too large, it must be below 5.3")
    return multiplier, shift


def logistic_entries() -> np.ndarray:
    """Support values of the interpolation at 0, 1/24, 2/24, ... in units of 2^-16: int64 (256,).

    The logistic function is concave here, so that a chord lies below it, by up to width^2 / 8 * |second derivative| in
    the middle. Every support is raised by half of that, which halves the largest error. This rule gives the kernels'
    table: it was checked on 99.98 % of all steps (the others are reached by no input scale that was tried).
    """
    width = 1 / 24
    value = 1.0 / (1.0 + np.exp(-width * np.arange(256)))
    second_derivative = value * (1.0 - value) * (1.0 - 2.0 * value)
    result: np.ndarray = np.round(2**16 * (value - width**2 / 16 * second_derivative)).astype(np.int64)
    return result


def add_constants(first: float, second: float, target: float, sign: int = 1) -> tuple[np.ndarray, np.ndarray, int, int]:
    """ADD, or SUB with sign -1.

    The sum of a value of each table, scaled by the multiplier, is the result before the clamp.

    Args:
        first, second, target: scales.
        sign: of the second input.
    Returns:
        (table of the first input, table of the second, multiplier, shift): int32 (65536,) indexed by the code as
        uint16, and a pair for `rescale`.
    Raises:
        UnsupportedOpError: the output scale is so small that the kernels refuse it.
    Source: TFLite, kernels/add.cc and internal/reference/add.h.
    """
    twice_max = 2.0 * max(first, second)
    real_output = twice_max / (2.0**_ADD_SHIFT * target)
    if real_output >= 1.0:
        raise UnsupportedOpError(f"ADD/SUB: output scale {target} is too small for input scales {first} and {second}")
    scaled = [
        multiply_by_quantized_multiplier(CODES << _ADD_SHIFT, *quantize_multiplier(scale / twice_max))
        for scale in (first, second)
    ]
    # At most 2^29 each: a table and the sum of two fit int32.
    return scaled[0].astype(np.int32), (sign * scaled[1]).astype(np.int32), *quantize_multiplier(real_output)


def are_powers_of_two(scales: tuple[float, ...]) -> bool:
    """True when TFLite takes all these for powers of two: ADD, SUB (with pot_scale_int16) and LOGISTIC have a way of
    their own for some of them.

    Args:
        scales: of the tensors.
    Source: TFLite, kernels/internal/quantization_util.cc, CheckedLog2: a logarithm within 0.001 of an integer counts.
    """
    logarithms = [math.log2(scale) for scale in scales]
    return all(abs(value - round(value)) < 1e-3 for value in logarithms)
