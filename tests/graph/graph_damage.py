"""Structure-aware damage for fuzz_flatbuffer.py: a sound file whose shapes, types, scales and wiring contradict."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edgedet.graph import graph as g

DTYPES = ("int8", "int16", "uint8", "int32", "float32", "int64")
SMALL_BYTES = 200  # constants up to this size are parameters: axes, sizes, paddings


def damage_graph(rng: np.random.Generator, graph: g.Graph) -> g.Graph:
    """A copy with one or two tensors or operators changed.

    Args:
        rng: generator.
        graph: sound, with at least one operator.
    """
    for _ in range(int(rng.choice([1, 1, 2]))):
        operator = int(rng.integers(len(graph.operators)))
        used = [i for i in (*graph.operators[operator].inputs, *graph.operators[operator].outputs) if i >= 0]
        tensor = int(rng.choice(used)) if used and rng.random() < 0.8 else int(rng.integers(len(graph.tensors)))
        if rng.random() < 0.15:
            graph = _rewired(rng, graph, operator)
        else:
            change = _TENSOR_CHANGES[int(rng.integers(len(_TENSOR_CHANGES)))]
            changed = change(rng, graph.tensors[tensor])
            graph = replace(graph, tensors=(*graph.tensors[:tensor], changed, *graph.tensors[tensor + 1 :]))
    return graph


def _rewired(rng: np.random.Generator, graph: g.Graph, number: int) -> g.Graph:
    operator = graph.operators[number]
    inputs = list(operator.inputs)
    if inputs:
        inputs[int(rng.integers(len(inputs)))] = int(rng.integers(-1, len(graph.tensors)))
    operators = list(graph.operators)
    operators[number] = replace(operator, inputs=tuple(inputs))
    return replace(graph, operators=tuple(operators))


def _reshaped(rng: np.random.Generator, tensor: g.Tensor) -> g.Tensor:
    """Another number of axes, or another length of one; constants keep as many of their values as fit."""
    shape = list(tensor.shape)
    match int(rng.integers(4)):
        case 0 if shape:
            shape.pop(int(rng.integers(len(shape))))
        case 1:
            shape.insert(int(rng.integers(len(shape) + 1)), int(rng.choice([1, 1, 2, 3])))
        case 2 if shape:
            shape[int(rng.integers(len(shape)))] = int(rng.choice([0, 1, 2, 3, 7, 64]))
        case _:
            shape = []
    data = tensor.data
    if data is not None and data.dtype.kind in "biuf":
        data = (np.resize(data, math.prod(shape)) if data.size else np.zeros(math.prod(shape), data.dtype)).reshape(
            shape
        )
    return replace(tensor, shape=tuple(shape), data=data)


def _retyped(rng: np.random.Generator, tensor: g.Tensor) -> g.Tensor:
    dtype = str(rng.choice(DTYPES))
    with np.errstate(invalid="ignore"):
        return replace(tensor, dtype=dtype, data=None if tensor.data is None else tensor.data.astype(dtype))


def _rescaled(rng: np.random.Generator, tensor: g.Tensor) -> g.Tensor:
    quantization = tensor.quantization
    if quantization is None or rng.random() < 0.3:
        return replace(tensor, quantization=None)
    scale = np.clip(quantization.scale * np.float64(rng.choice([1e-30, 0.5, 3, 1e30])), 0, 3e38).astype(np.float32)
    return replace(tensor, quantization=replace(quantization, scale=scale))


def _other_parameter(rng: np.random.Generator, tensor: g.Tensor) -> g.Tensor:
    data = tensor.data
    if data is None or not data.size or data.dtype.kind not in "iu" or data.nbytes > SMALL_BYTES:
        return _reshaped(rng, tensor)
    data = data.copy()
    smallest = 1 if data.dtype.kind == "u" else -1
    data.reshape(-1)[int(rng.integers(data.size))] = int(rng.choice([0, 1, 2, 100, smallest]))
    return replace(tensor, data=data)


_TENSOR_CHANGES: tuple[Callable[[np.random.Generator, g.Tensor], g.Tensor], ...] = (
    _reshaped,
    _reshaped,
    _retyped,
    _rescaled,
    _other_parameter,
)
