"""Kernel calls of the steps that only move codes: concatenation, padding, reordering."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgedet.codegen.step_context import MAX_SIDE, Call, StepContext, c_fields, c_struct
from edgedet.graph.graph import ConcatOptions, PackOptions
from edgedet.graph.moves import gather_indices, merged_axes, moved_views, source_position, start_of
from edgedet.graph.operator_table import Trait, kinds_with

_AXES = 6  # EDK_TRANSPOSE_AXES


def _concatenation(ctx: StepContext) -> list[Call]:
    """Copies of the inputs that the plan has not put in place already."""
    options, out = ctx.step.options, ctx.step.outputs[0]
    assert isinstance(options, ConcatOptions)
    shape = ctx.tensor(out).shape
    axis = options.axis % len(shape)
    inner = int(np.prod(shape[axis + 1 :], dtype=np.int64)) * ctx.item_bytes(out)
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
    run = _size_bytes(ctx, out) // outer // len(ctx.step.inputs)
    return [_copy_runs(ctx, index, out, position * run, outer) for position, index in enumerate(ctx.step.inputs)]


def _size_bytes(ctx: StepContext, index: int) -> int:
    return int(np.prod(ctx.tensor(index).shape, dtype=np.int64)) * ctx.item_bytes(index)


def _in_place(ctx: StepContext, index: int, out: int, offset: int) -> bool:
    if index not in ctx.plan.views or out not in ctx.plan.views:
        return False
    source, target = ctx.plan.views[index], ctx.plan.views[out]
    return source.buffer == target.buffer and source.offset == target.offset + offset


def _copy_channels(ctx: StepContext, index: int, out: int, offset: int) -> list[Call]:
    """Copy a tensor into the pixels of a wider one."""
    batch, height, width, channels = ctx.nhwc(index)
    size = ctx.item_bytes(out)
    pitch = ctx.pitch(out) * size
    if pitch > MAX_SIDE:
        raise ctx.unsupported(f"pixels of {pitch} bytes; {MAX_SIDE} fit")
    target = c_struct(height, width, channels * size, pitch, ctx.row_stride(out) * size)
    params = c_fields((("in", ctx.byte_view(index)), ("out", target)))
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
    size = _size_bytes(ctx, index)
    if outer == 1:
        return Call("memcpy", "", "", (ctx.pointer(out, offset), ctx.pointer(index), f"{size}u"))
    run, distance = size // outer, _size_bytes(ctx, out) // outer
    if max(outer, run) > MAX_SIDE:
        raise ctx.unsupported(f"{outer} runs of {run} bytes; sides go up to {MAX_SIDE}")
    params = c_fields((("in", c_struct(outer, 1, run, run, run)), ("out", c_struct(outer, 1, run, run, distance))))
    return Call("edk_copy_s8", "edk_copy_params", params, (ctx.pointer(index), ctx.pointer(out, offset)))


def _memcpy(ctx: StepContext, index: int, out: int, start: int, size: int) -> Call:
    """Copy bytes from `start` of a tensor to the start of another."""
    return Call("memcpy", "", "", (ctx.pointer(out), ctx.pointer(index, start), f"{size}u"))


def _reshape(ctx: StepContext) -> list[Call]:
    """A copy, where the plan could not leave the codes in place."""
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    return [_memcpy(ctx, source, out, 0, _size_bytes(ctx, out))]


def _pad(ctx: StepContext) -> list[Call]:
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    widths = ctx.op.constant(1, "the padding")
    rank = len(ctx.tensor(out).shape)
    if rank > 4 or widths[: max(0, rank - 3)].any():
        raise ctx.unsupported(f"padding {widths.tolist()}: only height, width and channels can be padded")
    before = [0] * (3 - min(rank, 3)) + [int(width) for width in widths[-3:, 0]]
    fill = ctx.op.params(ctx.tensor(source))[1]
    if ctx.step.kind == "PADV2":
        fill = ctx.op.constant_number(2, "the pad value")
    params = c_fields(
        (
            ("in", ctx.byte_view(source)),
            ("out", ctx.byte_view(out)),
            *(("top", before[0]), ("left", before[1]), ("front", before[2] * ctx.item_bytes(out))),
            ("fill", fill),
        )
    )
    return per_image(ctx, "edk_pad", params)


def per_image(ctx: StepContext, name: str, params: str) -> list[Call]:
    """One call of kernel `name` for each image of a batch."""
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
    """Operators with the trait MOVING: each output that the plan has not put in place already is a strided view."""
    source = ctx.step.inputs[source_position(ctx.step.kind)]
    whole = np.empty(ctx.tensor(source).shape, ctx.tensor(source).dtype)  # never read: only addresses count
    moved = moved_views(ctx.op, whole)
    if moved is None:
        return [_gather(ctx)]
    calls = []
    for out, part in zip(ctx.step.outputs, moved, strict=True):
        start = start_of(part.view, whole)
        if not _in_place(ctx, out, source, start):
            calls += _copy_view(ctx, (source, start), out, part.view)
    return calls


def _copy_view(ctx: StepContext, place: tuple[int, int], out: int, view: np.ndarray) -> list[Call]:
    """Write a view that starts `place` = (tensor, bytes from its start) to a dense tensor."""
    sizes, steps = merged_axes(view)
    if sizes and view.itemsize > 1:  # the kernel moves bytes: those of a code are one axis more
        joined = steps[-1] == view.itemsize
        sizes = [*sizes[:-1], sizes[-1] * view.itemsize] if joined else [*sizes, view.itemsize]
        steps = [*steps[:-1], 1] if joined else [*steps, 1]
    source, start = place
    if not sizes or (len(sizes) == 1 and steps[0] == 1):
        return [_memcpy(ctx, source, out, start, view.nbytes)]
    outer = max(0, len(sizes) - _AXES)  # axes that the kernel does not have; almost always none
    block = int(np.prod(sizes[outer:], dtype=np.int64))
    front = _AXES - len(sizes[outer:])
    size = c_struct(*(1,) * front, *sizes[outer:])
    params = c_fields((("size", size), ("step", c_struct(*(0,) * front, *steps[outer:]))))
    calls = []
    for number, index in enumerate(np.ndindex(*sizes[:outer])):
        begin = start + sum(i * step for i, step in zip(index, steps, strict=False))
        pointers = (ctx.pointer(source, begin), ctx.pointer(out, number * block))
        calls.append(Call("edk_transpose_s8", "edk_transpose_params", params, pointers))
    return calls


def _gather(ctx: StepContext) -> Call:
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    axis, indices = gather_indices(ctx.op)
    shape = ctx.tensor(source).shape
    params = c_fields(
        (
            ("outer", int(np.prod(shape[:axis], dtype=np.int64))),
            ("count", indices.size),
            ("inner", int(np.prod(shape[axis + 1 :], dtype=np.int64))),
            ("in_count", shape[axis]),
            ("indices", ctx.constants.words.add(indices)),
        )
    )
    return Call("edk_gather_s8", "edk_gather_params", params, (ctx.pointer(source), ctx.pointer(out)))


EMITTERS: dict[str, Callable[[StepContext], list[Call]]] = {
    **dict.fromkeys(kinds_with(Trait.MOVING), _reorder),
    "CONCATENATION": _concatenation,
    "EXPAND_DIMS": _reshape,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
}
