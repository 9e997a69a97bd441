"""Operators of the simulator that only move codes: they compute nothing, so that their tensors must share one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgedet.errors import ConversionError
from edgedet.graph.graph import (
    BlockSizeOptions,
    ConcatOptions,
    PackOptions,
    SplitOptions,
)
from edgedet.graph.operators import slice_key, strided_key
from edgedet.simulate.workspace import Kernel, KernelContext

Arrays = Sequence[np.ndarray]


def _mover(ctx: KernelContext, move: Callable[[np.ndarray], np.ndarray]) -> Kernel:
    """Kernel that writes `move(input)`, after trying the shape on a view that takes no memory."""
    ctx.require_one_scale(ctx.input(0), ctx.output())
    hollow = np.broadcast_to(np.int8(0), ctx.input(0).shape)
    try:
        shape = move(hollow).shape
    except (ValueError, IndexError) as error:
        raise ConversionError(f"{ctx.where}: its parameters do not fit input {hollow.shape}: {error}") from error
    ctx.require_shape(shape)

    def run(inputs: Arrays, outputs: Arrays) -> None:
        outputs[0][...] = move(inputs[0])

    return run


def reshape(ctx: KernelContext) -> Kernel:
    """RESHAPE, SQUEEZE, EXPAND_DIMS; the declared output shape says how."""
    ctx.require_one_scale(ctx.input(0), ctx.output())
    shape = ctx.output().shape
    if np.prod(shape, dtype=np.int64) != np.prod(ctx.input(0).shape, dtype=np.int64):
        raise ConversionError(f"{ctx.where}: {ctx.input(0).shape} can't be reshaped to {shape}")

    def run(inputs: Arrays, outputs: Arrays) -> None:
        outputs[0][...] = inputs[0].reshape(shape)

    return run


def transpose(ctx: KernelContext) -> Kernel:
    """TRANSPOSE."""
    order = tuple(ctx.constant(1, "the permutation").ravel().tolist())
    return _mover(ctx, lambda x: x.transpose(order))


def strided_slice(ctx: KernelContext) -> Kernel:
    """STRIDED_SLICE without ellipsis and new axes."""
    key = strided_key(ctx)
    return _mover(ctx, lambda x: np.asarray(x[key]))


def slice_op(ctx: KernelContext) -> Kernel:
    """SLICE."""
    key = slice_key(ctx)
    return _mover(ctx, lambda x: x[key])


def pad(ctx: KernelContext) -> Kernel:
    """PAD with the zero point, PADV2 with a constant code."""
    widths = ctx.constant(1, "the padding")
    shape = ctx.input(0).shape
    if widths.shape != (len(shape), 2) or widths.min() < 0:
        raise ctx.unsupported(f"paddings of shape {widths.shape} do not fit input {shape}, or are negative")
    zero_point = ctx.require_one_scale(ctx.input(0), ctx.output())[1]
    fill = zero_point
    if ctx.operator.kind == "PADV2":
        ctx.require_one_scale(ctx.input(2), ctx.output())
        fill = int(ctx.constant(2, "the pad value").ravel()[0])
    ctx.require_shape([side + int(a) + int(b) for side, (a, b) in zip(shape, widths.tolist(), strict=True)])
    inner = tuple(slice(int(a), int(a) + side) for side, (a, _) in zip(shape, widths.tolist(), strict=True))

    def run(inputs: Arrays, outputs: Arrays) -> None:
        outputs[0][...] = fill
        outputs[0][inner] = inputs[0]

    return run


def concatenation(ctx: KernelContext) -> Kernel:
    """CONCATENATION."""
    options = ctx.operator.options
    assert isinstance(options, ConcatOptions)
    if options.activation != "NONE":
        raise ctx.unsupported(f"fused activation {options.activation}")
    tensors = [ctx.input(i) for i in range(len(ctx.operator.inputs))]
    ctx.require_one_scale(*tensors, ctx.output())
    return _joiner(ctx, lambda arrays, out: np.concatenate(arrays, axis=options.axis, out=out))


def pack(ctx: KernelContext) -> Kernel:
    """PACK: joins along a new axis."""
    options = ctx.operator.options
    assert isinstance(options, PackOptions)
    tensors = [ctx.input(i) for i in range(len(ctx.operator.inputs))]
    ctx.require_one_scale(*tensors, ctx.output())
    return _joiner(ctx, lambda arrays, out: np.stack(arrays, axis=options.axis, out=out))


def _joiner(ctx: KernelContext, join: Callable[[Arrays, np.ndarray | None], np.ndarray]) -> Kernel:
    hollow = [np.broadcast_to(np.int8(0), ctx.input(i).shape) for i in range(len(ctx.operator.inputs))]
    size_in, size_out = sum(x.size for x in hollow), int(np.prod(ctx.output().shape, dtype=np.int64))
    if size_in != size_out:
        raise ConversionError(f"{ctx.where}: inputs hold {size_in} codes, the output {size_out}")
    try:
        shape = join(hollow, None).shape
    except ValueError as error:
        raise ConversionError(f"{ctx.where}: its inputs do not fit together: {error}") from error
    ctx.require_shape(shape)

    def run(inputs: Arrays, outputs: Arrays) -> None:
        join(inputs, outputs[0])

    return run


def split(ctx: KernelContext) -> Kernel:
    """SPLIT into equal parts."""
    options = ctx.operator.options
    assert isinstance(options, SplitOptions)
    source, parts = ctx.input(1), len(ctx.operator.outputs)
    axis = int(ctx.constant(0, "the axis").ravel()[0])
    rank = len(source.shape)
    if not -rank <= axis < rank or parts != options.num_splits or source.shape[axis] % parts:
        raise ctx.unsupported(f"{source.shape} can't be split along axis {axis}, {parts} of {options.num_splits} parts")
    ctx.require_one_scale(source, *(ctx.output(i) for i in range(parts)))
    shape = list(source.shape)
    shape[axis] //= parts
    for i in range(parts):
        ctx.require_shape(shape, i)

    def run(inputs: Arrays, outputs: Arrays) -> None:
        for out, part in zip(outputs, np.split(inputs[1], parts, axis=axis), strict=True):
            out[...] = part

    return run


def depth_space(ctx: KernelContext) -> Kernel:
    """SPACE_TO_DEPTH and DEPTH_TO_SPACE."""
    options = ctx.operator.options
    assert isinstance(options, BlockSizeOptions)
    ctx.require_rank(ctx.input(0), 4)
    size = options.block_size
    batch, height, width, channels = ctx.input(0).shape

    def to_depth(x: np.ndarray) -> np.ndarray:
        blocks = x.reshape(batch, height // size, size, width // size, size, channels)
        return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height // size, width // size, -1)

    def to_space(x: np.ndarray) -> np.ndarray:
        blocks = x.reshape(batch, height, width, size, size, -1)
        return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height * size, width * size, -1)

    return _mover(ctx, to_depth if ctx.operator.kind == "SPACE_TO_DEPTH" else to_space)
