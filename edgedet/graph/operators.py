"""What operators mean, for everything that runs or generates them: shapes, padding, multipliers, tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.graph.graph import (
    ElementwiseOptions,
    Graph,
    LeakyReluOptions,
    Operator,
    Quantization,
    ResizeOptions,
    SoftmaxOptions,
    StridedSliceOptions,
    Tensor,
    TransposeConvOptions,
)
from edgedet.numerics import softmax, tables
from edgedet.numerics.tables import Params


@dataclass(frozen=True)
class OpContext:
    """One operator with its surroundings."""

    graph: Graph
    number: int  # in graph.operators
    dtype: str = "int8"  # of the activations, int8 or int16

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest code of the activations."""
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    @property
    def operator(self) -> Operator:
        """The operator itself."""
        return self.graph.operators[self.number]

    @property
    def where(self) -> str:
        """Operator and output tensor, for errors."""
        name = self.graph.tensors[self.operator.outputs[0]].name
        return f"operator {self.number} ({self.operator.kind}, writes {name!r})"

    def input(self, position: int) -> Tensor:
        """Tensor of an input that is present."""
        return self.graph.tensors[self.operator.inputs[position]]

    def output(self, position: int = 0) -> Tensor:
        """Tensor of an output."""
        return self.graph.tensors[self.operator.outputs[position]]

    def unsupported(self, reason: str) -> UnsupportedOpError:
        """Error to raise: what about this operator is not supported."""
        return UnsupportedOpError(f"{self.where}: {reason}")

    def constant(self, position: int, what: str) -> np.ndarray:
        """Data of an input that must be a constant."""
        tensor = self.input(position)
        if tensor.data is None:
            raise self.unsupported(f"{what} must be a constant, but {tensor.name!r} is computed")
        return tensor.data

    def constant_number(self, position: int, what: str) -> int:
        """The only value of an input that must be a constant."""
        data = self.constant(position, what)
        if data.size != 1:
            raise self.unsupported(f"{what} must be one number, {self.input(position).name!r} holds {data.size}")
        return int(data.reshape(-1)[0])

    def quantization(self, tensor: Tensor) -> Quantization:
        """Quantization of a tensor that must have one."""
        if tensor.quantization is None:
            raise ConversionError(f"{self.where}: tensor {tensor.name!r} has no scale and zero point")
        return tensor.quantization

    def params(self, tensor: Tensor) -> Params:
        """(scale, zero point) of an activation, of the operator's dtype, with one scale."""
        if tensor.dtype != self.dtype:
            raise self.unsupported(f"tensor {tensor.name!r} is {tensor.dtype}, expected {self.dtype} here")
        return self.any_params(tensor)

    def any_params(self, tensor: Tensor) -> Params:
        """(scale, zero point) of a tensor of any dtype with one scale."""
        quantization = self.quantization(tensor)
        if quantization.scale.size != 1:
            raise self.unsupported(f"activation {tensor.name!r} has {quantization.scale.size} scales, expected 1")
        return float(quantization.scale[0]), int(quantization.zero_point[0])

    def require_one_scale(self, *tensors: Tensor) -> Params:
        """(scale, zero point) of activations that the operator copies between and that must therefore agree."""
        params = [self.params(tensor) for tensor in tensors]
        if len(set(params)) != 1:
            found = ", ".join(f"{t.name!r} {p}" for t, p in zip(tensors, params, strict=True))
            raise self.unsupported(f"its tensors must share one (scale, zero point), found {found}")
        return params[0]

    def require_shape(self, expected: Sequence[int], position: int = 0) -> None:
        """Raise when the output is declared with another shape than the operator computes."""
        tensor = self.output(position)
        if tensor.shape != tuple(expected):
            raise ConversionError(f"{self.where}: {tensor.name!r} has shape {tensor.shape}, computed {tuple(expected)}")

    def require_rank(self, tensor: Tensor, rank: int) -> None:
        """Raise when a tensor has another number of axes."""
        if len(tensor.shape) != rank:
            raise self.unsupported(f"tensor {tensor.name!r} has shape {tensor.shape}, expected {rank} axes")


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """What TFLite's SAME adds in front of and behind one axis.

    Args:
        size: input, px.
        window: of the (dilated) filter, px.
        stride: step, px.
    Returns:
        (before, after), px; the odd one is after. Source: TFLite's ComputePaddingWithOffset.
    """
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def window_padding(size: int, window: int, stride: int, padding: str, where: str) -> tuple[int, int, int]:
    """Output size and padding of a sliding window along one axis.

    Args:
        size: input.
        window: of the (dilated) filter.
        stride: step.
        padding: SAME or VALID.
        where: operator, for the error.
    Returns:
        (output size, padding before, padding after); SAME puts the odd one after.
    Raises:
        ConversionError: VALID, and the window does not fit.
    """
    if padding == "SAME":
        return -(-size // stride), *same_padding(size, window, stride)
    if size < window:
        raise ConversionError(f"{where}: a window of {window} does not fit an input of {size} without padding")
    return (size - window) // stride + 1, 0, 0


def checked_weights(ctx: OpContext) -> np.ndarray:
    """Constant int8 weights with zero point 0."""
    weights = ctx.constant(1, "the weights")
    if weights.dtype != np.int8 or ctx.quantization(ctx.input(1)).zero_point.any():
        raise ctx.unsupported(f"weights {ctx.input(1).name!r} must be int8 with zero point 0, they are {weights.dtype}")
    if not weights.size:
        raise ctx.unsupported(f"weights {ctx.input(1).name!r} of shape {weights.shape} are empty")
    return weights


def real_multipliers(ctx: OpContext, channels: int, source: int = 0) -> np.ndarray:
    """float64 (channels,) or (1,): input scale * weight scale / output scale, in double as the kernels do.

    Args:
        ctx: operator whose weights are input 1.
        channels: of the output.
        source: position of the activation.
    """
    weight_scale = ctx.quantization(ctx.input(1)).scale.astype(np.float64)
    if weight_scale.size not in (1, channels):
        raise ctx.unsupported(f"{weight_scale.size} weight scales for {channels} output channels")
    return ctx.params(ctx.input(source))[0] * weight_scale / ctx.params(ctx.output())[0]


def transpose_conv_padding(ctx: OpContext) -> tuple[int, int]:
    """(rows, columns) that TRANSPOSE_CONV cuts off above and to the left, after checking its shapes.

    They are the padding of the convolution that would make the input of the output.
    """
    options = ctx.operator.options
    assert isinstance(options, TransposeConvOptions)
    shape = ctx.constant(0, "the output shape").ravel().tolist()
    ctx.require_rank(ctx.input(2), 4)
    ctx.require_rank(ctx.input(1), 4)
    channels, *kernel, depth = ctx.input(1).shape
    ctx.require_shape(shape)
    batch, *_, in_channels = ctx.input(2).shape
    if (batch, channels, depth) != (shape[0], shape[-1], in_channels) or len(shape) != 4:
        raise ctx.unsupported(f"shapes {ctx.input(2).shape} x {ctx.input(1).shape} -> {tuple(shape)} do not fit")
    pads = [
        window_padding(shape[1 + axis], kernel[axis], options.stride[axis], options.padding, ctx.where)[1]
        for axis in (0, 1)
    ]
    return pads[0], pads[1]


def dense_multipliers(ctx: OpContext, channels: int) -> np.ndarray:
    """`real_multipliers` of FULLY_CONNECTED, whose kernels take the product of the scales in float32 if it is one."""
    weight_scale = ctx.quantization(ctx.input(1)).scale
    if weight_scale.size != 1:
        return real_multipliers(ctx, channels)
    product = np.float32(ctx.params(ctx.input(0))[0]) * weight_scale.astype(np.float32)
    return product.astype(np.float64) / ctx.params(ctx.output())[0]


def unary_table(ctx: OpContext) -> np.ndarray:
    """Table of an operator on one tensor of 8 bits: codes of the output (256,), indexed by the byte of the input."""
    if ctx.operator.kind == "QUANTIZE":
        ends = ctx.input(0), ctx.output()
        params = ctx.any_params(ends[0]), ctx.any_params(ends[1])
        return tables.requantize_bytes_table(*params, (ends[0].dtype, ends[1].dtype))
    kind, source, target = ctx.operator.kind, ctx.params(ctx.input(0)), ctx.params(ctx.output())
    fixed = {"LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
    if kind in fixed and target != fixed[kind]:
        raise ctx.unsupported(f"the output's (scale, zero point) must be {fixed[kind]}, found {target}")
    if kind in ("RELU6", "RELU_N1_TO_1") and source != target:
        raise ctx.unsupported(
            f"input {source} and output {target} differ in (scale, zero point); TFLite rescales, TFLite Micro does "
            "not. Fuse the activation into the operator before it"
        )
    match kind:
        case "LOGISTIC":
            return tables.logistic_table(source)
        case "TANH":
            return tables.tanh_table(source)
        case "HARD_SWISH":
            return tables.hard_swish_table(source, target)
        case "ABS":
            return tables.abs_table(source, target)
        case "LEAKY_RELU":
            assert isinstance(ctx.operator.options, LeakyReluOptions)
            return tables.leaky_relu_table(source, target, ctx.operator.options.alpha)
        case _:
            return tables.relu_table(source, target, kind)


def is_byte_table(ctx: OpContext) -> bool:
    """Whether an operator on one tensor has 8 bits at both ends, so that `unary_table` describes it."""
    return {ctx.input(0).dtype, ctx.output().dtype} <= {"int8", "uint8"}


def softmax_exponentials(ctx: OpContext) -> np.ndarray:
    """Table of SOFTMAX: `numerics.softmax.exponentials` of its input's scale, int64 (256,)."""
    options, source, depth = ctx.operator.options, ctx.params(ctx.input(0)), (ctx.input(0).shape or (1,))[-1]
    assert isinstance(options, SoftmaxOptions)
    if ctx.params(ctx.output()) != softmax.OUTPUT:
        found = ctx.params(ctx.output())
        raise ctx.unsupported(f"the output's (scale, zero point) must be {softmax.OUTPUT}, found {found}")
    if depth > softmax.MAX_DEPTH:
        raise ctx.unsupported(f"a row of {depth} values; the kernels' sum holds {softmax.MAX_DEPTH}")
    return softmax.exponentials(source[0], options.beta)


def binary_table(ctx: OpContext) -> np.ndarray:
    """Table of ADD, SUB, MUL, MAXIMUM, MINIMUM or PRELU: int8 (256, 256), indexed by the bytes of both codes."""
    options, kind = ctx.operator.options, ctx.operator.kind
    if kind in ("MAXIMUM", "MINIMUM"):
        function = np.maximum if kind == "MAXIMUM" else np.minimum
        return function.outer(tables.CODES, tables.CODES).astype(np.int8)
    if kind == "PRELU":
        return tables.prelu_table(*(ctx.params(tensor) for tensor in (ctx.input(0), ctx.input(1), ctx.output())))
    assert isinstance(options, ElementwiseOptions)
    operands = (ctx.params(ctx.input(0)), ctx.params(ctx.input(1)), ctx.params(ctx.output()))
    if kind == "MUL":
        return tables.mul_table(*operands, options.activation)
    return tables.add_table(*operands, options.activation, sign=1 if kind == "ADD" else -1)


def reduce_axes(ctx: OpContext) -> tuple[int, ...]:
    """Axes of MEAN, SUM, REDUCE_MAX and REDUCE_MIN, ascending, 0 or more."""
    values = ctx.constant(1, "the axes")
    rank = len(ctx.input(0).shape)
    axes = sorted({int(v) + rank if v < 0 else int(v) for v in values.ravel()})
    if any(not 0 <= axis < rank for axis in axes):
        raise ctx.unsupported(f"axes {values.ravel().tolist()} are outside the {rank} axes of its input")
    return tuple(axes)


def arg_axis(ctx: OpContext) -> int:
    """Axis of ARG_MAX and ARG_MIN, 0 or more, after checking their shapes and types."""
    shape = ctx.input(0).shape
    axis = ctx.constant_number(1, "the axis")
    if not -len(shape) <= axis < len(shape):
        raise ctx.unsupported(f"axis {axis} is outside the {len(shape)} axes of its input")
    if ctx.output().dtype != "int32":
        raise ctx.unsupported(f"its output is {ctx.output().dtype}; TFLite Micro has int32 only")
    axis %= len(shape)
    ctx.require_shape((*shape[:axis], *shape[axis + 1 :]))
    ctx.params(ctx.input(0))  # raises for another type than int8
    return axis


def _resize_sizes(ctx: OpContext, axis: int) -> tuple[int, int, ResizeOptions]:
    """(input size, output size, options) of a resize along axis 1 or 2."""
    options = ctx.operator.options
    assert isinstance(options, ResizeOptions)
    ctx.require_rank(ctx.input(0), 4)
    batch, height, width, channels = ctx.input(0).shape
    sizes = ctx.constant(1, "the output size").ravel().tolist()
    if len(sizes) != 2:
        raise ctx.unsupported(f"the output size must be (height, width), found {sizes}")
    ctx.require_shape((batch, *sizes, channels))
    if options.align_corners and options.half_pixel_centers:
        raise ctx.unsupported("align_corners and half_pixel_centers exclude each other")
    return (height, width)[axis - 1], int(sizes[axis - 1]), options


def nearest_sources(ctx: OpContext, axis: int) -> np.ndarray:
    """Source row (axis 1) or column (axis 2) of every row or column of RESIZE_NEAREST_NEIGHBOR's output."""
    size, out, options = _resize_sizes(ctx, axis)
    aligned = options.align_corners and out > 1
    scale = np.float32(size - 1) / np.float32(out - 1) if aligned else np.float32(size) / np.float32(out)
    offset = np.float32(0.5 if options.half_pixel_centers else 0.0)
    position = (np.arange(out, dtype=np.float32) + offset) * scale
    # Positions are not negative, so that floor(x + 0.5) rounds half away from zero.
    source = np.floor(position.astype(np.float64) + 0.5) if options.align_corners else np.floor(position)
    return np.minimum(source.astype(np.intp), size - 1)


def bilinear_sources(ctx: OpContext, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where every row (axis 1) or column (axis 2) of RESIZE_BILINEAR's output comes from, in integers.

    Returns:
        int64 (lower source, upper source, weight of the upper in 1/1024); the weight may be -512 .. 1023, and where
        both sources are the same, it is 0.
    Raises:
        UnsupportedOpError: the rounded scale leads outside the input, where the kernels read what lies behind it.
    """
    size, out, options = _resize_sizes(ctx, axis)
    scale = (1024 * size + out // 2) // out
    if options.align_corners and out > 1:
        scale = (1024 * (size - 1) + (out - 1) // 2) // (out - 1)
    position = np.arange(out, dtype=np.int64) * scale
    if options.half_pixel_centers:
        position += scale // 2 - 512
    # C division truncates: a position left of the first centre belongs to source 0.
    low = np.maximum(position // 1024, 0)
    high = np.clip((position + 1023) // 1024, 0, size - 1)
    if low.max() >= size:
        raise ctx.unsupported(
            f"{size} to {out} rows or columns: steps of {scale}/1024 lead outside the input, where TFLite and TFLite "
            "Micro read other memory. Resize in two operators, or to another size"
        )
    return low, high, np.where(low == high, 0, position - 1024 * low)


def strided_key(ctx: OpContext) -> tuple[slice | int, ...]:
    """NumPy index of STRIDED_SLICE, without ellipsis and new axes."""
    options = ctx.operator.options
    assert isinstance(options, StridedSliceOptions)
    if options.ellipsis_mask or options.new_axis_mask:
        raise ctx.unsupported("ellipsis and new axes are not supported")
    begin, end, step = (ctx.constant(i, "begin, end and strides").ravel().tolist() for i in (1, 2, 3))
    if not len(begin) == len(end) == len(step) or 0 in step:
        raise ctx.unsupported(f"begin {begin}, end {end}, strides {step} do not fit together")
    index: list[slice | int] = []
    for axis in range(len(begin)):
        bit = 1 << axis
        if options.shrink_axis_mask & bit:
            index.append(begin[axis])
            continue
        start = None if options.begin_mask & bit else begin[axis]
        stop = None if options.end_mask & bit else end[axis]
        index.append(slice(start, stop, step[axis]))
    return tuple(index)


def slice_key(ctx: OpContext) -> tuple[slice, ...]:
    """NumPy index of SLICE; size -1 goes to the end."""
    begin, size = (ctx.constant(i, "begin and size").ravel().tolist() for i in (1, 2))
    if len(begin) != len(size) or len(begin) != len(ctx.input(0).shape) or min(begin) < 0 or min(size) < -1:
        raise ctx.unsupported(f"begin {begin}, size {size} do not fit input {ctx.input(0).shape}")
    return tuple(slice(b, None if s == -1 else b + s) for b, s in zip(begin, size, strict=True))
