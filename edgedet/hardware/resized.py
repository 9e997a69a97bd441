"""The same network at another input size, as a graph: what it would need, without training it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgedet.graph.graph import (
    ConcatOptions,
    ConvOptions,
    DepthwiseConvOptions,
    Graph,
    Operator,
    PoolOptions,
    ReduceOptions,
    ReshapeOptions,
    Tensor,
)
from edgedet.graph.metadata import METADATA_NAME, contract_metadata
from edgedet.graph.model import Int8Model
from edgedet.graph.operator_table import Trait, kinds_with

Shape = tuple[int, ...]
_PLAN_NAME = "OfflineMemoryAllocation"  # offsets of the old shapes
_SAME_SHAPE = (*kinds_with(Trait.UNARY), "QUANTIZE", "SOFTMAX", "PRELU")
_BROADCASTING = kinds_with(Trait.BINARY)


def resized(model: Int8Model, width: int, height: int) -> Graph | None:
    """A model's graph for another input.

    Args:
        model: with its contracts.
        width, height: px.
    Returns:
        The graph with codes as they were; None where an operator's shapes don't follow from the input's.
    """
    graph = model.graph
    (source,) = graph.inputs
    batch, _, _, channels = graph.tensors[source].shape
    shapes: dict[int, Shape] = {source: (batch, height, width, channels)}
    data: dict[int, np.ndarray] = {}
    operators = list(graph.operators)
    for number, operator in enumerate(graph.operators):
        made = _output(graph, operator, shapes, data)
        if made is None or len(operator.outputs) != 1:
            return None
        shapes[operator.outputs[0]] = made
        if operator.kind == "RESHAPE":
            operators[number] = replace(operator, options=ReshapeOptions(made))
    tensors = [_with_shape(tensor, shapes.get(at), data.get(at)) for at, tensor in enumerate(graph.tensors)]
    preprocess = replace(model.preprocess, width=width, height=height)
    ends = (graph.outputs[position] for position in model.output_positions)
    names = {role: graph.tensors[index].name for role, index in zip(model.outputs.tensor_names, ends, strict=True)}
    kept = tuple(entry for entry in graph.metadata if entry[0] not in (METADATA_NAME, _PLAN_NAME))
    contracts = contract_metadata(preprocess, model.outputs, names)
    return replace(
        graph, tensors=tuple(tensors), operators=tuple(operators), metadata=(*kept, contracts), signatures=()
    )


def _with_shape(tensor: Tensor, shape: Shape | None, data: np.ndarray | None) -> Tensor:
    if data is not None:
        return replace(tensor, data=data)
    return tensor if shape is None else replace(tensor, shape=shape, extras=replace(tensor.extras, shape_signature=()))


def _output(graph: Graph, operator: Operator, shapes: dict[int, Shape], data: dict[int, np.ndarray]) -> Shape | None:
    """Shape of an operator's output; None: it does not follow."""
    inputs = [shapes.get(index, graph.tensors[index].shape if index >= 0 else ()) for index in operator.inputs]
    old = graph.tensors[operator.outputs[0]].shape
    options = operator.options
    match operator.kind:
        case "CONV_2D" | "DEPTHWISE_CONV_2D" | "MAX_POOL_2D" | "AVERAGE_POOL_2D":
            return _window(graph, operator, inputs[0], old[3])
        case "CONCATENATION" if isinstance(options, ConcatOptions):
            axis = options.axis % len(old)
            sides = list(inputs[0])
            sides[axis] = sum(shape[axis] for shape in inputs)
            return tuple(sides)
        case "RESIZE_NEAREST_NEIGHBOR" | "RESIZE_BILINEAR":
            return _resize(graph, operator, inputs[0], data)
        case "PAD" | "PADV2":
            widths = graph.tensors[operator.inputs[1]].data
            if widths is None:
                return None
            return tuple(side + int(pair.sum()) for side, pair in zip(inputs[0], widths, strict=True))
        case "MEAN" if isinstance(options, ReduceOptions) and options.keep_dims:
            axes = graph.tensors[operator.inputs[1]].data
            if axes is None:
                return None
            gone = {int(axis) % len(old) for axis in np.ravel(axes)}
            return tuple(1 if axis in gone else side for axis, side in enumerate(inputs[0]))
        case "RESHAPE":
            return _reshape(graph, operator, inputs[0], old, data)
        case kind if kind in _SAME_SHAPE:
            return inputs[0]
        case kind if kind in _BROADCASTING:
            return tuple(int(side) for side in np.broadcast_shapes(*inputs[:2]))
    return None


def _window(graph: Graph, operator: Operator, shape: Shape, channels: int) -> Shape | None:
    options = operator.options
    if isinstance(options, ConvOptions | DepthwiseConvOptions):
        sides: tuple[int, int] = graph.tensors[operator.inputs[1]].shape[1:3]  # type: ignore[assignment]
        dilation = options.dilation
    elif isinstance(options, PoolOptions):
        sides, dilation = options.filter, (1, 1)
    else:
        return None
    made = []
    for side, size, stride, spread in zip(shape[1:3], sides, options.stride, dilation, strict=True):
        reach = 0 if options.padding == "SAME" else (size - 1) * spread
        made.append(-(-(side - reach) // stride))
    return (shape[0], *made, channels) if min(made) > 0 else None


def _resize(graph: Graph, operator: Operator, shape: Shape, data: dict[int, np.ndarray]) -> Shape | None:
    """Enlarged by the same whole factors."""
    before, after = graph.tensors[operator.inputs[0]].shape, graph.tensors[operator.outputs[0]].shape
    if any(after[axis] % before[axis] for axis in (1, 2)):
        return None
    sides = [shape[axis] * (after[axis] // before[axis]) for axis in (1, 2)]
    data[operator.inputs[1]] = np.array(sides, np.int32)
    return shape[0], *sides, shape[3]


def _reshape(graph: Graph, operator: Operator, shape: Shape, old: Shape, data: dict[int, np.ndarray]) -> Shape | None:
    """(1, H, W, C) as (1, H * W, C), or with one pixel."""
    before = graph.tensors[operator.inputs[0]].shape
    if len(before) == 4 and old == (before[0], before[1] * before[2], before[3]):
        made: Shape = (shape[0], shape[1] * shape[2], shape[3])
    elif shape == before:
        made = old
    else:
        return None
    if len(operator.inputs) > 1:
        data[operator.inputs[1]] = np.array(made, np.int32)
    return made
