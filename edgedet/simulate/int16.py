"""Operators of the simulator that are of their own in int16, and the list of all that take int16 activations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgedet.graph.graph import ElementwiseOptions, Tensor
from edgedet.numerics import int16
from edgedet.numerics.integer import activation_range, quantize_multiplier
from edgedet.simulate import elementwise, shapes, weighted
from edgedet.simulate.workspace import Kernel, KernelContext

Arrays = Sequence[np.ndarray]


def uses_int16(ctx: KernelContext) -> bool:
    """True when an input or output of the operator is int16."""
    indices = (*ctx.operator.inputs, *ctx.operator.outputs)
    return any(ctx.graph.tensors[index].dtype == "int16" for index in indices if index >= 0)


def quantize(ctx: KernelContext) -> Kernel:
    """QUANTIZE between int8 and int16, or from int16 to int16."""
    source, target = ctx.input(0), ctx.output()
    ctx.require_shape(source.shape)
    for tensor in (source, target):
        if tensor.dtype not in ("int8", "int16"):
            raise ctx.unsupported(f"tensor {tensor.name!r} is {tensor.dtype}, expected int8 or int16")
    if source.dtype == "int8":
        return _lookup(int16.widen_table(ctx.any_params(source), ctx.any_params(target)))
    wide = target.dtype == "int16"
    return _lookup(int16.requantize_table(ctx.any_params(source), ctx.any_params(target), wide))


def logistic(ctx: KernelContext) -> Kernel:
    """LOGISTIC."""
    ctx.require_shape(ctx.input(0).shape)
    if ctx.params(ctx.output()) != int16.LOGISTIC_OUTPUT:
        raise ctx.unsupported(
            f"the output's (scale, zero point) must be {int16.LOGISTIC_OUTPUT}, found {ctx.params(ctx.output())}"
        )
    return _lookup(int16.logistic_table(ctx.params(ctx.input(0))[0]))


def _lookup(table: np.ndarray) -> Kernel:
    """Kernel of a table of all codes, indexed by the code as an unsigned number."""
    unsigned = np.uint8 if table.size == 256 else np.uint16

    def run(inputs: Arrays, outputs: Arrays) -> None:
        np.take(table, inputs[0].view(unsigned), out=outputs[0], mode="clip")  # "raise" would buffer the output

    return run


def add_or_sub(ctx: KernelContext) -> Kernel:
    """ADD and SUB with broadcasting."""
    elementwise.require_broadcast(ctx)
    options, scales = _elementwise(ctx)
    if options.pot_scale_int16 and int16.are_powers_of_two(scales):
        raise ctx.unsupported(
            f"its scales {scales} are powers of two and it has the option pot_scale_int16: TFLite and TFLite Micro "
            "compute different results; write the file without the option"
        )
    sign = 1 if ctx.operator.kind == "ADD" else -1
    first, second, multiplier, shift = int16.add_constants(*scales, sign)
    limits = activation_range(options.activation, scales[2], 0, *ctx.limits)
    workspace = ctx.workspace

    def run(inputs: Arrays, outputs: Arrays) -> None:
        total = workspace.take("index", outputs[0].shape, np.int64)
        left, right = (
            table.take(x.view(np.uint16), mode="clip") for table, x in zip((first, second), inputs, strict=True)
        )
        np.add(left, right, out=total)
        int16.rescale(total, multiplier, shift)
        np.clip(total, *limits, out=outputs[0], casting="unsafe")

    return run


def mul(ctx: KernelContext) -> Kernel:
    """MUL with broadcasting; the multiplier is TFLite Micro's, made in float64 (TFLite makes it in float32)."""
    elementwise.require_broadcast(ctx)
    options, (first, second, target) = _elementwise(ctx)
    multiplier, shift = quantize_multiplier(first * second / target)
    limits = activation_range(options.activation, target, 0, *ctx.limits)
    workspace = ctx.workspace

    def run(inputs: Arrays, outputs: Arrays) -> None:
        product = workspace.take("index", outputs[0].shape, np.int64)
        np.multiply(inputs[0], inputs[1], out=product, dtype=np.int64)
        int16.rescale(product, multiplier, shift)
        np.clip(product, *limits, out=outputs[0], casting="unsafe")

    return run


def _elementwise(ctx: KernelContext) -> tuple[ElementwiseOptions, tuple[float, float, float]]:
    """(options, scales of both inputs and the output)."""
    options = ctx.operator.options
    assert isinstance(options, ElementwiseOptions)

    def scale(tensor: Tensor) -> float:
        return ctx.params(tensor)[0]

    return options, (scale(ctx.input(0)), scale(ctx.input(1)), scale(ctx.output()))


BUILDERS: dict[str, Callable[[KernelContext], Kernel]] = {
    "CONV_2D": weighted.conv_2d,
    "DEPTHWISE_CONV_2D": weighted.depthwise_conv_2d,
    "ADD": add_or_sub,
    "SUB": add_or_sub,
    "MUL": mul,
    "MAXIMUM": elementwise.maximum_minimum,
    "MINIMUM": elementwise.maximum_minimum,
    "LOGISTIC": logistic,
    "QUANTIZE": quantize,
    "MAX_POOL_2D": elementwise.max_pool_2d,
    "AVERAGE_POOL_2D": elementwise.average_pool_2d,
    "MEAN": elementwise.reduce,
    "RESIZE_NEAREST_NEIGHBOR": elementwise.resize_nearest,
    "CONCATENATION": shapes.concatenation,
    "PAD": shapes.pad,
    "RESHAPE": shapes.reshape,
    "TRANSPOSE": shapes.move,
    "STRIDED_SLICE": shapes.move,
    "SLICE": shapes.move,
}
