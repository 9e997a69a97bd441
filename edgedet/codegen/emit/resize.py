"""Kernel calls of the resizing operators, which read their source positions from tables made here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgedet.codegen.emit.moves import per_image
from edgedet.codegen.step_context import Call, StepContext, c_fields
from edgedet.graph.operators import bilinear_sources, nearest_sources


def _resize_nearest(ctx: StepContext) -> list[Call]:
    return _calls(ctx, "edk_resize_nearest", [nearest_sources(ctx.op, axis) for axis in (1, 2)])


def _resize_bilinear(ctx: StepContext) -> list[Call]:
    return _calls(ctx, "edk_resize_bilinear", [np.stack(bilinear_sources(ctx.op, axis), axis=1) for axis in (1, 2)])


def _calls(ctx: StepContext, name: str, tables: list[np.ndarray]) -> list[Call]:
    """One call per image; tables: of rows and of columns."""
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    rows, columns = (ctx.constants.indices.add(table) for table in tables)
    ends = (("in", ctx.byte_view(source)), ("out", ctx.byte_view(out)))
    params = c_fields((*ends, ("rows", rows), ("columns", columns)))
    return per_image(ctx, name, params)


EMITTERS: dict[str, Callable[[StepContext], list[Call]]] = {
    "RESIZE_BILINEAR": _resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest,
}
