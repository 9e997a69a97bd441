"""Operators of the simulator that only move codes: they compute nothing, so that their tensors must share one scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgedet.errors import ConversionError
from edgedet.graph.graph import ConcatOptions, PackOptions
from edgedet.graph.moves import gather_indices, merged_axes, moved_views, source_position, start_of
from edgedet.simulate.workspace import Kernel, KernelContext

Arrays = Sequence[np.ndarray]


def move(ctx: KernelContext) -> Kernel:
    """Operators with the trait MOVING: every output is a strided view of the input, or a list of sources (GATHER)."""
    position, count = source_position(ctx.operator.kind), len(ctx.operator.outputs)
    source = ctx.input(position)
    ctx.require_one_scale(source, *(ctx.output(i) for i in range(count)))
    whole = np.empty(source.shape, source.dtype)  # never read: only addresses count
    try:
        moved = moved_views(ctx, whole)
    except (ValueError, IndexError) as error:
        raise ConversionError(f"{ctx.where}: its parameters do not fit input {whole.shape}") from error
    if moved is None:
        return _gather(ctx)
    walks = []
    for i, part in enumerate(moved):
        ctx.require_shape(part.shape, i)
        walks.append((*merged_axes(part.view), start_of(part.view, whole)))

    def run(inputs: Arrays, outputs: Arrays) -> None:
        x = inputs[position]
        for out, (sizes, strides, start) in zip(outputs, walks, strict=True):
            np.copyto(out.reshape(sizes), np.ndarray(sizes, x.dtype, x, start, strides))

    return run


def _gather(ctx: KernelContext) -> Kernel:
    axis, indices = gather_indices(ctx)
    shape = ctx.input(0).shape
    ctx.require_shape((*shape[:axis], *indices.shape, *shape[axis + 1 :]))

    def run(inputs: Arrays, outputs: Arrays) -> None:
        outputs[0][...] = np.take(inputs[0], indices, axis=axis)

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


def pad(ctx: KernelContext) -> Kernel:
    """PAD with the zero point, PADV2 with a constant code."""
    widths = ctx.constant(1, "the padding")
    shape = ctx.input(0).shape
    if widths.shape != (len(shape), 2) or (widths < 0).any():
        raise ctx.unsupported(f"paddings of shape {widths.shape} do not fit input {shape}, or are negative")
    zero_point = ctx.require_one_scale(ctx.input(0), ctx.output())[1]
    fill = zero_point
    if ctx.operator.kind == "PADV2":
        ctx.require_one_scale(ctx.input(2), ctx.output())
        fill = ctx.constant_number(2, "the pad value")
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
        found = ", ".join(str(array.shape) for array in hollow)
        raise ConversionError(f"{ctx.where}: inputs of shapes {found} do not fit together along its axis") from error
    ctx.require_shape(shape)

    def run(inputs: Arrays, outputs: Arrays) -> None:
        join(inputs, outputs[0])

    return run
