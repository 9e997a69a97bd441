"""Files of the old quantization, uint8 with one scale per tensor, as int8: every code less 128, nothing else changes.

TFLite Micro has no uint8 kernels any more. An operator is converted where its int8 kernel gives, for all inputs, the
code of TFLite's uint8 reference kernel less 128; where that can't be promised, the file is refused and says why:

- weights become int8 with zero point 0 (TFLite's int8 kernels take no other), if no weight is further from its zero
  point than int8 reaches;
- CONV_2D and DEPTHWISE_CONV_2D take the product of two scales in float32 in uint8 and in float64 in int8, which can
  move the border between two codes. The scale of the weights is moved by a few units in its last place until every
  border within reach is where it was;
- MUL takes the product of scales in float32 in LiteRT and in float64 in TFLite Micro; it is converted where that moves
  no border;
- AVERAGE_POOL_2D rounds ties up in uint8 and away from zero in int8: only windows of odd numbers have no ties;
- FULLY_CONNECTED rounds twice, as TFLite did for uint8; LiteRT 2.3.0 rounds once, which can differ by 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edgedet.errors import UnsupportedOpError
from edgedet.graph.graph import Graph, OpaqueOptions, PoolOptions, Quantization, Tensor
from edgedet.graph.operator_table import Trait, kinds_with
from edgedet.graph.operators import OpContext, window_padding
from edgedet.numerics.integer import multiply_by_quantized_multiplier, quantize_multiplier

_SHIFT = 128
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# Their int8 kernels compute what the uint8 kernels do, on codes less 128; tests hold all of them against LiteRT.
_SAME = ("ADD", "SUB", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU", "QUANTIZE", "DEQUANTIZE")
_COPYING = tuple(kind for kind in kinds_with(Trait.COPYING) if kind not in ("AVERAGE_POOL_2D", "RESIZE_BILINEAR"))
_CONVERTED = (*_WEIGHTED, *_SAME, *_COPYING, "AVERAGE_POOL_2D", "MUL")
_ULPS = 24  # of the weights' scale, to either side, that are tried


def is_uint8(graph: Graph) -> bool:
    """Whether a network computes in uint8: another operator than QUANTIZE or DEQUANTIZE touches a uint8 tensor."""
    return any(True for _ in _uint8_operators(graph))


def _uint8_operators(graph: Graph) -> Iterator[OpContext]:
    for number, operator in enumerate(graph.operators):
        touched = (graph.tensors[index] for index in (*operator.inputs, *operator.outputs) if index >= 0)
        if operator.kind not in ("QUANTIZE", "DEQUANTIZE") and any(tensor.dtype == "uint8" for tensor in touched):
            yield OpContext(graph, number, "uint8")


def uint8_to_int8(graph: Graph, source: str) -> Graph:
    """The int8 network that gives the codes of a uint8 network less 128, for every input.

    Inputs and outputs become int8, too: a caller gives and takes codes less 128.

    Args:
        graph: checked; one without uint8 operators is returned as it is.
        source: name of the file, for errors.
    Raises:
        UnsupportedOpError: names the operator whose int8 kernel could give another code, and why.
    """
    tensors = list(graph.tensors)
    weights: set[int] = set()
    if not is_uint8(graph):
        return graph
    try:
        for ctx in _uint8_operators(graph):
            _require_exact(ctx)
            if ctx.operator.kind in _WEIGHTED:
                index = ctx.operator.inputs[1]
                tensors[index] = _converted_weights(ctx, shared=index in weights)
                weights.add(index)
    except UnsupportedOpError as error:
        raise UnsupportedOpError(f"{source}: a uint8 file that can't be converted exactly to int8: {error}") from error
    return replace(
        graph,
        tensors=tuple(t if index in weights else _converted(t) for index, t in enumerate(tensors)),
        # Versions of the uint8 kernels; a writer finds those of the int8 kernels.
        operators=tuple(
            operator if isinstance(operator.options, OpaqueOptions) else replace(operator, version=0)
            for operator in graph.operators
        ),
    )


def _converted(tensor: Tensor) -> Tensor:
    if tensor.dtype != "uint8" or tensor.quantization is None:
        return tensor
    affine = tensor.quantization
    data = None if tensor.data is None else (tensor.data ^ np.uint8(_SHIFT)).view(np.int8)
    shifted = Quantization(affine.scale, affine.zero_point - _SHIFT, affine.axis)
    return replace(tensor, dtype="int8", quantization=shifted, data=data)


def _require_exact(ctx: OpContext) -> None:
    """Raise UnsupportedOpError where the int8 kernel could give another code."""
    kind = ctx.operator.kind
    if kind not in _CONVERTED:
        raise ctx.unsupported(
            f"the uint8 and the int8 kernel of {kind} can give different codes; export the model with int8 "
            f"quantization. Converted are {', '.join(sorted(_CONVERTED))}"
        )
    if kind == "MUL" and not _same_product(ctx):
        raise ctx.unsupported(
            "LiteRT's product of its scales in float32 rounds other codes; export the model with int8"
        )
    if kind == "AVERAGE_POOL_2D" and not _odd_windows(ctx):
        raise ctx.unsupported(
            "it averages even numbers of values, whose ties uint8 rounds up and int8 away from zero; export the model "
            "with int8 quantization"
        )


def _same_product(ctx: OpContext) -> bool:
    """Whether MUL gives the same codes with the multiplier in float32 and in float64."""
    first, second, (target, zero_point) = (ctx.params(t) for t in (ctx.input(0), ctx.input(1), ctx.output()))
    narrow = np.float32(first[0]) * np.float32(second[0]) / np.float32(target)
    steps = np.arange(1, 256) - zero_point
    wide = _borders(first[0] * second[0] / target, steps, 255 * 255)
    return np.array_equal(_borders(float(narrow), steps, 255 * 255), wide)


def _odd_windows(ctx: OpContext) -> bool:
    """Whether every window of a pool holds an odd number of values."""
    options = ctx.operator.options
    assert isinstance(options, PoolOptions)
    counts = []
    for axis in (0, 1):
        size, window, stride = ctx.input(0).shape[1 + axis], options.filter[axis], options.stride[axis]
        out, before, _ = window_padding(size, window, stride, options.padding, ctx.where)
        starts = np.arange(out) * stride - before
        counts.append(np.minimum(starts + window, size) - np.maximum(starts, 0))
    return bool((np.outer(*counts) % 2 == 1).all())


def _converted_weights(ctx: OpContext, shared: bool) -> Tensor:
    """Weights of an operator as int8 with zero point 0."""
    tensor = ctx.input(1)
    affine, data = ctx.quantization(tensor), ctx.constant(1, "the weights")
    if tensor.dtype != "uint8" or affine.scale.size != 1:
        raise ctx.unsupported(f"weights {tensor.name!r} are {tensor.dtype} with {affine.scale.size} scales")
    codes = data.astype(np.int16) - int(affine.zero_point[0])
    if codes.min() < -128 or codes.max() > 127:
        raise ctx.unsupported(
            f"weights {tensor.name!r} reach {max(codes.max(), -codes.min())} codes from their zero point "
            f"{int(affine.zero_point[0])}; int8 kernels take zero point 0, and int8 holds 127. Export the model with "
            "int8 quantization"
        )
    scale = affine.scale
    if ctx.operator.kind != "FULLY_CONNECTED":
        if shared:
            raise ctx.unsupported(f"weights {tensor.name!r} belong to several operators")
        scale = np.array([_scale_of_equal_codes(ctx, codes)], np.float32)
    return replace(
        tensor, dtype="int8", quantization=Quantization(scale, np.zeros(1, np.int64)), data=codes.astype(np.int8)
    )


def _scale_of_equal_codes(ctx: OpContext, codes: np.ndarray) -> np.float32:
    """Scale of the weights with which the int8 kernel requantizes every possible sum as the uint8 kernel does."""
    scale_in, scale = ctx.params(ctx.input(0))[0], np.float32(ctx.params(ctx.input(1))[0])
    scale_out, zero_point = ctx.params(ctx.output())
    product = float(np.float32(scale_in) * scale)
    reach = 255 * int(np.abs(codes.astype(np.int64)).sum(axis=_summed_axes(ctx)).max()) + _largest_bias(ctx)
    steps = np.arange(1, 256) - zero_point
    wanted = _borders(product / scale_out, steps, reach)
    candidate = {0: scale}
    for ulps in range(1, _ULPS + 1):
        candidate[ulps] = np.nextafter(candidate[ulps - 1], np.float32(np.inf))
        candidate[-ulps] = np.nextafter(candidate[1 - ulps], np.float32(0))
    for _, found in sorted(candidate.items(), key=lambda item: abs(item[0])):
        if np.array_equal(_borders(scale_in * float(found) / scale_out, steps, reach), wanted):
            return found
    raise ctx.unsupported(
        f"no scale of the weights {ctx.input(1).name!r} makes the int8 kernel round every sum as the uint8 kernel, "
        "which multiplies scales in float32; export the model with int8 quantization"
    )


def _summed_axes(ctx: OpContext) -> tuple[int, ...]:
    return (0, 1, 2) if ctx.operator.kind == "DEPTHWISE_CONV_2D" else (1, 2, 3)


def _largest_bias(ctx: OpContext) -> int:
    if len(ctx.operator.inputs) < 3 or ctx.operator.inputs[2] < 0:
        return 0
    return int(np.abs(ctx.constant(2, "the bias").astype(np.int64)).max())


def _borders(real: float, steps: np.ndarray, reach: int) -> np.ndarray:
    """Smallest sum of -reach .. reach whose scaled value is at least each of `steps`; reach + 1 where there is none."""
    multiplier, shift = quantize_multiplier(real)
    low, high = np.full(steps.shape, -reach, np.int64), np.full(steps.shape, reach + 1, np.int64)
    while (low < high).any():
        middle = (low + high) >> 1
        enough = multiply_by_quantized_multiplier(middle, multiplier, shift) >= steps
        low, high = np.where(enough | (low == high), low, middle + 1), np.where(enough, middle, high)
    return low
