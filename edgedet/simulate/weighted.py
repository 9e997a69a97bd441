"""Convolutions and FULLY_CONNECTED of the simulator: float BLAS on integers that it represents exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided

from edgedet.graph.graph import ConvOptions, DepthwiseConvOptions, FullyConnectedOptions, Tensor
from edgedet.graph.operators import checked_weights, dense_multipliers, real_multipliers, window_padding
from edgedet.numerics.int16 import MAX_SHIFT, WideRequantizer
from edgedet.numerics.integer import activation_range, quantize_multipliers
from edgedet.numerics.requantize import Requantizer
from edgedet.simulate.workspace import Kernel, KernelContext

_FLOAT32_EXACT = 2**24  # float32 holds every integer up to here, whatever the order of the sums
_BLOCK_BYTES = 1 << 19  # of an im2col block; it should stay in the second-level cache until BLAS has read it


def _requantizer(
    ctx: KernelContext, scales: np.ndarray, weight_sums: np.ndarray, reach: np.ndarray
) -> Requantizer | WideRequantizer:
    """Requantizer of a weighted operator.

    Args:
        ctx: inputs are activation, weights and, if any, bias.
        scales: float64 (channels,) or (1,), real multipliers.
        weight_sums: int64 (channels,), sums of the weights, for the input's zero point.
        reach: int64 (channels,), largest absolute sum of weights times raw codes.
    """
    scale, zero_point = ctx.params(ctx.output())
    bias = _bias(ctx, weight_sums.size)
    multiplier, shift = quantize_multipliers(np.broadcast_to(scales, (weight_sums.size,)))
    options = ctx.operator.options
    assert isinstance(options, ConvOptions | DepthwiseConvOptions | FullyConnectedOptions)
    limits = activation_range(options.activation, scale, zero_point, *ctx.limits)
    if ctx.dtype == "int16":
        if shift.max() > MAX_SHIFT:
            raise ctx.unsupported(f"input scale * weight scale / output scale reaches {scales.max():g}, too large")
        return WideRequantizer(multiplier, shift, bias, limits, reach)
    offset = bias - ctx.params(ctx.input(0))[1] * weight_sums
    return Requantizer(multiplier, shift, offset, zero_point, limits, reach)


def _bias(ctx: KernelContext, channels: int) -> np.ndarray:
    """Biases as int64 (channels,), zeros when there are none; int64 in the file where activations are int16."""
    if len(ctx.operator.inputs) < 3 or ctx.operator.inputs[2] < 0:
        return np.zeros(channels, np.int64)
    data = ctx.constant(2, "the bias")
    if ctx.dtype == "int16" and data.dtype != np.int64:
        raise ctx.unsupported(
            f"bias {ctx.input(2).name!r} is {data.dtype}; with int16 activations it must be int64, because TFLite and "
            "TFLite Micro compute different results with other types"
        )
    if data.size != channels:
        raise ctx.unsupported(f"{data.size} biases for {channels} channels")
    return data.astype(np.int64).ravel()


def _reach(ctx: KernelContext, weights: np.ndarray, axis: int) -> np.ndarray:
    """Largest absolute sum of weights times raw codes: int64, summed along `axis`."""
    result: np.ndarray = -ctx.limits[0] * np.abs(weights).sum(axis=axis)
    return result


class _Window:
    """A filter sliding over a padded float copy of the input."""

    def __init__(self, ctx: KernelContext, kernel: tuple[int, int], channels: int) -> None:
        options = ctx.operator.options
        assert isinstance(options, ConvOptions | DepthwiseConvOptions)
        ctx.require_rank(ctx.input(0), 4)
        self.batch, self.height, self.width, self.channels = ctx.input(0).shape
        self.stride, self.dilation, self.kernel = options.stride, options.dilation, kernel
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, options.dilation, strict=True)]
        self.out_height, self.top, self.bottom = window_padding(
            self.height, reach[0], options.stride[0], options.padding, ctx.where
        )
        self.out_width, self.left, self.right = window_padding(
            self.width, reach[1], options.stride[1], options.padding, ctx.where
        )
        self.fill = ctx.params(ctx.input(0))[1]
        self.workspace = ctx.workspace
        ctx.require_shape((self.batch, self.out_height, self.out_width, channels))

    def pad(self, x: np.ndarray, dtype: type) -> np.ndarray:
        """Float copy of x (batch, height, width, channels) inside a border of zero points."""
        top, left, bottom, right = self.top, self.left, self.top + self.height, self.left + self.width
        shape = (self.batch, bottom + self.bottom, right + self.right, self.channels)
        padded = self.workspace.take("padded", shape, dtype)
        padded[:, :top] = self.fill
        padded[:, bottom:] = self.fill
        padded[:, top:bottom, :left] = self.fill
        padded[:, top:bottom, right:] = self.fill
        padded[:, top:bottom, left:right] = x
        return padded

    def patches(self, padded: np.ndarray) -> np.ndarray:
        """View (batch, out height, out width, kernel height, kernel width, channels)."""
        batch, row, column, channel = padded.strides
        return as_strided(
            padded,
            (self.batch, self.out_height, self.out_width, *self.kernel, self.channels),
            (
                batch,
                row * self.stride[0],
                column * self.stride[1],
                row * self.dilation[0],
                column * self.dilation[1],
                channel,
            ),
            writeable=False,
        )


def conv_2d(ctx: KernelContext) -> Kernel:
    """CONV_2D: im2col in blocks of rows, one matrix product each."""
    weights = checked_weights(ctx)
    ctx.require_rank(ctx.input(0), 4)
    ctx.require_rank(ctx.input(1), 4)
    channels, kernel_height, kernel_width, depth = weights.shape
    if ctx.input(0).shape[-1] != depth:
        raise ctx.unsupported(f"grouped convolution: {ctx.input(0).shape[-1]} input channels, weights for {depth}")
    window = _Window(ctx, (kernel_height, kernel_width), channels)
    columns = weights.reshape(channels, -1).astype(np.int64)
    reach = _reach(ctx, columns, axis=1)
    requantizer = _requantizer(ctx, real_multipliers(ctx, channels), columns.sum(axis=1), reach)
    dtype = np.float32 if reach.max() <= _FLOAT32_EXACT else np.float64
    matrix = np.ascontiguousarray(columns.T.astype(dtype))
    workspace, depth_total = ctx.workspace, columns.shape[1]
    pointwise = (kernel_height, kernel_width) == (1, 1) and window.stride == (1, 1)
    row_bytes = window.batch * window.out_width * depth_total * np.dtype(dtype).itemsize
    block = max(1, min(window.out_height, _BLOCK_BYTES // row_bytes))

    def multiply(left: np.ndarray, out: np.ndarray) -> None:
        accumulator = workspace.take("accumulator", out.shape, dtype)
        np.matmul(left, matrix, out=accumulator)
        requantizer(accumulator, out, workspace.take("scaled", out.shape, np.float64))

    def run_pointwise(inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        left = workspace.take("padded", (outputs[0].size // channels, depth_total), dtype)
        left[...] = inputs[0].reshape(left.shape)
        multiply(left, outputs[0].reshape(-1, channels))

    def run(inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        patches = window.patches(window.pad(inputs[0], dtype))
        for image in range(window.batch):
            for start in range(0, window.out_height, block):
                part = patches[image, start : start + block]
                left = workspace.take("im2col", part.shape, dtype)
                left[...] = part
                target = outputs[0][image, start : start + block].reshape(-1, channels)
                multiply(left.reshape(-1, depth_total), target)

    return run_pointwise if pointwise else run


def depthwise_conv_2d(ctx: KernelContext) -> Kernel:
    """DEPTHWISE_CONV_2D: a sum over the taps of the filter."""
    weights = checked_weights(ctx)
    ctx.require_rank(ctx.input(0), 4)
    ctx.require_rank(ctx.input(1), 4)
    _, kernel_height, kernel_width, channels = weights.shape
    depth = ctx.input(0).shape[-1]
    if weights.shape[0] != 1 or channels % depth:
        raise ctx.unsupported(f"weights of shape {weights.shape} do not fit {depth} input channels")
    window = _Window(ctx, (kernel_height, kernel_width), channels)
    taps = weights.reshape(-1, channels).astype(np.int64)
    reach = _reach(ctx, taps, axis=0)
    requantizer = _requantizer(ctx, real_multipliers(ctx, channels), taps.sum(axis=0), reach)
    dtype = np.float32 if reach.max() <= _FLOAT32_EXACT else np.float64
    repeat = channels // depth
    shape = (window.batch, window.out_height, window.out_width, channels)
    # With stride 1 a row of the output is one contiguous run of the padded input: long loops instead of one per pixel.
    flat = window.stride[1] == 1 and repeat == 1
    tap_rows = (np.tile(taps, (1, window.out_width)) if flat else taps).astype(dtype)
    workspace = ctx.workspace

    def run(inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        patches = window.patches(window.pad(inputs[0], dtype))
        work_shape = (*shape[:2], shape[2] * channels) if flat else shape
        accumulator = workspace.take("accumulator", work_shape, dtype)
        product = workspace.take("im2col", work_shape, dtype)
        for number, tap in enumerate(tap_rows):
            x = patches[:, :, :, number // kernel_width, number % kernel_width]
            if flat:
                x = as_strided(x, work_shape, (*x.strides[:2], x.itemsize), writeable=False)
            elif repeat > 1:
                x = np.repeat(x, repeat, axis=-1)
            if number == 0:
                np.multiply(x, tap, out=accumulator)
            else:
                np.multiply(x, tap, out=product)
                accumulator += product
        rows = accumulator.reshape(-1, channels)
        scaled = workspace.take("scaled", rows.shape, np.float64)
        requantizer(rows, outputs[0].reshape(-1, channels), scaled)

    return run


def fully_connected(ctx: KernelContext) -> Kernel:
    """FULLY_CONNECTED; with one weight scale the kernels multiply the scales in float32, unlike in a convolution."""
    weights = checked_weights(ctx)
    ctx.require_rank(ctx.input(1), 2)
    channels, depth = weights.shape
    rows = _count(ctx.input(0)) // depth
    if rows * depth != _count(ctx.input(0)) or _count(ctx.output()) != rows * channels:
        raise ctx.unsupported(f"shapes {ctx.input(0).shape} x {weights.shape} -> {ctx.output().shape} do not fit")
    columns = weights.astype(np.int64)
    reach = _reach(ctx, columns, axis=1)
    requantizer = _requantizer(ctx, dense_multipliers(ctx, channels), columns.sum(axis=1), reach)
    matrix = np.ascontiguousarray(columns.T.astype(np.float64))

    def run(inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        accumulator = inputs[0].reshape(rows, depth).astype(np.float64) @ matrix
        requantizer(accumulator, outputs[0].reshape(rows, channels), np.empty(accumulator.shape))

    return run


def _count(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape, dtype=np.int64))
