"""A detector as SSCMA's exporter writes it, made from one of ours: flat outputs, RESHAPE, no metadata."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgedet.graph.graph import Graph, Operator, ReshapeOptions, Tensor


def sscma_like(graph: Graph, order: tuple[str, ...], names: str = "Identity_{}") -> Graph:
    """Outputs [1, cells, classes] and [1, cells, 4] through RESHAPE without a shape in its options.

    Args:
        graph: with outputs named cls_8, box_8, ...
        order: of the outputs.
        names: of the new outputs, by position.
    """
    tensors, operators, outputs = list(graph.tensors), list(graph.operators), []
    for position, role in enumerate(order):
        source = graph.tensor_index(role)
        tensor = tensors[source]
        _, height, width, depth = tensor.shape
        shape = np.array([1, height * width, depth], np.int32)
        tensors[source] = replace(tensor, name=f"conv{position}")
        tensors.append(Tensor(f"shape{position}", (3,), "int32", None, shape))
        tensors.append(replace(tensor, name=names.format(position), shape=(1, height * width, depth)))
        outputs.append(len(tensors) - 1)
        operators.append(Operator("RESHAPE", (source, len(tensors) - 2), (len(tensors) - 1,), ReshapeOptions()))
    return replace(
        graph, tensors=tuple(tensors), operators=tuple(operators), outputs=tuple(outputs), metadata=(), description=""
    )
