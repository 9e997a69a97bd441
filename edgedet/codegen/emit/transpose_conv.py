"""Kernel calls of TRANSPOSE_CONV."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgedet.codegen.channel_constants import KERNEL_SHIFTS, channel_multipliers
from edgedet.codegen.step_context import MAX_SIDE, Call, StepContext, c_fields, c_struct
from edgedet.graph.graph import TransposeConvOptions
from edgedet.graph.operators import checked_weights, real_multipliers, transpose_conv_padding
from edgedet.numerics.integer import activation_range


def _transpose_conv(ctx: StepContext) -> list[Call]:
    options, source, out = ctx.step.options, ctx.step.inputs[2], ctx.step.outputs[0]
    assert isinstance(options, TransposeConvOptions)
    weights = checked_weights(ctx.op)
    zero_point = ctx.op.params(ctx.tensor(source))[1]
    kernel = weights.shape[1:3]
    window = (*kernel, *options.stride, 1, 1, *transpose_conv_padding(ctx.op))
    if max(window) > MAX_SIDE:
        raise ctx.unsupported(f"a window of {window} (kernel, stride, dilation, padding); sides go up to {MAX_SIDE}")
    bias = None
    if len(ctx.step.inputs) > 3 and ctx.step.inputs[3] >= 0:
        bias = ctx.op.constant(3, "the bias")
    _check_accumulators(ctx, weights, bias, zero_point, options.stride)
    params = c_fields(
        (
            ("in", ctx.view(source)),
            ("out", ctx.view(out)),
            ("window", c_struct(*window)),
            ("requant", _requant(ctx, weights.shape[0], options.activation)),
            ("weights", ctx.constants.weights.add(weights, align=16)),
            ("bias", "NULL" if bias is None else ctx.constants.words.add(bias)),
            ("input_zero_point", zero_point),
        )
    )
    return [
        Call(
            "edk_transpose_conv_s8",
            "edk_transpose_conv_params",
            params,
            (ctx.pointer(source, image * ctx.image_bytes(source)), ctx.pointer(out, image * ctx.image_bytes(out))),
        )
        for image in range(ctx.nhwc(out)[0])
    ]


def _requant(ctx: StepContext, channels: int, activation: str) -> str:
    """edk_requant."""
    real = real_multipliers(ctx.op, channels, source=2)
    multiplier, shift = channel_multipliers(real, channels, KERNEL_SHIFTS, ctx.op.where)
    scale, zero_point = ctx.op.params(ctx.tensor(ctx.step.outputs[0]))
    return c_struct(
        ctx.constants.words.add(multiplier),
        ctx.constants.weights.add(shift),
        zero_point,
        *activation_range(activation, scale, zero_point),
        0,
    )


def _check_accumulators(
    ctx: StepContext, weights: np.ndarray, bias: np.ndarray | None, zero_point: int, stride: tuple[int, int]
) -> None:
    """Raise when a sum could leave int32: taps that meet at one output stand a stride apart."""
    wide = weights.astype(np.int64)
    products = np.stack([wide * (-128 - zero_point), wide * (127 - zero_point)])
    start = np.zeros(weights.shape[0], np.int64) if bias is None else bias.astype(np.int64).ravel()
    for y in range(min(stride[0], weights.shape[1])):
        for x in range(min(stride[1], weights.shape[2])):
            meeting = products[:, :, y :: stride[0], x :: stride[1]]
            low = start + meeting.min(axis=0).sum(axis=(1, 2, 3))
            high = start + meeting.max(axis=0).sum(axis=(1, 2, 3))
            worst = max(-int(low.min()), int(high.max()))
            if worst >= 2**31:
                raise ctx.unsupported(f"an accumulator can reach {worst}, more than int32 holds; its bias is too large")


EMITTERS: dict[str, Callable[[StepContext], list[Call]]] = {"TRANSPOSE_CONV": _transpose_conv}
