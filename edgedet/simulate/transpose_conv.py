"""TRANSPOSE_CONV of the simulator: one matrix product for all taps, then each is added where it belongs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgedet.graph.graph import TransposeConvOptions
from edgedet.graph.operators import checked_weights, real_multipliers, transpose_conv_padding
from edgedet.numerics.integer import activation_range, quantize_multipliers
from edgedet.numerics.requantize import Requantizer
from edgedet.simulate.workspace import Kernel, KernelContext


def transpose_conv(ctx: KernelContext) -> Kernel:
    """TRANSPOSE_CONV; every product has the input's zero point taken off, as its taps differ from place to place."""
    options = ctx.operator.options
    assert isinstance(options, TransposeConvOptions)
    weights = checked_weights(ctx)
    top, left = transpose_conv_padding(ctx)
    channels, kernel_height, kernel_width, depth = weights.shape
    batch, height, width, _ = ctx.input(2).shape
    _, out_height, out_width, _ = ctx.output().shape
    (step_y, step_x), zero_point = options.stride, ctx.params(ctx.input(2))[1]
    requantizer = _requantizer(ctx, weights)
    # (depth, taps * channels)
    matrix = np.ascontiguousarray(weights.transpose(3, 1, 2, 0).reshape(depth, -1).astype(np.float64))
    # Room for every product, and for outputs beyond them, which hold nothing but the bias.
    rows = max((height - 1) * step_y + kernel_height, top + out_height)
    columns = max((width - 1) * step_x + kernel_width, left + out_width)

    def run(inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        codes = inputs[2].reshape(-1, depth).astype(np.float64) - zero_point
        products = (codes @ matrix).reshape(batch, height, width, kernel_height, kernel_width, channels)
        total = np.zeros((batch, rows, columns, channels))
        for y in range(kernel_height):
            for x in range(kernel_width):
                total[:, y : y + height * step_y : step_y, x : x + width * step_x : step_x] += products[:, :, :, y, x]
        cut = np.ascontiguousarray(total[:, top : top + out_height, left : left + out_width]).reshape(-1, channels)
        requantizer(cut, outputs[0].reshape(-1, channels), np.empty(cut.shape))

    return run


def _requantizer(ctx: KernelContext, weights: np.ndarray) -> Requantizer:
    options, channels = ctx.operator.options, weights.shape[0]
    assert isinstance(options, TransposeConvOptions)
    bias = np.zeros(channels, np.int64)
    if len(ctx.operator.inputs) > 3 and ctx.operator.inputs[3] >= 0:
        bias = ctx.constant(3, "the bias").astype(np.int64).ravel()
        if bias.size != channels:
            raise ctx.unsupported(f"{bias.size} biases for {channels} channels")
    real = real_multipliers(ctx, channels, source=2)
    multiplier, shift = quantize_multipliers(np.broadcast_to(real, (channels,)))
    scale, zero_point = ctx.params(ctx.output())
    limits = activation_range(options.activation, scale, zero_point)
    reach = 255 * np.abs(weights.astype(np.int64)).sum(axis=(1, 2, 3))
    return Requantizer(multiplier, shift, bias, zero_point, limits, reach)
