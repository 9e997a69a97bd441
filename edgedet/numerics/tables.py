"""int8 operators as tables: 256 entries for one input, 256 x 256 for two, built with the reference integer algorithms.

A table is indexed by the bytes of the codes (uint8 views of int8), so that a lookup is one memory access and exact by
construction. All are TFLite Micro's. TFLite's reference kernels agree on every entry unless a docstring says otherwise.
"""

from __future__ import annotations

import math

import numpy as np

from edgedet.errors import UnsupportedOpError
from edgedet.numerics import fixed_point
from edgedet.numerics.integer import (
    activation_range,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    reduce_multiplier,
    rounding_divide_by_pot,
)

CODES = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int64)  # code of each byte: 0..127, -128..-1

Params = tuple[float, int]  # (scale as a float32 value, zero point) of a tensor


def _int8(values: np.ndarray, low: int = -128, high: int = 127) -> np.ndarray:
    result: np.ndarray = np.clip(values, low, high).astype(np.int8)
    return result


def requantize_bytes_table(source: Params, target: Params, dtypes: tuple[str, str]) -> np.ndarray:
    """QUANTIZE between types of 8 bits.

    Args:
        source, target: (scale, zero point).
        dtypes: of source and target, int8 or uint8.
    Returns:
        Codes of the target's type (256,), indexed by the byte of the source's.
    """
    codes = CODES if dtypes[0] == "int8" else CODES & 0xFF
    limits = np.iinfo(dtypes[1])
    multiplier, shift = quantize_multiplier(source[0] / target[0])
    result = multiply_by_quantized_multiplier(codes - source[1], multiplier, shift) + target[1]
    value: np.ndarray = np.clip(result, limits.min, limits.max).astype(dtypes[1])
    return value


def requantize_table(source: Params, target: Params, low: int = -128, high: int = 127) -> np.ndarray:
    """QUANTIZE from int8 to int8.

    Args:
        source, target: (scale, zero point).
        low, high: codes to clamp to.
    Returns:
        int8 (256,).
    """
    multiplier, shift = quantize_multiplier(source[0] / target[0])
    return _int8(multiply_by_quantized_multiplier(CODES - source[1], multiplier, shift) + target[1], low, high)


def relu_table(source: Params, target: Params, activation: str = "RELU") -> np.ndarray:
    """RELU (and RELU6, RELU_N1_TO_1) as an operator of its own.

    The scale ratio is a float32 division, as in the kernels. TFLite Micro's RELU6 does not rescale, so a caller must
    make sure that source and target are equal there.

    Returns:
        int8 (256,).
    """
    multiplier, shift = quantize_multiplier(float(np.float32(source[0]) / np.float32(target[0])))
    low, high = activation_range(activation, *target)
    return _int8(multiply_by_quantized_multiplier(CODES - source[1], multiplier, shift) + target[1], low, high)


def leaky_relu_table(source: Params, target: Params, alpha: float) -> np.ndarray:
    """LEAKY_RELU; products and ratios in float32, as in the kernels.

    Args:
        source, target: (scale, zero point).
        alpha: slope below zero; a negative one is applied as the positive one's negative.
    Returns:
        int8 (256,).
    """
    scale_in, scale_out = np.float32(source[0]), np.float32(target[0])
    x = CODES - source[1]
    above = multiply_by_quantized_multiplier(x, *quantize_multiplier(float(scale_in / scale_out)))
    slope = scale_in * np.float32(alpha) / scale_out
    below = multiply_by_quantized_multiplier(x, *quantize_multiplier(float(abs(slope))))
    return _int8(np.where(x >= 0, above, -below if slope < 0 else below) + target[1])


def prelu_table(source: Params, alpha: Params, target: Params) -> np.ndarray:
    """PRELU; ratios in double, unlike LEAKY_RELU's.

    Args:
        source, alpha, target: (scale, zero point).
    Returns:
        int8 (256, 256), indexed [input, alpha].
    """
    x, slope = (CODES - source[1])[:, None], (CODES - alpha[1])[None, :]
    above = multiply_by_quantized_multiplier(x, *quantize_multiplier(source[0] / target[0]))
    below = multiply_by_quantized_multiplier(x * slope, *quantize_multiplier(source[0] * alpha[0] / target[0]))
    return _int8(np.where(x >= 0, above, below) + target[1])


def abs_table(source: Params, target: Params) -> np.ndarray:
    """ABS; the ratio is a float32 division, and nothing is scaled where both scales are the same.

    Args:
        source, target: (scale, zero point).
    Returns:
        int8 (256,).
    """
    x = np.abs(CODES - source[1])
    if source[0] != target[0]:
        multiplier, shift = quantize_multiplier(float(np.float32(source[0]) / np.float32(target[0])))
        x = multiply_by_quantized_multiplier(x, multiplier, shift)
    return _int8(x + target[1])


def _fixed_point_input(source: Params) -> tuple[np.ndarray, int]:
    """(raw values with 4 integer bits, radius of the inputs that they can hold) for LOGISTIC and TANH."""
    multiplier, shift = quantize_multiplier(source[0] * 2.0**27)
    radius = math.floor(15 * 2.0**27 / 2.0**shift)
    x = np.clip(CODES - source[1], -radius, radius)  # beyond it the result is saturated anyway
    return multiply_by_quantized_multiplier(x, multiplier, shift), radius


