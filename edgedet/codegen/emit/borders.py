"""Kernel calls of QUANTIZE and DEQUANTIZE where a tensor has another type than int8: the ends of a network."""

from __future__ import annotations

from collections.abc import Callable

from edgedet.codegen.step_context import Call, StepContext, c_fields
from edgedet.escape import c_float
from edgedet.numerics import int16
from edgedet.numerics.integer import quantize_multiplier

EDK_TYPES = {
    "int8": "EDK_INT8",
    "uint8": "EDK_UINT8",
    "int16": "EDK_INT16",
    "int32": "EDK_INT32",
    "float32": "EDK_FLOAT32",
}
_SHIFTS = (-31, 14)  # of edk_requantize_any


def _quantize(ctx: StepContext) -> list[Call]:
    """QUANTIZE from float32, or between int8 and int16; between types of 8 bits it is a table."""
    source, out = ctx.tensor(ctx.step.inputs[0]), ctx.tensor(ctx.step.outputs[0])
    scale, zero_point = ctx.op.any_params(out)
    if source.dtype == "float32":
        fields = (
            ("out_type", EDK_TYPES[out.dtype]),
            ("scale", c_float(scale)),
            ("zero_point", zero_point),
        )
        return _calls(ctx, "edk_quantize_f32", "edk_quantize_params", fields)
    if (source.dtype, out.dtype) == ("int8", "int16"):
        table = int16.widen_table(ctx.op.any_params(source), (scale, zero_point))
        return _calls(ctx, "edk_widen_s8", "edk_widen_params", (("table", ctx.constants.indices.add(table)),))
    own_scale, own_zero_point = ctx.op.any_params(source)
    multiplier, shift = quantize_multiplier(own_scale / scale)
    if not _SHIFTS[0] <= shift <= _SHIFTS[1]:
        raise ctx.unsupported(f"the ratio {own_scale / scale} of its scales is outside what the kernel computes")
    return _calls(
        ctx,
        "edk_requantize_any",
        "edk_requantize_any_params",
        (
            *(("in_type", EDK_TYPES[source.dtype]), ("out_type", EDK_TYPES[out.dtype])),
            *(("multiplier", multiplier), ("shift", shift)),
            *(("zero_point", own_zero_point), ("out_zero_point", zero_point)),
        ),
    )


def _dequantize(ctx: StepContext) -> list[Call]:
    """DEQUANTIZE from int8, uint8 or int16 to float32."""
    source = ctx.tensor(ctx.step.inputs[0])
    scale, zero_point = ctx.op.any_params(source)
    fields = (("in_type", EDK_TYPES[source.dtype]), ("scale", c_float(scale)), ("zero_point", zero_point))
    return _calls(ctx, "edk_dequantize_f32", "edk_dequantize_params", fields)


def _calls(ctx: StepContext, kernel: str, params_type: str, fields: tuple[tuple[str, object], ...]) -> list[Call]:
    """One call per image of a batch."""
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    params = c_fields((("in", ctx.view(source)), ("out", ctx.view(out)), *fields))
    return [
        Call(
            kernel,
            params_type,
            params,
            (
                ctx.typed_pointer(source, image * ctx.image_bytes(source)),
                ctx.typed_pointer(out, image * ctx.image_bytes(out), written=True),
            ),
        )
        for image in range(ctx.nhwc(out)[0])
    ]


def _exp(ctx: StepContext) -> list[Call]:
    """EXP that `fold_float_islands` has not made part of a table."""
    raise ctx.unsupported(
        "float arithmetic in C; between a DEQUANTIZE of 8-bit codes and a QUANTIZE to them, each read by nothing else, "
        "it becomes a table"
    )


EMITTERS: dict[str, Callable[[StepContext], list[Call]]] = {
    "DEQUANTIZE": _dequantize,
    "EXP": _exp,
    "QUANTIZE": _quantize,
}
