"""Affine quantization: real = (q - zero_point) * scale. The oracle for every other place that quantizes.

Tie rule: half away from zero, as TFLite's QUANTIZE. Clip range: given by the caller, int8 unless told otherwise.
"""

from __future__ import annotations

import numpy as np

INT8_MIN, INT8_MAX = -128, 127
WEIGHT_MAX = 127  # weights are -127..127 (narrow range), so that negation never overflows


def round_half_away(values: np.ndarray) -> np.ndarray:
    """Round to the nearest integer, ties away from zero.

    Args:
        values: float array, finite.
    Returns:
        Same shape and dtype, integral; exact for every float, unlike trunc(x + 0.5).
    """
    values = np.asarray(values)
    whole = np.trunc(values)
    result: np.ndarray = whole + np.where(np.abs(values - whole) >= 0.5, np.copysign(1, values), 0).astype(values.dtype)
    return result


def quantize(
    values: np.ndarray,
    scale: np.ndarray | float,
    zero_point: np.ndarray | int = 0,
    low: int = INT8_MIN,
    high: int = INT8_MAX,
) -> np.ndarray:
    """Quantize as TFLite does: clip(round_half_away(float32(value) / float32(scale)) + zero_point, low, high).

    Args:
        values: float array of any shape.
        scale: positive; scalar, or broadcasting against `values` (per channel).
        zero_point: integer, broadcasting alike.
        low: smallest code.
        high: largest code.
    Returns:
        int8 when low..high lies inside int8, else int32; same shape as `values`.
    """
    ratio = np.asarray(values, np.float32) / np.asarray(scale, np.float32)
    # Clip before the integer conversion: a float beyond int64 would wrap.
    codes = round_half_away(np.clip(ratio, -(2.0**31), 2.0**31)).astype(np.int64) + np.asarray(zero_point, np.int64)
    inside_int8 = low >= INT8_MIN and high <= INT8_MAX
    return np.clip(codes, low, high).astype(np.int8 if inside_int8 else np.int32)


def quantize_border(values: np.ndarray, scale: float, zero_point: int, dtype: str) -> np.ndarray:
    """QUANTIZE of a float tensor, every float included.

    The kernels convert value / scale to int32 before they clip; where that overflows, and for NaN, their result depends
    on the processor. Here and in the generated C such values saturate, and NaN becomes the zero point.

    Args:
        values: float32 of any shape.
        scale: positive.
        zero_point: a code of the type.
        dtype: int8 or int16.
    Returns:
        Codes of this type, same shape.
    Source: TFLite, kernels/internal/reference/quantize.h, AffineQuantize.
    """
    limits = np.iinfo(dtype)
    with np.errstate(over="ignore"):  # a huge value over a small scale is infinite, and saturates
        known = np.where(np.isnan(values), np.float32(0), values)
        return quantize(known, scale, zero_point, int(limits.min), int(limits.max)).astype(dtype)


def exp_float32(values: np.ndarray) -> np.ndarray:
    """e^value, float32, rounded to nearest: NumPy's own float32 function is off by up to 2 units in the last place.

    Args:
        values: float32 of any shape; beyond 88.7 the result is infinite.
    """
    with np.errstate(over="ignore"):
        return np.exp(values.astype(np.float64)).astype(np.float32)


def dequantize(codes: np.ndarray, scale: np.ndarray | float, zero_point: np.ndarray | int = 0) -> np.ndarray:
    """Real values of codes, float32: (q - zero_point) * scale.

    Args:
        codes: integer array.
        scale: positive; scalar or broadcasting.
        zero_point: integer, broadcasting alike.
    """
    offset = np.asarray(codes, np.int32) - np.asarray(zero_point, np.int32)
    return offset.astype(np.float32) * np.asarray(scale, np.float32)


def choose_affine(low: float, high: float, q_low: int = INT8_MIN, q_high: int = INT8_MAX) -> tuple[float, int]:
    """Scale and zero point that cover [low, high] and represent 0 exactly.

    Args:
        low: smallest real value seen; taken as 0 when above it.
        high: largest; taken as 0 when below it.
        q_low: smallest code.
        q_high: largest code.
    Returns:
        (scale, zero_point): scale is a float32 value, positive; zero_point in q_low..q_high. An empty range gives
        (1.0, code nearest to 0).
    Raises:
        ValueError: a bound is not finite, or low > high.
    """
    if not (np.isfinite(low) and np.isfinite(high)) or low > high:
        raise ValueError(f"the range [{low}, {high}] must be finite and ordered")
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = float(np.float32((high - low) / (q_high - q_low)))
    if scale < float(np.finfo(np.float32).tiny):
        return 1.0, min(max(0, q_low), q_high)
    zero_point = int(round_half_away(np.array(q_low - low / scale)))
    return scale, min(max(zero_point, q_low), q_high)
