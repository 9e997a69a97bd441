"""What each TFLite operator is in ONNX, between DequantizeLinear and QuantizeLinear.

Float arithmetic with the file's numbers: the exact result of an operator, rounded once, where the chip's arithmetic
rounds twice or looks into a table. So one operator differs by at most one code, and those that copy codes by none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.exchange.export.qdq.builder import NHWC, QdqBuilder
from edgedet.graph import graph as g
from edgedet.graph.operators import (
    OpContext,
    checked_weights,
    reduce_axes,
    slice_key,
    strided_key,
    transpose_conv_padding,
    window_padding,
)

_AXIS_IN_NCHW = (0, 2, 3, 1)  # NHWC axis -> NCHW axis
_HARD_SWISH_OPSET = 14
_AXES_AS_INPUT = {"ReduceSum": 13, "ReduceMean": 18, "ReduceMax": 18, "ReduceMin": 18}  # from this opset on
Emit = Callable[[QdqBuilder, OpContext], None]


def emit(builder: QdqBuilder, number: int) -> None:
    """Append one operator of the builder's graph.

    Args:
        builder: knows the tensors that the operator reads.
        number: of the operator.
    Raises:
        UnsupportedOpError: the operator, or an option of it, has no form here.
    """
    ctx = OpContext(builder.graph, number)
    kind = ctx.operator.kind
    if kind not in _EMIT:
        raise ctx.unsupported(f"has no QDQ form here; there is one for {', '.join(sorted(_EMIT))}")
    try:
        _EMIT[kind](builder, ctx)
    except (UnsupportedOpError, ConversionError) as error:
        if ctx.where in str(error):
            raise
        raise type(error)(f"{ctx.where}: {error}") from error


def _windows(
    ctx: OpContext, kernel: tuple[int, int], options: Any, dilation: tuple[int, int] = (1, 1)
) -> dict[str, Any]:
    """Attributes of a sliding window, SAME spelled out as pads."""
    height, width = ctx.input(0).shape[1:3]
    rows, columns = (
        window_padding(size, (taps - 1) * step + 1, stride, options.padding, ctx.where)[1:]
        for size, taps, step, stride in zip((height, width), kernel, dilation, options.stride, strict=True)
    )
    pads = [rows[0], columns[0], rows[1], columns[1]]
    return {"kernel_shape": list(kernel), "strides": list(options.stride), "pads": pads}


def _bias(builder: QdqBuilder, ctx: OpContext, position: int) -> list[str]:
    inputs = ctx.operator.inputs
    return [builder.bias(inputs[position])] if len(inputs) > position and inputs[position] >= 0 else []


def _conv_2d(builder: QdqBuilder, ctx: OpContext) -> None:
    options, inputs = ctx.operator.options, ctx.operator.inputs
    assert isinstance(options, g.ConvOptions)
    _, height, width, depth = checked_weights(ctx).shape
    attributes = {
        **_windows(ctx, (height, width), options, options.dilation),
        "dilations": list(options.dilation),
        "group": ctx.input(0).shape[3] // depth,
    }
    operands = [builder.real(inputs[0]), builder.weights(inputs[1], (0, 3, 1, 2)), *_bias(builder, ctx, 2)]
    _finish(builder, ctx, builder.add("Conv", operands, attributes), options.activation)


def _depthwise_conv_2d(builder: QdqBuilder, ctx: OpContext) -> None:
    options, inputs = ctx.operator.options, ctx.operator.inputs
    assert isinstance(options, g.DepthwiseConvOptions)
    _, height, width, _ = checked_weights(ctx).shape
    attributes = {
        **_windows(ctx, (height, width), options, options.dilation),
        "dilations": list(options.dilation),
        "group": ctx.input(0).shape[3],
    }
    operands = [builder.real(inputs[0]), builder.weights(inputs[1], (3, 0, 1, 2)), *_bias(builder, ctx, 2)]
    _finish(builder, ctx, builder.add("Conv", operands, attributes), options.activation)


def _transpose_conv(builder: QdqBuilder, ctx: OpContext) -> None:
    options, inputs = ctx.operator.options, ctx.operator.inputs
    assert isinstance(options, g.TransposeConvOptions)
    before = transpose_conv_padding(ctx)
    kernel = checked_weights(ctx).shape[1:3]
    after, beyond = [], []
    for axis in (0, 1):
        reach = options.stride[axis] * (ctx.input(2).shape[1 + axis] - 1) + kernel[axis]
        rest = reach - before[axis] - ctx.output().shape[1 + axis]
        after.append(max(rest, 0))
        beyond.append(max(-rest, 0))
    attributes = {
        "kernel_shape": list(kernel),
        "strides": list(options.stride),
        "pads": [*before, *after],
        "output_padding": beyond,
    }
    operands = [builder.real(inputs[2]), builder.weights(inputs[1], (3, 0, 1, 2)), *_bias(builder, ctx, 3)]
    _finish(builder, ctx, builder.add("ConvTranspose", operands, attributes), options.activation)


def _fully_connected(builder: QdqBuilder, ctx: OpContext) -> None:
    options, inputs = ctx.operator.options, ctx.operator.inputs
    assert isinstance(options, g.FullyConnectedOptions)
    depth = checked_weights(ctx).shape[1]
    rows = builder.add("Reshape", [builder.real_as_stored(inputs[0]), builder.integers("rows", [-1, depth])])
    operands = [rows, builder.weights(inputs[1], (0, 1)), *_bias(builder, ctx, 2)]
    value = builder.activated(builder.add("Gemm", operands, {"transB": 1}), options.activation)
    if len(ctx.output().shape) != 2:
        value = builder.add("Reshape", [value, builder.integers("shape", ctx.output().shape)])
    builder.store(ctx.operator.outputs[0], value, as_stored=True)


def _finish(builder: QdqBuilder, ctx: OpContext, value: str, activation: str = "NONE") -> None:
    builder.store(ctx.operator.outputs[0], builder.activated(value, activation))


def _operand(builder: QdqBuilder, ctx: OpContext, position: int) -> str:
    """Input of an operator that broadcasts: with as many axes as the output, in its layout."""
    index, rank = ctx.operator.inputs[position], len(ctx.output().shape)
    shape = ctx.input(position).shape
    if len(shape) == rank:
        return builder.real(index)
    wide = (1,) * (rank - len(shape)) + shape
    value = builder.add("Reshape", [builder.real_as_stored(index), builder.integers("shape", wide)])
    return builder.add("Transpose", [value], {"perm": (0, 3, 1, 2)}) if rank == 4 else value


def _binary(kind: str) -> Emit:
    def emit_binary(builder: QdqBuilder, ctx: OpContext) -> None:
        options = ctx.operator.options
        activation = options.activation if isinstance(options, g.ElementwiseOptions) else "NONE"
        value = builder.add(kind, [_operand(builder, ctx, 0), _operand(builder, ctx, 1)])
        _finish(builder, ctx, value, activation)

    return emit_binary


def _unary(kind: str) -> Emit:
    def emit_unary(builder: QdqBuilder, ctx: OpContext) -> None:
        _finish(builder, ctx, builder.add(kind, [builder.real(ctx.operator.inputs[0])]))

    return emit_unary


def _activation(name: str) -> Emit:
    def emit_activation(builder: QdqBuilder, ctx: OpContext) -> None:
        _finish(builder, ctx, builder.real(ctx.operator.inputs[0]), name)

    return emit_activation


def _leaky_relu(builder: QdqBuilder, ctx: OpContext) -> None:
    assert isinstance(ctx.operator.options, g.LeakyReluOptions)
    attributes = {"alpha": float(ctx.operator.options.alpha)}
    _finish(builder, ctx, builder.add("LeakyRelu", [builder.real(ctx.operator.inputs[0])], attributes))


def _hard_swish(builder: QdqBuilder, ctx: OpContext) -> None:
    if builder.opset < _HARD_SWISH_OPSET:
        raise ctx.unsupported(f"ONNX has HardSwish from opset {_HARD_SWISH_OPSET} on, found `opset` {builder.opset}")
    _unary("HardSwish")(builder, ctx)


def _softmax(builder: QdqBuilder, ctx: OpContext) -> None:
    options = ctx.operator.options
    assert isinstance(options, g.SoftmaxOptions)
    value = builder.real(ctx.operator.inputs[0])
    if options.beta != 1.0:
        value = builder.add("Mul", [value, builder.constant("beta", np.array(options.beta, np.float32))])
    axis = 1 if len(ctx.input(0).shape) == 4 else -1
    _finish(builder, ctx, builder.add("Softmax", [value], {"axis": axis}))


def _same_value(builder: QdqBuilder, ctx: OpContext) -> None:
    """QUANTIZE and DEQUANTIZE: the value stays, the output's codes may be others."""
    _finish(builder, ctx, builder.real(ctx.operator.inputs[0]))


