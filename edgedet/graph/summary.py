"""What an int8 model holds and needs, for reports."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from edgedet.errors import EdgedetError
from edgedet.graph.check import check_graph, foreign_operators, foreign_tensors, operator_where
from edgedet.graph.graph import Graph, OpaqueOptions, Operator, Tensor
from edgedet.graph.operator_table import support
from edgedet.graph.tflite.appended import archive_names
from edgedet.graph.tflite.dtypes import tensor_bytes


@dataclass(frozen=True)
class GraphSummary:
    """Counts and sizes of a graph."""

    operators: dict[str, int]  # kind -> count, most frequent first
    macs: int  # multiply-accumulates of convolutions and FULLY_CONNECTED, one inference
    tensors: int
    weight_bytes: int  # of all constants
    peak_activation_bytes: int  # largest sum of tensors alive at once; no arena for this order can be smaller
    peak_operator: int  # number of the operator where the peak is
    inputs: tuple[str, ...]  # "name dtype shape scale zero_point"
    outputs: tuple[str, ...]
    extras: tuple[str, ...] = ()  # "what  details": signatures, metadata, further subgraphs, appended files
    unsupported: tuple[str, ...] = ()  # what edgedet can't run, each with position, name and reason

    @property
    def operator_count(self) -> int:
        """All operators."""
        return sum(self.operators.values())

    def to_text(self) -> str:
        """Several lines for a terminal, without a trailing newline."""
        width = max((len(kind) for kind in self.operators), default=0)
        lines = [
            f"operators              {self.operator_count}",
            *(f"  {kind:<{width}}  {count}" for kind, count in self.operators.items()),
            f"tensors                {self.tensors}",
            f"MACs                   {self.macs:,}",
            f"constants              {self.weight_bytes:,} bytes",
            f"peak of activations    {self.peak_activation_bytes:,} bytes, at operator {self.peak_operator}",
            *(f"input                  {text}" for text in self.inputs),
            *(f"output                 {text}" for text in self.outputs),
            *self.extras,
            *(f"unsupported            {text}" for text in self.unsupported),
        ]
        return "\n".join(lines)


def summarize(graph: Graph) -> GraphSummary:
    """Summarize a graph, also one that edgedet can't run; operators and sizes are those of its first subgraph.

    Args:
        graph: as `read_tflite` returns it.
    """
    counts = Counter(operator.kind for operator in graph.operators)
    live = live_bytes(graph)
    peak = live.index(max(live)) if live else 0
    return GraphSummary(
        operators=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        macs=sum(operator_macs(operator, graph) for operator in graph.operators),
        tensors=len(graph.tensors),
        weight_bytes=sum(tensor.data.nbytes for tensor in graph.tensors if tensor.data is not None),
        peak_activation_bytes=live[peak] if live else 0,
        peak_operator=peak,
        inputs=tuple(_describe(graph.tensors[i]) for i in graph.inputs),
        outputs=tuple(_describe(graph.tensors[i]) for i in graph.outputs),
        extras=tuple(_extras(graph)),
        unsupported=tuple(_unsupported(graph)),
    )


def _extras(graph: Graph) -> list[str]:
    lines = []
    for number, other in enumerate(graph.others, 1):
        kinds = Counter(operator.kind for operator in other.operators)
        found = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        lines.append(f"subgraph {number:<13} {other.name}: {len(other.operators)} operators ({found})")
    for signature in graph.signatures:
        sides = (", ".join(name for name, _ in side) for side in (signature.inputs, signature.outputs))
        lines.append(f"signature              {signature.key}: {' -> '.join(sides)}")
    lines += [f"metadata               {name}, {len(blob):,} bytes" for name, blob in graph.metadata]
    if graph.appended:
        names = ", ".join(archive_names(graph.appended))
        lines.append(f"appended archive       {names}; {len(graph.appended):,} bytes")
    return lines


def _unsupported(graph: Graph) -> list[str]:
    """Every operator and tensor that edgedet has nothing for, else the first reason why the graph can't run."""
    found = [text.partition("; supported are")[0] for text in foreign_operators(graph)]
    found += [
        f"{operator_where(graph, number)} is read and written, but there is no simulator for it"
        for number, operator in enumerate(graph.operators)
        if not isinstance(operator.options, OpaqueOptions) and not support(operator.kind).simulator
    ]
    found += foreign_tensors(graph)
    found += [f"subgraph {number} ({other.name!r}): one is the limit" for number, other in enumerate(graph.others, 1)]
    if found:
        return found
    try:
        check_graph(graph, "graph")
    except EdgedetError as error:
        return [str(error).removeprefix("graph: ")]
    return []


def live_bytes(graph: Graph) -> list[int]:
    """Bytes of activations that are alive while each operator runs.

    A tensor lives from the operator that writes it (graph inputs: from the start) to the last that reads it (graph
    outputs: to the end). Constants do not count.

    Args:
        graph: checked.
    Returns:
        One number per operator.
    """
    count = len(graph.operators)
    if not count:
        return []
    born = dict.fromkeys(graph.inputs, 0)
    dies = dict.fromkeys(graph.inputs, 0)
    for number, operator in enumerate(graph.operators):
        for index in operator.inputs:
            if index in born:
                dies[index] = number
        for index in operator.outputs:
            born[index] = dies[index] = number
    dies.update((index, count - 1) for index in graph.outputs if index in born)
    change = [0] * (count + 1)
    for index, start in born.items():
        size = tensor_bytes(graph.tensors[index])
        change[start] += size
        change[dies[index] + 1] -= size
    return list(accumulate(change[:count]))


def _elements(shape: Sequence[int]) -> int:
    return math.prod(abs(side) for side in shape)  # an axis of unknown length, -1, counts as one


def _per_channel(weights: Tensor, axis: int) -> int:
    """Weights behind one channel."""
    channels = abs(weights.shape[axis]) if weights.shape else 1
    return _elements(weights.shape) // max(channels, 1)


def operator_macs(operator: Operator, graph: Graph, computed: Sequence[int] | None = None) -> int:
    """Multiply-accumulates of an operator; 0 for everything but convolutions and FULLY_CONNECTED.

    Args:
        operator: one of the graph.
        graph: its tensors.
        computed: shape of the part of the output that is computed; None: all of it.
    """
    if isinstance(operator.options, OpaqueOptions):
        return 0
    output = _elements(graph.tensors[operator.outputs[0]].shape if computed is None else computed)
    match operator.kind:
        case "CONV_2D" | "FULLY_CONNECTED":
            return output * _per_channel(graph.tensors[operator.inputs[1]], 0)
        case "DEPTHWISE_CONV_2D":
            return output * _per_channel(graph.tensors[operator.inputs[1]], -1)
        case "TRANSPOSE_CONV":
            source = graph.tensors[operator.inputs[2]]
            return _elements(source.shape) * _per_channel(graph.tensors[operator.inputs[1]], -1)
        case _:
            return 0


def _describe(tensor: Tensor) -> str:
    shape = "x".join(str(side) for side in tensor.shape)
    text = f"{tensor.name} {tensor.dtype} {shape}"
    if tensor.quantization is not None and tensor.quantization.scale.size == 1:
        text += f" scale {float(tensor.quantization.scale[0]):.9g} zero point {int(tensor.quantization.zero_point[0])}"
    return text
