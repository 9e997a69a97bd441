"""From ranges and weights to scales, zero points and integer codes: NumPy only, float64 inside, float32 scales out.

The float32 scale that these functions return is the one that torch's fake quantization uses and the one that stands in
the file; nothing is rounded twice. Ties: half away from zero. Source: TFLite's int8 quantization specification.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgedet.contracts import PreprocessSpec
from edgedet.errors import ConversionError
from edgedet.numerics.affine import WEIGHT_MAX, choose_affine, round_half_away

QMIN, QMAX = -128, 127
LIMITS = {8: (QMIN, QMAX), 16: (-32768, 32767)}  # bits -> smallest and largest code of an activation
INT16_STEPS = 128  # int16 codes to one int8 code at a border: 255 of them stay inside int16, and no value changes
# A channel whose weights are all below this fraction of the layer's largest weight counts as dead: its output moves by
# less than 1/16 of the step of an 8-bit output that shows the largest channel. Its own tiny scale would push its bias
# out of int32.
DEAD_CHANNEL = 2.0**-12
_DEAD_LAYER = 1e-30  # largest weight; far below it float32 scales lose their precision
INT32_MAX = 2**31 - 1
ACCUMULATOR_MAX_16 = 2**47 - 1  # of 16x8 convolutions; TFLite, kernels/internal/common.h


@dataclass(frozen=True)
class AffineParams:
    """Per-tensor quantization, real = (q - zero_point) * scale: affine int8, or symmetric int16."""

    scale: np.float32  # > 0
    zero_point: int  # -128..127; 0 with 16 bits
    bits: int = 8  # or 16

    def __post_init__(self) -> None:
        low, high = (QMIN, QMAX) if self.bits == 8 else (0, 0)
        if not (np.isfinite(self.scale) and self.scale > 0 and low <= self.zero_point <= high):
            raise ConversionError(
                f"scale must be positive and zero point {low}..{high}, got {self.scale} and {self.zero_point}"
            )

    @property
    def widened(self) -> AffineParams:
        """int16 parameters that show every int8 code exactly; the same for parameters that are int16 already."""
        return self if self.bits == 16 else AffineParams(np.float32(self.scale / INT16_STEPS), 0, 16)


# The range 0..255/256 that TFLite prescribes for the output of LOGISTIC and SOFTMAX, and the one for TANH.
LOGISTIC_PARAMS = AffineParams(np.float32(1 / 256), QMIN)
TANH_PARAMS = AffineParams(np.float32(1 / 128), 0)
LOGISTIC_PARAMS_16 = AffineParams(np.float32(1 / 32768), 0, 16)
# 0..1 exactly, so that saturation is the upper clamp of the hard sigmoid.
UNIT_PARAMS = AffineParams(np.float32(1 / 255), QMIN)
UNIT_PARAMS_16 = AffineParams(np.float32(1 / 32767), 0, 16)


def affine_params(low: float, high: float, name: str, bits: int = 8) -> AffineParams:
    """Scale and zero point that show a range, widened to hold 0: 255 steps, or 32767 on either side of 0.

    Args:
        low: smallest value.
        high: largest value.
        name: layer, for the error.
        bits: 8, or 16 for symmetric int16.
    Returns:
        The parameters; 0 is exactly a code.
    Raises:
        ConversionError: not finite, reversed, or nothing but 0.
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ConversionError(
            f"{name}: its values range from {low} to {high}, expected finite numbers; "
            "the checkpoint or the calibration images are broken"
        )
    if low > high:
        raise ConversionError(
            f"{name}: no values were observed (range {low}..{high}); calibrate with at least one image"
        )
    if max(high, -low) / (QMAX - QMIN) < np.finfo(np.float32).tiny:
        raise ConversionError(
            f"{name}: its values are all 0 over the calibration images (range {low}..{high}), so no scale shows them; "
            "the layer is dead: train on, or calibrate with more and other images"
        )
    if bits == 16:
        return AffineParams(np.float32(max(high, -low) / LIMITS[16][1]), 0, 16)
    scale, zero_point = choose_affine(low, high)
    return AffineParams(np.float32(scale), zero_point)


