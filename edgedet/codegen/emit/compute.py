"""Kernel calls of the steps that compute: convolutions, sums, products, tables, pools, means."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgedet.codegen.channel_constants import (
    REQUANT_NARROW,
    channel_constants,
    conv_scratch_bytes,
    depthwise_scratch_bytes,
    fully_connected_scratch_bytes,
)
from edgedet.codegen.emit import borders, elementwise, int16, moves, reduce, resize, transpose_conv
from edgedet.codegen.emit.broadcast import check_leading_sides, image_pointers, operand_steps, scale_fields
from edgedet.codegen.emit.reduce import reduced_runs
from edgedet.codegen.memory.sharing import Sharing
from edgedet.codegen.step_context import MAX_SIDE, Call, StepContext, c_fields, c_struct
from edgedet.codegen.steps import TABLE, UNARY, Step, needed_operators
from edgedet.codegen.windows import window_struct
from edgedet.graph.graph import (
    ConvOptions,
    DepthwiseConvOptions,
    ElementwiseOptions,
    FullyConnectedOptions,
    Graph,
    PoolOptions,
)
from edgedet.graph.operator_table import INT16, Trait, kinds_with, support
from edgedet.graph.operators import (
    OpContext,
    checked_weights,
    dense_multipliers,
    real_multipliers,
    reduce_axes,
    softmax_exponentials,
)
from edgedet.numerics.integer import activation_range, mean_multiplier, quantize_multiplier

_PITCHED = frozenset((*kinds_with(Trait.PITCHED), TABLE))
SHARING = Sharing(
    in_place=frozenset((*kinds_with(Trait.IN_PLACE), TABLE)), pitched_read=_PITCHED, pitched_write=_PITCHED
)


def calls_of(ctx: StepContext) -> list[Call]:
    """Kernel calls of a step.

    Args:
        ctx: the step, of a graph that `check_operators` accepts.
    Returns:
        In order; one per image of a batch.
    Raises:
        UnsupportedOpError: there is no kernel for these options.
    """
    return _EMITTERS[ctx.step.kind](ctx)


def check_operators(graph: Graph) -> None:
    """Check that there is a C kernel for every operator that an output depends on, whatever its options.

    Ask this before the `Simulator`, which has other operators and would list those.

    Args:
        graph: checked.
    Raises:
        UnsupportedOpError: names the first operator without a kernel and lists those with one.
    """
    for number, operator in needed_operators(graph):
        if operator.kind not in supported_kinds():
            raise OpContext(graph, number).unsupported(
                f"there is no C kernel for {operator.kind}; there are kernels for {', '.join(supported_kinds())}"
            )
        if INT16 in support(operator.kind).c or operator.kind in borders.EMITTERS:
            continue  # these take other types
        wide = [graph.tensors[i].name for i in (*operator.inputs, *operator.outputs) if _is_int16(graph, i)]
        if wide:
            raise OpContext(graph, number).unsupported(
                f"tensor {wide[0]!r} is int16, and the C kernel of this operator computes int8; quantize without "
                "`int16`, or deploy with `target` tflm"
            )


def _is_int16(graph: Graph, index: int) -> bool:
    return index >= 0 and graph.tensors[index].dtype == "int16"


def supported_kinds() -> list[str]:
    """Operators that C can be generated for, in alphabetical order."""
    return sorted({*_EMITTERS, *UNARY} - {TABLE})


def scratch_bytes(graph: Graph, step: Step) -> int:
    """Scratch of a step, as its kernel's edk_..._scratch_bytes() computes it; the same on every processor."""
    if step.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED") or _is_int16(graph, step.outputs[0]):
        return 0
    source, weights, out = (graph.tensors[i].shape for i in (*step.inputs[:2], step.outputs[0]))
    if step.kind == "FULLY_CONNECTED":
        return fully_connected_scratch_bytes(_rows(source, weights[-1]), weights[-1])
    if step.kind == "CONV_2D":
        return conv_scratch_bytes((weights[1], weights[2]), weights[3])
    assert isinstance(step.options, DepthwiseConvOptions)
    stride, dilation = step.options.stride[1], step.options.dilation[1]
    return depthwise_scratch_bytes((weights[1], weights[2]), stride, dilation, out[2], out[3] // source[3])


def _rows(shape: tuple[int, ...], depth: int) -> int:
    """Rows that FULLY_CONNECTED multiplies with its weights."""
    return int(np.prod(shape, dtype=np.int64)) // depth


def _weighted(ctx: StepContext) -> list[Call]:
    """CONV_2D and DEPTHWISE_CONV_2D."""
    if ctx.is_wide:
        return int16.convolution(ctx)
    step, depthwise = ctx.step, ctx.step.kind == "DEPTHWISE_CONV_2D"
    options = step.options
    assert isinstance(options, ConvOptions | DepthwiseConvOptions)
    weights = checked_weights(ctx.op)
    axis = 3 if depthwise else 0
    channels = weights.shape[axis]
    kernel = (weights.shape[1], weights.shape[2])
    requant, bias = _requant(ctx, weights, axis, real_multipliers(ctx.op, channels), options.activation)
    source, out = step.inputs[0], step.outputs[0]
    name = "edk_depthwise_conv" if depthwise else "edk_conv"
    params = c_fields(
        (
            ("in", ctx.view(source)),
            ("out", ctx.view(out)),
            ("window", window_struct(ctx, kernel, options)),
            ("requant", requant),
            ("weights", ctx.constants.weights.add(weights, align=16)),
            ("bias", bias),
            ("input_zero_point", _params(ctx, source)[1]),
        )
    )
    return [
        Call(f"{name}_s8", f"{name}_params", params, pointers, scratch=True)
        for pointers in image_pointers(ctx, (source,), out)
    ]


def _fully_connected(ctx: StepContext) -> list[Call]:
    options = ctx.step.options
    assert isinstance(options, FullyConnectedOptions)
    weights = checked_weights(ctx.op)
    channels, depth = weights.shape
    requant, bias = _requant(ctx, weights, 0, dense_multipliers(ctx.op, channels), options.activation)
    rows = _rows(ctx.tensor(ctx.step.inputs[0]).shape, depth)
    if max(rows, channels, depth) > MAX_SIDE:
        raise ctx.unsupported(f"{rows} rows of {depth} values to {channels} channels; sides go up to {MAX_SIDE}")
    params = c_fields(
        (
            ("rows", rows),
            ("depth", depth),
            ("channels", channels),
            ("requant", requant),
            ("weights", ctx.constants.weights.add(weights, align=16)),
            ("bias", bias),
        )
    )
    pointers = (ctx.pointer(ctx.step.inputs[0]), ctx.pointer(ctx.step.outputs[0]))
    return [Call("edk_fully_connected_s8", "edk_fully_connected_params", params, pointers, scratch=True)]


def _requant(
    ctx: StepContext, weights: np.ndarray, channel_axis: int, scales: np.ndarray, activation: str
) -> tuple[str, str]:
    """(edk_requant, address of the bias with the input's zero point folded in)."""
    bias = None
    if len(ctx.step.inputs) > 2 and ctx.step.inputs[2] >= 0:
        bias = ctx.op.constant(2, "the bias")
    zero_point = _params(ctx, ctx.step.inputs[0])[1]
    found = channel_constants(weights, bias, channel_axis, zero_point, scales, ctx.op.where)
    scale, out_zero_point = _params(ctx, ctx.step.outputs[0])
    requant = c_struct(
        ctx.constants.words.add(found.multiplier),
        ctx.constants.weights.add(found.shift),
        out_zero_point,
        *activation_range(activation, scale, out_zero_point),
        "EDK_REQUANT_NARROW" if found.flags == REQUANT_NARROW else found.flags,
    )
    return requant, ctx.constants.words.add(found.bias)


def _binary(ctx: StepContext) -> list[Call]:
    """ADD, SUB and MUL."""
    kind, (first, second), out = ctx.step.kind, ctx.step.inputs, ctx.step.outputs[0]
    options = ctx.step.options
    assert isinstance(options, ElementwiseOptions)
    (scale1, zero1), (scale2, zero2), (scale, zero) = (_params(ctx, index) for index in (first, second, out))
    low, high = activation_range(options.activation, scale, zero, *ctx.op.limits)
    _, height, width, channels = ctx.nhwc(out)
    for index in (first, second):
        check_leading_sides(ctx, index, out)
    common = [
        *(("height", height), ("width", width), ("channels", channels)),
        *(("in1", operand_steps(ctx, first)), ("in2", operand_steps(ctx, second)), ("out", operand_steps(ctx, out))),
        *(("zero_point1", zero1), ("zero_point2", zero2), ("out_zero_point", zero)),
        *(("act_min", low), ("act_max", high)),
    ]
    if kind == "MUL":
        scaling = scale_fields(ctx, ("multiplier", "shift"), scale1 * scale2 / scale, (-31, 14))
    else:
        twice, raised = 2.0 * max(scale1, scale2), 2.0 ** (15 if ctx.is_wide else 20)
        scaling = [
            *scale_fields(ctx, ("multiplier1", "shift1"), scale1 / twice, (-31, 0)),
            *scale_fields(ctx, ("multiplier2", "shift2"), scale2 / twice, (-31, 0)),
            *scale_fields(ctx, ("out_multiplier", "out_shift"), twice / (raised * scale), (-31, 0)),
        ]
    params_type = "edk_mul_params" if kind == "MUL" else "edk_add_params"
    return [
        Call(f"edk_{kind.lower()}_{ctx.suffix}", params_type, c_fields([*common, *scaling]), pointers)
        for pointers in image_pointers(ctx, (first, second), out)
    ]


def _table(ctx: StepContext) -> list[Call]:
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    assert ctx.step.table is not None
    table = ctx.constants.weights.add(ctx.step.table)
    params = c_fields((("in", ctx.view(source)), ("out", ctx.view(out)), ("table", table)))
    return [Call("edk_lut_s8", "edk_lut_params", params, pointers) for pointers in image_pointers(ctx, (source,), out)]


def _softmax(ctx: StepContext) -> list[Call]:
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    exps = ctx.constants.words.add(softmax_exponentials(ctx.op))
    params = c_fields((("in", ctx.view(source)), ("out", ctx.view(out)), ("exps", exps)))
    pointers = image_pointers(ctx, (source,), out)
    return [Call("edk_softmax_s8", "edk_softmax_params", params, arguments) for arguments in pointers]


def _pool(ctx: StepContext) -> list[Call]:
    options = ctx.step.options
    assert isinstance(options, PoolOptions)
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    low, high = activation_range(options.activation, *_params(ctx, out), *ctx.op.limits)
    params = c_fields(
        (
            ("in", ctx.view(source)),
            ("out", ctx.view(out)),
            ("window", window_struct(ctx, options.filter, options)),
            *(("act_min", low), ("act_max", high)),
        )
    )
    name = "edk_max_pool" if ctx.step.kind == "MAX_POOL_2D" else "edk_average_pool"
    return [
        Call(f"{name}_{ctx.suffix}", "edk_pool_params", params, pointers)
        for pointers in image_pointers(ctx, (source,), out)
    ]


def _mean(ctx: StepContext) -> list[Call]:
    """MEAN and SUM over neighbouring axes."""
    source, out = ctx.step.inputs[0], ctx.step.outputs[0]
    outer, count, inner = reduced_runs(ctx, reduce_axes(ctx.op))
    most = 2**16 - 1 if ctx.is_wide else 2**23
    if count > most:
        raise ctx.unsupported(f"a mean of {count} values; up to {most} fit")
    (scale_in, zero_in), (scale_out, zero_out) = _params(ctx, source), _params(ctx, out)
    real = scale_in / scale_out
    multiplier, shift = mean_multiplier(real, count) if ctx.step.kind == "MEAN" else quantize_multiplier(real)
    if not -31 <= shift <= 31:
        raise ctx.unsupported(f"the ratio {real} of its scales is outside what the kernel computes")
    params = c_fields(
        (
            *(("outer", outer), ("count", count), ("inner", inner)),
            *(("multiplier", multiplier), ("shift", shift)),
            *(("zero_point", zero_in), ("out_zero_point", zero_out)),
        )
    )
    pointers = ctx.kernel_pointer(source), ctx.kernel_pointer(out, written=True)
    return [Call(f"edk_mean_{ctx.suffix}", "edk_mean_params", params, pointers)]


def _params(ctx: StepContext, index: int) -> tuple[float, int]:
    return ctx.op.params(ctx.tensor(index))


_EMITTERS: dict[str, Callable[[StepContext], list[Call]]] = {
    "ADD": _binary,
    "AVERAGE_POOL_2D": _pool,
    "CONV_2D": _weighted,
    "DEPTHWISE_CONV_2D": _weighted,
    "FULLY_CONNECTED": _fully_connected,
    "LOGISTIC": int16.logistic,  # of int8 it is a table
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "MUL": _binary,
    "SOFTMAX": _softmax,
    "SUB": _binary,
    "SUM": _mean,
    TABLE: _table,
    **borders.EMITTERS,
    **elementwise.EMITTERS,
    **moves.EMITTERS,
    **reduce.EMITTERS,
    **resize.EMITTERS,
    **transpose_conv.EMITTERS,
}