def _pool(kind: str) -> Emit:
    def emit_pool(builder: QdqBuilder, ctx: OpContext) -> None:
        options = ctx.operator.options
        assert isinstance(options, g.PoolOptions)
        attributes = _windows(ctx, options.filter, options)
        value = builder.add(kind, [builder.real(ctx.operator.inputs[0])], attributes)
        _finish(builder, ctx, value, options.activation)

    return emit_pool


def _reduce(kind: str) -> Emit:
    def emit_reduce(builder: QdqBuilder, ctx: OpContext) -> None:
        rank = len(ctx.input(0).shape)
        axes = [_AXIS_IN_NCHW[axis] if rank == 4 else axis for axis in reduce_axes(ctx)]
        value = builder.real(ctx.operator.inputs[0])
        if builder.opset >= _AXES_AS_INPUT[kind]:
            value = builder.add(kind, [value, builder.integers("axes", axes)], {"keepdims": 1})
        else:
            value = builder.add(kind, [value], {"axes": axes, "keepdims": 1})
        if len(ctx.output().shape) == rank:
            _finish(builder, ctx, value)
            return
        if rank == 4:
            value = builder.add("Transpose", [value], {"perm": NHWC})
        value = builder.add("Reshape", [value, builder.integers("shape", ctx.output().shape)])
        builder.store(ctx.operator.outputs[0], value, as_stored=True)

    return emit_reduce