def input_params(spec: PreprocessSpec) -> AffineParams:
    """Parameters of the network's input: exactly the range that pixels 0..255 can reach after normalization.

    Args:
        spec: preprocessing contract.
    Returns:
        The parameters; with mean 0 and std 255 scale 1/255 and zero point -128, so that the code is pixel - 128.
    """
    ends = [(pixel - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True) for pixel in (0.0, 255.0)]
    return affine_params(min(ends), max(ends), "network input")


def weight_scales(weight: np.ndarray, name: str) -> np.ndarray:
    """Symmetric scale of each output channel.

    Args:
        weight: float32 (O, ...).
        name: layer, for the error.
    Returns:
        float32 (O,), > 0: largest absolute weight / 127; a dead channel gets `DEAD_CHANNEL` of the layer's largest.
    Raises:
        ConversionError: a weight is NaN or infinite.
    """
    check_finite(weight, f"{name}.weight")
    largest = np.abs(weight.astype(np.float64)).reshape(len(weight), -1).max(axis=1)
    # A wholly dead layer shows nothing but its bias; any scale does, and about 1 keeps the bias inside int32.
    floor = largest.max() * DEAD_CHANNEL if largest.max() > _DEAD_LAYER else 1.0
    result: np.ndarray = (np.maximum(largest, floor) / WEIGHT_MAX).astype(np.float32)
    return result


def weight_codes(weight: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """int8 (O, ...), -127..127: weights divided by their channel's scale, rounded half away from zero.

    Args:
        weight: float32 (O, ...).
        scales: float32 (O,).
    """
    steps = weight.astype(np.float64) / scales.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1))
    result: np.ndarray = np.clip(round_half_away(steps), -WEIGHT_MAX, WEIGHT_MAX).astype(np.int8)
    return result


def bias_scales(input_scale: np.float32, scales: np.ndarray) -> np.ndarray:
    """float32 (O,): input scale times weight scale, multiplied in float64 and rounded once."""
    return (np.float64(input_scale) * scales.astype(np.float64)).astype(np.float32)


def bias_codes(bias: np.ndarray, scales: np.ndarray, codes: np.ndarray, name: str, bits: int = 8) -> np.ndarray:
    """Codes of a bias: int32, or int64 where the activations are int16.

    Args:
        bias: float32 (O,).
        scales: float32 (O,), of the bias.
        codes: int8 (O, ...), weight codes; decide how far the accumulator moves away from the bias.
        name: layer, for the error.
        bits: of the activations that the layer reads, 8 or 16.
    Returns:
        int32 (O,), or int64 with 16 bits, rounded half away from zero.
    Raises:
        ConversionError: NaN or infinite, or an accumulator could leave int32 (48 bits where the activations are int16).
    """
    check_finite(bias, f"{name}.bias")
    rounded = round_half_away(bias.astype(np.float64) / scales.astype(np.float64))
    reach, largest = (QMAX - QMIN, INT32_MAX) if bits == 8 else (-LIMITS[16][0], ACCUMULATOR_MAX_16)
    swing = np.abs(codes.astype(np.float64)).reshape(len(codes), -1).sum(axis=1) * reach
    worst = int(np.argmax(np.abs(rounded) + swing))
    if not abs(rounded[worst]) + swing[worst] <= largest:  # also true for NaN, from a scale that underflowed
        raise ConversionError(
            f"{name}.bias: channel {worst} needs code {rounded[worst]:.0f} (bias {bias[worst]:g}, scale "
            f"{scales[worst]:g}), and its accumulator would leave {'int32' if bits == 8 else '48 bits'} (largest "
            f"{largest}); its weights are far smaller than its bias: train on, or prune the channel"
        )
    return rounded.astype(np.int32 if bits == 8 else np.int64)


def check_finite(values: np.ndarray, name: str) -> None:
    """Raises ConversionError, with the tensor's name, when a value is NaN or infinite."""
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise ConversionError(
            f"{name}: {bad} of {values.size} values are NaN or infinite, expected finite numbers; "
            "the training diverged: use an earlier checkpoint"
        )
