"""A better memory plan for TFLite Micro, carried in the model file.

TFLM places activations greedily by size when it starts, which can leave gaps: rtmdet_nano_ncadc_relu6 at 192x192 gets
294,912 bytes where 221,184 are enough (`head_bytes` of `deploy.arena.measure_arena`, without and with a plan). A model
may bring its own plan instead: the metadata buffer `OfflineMemoryAllocation`, int32: version (1), subgraph (0), number
of tensors, and for each tensor its offset from the start of the arena, -1 for those that TFLM places itself.

Source: TFLite Micro's documentation of its memory management, "offline planned tensor allocations".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgedet.codegen.memory.offsets import Lifetime, lower_bound, place
from edgedet.graph.graph import Graph
from edgedet.graph.tflite.dtypes import tensor_bytes

PLAN_NAME = "OfflineMemoryAllocation"
_VERSION, _SUBGRAPH, _UNPLANNED = 1, 0, -1


def with_offline_plan(graph: Graph, seed: int = 0) -> Graph:
    """The graph with a planned offset for every activation.

    TFLM runs operators in order and lets no two activations share memory while both are alive: from the operator that
    writes one (or the start, for an input) to the last that reads it (or the end, for an output).

    Args:
        graph: int8 graph; not changed.
        seed: of the planner's search.
    Returns:
        The graph with the metadata, or the same graph when it brings a plan already or has further subgraphs, whose
        tensors live while those of the first do.
    """
    if graph.others or any(name == PLAN_NAME for name, _ in graph.metadata):
        return graph
    lifetimes = _lifetimes(graph)
    offsets, _ = place(list(lifetimes.values()), seed)
    plan = np.full(3 + len(graph.tensors), _UNPLANNED, np.int32)
    plan[:3] = _VERSION, _SUBGRAPH, len(graph.tensors)
    plan[3 + np.array(list(lifetimes), np.int64)] = offsets
    return replace(graph, metadata=(*graph.metadata, (PLAN_NAME, plan.astype("<i4").tobytes())))


def least_bytes(graph: Graph) -> int:
    """Bytes of the activations that live at once, where most do: no arena of TFLM is smaller."""
    return lower_bound(list(_lifetimes(graph).values()))[0]


def _lifetimes(graph: Graph) -> dict[int, Lifetime]:
    """Lifetime of every activation, by tensor index."""
    first = dict.fromkeys(graph.inputs, 0)
    last = dict.fromkeys(graph.inputs, 0)
    for step, operator in enumerate(graph.operators):
        for index in operator.outputs:
            first.setdefault(index, step)
            last[index] = step
        for index in operator.inputs:
            if index >= 0 and graph.tensors[index].data is None:
                last[index] = step
    last.update(dict.fromkeys(graph.outputs, len(graph.operators) - 1))
    return {index: Lifetime(tensor_bytes(graph.tensors[index]), first[index], last[index]) for index in first}
