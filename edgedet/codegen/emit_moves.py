"""Kernel calls of the steps that only move codes: concatenation, padding, resizing, reordering."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgedet.codegen.step_context import MAX_SIDE, Call, StepContext, c_fields, c_struct
from edgedet.graph.graph import BlockSizeOptions, ConcatOptions, PackOptions
from edgedet.graph.operators import nearest_sources, slice_key, strided_key

_AXES = 6  # EDK_TRANSPOSE_AXES


def _concatenation(ctx: StepContext) -> list[Call]:
    """Copies of the inputs that the plan has not put in place already."""
    options, out = ctx.step.options, ctx.step.outputs[0]
    assert isinstance(options, ConcatOptions)
    shape = ctx.tensor(out).shape
    axis = options.axis % len(shape)
    inner = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    calls, offset = [], 0
    for index in ctx.step.inputs:
        if not _in_place(ctx, index, out, offset):
            if axis == len(shape) - 1:
                calls += _copy_channels(ctx, index, out, offset)
            else:
                calls.append(_copy_runs(ctx, index, out, offset, int(np.prod(shape[:axis], dtype=np.int64))))
        offset += ctx.tensor(index).shape[axis] * inner
    return calls


def _pack(ctx: StepContext) -> list[Call]:
    options, out = ctx.step.options, ctx.step.outputs[0]
    assert isinstance(options, PackOptions)
    shape = ctx.tensor(out).shape
    outer = int(np.prod(shape[: options.axis % len(shape)], dtype=np.int64))
    run = int(np.prod(shape, dtype=np.int64)) // outer // len(ctx.step.inputs)
    return [_copy_runs(ctx, index, out, position * run, outer) for position, index in enumerate(ctx.step.inputs)]


def _in_place(ctx: StepContext, index: int, out: int, offset: int) -> bool:
    if index not in ctx.plan.views:
        return False
    source, target = ctx.plan.views[index], ctx.plan.views[out]
    return source.buffer == target.buffer and source.offset == target.offset + offset


def _copy_channels(ctx: StepContext, index: int, out: int, offset: int) -> list[Call]:
    """Copy a tensor into the pixels of a wider one."""
    batch, height, width, channels = ctx.nhwc(index)
    pitch = ctx.pitch(out)
    target = c_struct(height, width, channels, pitch, ctx.row_stride(out))
    params = c_fields((("in", ctx.view(index)), ("out", target)))
    return [
        Call(
            "edk_copy_s8",
            "edk_copy_params",
            params,
            (
                ctx.pointer(index, image * ctx.image_bytes(index)),
                ctx.pointer(out, offset + image * ctx.image_bytes(out)),
            ),
        )
        for image in range(batch)
    ]


def _copy_runs(ctx: StepContext, index: int, out: int, offset: int, outer: int) -> Call:
    """Copy `outer` runs of a dense tensor to equal distances in another one."""
    size = int(np.prod(ctx.tensor(index).shape, dtype=np.int64))
    if outer == 1:
        return _memcpy(ctx, index, out, offset, size)
    run, distance = size // outer, int(np.prod(ctx.tensor(out).shape, dtype=np.int64)) // outer
    if max(outer, run) > MAX_SIDE:
        raise ctx.unsupported(f"{outer} runs of {run} bytes; sides go up to {MAX_SIDE}")
    params = c_fields((("in", c_struct(outer, 1, run, run, run)), ("out", c_struct(outer, 1, run, run, distance))))
    return Call("edk_copy_s8", "edk_copy_params", params, (ctx.pointer(index), ctx.pointer(out, offset)))


def _memcpy(ctx: StepContext, index: int, out: int, offset: int, size: int) -> Call:
    return Call("memcpy", "", "", (ctx.pointer(out, offset), ctx.pointer(index), f"{size}u"))


def _reshape(ctx: StepContext) -> list[Call]:
    """A copy, where the plan could not leave the codes in place."""
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    return [_memcpy(ctx, source, out, 0, int(np.prod(ctx.tensor(out).shape, dtype=np.int64)))]


def _pad(ctx: StepContext) -> list[Call]:
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    widths = ctx.op.constant(1, "the padding")
    rank = len(ctx.tensor(out).shape)
    if rank > 4 or widths[: max(0, rank - 3)].any():
        raise ctx.unsupported(f"padding {widths.tolist()}: only height, width and channels can be padded")
    before = [0] * (3 - min(rank, 3)) + [int(width) for width in widths[-3:, 0]]
    fill = ctx.op.params(ctx.tensor(source))[1]
    if ctx.step.kind == "PADV2":
        fill = int(ctx.op.constant(2, "the pad value").ravel()[0])
    params = c_fields(
        (
            ("in", ctx.view(source)),
            ("out", ctx.view(out)),
            *(("top", before[0]), ("left", before[1]), ("front", before[2])),
            ("fill", fill),
        )
    )
    return _per_image(ctx, "edk_pad", params)


def _resize_nearest(ctx: StepContext) -> list[Call]:
    params = c_fields(
        (
            ("in", ctx.view(ctx.step.inputs[0])),
            ("out", ctx.view(ctx.step.outputs[0])),
            ("rows", ctx.constants.indices.add(nearest_sources(ctx.op, 1))),
            ("columns", ctx.constants.indices.add(nearest_sources(ctx.op, 2))),
        )
    )
    return _per_image(ctx, "edk_resize_nearest", params)


def _per_image(ctx: StepContext, name: str, params: str) -> list[Call]:
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    return [
        Call(
            f"{name}_s8",
            f"{name}_params",
            params,
            (ctx.pointer(source, image * ctx.image_bytes(source)), ctx.pointer(out, image * ctx.image_bytes(out))),
        )
        for image in range(ctx.nhwc(out)[0])
    ]


def _reorder(ctx: StepContext) -> list[Call]:
    """TRANSPOSE, SLICE, STRIDED_SLICE, SPLIT, SPACE_TO_DEPTH, DEPTH_TO_SPACE: each output is a strided view."""
    position = 1 if ctx.step.kind == "SPLIT" else 0
    source = ctx.step.inputs[position]
    whole = np.empty(ctx.tensor(source).shape, np.int8)  # never read: only addresses count
    calls = []
    for out, view in zip(ctx.step.outputs, _views(ctx, whole), strict=True):
        if view.ndim > _AXES:
            raise ctx.unsupported(f"{view.ndim} axes; the kernel has {_AXES}")
        start = view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        front = (1,) * (_AXES - view.ndim)
        params = c_fields(
            (("size", c_struct(*front, *view.shape)), ("step", c_struct(*(0 for _ in front), *view.strides)))
        )
        pointers = (ctx.pointer(source, start), ctx.pointer(out))
        calls.append(Call("edk_transpose_s8", "edk_transpose_params", params, pointers))
    return calls


def _views(ctx: StepContext, whole: np.ndarray) -> list[np.ndarray]:
    options = ctx.step.options
    match ctx.step.kind:
        case "TRANSPOSE":
            return [whole.transpose(ctx.op.constant(1, "the permutation").ravel().tolist())]
        case "SLICE":
            return [whole[slice_key(ctx.op)]]
        case "STRIDED_SLICE":
            # With every axis shrunk the index gives a scalar, which is a copy; keep it a view.
            key = strided_key(ctx.op)
            return [whole[(*key, ...)]]
        case "SPLIT":
            axis = int(ctx.op.constant(0, "the axis").ravel()[0])
            return list(np.split(whole, len(ctx.step.outputs), axis=axis))
    assert isinstance(options, BlockSizeOptions)
    batch, height, width, channels = whole.shape
    size = options.block_size
    if ctx.step.kind == "SPACE_TO_DEPTH":
        return [whole.reshape(batch, height // size, size, width // size, size, channels).transpose(0, 1, 3, 2, 4, 5)]
    return [whole.reshape(batch, height, width, size, size, -1).transpose(0, 1, 3, 2, 4, 5)]


EMITTERS: dict[str, Callable[[StepContext], list[Call]]] = {
    "CONCATENATION": _concatenation,
    "DEPTH_TO_SPACE": _reorder,
    "EXPAND_DIMS": _reshape,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest,
    "SLICE": _reorder,
    "SPACE_TO_DEPTH": _reorder,
    "SPLIT": _reorder,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _reorder,
    "TRANSPOSE": _reorder,
}
