"""Kernel calls of MAXIMUM, MINIMUM and PRELU on two tensors; with a constant number they are tables."""

from __future__ import annotations

from collections.abc import Callable

from edgedet.codegen.emit.broadcast import check_leading_sides, image_pointers, operand_steps, scale_fields
from edgedet.codegen.step_context import Call, StepContext, c_fields, c_struct

_SHIFTS = (-31, 14)


def _maximum_minimum(ctx: StepContext) -> list[Call]:
    minimum = int(ctx.step.kind == "MINIMUM")
    return _calls(ctx, "edk_minmax", (("sizes", _sizes(ctx)), ("minimum", minimum)))


def _prelu(ctx: StepContext) -> list[Call]:
    (first, second), out = ctx.step.inputs, ctx.step.outputs[0]
    (scale, zero), (slope, slope_zero), (out_scale, out_zero) = (
        ctx.op.params(ctx.tensor(index)) for index in (first, second, out)
    )
    fields = (
        ("sizes", _sizes(ctx)),
        *scale_fields(ctx, ("multiplier", "shift"), scale / out_scale, _SHIFTS),
        *scale_fields(ctx, ("slope_multiplier", "slope_shift"), scale * slope / out_scale, _SHIFTS),
        *(("zero_point", zero), ("slope_zero_point", slope_zero), ("out_zero_point", out_zero)),
    )
    return _calls(ctx, "edk_prelu", fields)


def _sizes(ctx: StepContext) -> str:
    """edk_broadcast."""
    out = ctx.step.outputs[0]
    for index in ctx.step.inputs:
        check_leading_sides(ctx, index, out)
    steps = (operand_steps(ctx, index) for index in (*ctx.step.inputs, out))
    return c_struct(*ctx.nhwc(out)[1:], *steps)


def _calls(ctx: StepContext, name: str, fields: tuple[tuple[str, object], ...]) -> list[Call]:
    params = c_fields(fields)
    return [
        Call(f"{name}_{ctx.suffix}", f"{name}_params", params, pointers)
        for pointers in image_pointers(ctx, ctx.step.inputs, ctx.step.outputs[0])
    ]


EMITTERS: dict[str, Callable[[StepContext], list[Call]]] = {
    "MAXIMUM": _maximum_minimum,
    "MINIMUM": _maximum_minimum,
    "PRELU": _prelu,
}
