"""Operators that only move codes, as strided views of their input: for the simulator and for generated C alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgedet.graph.graph import BlockSizeOptions, GatherOptions, SplitOptions, UnpackOptions
from edgedet.graph.operators import OpContext, slice_key, strided_key


@dataclass(frozen=True, eq=False)
class Moved:
    """One output of a moving operator."""

    view: np.ndarray  # of the input; its elements in row-major order are the output
    shape: tuple[int, ...]  # of the output


def source_position(kind: str) -> int:
    """Which input of a moving operator holds the codes."""
    return 1 if kind == "SPLIT" else 0


def moved_views(ctx: OpContext, source: np.ndarray) -> list[Moved] | None:
    """What a moving operator writes, without moving it.

    Args:
        ctx: operator with the trait MOVING.
        source: its input, or any array of that shape.
    Returns:
        One view for each output; None: GATHER whose indices are not evenly spaced.
    Raises:
        ValueError, IndexError: the parameters do not fit the input.
        UnsupportedOpError: a parameter is computed, or has no meaning here.
    """
    match ctx.operator.kind:
        case "SPLIT" | "SPLIT_V" | "UNPACK":
            return [Moved(view, view.shape) for view in _parts(ctx, source)]
        case "GATHER":
            return _gathered(ctx, source)
        case "TILE":
            return [_tiled(ctx, source)]
        case "SPACE_TO_DEPTH" | "DEPTH_TO_SPACE":
            return [_blocks(ctx, source)]
        case "TRANSPOSE":
            view = source.transpose(ctx.constant(1, "the permutation").ravel().tolist())
        case "SLICE":
            view = source[slice_key(ctx)]
        case _:
            # With every axis shrunk the index would give a scalar, which is a copy; the dots keep it a view.
            view = source[(*strided_key(ctx), ...)]
    return [Moved(view, view.shape)]


def _parts(ctx: OpContext, source: np.ndarray) -> list[np.ndarray]:
    """Outputs of SPLIT, SPLIT_V and UNPACK."""
    options, count = ctx.operator.options, len(ctx.operator.outputs)
    if isinstance(options, UnpackOptions):
        axis = checked_axis(ctx, options.axis, source.ndim)
        if options.num != count or source.shape[axis] != count:
            raise ctx.unsupported(f"{source.shape} can't be unpacked along axis {axis} to {count} of {options.num}")
        return [source[(slice(None),) * axis + (i, ...)] for i in range(count)]
    assert isinstance(options, SplitOptions)
    given = ctx.constant_number(0 if ctx.operator.kind == "SPLIT" else 2, "the axis")
    axis = checked_axis(ctx, given, source.ndim)
    whole = source.shape[axis]
    if ctx.operator.kind == "SPLIT":
        sizes = [whole // count] * count
    else:
        sizes = [int(size) for size in ctx.constant(1, "the sizes of the parts").ravel()]
        if sizes.count(-1) == 1:
            sizes[sizes.index(-1)] = whole - sum(size for size in sizes if size >= 0)
    if options.num_splits != count or len(sizes) != count or sum(sizes) != whole or min(sizes) < 1:
        raise ctx.unsupported(
            f"{source.shape} can't be split along axis {axis} into parts of {sizes}, {count} of {options.num_splits}"
        )
    return np.split(source, np.cumsum(sizes)[:-1], axis=axis)


def checked_axis(ctx: OpContext, axis: int, rank: int) -> int:
    """An axis of 0 .. rank - 1 from one that may count from the end."""
    if not -rank <= axis < rank:
        raise ctx.unsupported(f"axis {axis} is outside the {rank} axes of its input")
    return axis % rank


def gather_indices(ctx: OpContext) -> tuple[int, np.ndarray]:
    """(axis, int64 indices of any shape) of GATHER, checked."""
    options, shape = ctx.operator.options, ctx.input(0).shape
    assert isinstance(options, GatherOptions)
    indices = ctx.constant(1, "the indices").astype(np.int64)
    axis = checked_axis(ctx, options.axis, len(shape))
    if options.batch_dims:
        raise ctx.unsupported(f"batch_dims is {options.batch_dims}, only 0 is supported")
    if indices.size == 0 or indices.min() < 0 or indices.max() >= shape[axis]:
        raise ctx.unsupported(f"indices {indices.ravel()[:8].tolist()} ... must be 0 .. {shape[axis] - 1}")
    return axis, indices


def _gathered(ctx: OpContext, source: np.ndarray) -> list[Moved] | None:
    axis, indices = gather_indices(ctx)
    flat = indices.ravel()
    steps = np.unique(np.diff(flat))
    if steps.size > 1:
        return None
    step, first = int(steps[0]) if steps.size else 1, int(flat[0])
    before, after = source.shape[:axis], source.shape[axis + 1 :]
    if step == 0:
        part = source[(slice(None),) * axis + (slice(first, first + 1),)]
        view = np.broadcast_to(part, (*before, flat.size, *after))
    else:
        end = first + step * flat.size
        view = source[(slice(None),) * axis + (slice(first, None if end < 0 else end, step),)]
    return [Moved(view, (*before, *indices.shape, *after))]


def _tiled(ctx: OpContext, source: np.ndarray) -> Moved:
    multiples = [int(count) for count in ctx.constant(1, "the multiples").ravel()]
    if len(multiples) != source.ndim or min(multiples) < 1:
        raise ctx.unsupported(f"multiples {multiples} do not fit input {source.shape}, or are not positive")
    apart: list[int] = []  # each side behind an axis of 1 that repeats it
    wide: list[int] = []
    for count, side in zip(multiples, source.shape, strict=True):
        apart += [1, side]
        wide += [count, side]
    shape = tuple(count * side for count, side in zip(multiples, source.shape, strict=True))
    return Moved(np.broadcast_to(source.reshape(apart), wide), shape)


def _blocks(ctx: OpContext, source: np.ndarray) -> Moved:
    """SPACE_TO_DEPTH and DEPTH_TO_SPACE."""
    options = ctx.operator.options
    assert isinstance(options, BlockSizeOptions)
    ctx.require_rank(ctx.input(0), 4)
    batch, height, width, channels = source.shape
    size = options.block_size
    if ctx.operator.kind == "SPACE_TO_DEPTH":
        view = source.reshape(batch, height // size, size, width // size, size, channels)
        shape = (batch, height // size, width // size, size * size * channels)
    else:
        view = source.reshape(batch, height, width, size, size, -1)
        shape = (batch, height * size, width * size, channels // (size * size))
    return Moved(view.transpose(0, 1, 3, 2, 4, 5), shape)


def merged_axes(view: np.ndarray) -> tuple[list[int], list[int]]:
    """(sizes, strides in bytes) of the fewest axes that walk through a view in row-major order.

    Sides of 1 go, and an axis that continues the one before it is joined with it.
    """
    sizes: list[int] = []
    strides: list[int] = []
    for size, stride in zip(view.shape, view.strides, strict=True):
        if size == 1:
            continue
        if sizes and strides[-1] == size * stride:
            sizes[-1] *= size
            strides[-1] = stride
        else:
            sizes.append(size)
            strides.append(stride)
    return sizes, strides


def start_of(view: np.ndarray, whole: np.ndarray) -> int:
    """Distance in bytes from an array's first element to a view's."""
    return int(view.__array_interface__["data"][0] - whole.__array_interface__["data"][0])
