"""Arithmetic on shapes, done once: SHAPE of a static tensor is a constant, and so is all that is computed from it.

Exporters of frameworks with dynamic shapes write the new shape of a RESHAPE, the size of a RESIZE or the bounds of a
slice as operators on int32 tensors. TFLite Micro computes them at every inference; here they become constants, and the
operators go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edgedet.errors import EdgedetError
from edgedet.graph.graph import (
    ConcatOptions,
    ElementwiseOptions,
    GatherOptions,
    Graph,
    OpaqueOptions,
    PackOptions,
    Tensor,
)
from edgedet.graph.moves import moved_views, source_position
from edgedet.graph.operators import OpContext
from edgedet.graph.tflite.op_options import SPECS

_DTYPES = ("int32", "int64")
_MOVES = ("STRIDED_SLICE", "SLICE", "SPLIT", "SPLIT_V", "UNPACK", "TRANSPOSE", "TILE")
_PAIRS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ADD": np.add,
    "SUB": np.subtract,
    "MUL": np.multiply,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "FLOOR_DIV": np.floor_divide,
    "FLOOR_MOD": np.mod,
}
_REDUCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "REDUCE_PROD": np.prod,
    "SUM": np.sum,
    "REDUCE_MAX": np.max,
    "REDUCE_MIN": np.min,
}
_KEPT = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CAST")  # of other shape or type, the same numbers
FOLDED_KINDS = ("SHAPE", "CONCATENATION", "PACK", "GATHER", *_MOVES, *_PAIRS, *_REDUCTIONS, *_KEPT)


def fold_shapes(graph: Graph) -> Graph:
    """The graph without its arithmetic on shapes.

    Args:
        graph: any graph, as `read_tflite` returns it.
    Returns:
        The graph with constants in the place of what can be computed from shapes and int32 or int64 constants; tensors
        keep their indices. The same graph when there is nothing to fold. What an output of the graph is stays computed.
    """
    tensors, folded = _folded(graph)
    if not folded:
        return graph
    operators = tuple(operator for number, operator in enumerate(graph.operators) if number not in folded)
    return replace(graph, tensors=tensors, operators=operators)


def folded_operators(graph: Graph) -> frozenset[int]:
    """Numbers of the operators that `fold_shapes` takes out: whoever runs the graph never meets them."""
    return _folded(graph)[1]


def _folded(graph: Graph) -> tuple[tuple[Tensor, ...], frozenset[int]]:
    """(tensors with the computed constants, numbers of the operators that computed them)."""
    tensors, folded = list(graph.tensors), set()
    for number, operator in enumerate(graph.operators):
        known = None
        if operator.kind in FOLDED_KINDS and not set(operator.outputs) & set(graph.outputs):
            known = _evaluate(OpContext(replace(graph, tensors=tuple(tensors)), number))
        if known is None:
            continue
        folded.add(number)
        for index, value in zip(operator.outputs, known, strict=True):
            tensors[index] = replace(tensors[index], data=value)
    return tuple(tensors), frozenset(folded)


def _evaluate(ctx: OpContext) -> list[np.ndarray] | None:
    """Outputs of an operator on shapes; None for one on anything else, or that is not static."""
    outputs = [ctx.output(i) for i in range(len(ctx.operator.outputs))]
    if any(tensor.dtype not in _DTYPES or min(tensor.shape, default=1) < 0 for tensor in outputs):
        return None
    if ctx.operator.kind == "SHAPE" and (len(ctx.operator.inputs) != 1 or ctx.operator.inputs[0] < 0):
        return None
    if ctx.operator.kind == "SHAPE":
        shape = ctx.input(0).shape
        values: Sequence[np.ndarray] | None = None if min(shape, default=1) < 1 else [np.array(shape)]
    else:
        inputs = [ctx.input(i).data for i, index in enumerate(ctx.operator.inputs) if index >= 0]
        constants = [data for data in inputs if data is not None and data.dtype.name in _DTYPES]
        if len(constants) != len(ctx.operator.inputs):
            return None
        try:
            values = _computed(ctx, constants)
        except (EdgedetError, ValueError, IndexError):
            return None  # it stays an operator, which whoever runs the graph refuses with its reason
    if values is None or [value.size for value in values] != [np.prod(t.shape, dtype=int) for t in outputs]:
        return None
    return [value.astype(t.dtype).reshape(t.shape) for value, t in zip(values, outputs, strict=True)]


def _computed(ctx: OpContext, inputs: list[np.ndarray]) -> Sequence[np.ndarray] | None:
    """Values of an operator whose inputs are all known; their shapes are those of the outputs' declarations."""
    kind, options = ctx.operator.kind, ctx.operator.options
    if isinstance(options, OpaqueOptions) and kind in SPECS:
        return None  # with an option that has no meaning here
    if kind in _KEPT:
        return inputs[:1]
    if kind in _REDUCTIONS:
        return [np.asarray(_REDUCTIONS[kind](inputs[0], axis=tuple(inputs[1].ravel().tolist())))]
    if kind in _PAIRS:
        if isinstance(options, ElementwiseOptions) and options.activation != "NONE":
            return None
        return None if kind.startswith("FLOOR") and not inputs[1].all() else [_PAIRS[kind](*inputs)]
    if isinstance(options, ConcatOptions):
        return [np.concatenate(inputs, axis=options.axis)]
    if isinstance(options, PackOptions):
        return [np.stack(inputs, axis=options.axis)]
    if isinstance(options, GatherOptions):
        return None if options.batch_dims else [np.take(inputs[0], inputs[1], axis=options.axis)]
    moved = moved_views(ctx, inputs[source_position(kind)])
    return None if moved is None else [part.view for part in moved]