def _resize(mode: str) -> Emit:
    def emit_resize(builder: QdqBuilder, ctx: OpContext) -> None:
        options = ctx.operator.options
        assert isinstance(options, g.ResizeOptions)
        places = "asymmetric"
        if options.align_corners:
            places = "align_corners"
        elif options.half_pixel_centers:
            places = "half_pixel"
        attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": places}
        if mode == "nearest":  # TFLite floors; half a pixel further, and with corners, that is rounding
            attributes["nearest_mode"] = "floor" if places == "asymmetric" else "round_prefer_ceil"
        batch, height, width, channels = ctx.output().shape
        sizes = builder.integers("sizes", (batch, channels, height, width))
        value = builder.add("Resize", [builder.real(ctx.operator.inputs[0]), "", "", sizes], attributes)
        _finish(builder, ctx, value)

    return emit_resize


def _concatenation(builder: QdqBuilder, ctx: OpContext) -> None:
    options = ctx.operator.options
    assert isinstance(options, g.ConcatOptions)
    rank = len(ctx.output().shape)
    axis = options.axis % rank
    parts = [builder.real(index) for index in ctx.operator.inputs]
    value = builder.add("Concat", parts, {"axis": _AXIS_IN_NCHW[axis] if rank == 4 else axis})
    _finish(builder, ctx, value, options.activation)


def _pad(builder: QdqBuilder, ctx: OpContext) -> None:
    amounts = ctx.constant(1, "the padding").astype(np.int64)
    if len(amounts) == 4:
        amounts = amounts[[0, 3, 1, 2]]
    operands = [builder.real(ctx.operator.inputs[0]), builder.integers("pads", amounts.T.ravel().tolist())]
    if ctx.operator.kind == "PADV2":
        scale, zero_point = ctx.any_params(ctx.input(2))
        code = int(ctx.constant(2, "the value").ravel()[0])
        operands.append(
            builder.constant("value", np.array(np.float32(scale) * np.float32(code - zero_point), np.float32))
        )
    _finish(builder, ctx, builder.add("Pad", operands))


