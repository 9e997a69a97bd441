"""Kernel calls of REDUCE_MAX, REDUCE_MIN, ARG_MAX and ARG_MIN, and how the axes of a reduction lie in memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgedet.codegen.step_context import Call, StepContext, c_fields
from edgedet.graph.operators import arg_axis, reduce_axes


def reduced_runs(ctx: StepContext, axes: tuple[int, ...]) -> tuple[int, int, int]:
    """Sizes (outer, count, inner) of an input [outer][count][inner] whose middle is reduced.

    Args:
        ctx: the step; its first input is reduced.
        axes: ascending, 0 or more.
    Raises:
        UnsupportedOpError: there are axes longer than 1 between those that are reduced.
    """
    shape = ctx.tensor(ctx.step.inputs[0]).shape
    long = [axis for axis, side in enumerate(shape) if side > 1]  # sides of 1 change nothing
    reduced = [position for position, axis in enumerate(long) if axis in axes]
    first, last = (reduced[0], reduced[-1] + 1) if reduced else (0, 0)
    if reduced != list(range(first, last)):
        raise ctx.unsupported(f"axes {axes} must be neighbours")
    sides = [shape[axis] for axis in long]
    outer, count, inner = (
        int(np.prod(part, dtype=np.int64)) for part in (sides[:first], sides[first:last], sides[last:])
    )
    return outer, count, inner


def _extreme(ctx: StepContext) -> list[Call]:
    """REDUCE_MAX and REDUCE_MIN."""
    outer, count, inner = reduced_runs(ctx, reduce_axes(ctx.op))
    minimum = int(ctx.step.kind == "REDUCE_MIN")
    params = c_fields((("outer", outer), ("count", count), ("inner", inner), ("minimum", minimum)))
    pointers = (ctx.pointer(ctx.step.inputs[0]), ctx.pointer(ctx.step.outputs[0]))
    return [Call("edk_reduce_minmax_s8", "edk_reduce_minmax_params", params, pointers)]


def _position(ctx: StepContext) -> list[Call]:
    """ARG_MAX and ARG_MIN."""
    outer, count, inner = reduced_runs(ctx, (arg_axis(ctx.op),))
    minimum = int(ctx.step.kind == "ARG_MIN")
    params = c_fields((("outer", outer), ("count", count), ("inner", inner), ("minimum", minimum)))
    pointers = (ctx.pointer(ctx.step.inputs[0]), ctx.typed_pointer(ctx.step.outputs[0], written=True))
    return [Call("edk_arg_minmax_s8", "edk_arg_minmax_params", params, pointers)]


EMITTERS: dict[str, Callable[[StepContext], list[Call]]] = {
    "ARG_MAX": _position,
    "ARG_MIN": _position,
    "REDUCE_MAX": _extreme,
    "REDUCE_MIN": _extreme,
}