def logistic_table(source: Params) -> np.ndarray:
    """LOGISTIC in gemmlowp's fixed point; the output is fixed at scale 1/256, zero point -128.

    LiteRT 2.3.0's reference kernel differs by 1 in 20 of 3,840,000 codes, where the exact result is close to a tie.

    Args:
        source: (scale, zero point) of the input.
    Returns:
        int8 (256,).
    """
    raw, radius = _fixed_point_input(source)
    result = rounding_divide_by_pot(fixed_point.logistic(raw, 4), 23) - 128
    x = CODES - source[1]
    return np.where(x <= -radius, -128, np.where(x >= radius, 127, _int8(result))).astype(np.int8)


def tanh_table(source: Params) -> np.ndarray:
    """TANH in gemmlowp's fixed point; the output is fixed at scale 1/128, zero point 0.

    Args:
        source: (scale, zero point) of the input.
    Returns:
        int8 (256,).
    """
    raw, radius = _fixed_point_input(source)
    result = rounding_divide_by_pot(fixed_point.tanh(raw, 4), 24)
    x = CODES - source[1]
    return np.where(x <= -radius, -128, np.where(x >= radius, 127, _int8(result))).astype(np.int8)


def _multiplier_int16(real: float) -> tuple[int, int]:
    multiplier, shift = quantize_multiplier(real)
    return int(reduce_multiplier(multiplier)), shift


def _int16(values: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.clip(values, -(2**15), 2**15 - 1)
    return result


def _high_mul_int16(a: np.ndarray, b: int) -> np.ndarray:
    return _int16((a * b + (1 << 14)) >> 15)


def hard_swish_table(source: Params, target: Params) -> np.ndarray:
    """HARD_SWISH in 16-bit fixed point.

    Args:
        source, target: (scale, zero point).
    Returns:
        int8 (256,).
    Raises:
        UnsupportedOpError: the output scale is below 1/128 of the input scale; the kernels refuse it too.
    Source: TFLite, kernels/internal/reference/hard_swish.h.
    """
    fine_scale = np.float32(1 / 128) * np.float32(source[0])
    out_multiplier, out_shift = _multiplier_int16(float(fine_scale / np.float32(target[0])))
    relu_multiplier, relu_shift = _multiplier_int16(float(fine_scale / np.float32(3.0 / 32768.0)))
    if out_shift > 0:
        raise UnsupportedOpError(f"HARD_SWISH: output scale {target[0]} is too small for input scale {source[0]}")
    fine = (CODES - source[1]) * 128
    unshifted = _high_mul_int16(fine, out_multiplier)
    gate = _int16(fine << (relu_shift - 1)) if relu_shift > 0 else fine
    gate = _high_mul_int16(gate, relu_multiplier)
    if relu_shift > 0:
        gate = _int16(gate << 1)
    elif relu_shift < 0:
        gate = rounding_divide_by_pot(gate, -relu_shift)
    gate = (gate + (1 << 15)) >> 1
    product = np.trunc(gate * unshifted / 2.0**15).astype(np.int64)  # this one product rounds towards zero
    return _int8(rounding_divide_by_pot(product, -out_shift) + target[1])


def add_table(first: Params, second: Params, target: Params, activation: str = "NONE", sign: int = 1) -> np.ndarray:
    """ADD, or SUB with sign -1.

    Both inputs are shifted left by 20 bits and scaled to twice the larger input scale before they are added.

    Args:
        first, second, target: (scale, zero point).
        activation: fused.
        sign: of the second input.
    Returns:
        int8 (256, 256), indexed [first, second].
    Raises:
        UnsupportedOpError: the output scale is so small that the kernels refuse it.
    Source: TFLite, kernels/add.cc and internal/reference/integer_ops/add.h.
    """
    twice_max = 2.0 * max(first[0], second[0])
    real_output = twice_max / (2.0**20 * target[0])
    if real_output >= 1.0:
        raise UnsupportedOpError(
            f"ADD/SUB: output scale {target[0]} is too small for input scales {first[0]} and {second[0]}"
        )
    scaled = [
        multiply_by_quantized_multiplier((CODES - zero_point) << 20, *quantize_multiplier(scale / twice_max))
        for scale, zero_point in (first, second)
    ]
    total = scaled[0][:, None] + sign * scaled[1][None, :]
    low, high = activation_range(activation, *target)
    return _int8(multiply_by_quantized_multiplier(total, *quantize_multiplier(real_output)) + target[1], low, high)


def mul_table(first: Params, second: Params, target: Params, activation: str = "NONE") -> np.ndarray:
    """MUL.

    Args:
        first, second, target: (scale, zero point).
        activation: fused.
    Returns:
        int8 (256, 256), indexed [first, second].
    """
    product = (CODES - first[1])[:, None] * (CODES - second[1])[None, :]
    multiplier, shift = quantize_multiplier(first[0] * second[0] / target[0])
    low, high = activation_range(activation, *target)
    return _int8(multiply_by_quantized_multiplier(product, multiplier, shift) + target[1], low, high)