def _reshape(builder: QdqBuilder, ctx: OpContext) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the shape of the output says it all."""
    value = builder.real_as_stored(ctx.operator.inputs[0])
    value = builder.add("Reshape", [value, builder.integers("shape", ctx.output().shape)])
    builder.store(ctx.operator.outputs[0], value, as_stored=True)


def _transpose(builder: QdqBuilder, ctx: OpContext) -> None:
    order = ctx.constant(1, "the permutation").ravel().tolist()
    value = builder.add("Transpose", [builder.real_as_stored(ctx.operator.inputs[0])], {"perm": order})
    builder.store(ctx.operator.outputs[0], value, as_stored=True)


def _split(builder: QdqBuilder, ctx: OpContext) -> None:
    source, axis_at = (1, 0) if ctx.operator.kind == "SPLIT" else (0, 2)
    tensor = ctx.input(source)
    axis = int(ctx.constant(axis_at, "the axis").ravel()[0]) % len(tensor.shape)
    outputs = ctx.operator.outputs
    sizes = [builder.graph.tensors[index].shape[axis] for index in outputs]
    operands = [builder.real(ctx.operator.inputs[source]), builder.integers("sizes", sizes)]
    names = [builder.new_name(f"{builder.name(index)}_part") for index in outputs]
    axis = _AXIS_IN_NCHW[axis] if len(tensor.shape) == 4 else axis
    for index, part in zip(outputs, builder.add_many("Split", operands, {"axis": axis}, names), strict=True):
        builder.store(index, part)


def _slice(builder: QdqBuilder, ctx: OpContext) -> None:
    """STRIDED_SLICE and SLICE."""
    shape = ctx.input(0).shape
    key = slice_key(ctx) if ctx.operator.kind == "SLICE" else strided_key(ctx)
    begins, ends, steps = [], [], []
    for side, part in zip(shape, key, strict=False):
        whole = slice(part, part + 1 or None) if isinstance(part, int) else part
        begin, end, step = whole.indices(side)
        begins.append(begin)
        ends.append(end if end >= 0 else -side - 1)  # backwards to the start: ONNX counts -1 from the end
        steps.append(step)
    bounds = [builder.integers(name, v) for name, v in (("begins", begins), ("ends", ends))]
    axes = builder.integers("axes", range(len(begins)))
    operands = [builder.real_as_stored(ctx.operator.inputs[0]), *bounds, axes, builder.integers("steps", steps)]
    value = builder.add("Slice", operands)
    if any(isinstance(part, int) for part in key):
        value = builder.add("Reshape", [value, builder.integers("shape", ctx.output().shape)])
    builder.store(ctx.operator.outputs[0], value, as_stored=True)


def _blocks(kind: str) -> Emit:
    def emit_blocks(builder: QdqBuilder, ctx: OpContext) -> None:
        options = ctx.operator.options
        assert isinstance(options, g.BlockSizeOptions)
        attributes = {"blocksize": options.block_size}
        _finish(builder, ctx, builder.add(kind, [builder.real(ctx.operator.inputs[0])], attributes))

    return emit_blocks


_EMIT: dict[str, Emit] = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    "ADD": _binary("Add"),
    "SUB": _binary("Sub"),
    "MUL": _binary("Mul"),
    "MAXIMUM": _binary("Max"),
    "MINIMUM": _binary("Min"),
    "PRELU": _binary("PRelu"),
    "LOGISTIC": _unary("Sigmoid"),
    "TANH": _unary("Tanh"),
    "ABS": _unary("Abs"),
    "HARD_SWISH": _hard_swish,
    "RELU": _activation("RELU"),
    "RELU6": _activation("RELU6"),
    "RELU_N1_TO_1": _activation("RELU_N1_TO_1"),
    "LEAKY_RELU": _leaky_relu,
    "SOFTMAX": _softmax,
    "QUANTIZE": _same_value,
    "DEQUANTIZE": _same_value,
    "MAX_POOL_2D": _pool("MaxPool"),
    "AVERAGE_POOL_2D": _pool("AveragePool"),
    "MEAN": _reduce("ReduceMean"),
    "SUM": _reduce("ReduceSum"),
    "REDUCE_MAX": _reduce("ReduceMax"),
    "REDUCE_MIN": _reduce("ReduceMin"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("nearest"),
    "RESIZE_BILINEAR": _resize("linear"),
    "CONCATENATION": _concatenation,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "TRANSPOSE": _transpose,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "STRIDED_SLICE": _slice,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": _blocks("SpaceToDepth"),
    "DEPTH_TO_SPACE": _blocks("DepthToSpace"),
}
QDQ_KINDS = tuple(sorted(_EMIT))  # operators that have a QDQ form
