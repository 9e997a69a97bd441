"""Constants that the C99 kernels want: biases with the zero point folded in, multipliers, promises, scratch sizes.

The formats are those of kernels/include (edk_types.h, edk_conv_s8.h, edk_depthwise_conv_s8.h). Weights themselves stay
as TFLite stores them: OHWI for convolutions, (1, H, W, C) for depthwise ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedet.errors import UnsupportedOpError
from edgedet.numerics.integer import quantize_multipliers

REQUANT_NARROW = 1  # EDK_REQUANT_NARROW
KERNEL_SHIFTS = (-31, 31)  # of edk_requant
_NARROW_SHIFTS = (-22, -1)
_NARROW_REACH = 2**30
_DIRECT_ROWS = 2  # EDK_DIRECT_ROWS of edk_fully_connected_s8.c
_PLANE_ROWS, _PLANE_TAPS = 8, 64  # EDK_PLANE_ROWS, EDK_PLANE_TAPS of edk_depthwise_conv_s8.c


@dataclass(frozen=True)
class ChannelConstants:
    """Per-channel constants of a convolution, depthwise convolution or fully connected operator."""

    bias: np.ndarray  # int32 (channels,): the operator's bias minus input zero point * sum of weights
    multiplier: np.ndarray  # int32 (channels,), Q31
    shift: np.ndarray  # int8 (channels,), positive to the left
    flags: int  # of edk_requant


def channel_constants(
    weights: np.ndarray,
    bias: np.ndarray | None,
    channel_axis: int,
    input_zero_point: int,
    real_multiplier: np.ndarray,
    where: str,
) -> ChannelConstants:
    """Fold the zero point, split the multipliers and prove the accumulators' bounds.

    Args:
        weights: int8, zero point 0; CONV_2D: OHWI, channel_axis 0; DEPTHWISE_CONV_2D: (1, H, W, C), channel_axis 3;
            FULLY_CONNECTED: (channels, depth), channel_axis 0.
        bias: int32 (channels,), or None.
        channel_axis: axis of the output channels in `weights`.
        input_zero_point: -128..127.
        real_multiplier: float64 (channels,) or (1,): input scale * weight scale / output scale, as doubles.
        where: operator, for the error.
    Returns:
        ChannelConstants.
    Raises:
        UnsupportedOpError: an accumulator could exceed int32, or a multiplier is above what the kernel computes.
    """
    channels = weights.shape[channel_axis]
    rows = np.moveaxis(weights.astype(np.int64), channel_axis, 0).reshape(channels, -1)
    folded = -input_zero_point * rows.sum(axis=1)
    if bias is not None:
        folded = folded + bias.astype(np.int64).ravel()
    lowest, highest = accumulator_ends(rows, folded)
    outside = (lowest < -(2**31)) | (highest >= 2**31)
    if outside.any():
        worst = int(outside.argmax())
        end = int(lowest[worst]) if lowest[worst] < -(2**31) else int(highest[worst])
        raise UnsupportedOpError(
            f"{where}: the accumulator of channel {worst} can reach {end}, more than int32 holds; "
            "its bias is too large for its weight scale"
        )
    reach = np.maximum(-lowest, highest)
    multiplier, shift = channel_multipliers(real_multiplier, channels, KERNEL_SHIFTS, where)
    low, high = _NARROW_SHIFTS
    narrow = bool((reach < _NARROW_REACH).all() and (shift >= low).all() and (shift <= high).all())
    return ChannelConstants(folded.astype(np.int32), multiplier, shift, REQUANT_NARROW if narrow else 0)


def channel_multipliers(
    real: np.ndarray, channels: int, shifts: tuple[int, int], where: str
) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers and shifts of all channels, which a kernel takes as they are: it checks none of them.

    Args:
        real: float64 (channels,) or (1,): input scale * weight scale / output scale, as doubles.
        channels: of the output.
        shifts: lowest and highest that the kernel computes; C leaves others undefined.
        where: operator, for the error.
    Returns:
        (multiplier int32 (channels,), Q31; shift int8 (channels,), positive to the left).
    Raises:
        UnsupportedOpError: a shift is outside.
    """
    real = np.broadcast_to(real, (channels,))
    if not np.isfinite(real).all():
        worst = int(np.argmin(np.isfinite(real)))
        raise UnsupportedOpError(f"{where}: the scales of channel {worst} give the multiplier {real[worst]}")
    multiplier, shift = quantize_multipliers(real)
    outside = (shift < shifts[0]) | (shift > shifts[1])
    if outside.any():
        worst = int(outside.argmax())
        raise UnsupportedOpError(
            f"{where}: the scales of channel {worst} give the multiplier {real[worst]:g}, and the C kernel computes "
            f"those below 2^{shifts[1]}; a scale of the input, the weights or the output is damaged"
        )
    return multiplier.astype(np.int32), shift.astype(np.int8)


def accumulator_ends(rows: np.ndarray, folded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest accumulator of each channel, over all inputs.

    A kernel starts at the folded bias and adds one tap after the other. A tap not yet added counts as one that read
    code 0, which is a code too: so these are also the ends of everything on the way, in whatever order the taps come.

    Args:
        rows: int64 (channels, taps), weights.
        folded: int64 (channels,), bias with the zero point folded in.
    Returns:
        (lowest, highest): int64 (channels,); both occur.
    """
    below, above = np.minimum(rows, 0).sum(axis=1), np.maximum(rows, 0).sum(axis=1)
    return folded - 128 * above + 127 * below, folded + 127 * above - 128 * below


def conv_scratch_bytes(kernel: tuple[int, int], in_channels: int) -> int:
    """edk_conv_s8_scratch_bytes."""
    taps = kernel[0] * kernel[1] * in_channels
    return 10 * (-(-taps // 8) * 8) + 16


def fully_connected_scratch_bytes(rows: int, depth: int) -> int:
    """edk_fully_connected_s8_scratch_bytes."""
    return 0 if rows <= _DIRECT_ROWS else conv_scratch_bytes((1, 1), depth)


def depthwise_scratch_bytes(
    kernel: tuple[int, int], stride: int, dilation: int, out_width: int, multiplier: int
) -> int:
    """edk_depthwise_conv_s8_scratch_bytes.

    Args:
        kernel: (height, width).
        stride, dilation: along the width.
        out_width: of the output.
        multiplier: output channels for each input channel.
    Returns:
        0 where no processor gathers planes.
    """
    taps = kernel[0] * kernel[1]
    if multiplier != 1 or dilation != 1 or (kernel[0] > _PLANE_ROWS and taps > _PLANE_TAPS):
        return 0
    columns = (out_width - 1) * stride + kernel[1]
    return 16 * ((kernel[0] + 1) // 2) * (kernel[1] + columns) + 16 * taps + 256
