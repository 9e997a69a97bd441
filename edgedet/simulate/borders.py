"""QUANTIZE and DEQUANTIZE where a tensor is float32 or uint8: the ends of an int8 network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgedet.graph.operators import is_byte_table
from edgedet.numerics import affine
from edgedet.simulate import elementwise
from edgedet.simulate.workspace import Kernel, KernelContext

Arrays = Sequence[np.ndarray]
DTYPES = ("float32", "uint8")  # what only border operators take


def border_dtype(ctx: KernelContext) -> str | None:
    """The first type among an operator's tensors that only border operators take; None: there is none."""
    indices = (*ctx.operator.inputs, *ctx.operator.outputs)
    found = (ctx.graph.tensors[index].dtype for index in indices if index >= 0)
    return next((dtype for dtype in found if dtype in DTYPES), None)


def quantize(ctx: KernelContext) -> Kernel:
    """QUANTIZE from float32 to int8 or int16, and between int8 and uint8."""
    source, target = ctx.input(0), ctx.output()
    if is_byte_table(ctx) and (source.dtype, target.dtype) != ("uint8", "uint8"):
        return elementwise.unary(ctx)
    if source.dtype != "float32" or target.dtype not in ("int8", "int16"):
        raise ctx.unsupported(
            f"from {source.dtype} to {target.dtype}; TFLite Micro has float32 to int8 or int16, int8 to uint8, uint8 "
            "to int8, and any way between int8 and int16"
        )
    ctx.require_shape(source.shape)
    scale, zero_point = ctx.any_params(target)

    def run(inputs: Arrays, outputs: Arrays) -> None:
        outputs[0][...] = affine.quantize_border(inputs[0], scale, zero_point, target.dtype)

    return run


def dequantize(ctx: KernelContext) -> Kernel:
    """DEQUANTIZE from int8, uint8 or int16 to float32."""
    source, target = ctx.input(0), ctx.output()
    if source.dtype not in ("int8", "uint8", "int16") or target.dtype != "float32":
        raise ctx.unsupported(f"from {source.dtype} to {target.dtype}; expected int8, uint8 or int16 to float32")
    ctx.require_shape(source.shape)
    scale, zero_point = ctx.any_params(source)

    def run(inputs: Arrays, outputs: Arrays) -> None:
        with np.errstate(over="ignore"):  # a scale near the largest float gives infinity, as in the kernels
            outputs[0][...] = affine.dequantize(inputs[0], scale, zero_point)

    return run


def exp(ctx: KernelContext) -> Kernel:
    """EXP of float32, inside a float island."""
    for tensor in (ctx.input(0), ctx.output()):
        if tensor.dtype != "float32":
            raise ctx.unsupported(f"tensor {tensor.name!r} is {tensor.dtype}, expected float32 as in TFLite Micro")
    ctx.require_shape(ctx.input(0).shape)

    def run(inputs: Arrays, outputs: Arrays) -> None:
        outputs[0][...] = affine.exp_float32(inputs[0])

    return run


BUILDERS: dict[str, Callable[[KernelContext], Kernel]] = {
    "QUANTIZE": quantize,
    "DEQUANTIZE": dequantize,
    "EXP": exp,
}
