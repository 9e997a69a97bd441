"""Kernel calls of the operators that have a kernel of their own for int16 activations: convolutions and LOGISTIC."""

from __future__ import annotations

import numpy as np

from edgedet.codegen.channel_constants import channel_multipliers
from edgedet.codegen.emit.broadcast import image_pointers
from edgedet.codegen.step_context import Call, StepContext, c_fields, c_struct
from edgedet.codegen.windows import window_struct
from edgedet.graph.graph import ConvOptions, DepthwiseConvOptions
from edgedet.graph.operators import checked_weights, real_multipliers
from edgedet.numerics import int16
from edgedet.numerics.integer import activation_range, reduce_multiplier

_SHIFTS = (-31, int16.MAX_SHIFT)  # of edk_requant_wide
_LARGEST = 2**47  # accumulators below it times a 16-bit multiplier fit int64


def convolution(ctx: StepContext) -> list[Call]:
    """CONV_2D and DEPTHWISE_CONV_2D."""
    step, depthwise = ctx.step, ctx.step.kind == "DEPTHWISE_CONV_2D"
    options = step.options
    assert isinstance(options, ConvOptions | DepthwiseConvOptions)
    weights = checked_weights(ctx.op)
    axis = 3 if depthwise else 0
    source, out = step.inputs[0], step.outputs[0]
    params = c_fields(
        (
            ("in", ctx.view(source)),
            ("out", ctx.view(out)),
            ("window", window_struct(ctx, (weights.shape[1], weights.shape[2]), options)),
            ("requant", _requant(ctx, weights.shape[axis], options.activation)),
            ("weights", ctx.constants.weights.add(weights, align=16)),
            ("bias", ctx.constants.words.add(_bias_words(ctx, weights, axis))),
        )
    )
    name = "edk_depthwise_conv_s16" if depthwise else "edk_conv_s16"
    return [Call(name, "edk_conv_s16_params", params, pointers) for pointers in image_pointers(ctx, (source,), out)]


def _requant(ctx: StepContext, channels: int, activation: str) -> str:
    """edk_requant_wide."""
    multiplier, shift = channel_multipliers(real_multipliers(ctx.op, channels), channels, _SHIFTS, ctx.op.where)
    scale, _ = ctx.op.params(ctx.tensor(ctx.step.outputs[0]))
    return c_struct(
        ctx.constants.words.add(reduce_multiplier(multiplier)),
        ctx.constants.weights.add(shift),
        *activation_range(activation, scale, 0, *ctx.op.limits),
    )


def _bias_words(ctx: StepContext, weights: np.ndarray, axis: int) -> np.ndarray:
    """int32 (channels, 2): the biases, lower half first.

    Raises:
        UnsupportedOpError: an accumulator could reach 2^47.
    """
    rows = np.moveaxis(weights.astype(np.int64), axis, 0).reshape(weights.shape[axis], -1)
    bias = np.zeros(len(rows), np.int64)
    if len(ctx.step.inputs) > 2 and ctx.step.inputs[2] >= 0:
        bias = ctx.op.constant(2, "the bias").astype(np.int64).ravel()
    reach = np.abs(bias.astype(np.float64)) + 2.0**15 * np.abs(rows).sum(axis=1)
    if reach.max() >= _LARGEST:
        worst = int(reach.argmax())
        raise ctx.unsupported(
            f"the accumulator of channel {worst} can reach {reach[worst]:.0f}, and the kernel computes up to 2^47; its "
            "bias is too large for its weight scale"
        )
    low = (bias & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
    return np.stack([low, (bias >> 32).astype(np.int32)], axis=1)


def logistic(ctx: StepContext) -> list[Call]:
    """LOGISTIC."""
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    multiplier, shift = int16.logistic_constants(ctx.op.params(ctx.tensor(source))[0])
    params = c_fields(
        (
            ("in", ctx.view(source)),
            ("out", ctx.view(out)),
            ("multiplier", multiplier),
            ("shift", shift),
            ("table", ctx.constants.words.add(int16.logistic_entries())),
        )
    )
    return [
        Call("edk_logistic_s16", "edk_logistic_params", params, pointers)
        for pointers in image_pointers(ctx, (source,), out)
    ]
