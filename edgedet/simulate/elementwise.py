"""Elementwise operators of int8; pooling, reductions and resizing of int8 and int16."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgedet.graph.graph import PoolOptions, ReduceOptions
from edgedet.graph.operators import (
    arg_axis,
    bilinear_sources,
    binary_table,
    nearest_sources,
    reduce_axes,
    unary_table,
    window_padding,
)
from edgedet.numerics.integer import (
    activation_range,
    mean_multiplier,
    multiply_by_quantized_multiplier,
    quantize_multiplier,
    rounded_average,
)
from edgedet.simulate.workspace import Kernel, KernelContext

Arrays = Sequence[np.ndarray]


def unary(ctx: KernelContext) -> Kernel:
    """LOGISTIC, TANH, HARD_SWISH, the RELUs, LEAKY_RELU, ABS and QUANTIZE between types of 8 bits."""
    ctx.require_shape(ctx.input(0).shape)
    table, dtype = unary_table(ctx).tobytes(), ctx.output().dtype

    def run(inputs: Arrays, outputs: Arrays) -> None:
        # bytes.translate is the fastest 256-entry lookup there is without compiled code of one's own.
        codes = np.frombuffer(inputs[0].tobytes().translate(table), dtype)
        outputs[0][...] = codes.reshape(outputs[0].shape)

    return run


def binary(ctx: KernelContext) -> Kernel:
    """ADD, SUB, MUL and PRELU with broadcasting, as a lookup in all pairs of codes."""
    require_broadcast(ctx)
    flat = binary_table(ctx).ravel()
    workspace = ctx.workspace

    def run(inputs: Arrays, outputs: Arrays) -> None:
        index = workspace.take("index", outputs[0].shape, np.uint16)
        index[...] = inputs[0].view(np.uint8)
        np.left_shift(index, 8, out=index)
        np.bitwise_or(index, inputs[1].view(np.uint8), out=index)
        np.take(flat, index, out=outputs[0], mode="clip")  # "raise" would buffer the output; no index is outside

    return run


def require_broadcast(ctx: KernelContext) -> None:
    """Raise when the two inputs do not broadcast to the output."""
    shapes = ctx.input(0).shape, ctx.input(1).shape
    try:
        expected = np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise ctx.unsupported(f"shapes {shapes[0]} and {shapes[1]} do not broadcast") from error
    ctx.require_shape(expected)


def maximum_minimum(ctx: KernelContext) -> Kernel:
    """MAXIMUM and MINIMUM of raw codes, which must share one scale."""
    ctx.require_one_scale(ctx.input(0), ctx.input(1), ctx.output())
    require_broadcast(ctx)
    function = np.maximum if ctx.operator.kind == "MAXIMUM" else np.minimum

    def run(inputs: Arrays, outputs: Arrays) -> None:
        function(inputs[0], inputs[1], out=outputs[0])

    return run


def max_pool_2d(ctx: KernelContext) -> Kernel:
    """MAX_POOL_2D: rows, then columns."""
    options, (height, width) = _pool(ctx)
    scale, zero_point = ctx.require_one_scale(ctx.input(0), ctx.output())
    lowest = ctx.limits[0]
    low, high = activation_range(options.activation, scale, zero_point, *ctx.limits)
    clamps = (low, high) != ctx.limits

    def run(inputs: Arrays, outputs: Arrays) -> None:
        padded = np.pad(inputs[0], ((0, 0), height[1:], width[1:], (0, 0)), constant_values=lowest)
        rows = padded[:, _window_slice(0, height[0], options.stride[0])].copy()
        for i in range(1, options.filter[0]):
            np.maximum(rows, padded[:, _window_slice(i, height[0], options.stride[0])], out=rows)
        outputs[0][...] = rows[:, :, _window_slice(0, width[0], options.stride[1])]
        for i in range(1, options.filter[1]):
            np.maximum(outputs[0], rows[:, :, _window_slice(i, width[0], options.stride[1])], out=outputs[0])
        if clamps:
            np.clip(outputs[0], low, high, out=outputs[0])

    return run


def average_pool_2d(ctx: KernelContext) -> Kernel:
    """AVERAGE_POOL_2D over the elements inside the input, ties away from zero."""
    options, (height, width) = _pool(ctx)
    scale, zero_point = ctx.require_one_scale(ctx.input(0), ctx.output())
    low, high = activation_range(options.activation, scale, zero_point, *ctx.limits)

    def sums(x: np.ndarray) -> np.ndarray:
        padded = np.pad(x, ((0, 0), height[1:], width[1:], (0, 0)))
        rows = sum(padded[:, _window_slice(i, height[0], options.stride[0])] for i in range(options.filter[0]))
        assert isinstance(rows, np.ndarray)
        total = sum(rows[:, :, _window_slice(i, width[0], options.stride[1])] for i in range(options.filter[1]))
        assert isinstance(total, np.ndarray)
        return total

    count = sums(np.ones((1, *ctx.input(0).shape[1:3], 1), np.int32))

    def run(inputs: Arrays, outputs: Arrays) -> None:
        average = rounded_average(sums(inputs[0].astype(np.int32)), count)
        outputs[0][...] = np.clip(average, low, high)

    return run


def _pool(ctx: KernelContext) -> tuple[PoolOptions, tuple[tuple[int, int, int], tuple[int, int, int]]]:
    options = ctx.operator.options
    assert isinstance(options, PoolOptions)
    ctx.require_rank(ctx.input(0), 4)
    batch, in_height, in_width, channels = ctx.input(0).shape
    height = window_padding(in_height, options.filter[0], options.stride[0], options.padding, ctx.where)
    width = window_padding(in_width, options.filter[1], options.stride[1], options.padding, ctx.where)
    ctx.require_shape((batch, height[0], width[0], channels))
    return options, (height, width)


def _window_slice(start: int, count: int, stride: int) -> slice:
    return slice(start, start + (count - 1) * stride + 1, stride)


def reduce(ctx: KernelContext) -> Kernel:
    """MEAN and SUM with one requantization at the end; REDUCE_MAX and REDUCE_MIN of raw codes.

    SUM is TFLite Micro's, which is right; LiteRT 2.3's reference kernel gives other codes, far from the real sum.
    """
    options, kind = ctx.operator.options, ctx.operator.kind
    assert isinstance(options, ReduceOptions)
    axes = reduce_axes(ctx)
    kept = tuple(1 if i in axes else side for i, side in enumerate(ctx.input(0).shape))
    dropped = tuple(side for i, side in enumerate(ctx.input(0).shape) if i not in axes)
    ctx.require_shape(kept if options.keep_dims else dropped)
    if kind in ("REDUCE_MAX", "REDUCE_MIN"):
        ctx.require_one_scale(ctx.input(0), ctx.output())
        extreme = np.max if kind == "REDUCE_MAX" else np.min

        def run_extreme(inputs: Arrays, outputs: Arrays) -> None:
            outputs[0][...] = extreme(inputs[0], axis=axes).reshape(outputs[0].shape)

        return run_extreme
    (scale_in, zero_in), (scale_out, zero_out) = ctx.params(ctx.input(0)), ctx.params(ctx.output())
    count = int(np.prod([ctx.input(0).shape[i] for i in axes], dtype=np.int64))
    real = scale_in / scale_out
    multiplier, shift = mean_multiplier(real, count) if kind == "MEAN" else quantize_multiplier(real)

    def run(inputs: Arrays, outputs: Arrays) -> None:
        total = inputs[0].sum(axis=axes, dtype=np.int64) - zero_in * count
        scaled = multiply_by_quantized_multiplier(total, multiplier, shift) + zero_out
        outputs[0][...] = np.clip(scaled, *ctx.limits).reshape(outputs[0].shape)

    return run


def arg_extreme(ctx: KernelContext) -> Kernel:
    """ARG_MAX and ARG_MIN: int32 position of the first of equal codes."""
    axis = arg_axis(ctx)
    function = np.argmax if ctx.operator.kind == "ARG_MAX" else np.argmin

    def run(inputs: Arrays, outputs: Arrays) -> None:
        outputs[0][...] = function(inputs[0], axis=axis)

    return run


def resize_nearest(ctx: KernelContext) -> Kernel:
    """RESIZE_NEAREST_NEIGHBOR; source positions in float32, as in the kernels."""
    rows, columns = (nearest_sources(ctx, axis) for axis in (1, 2))
    ctx.require_one_scale(ctx.input(0), ctx.output())

    def run(inputs: Arrays, outputs: Arrays) -> None:
        outputs[0][...] = inputs[0].take(rows, axis=1).take(columns, axis=2)

    return run


def resize_bilinear(ctx: KernelContext) -> Kernel:
    """RESIZE_BILINEAR with 10-bit positions in integers."""
    rows, columns = (bilinear_sources(ctx, axis) for axis in (1, 2))
    ctx.require_one_scale(ctx.input(0), ctx.output())

    def blend(x: np.ndarray, axis: int, grid: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        low, high, fraction = grid
        weight = fraction.reshape((-1,) + (1,) * (3 - axis))
        result: np.ndarray = x.take(low, axis=axis) * (1024 - weight) + x.take(high, axis=axis) * weight
        return result

    def run(inputs: Arrays, outputs: Arrays) -> None:
        scaled = blend(blend(inputs[0].astype(np.int64), 1, rows), 2, columns)
        magnitude = (np.abs(scaled) + (1 << 19)) >> 20
        outputs[0][...] = np.where(scaled < 0, -magnitude, magnitude)

    return run
