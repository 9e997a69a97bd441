"""What an int8 model holds and needs, for reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from edgedet.graph.graph import Graph, Operator, Tensor


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

    @property
    def operator_count(self) -> int:
        """All operators."""
        return sum(self.operators.values())

    def to_text(self) -> str:
        """Several lines for a terminal, without a trailing newline."""
        width = max(len(kind) for kind in self.operators)
        lines = [
            f"operators              {self.operator_count}",
            *(f"  {kind:<{width}}  {count}" for kind, count in self.operators.items()),
            f"tensors                {self.tensors}",
            f"MACs                   {self.macs:,}",
            f"constants              {self.weight_bytes:,} bytes",
            f"peak of activations    {self.peak_activation_bytes:,} bytes, at operator {self.peak_operator}",
            *(f"input                  {text}" for text in self.inputs),
            *(f"output                 {text}" for text in self.outputs),
        ]
        return "\n".join(lines)


def summarize(graph: Graph) -> GraphSummary:
    """Summarize a checked graph.

    Args:
        graph: as `read_tflite` returns it.
    """
    counts = Counter(operator.kind for operator in graph.operators)
    live = live_bytes(graph)
    peak = int(np.argmax(live))
    return GraphSummary(
        operators=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        macs=sum(_macs(operator, graph) for operator in graph.operators),
        tensors=len(graph.tensors),
        weight_bytes=sum(tensor.data.nbytes for tensor in graph.tensors if tensor.data is not None),
        peak_activation_bytes=live[peak],
        peak_operator=peak,
        inputs=tuple(_describe(graph.tensors[i]) for i in graph.inputs),
        outputs=tuple(_describe(graph.tensors[i]) for i in graph.outputs),
    )


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
        size = _bytes(graph.tensors[index])
        change[start] += size
        change[dies[index] + 1] -= size
    return np.cumsum(change[:count]).tolist()


def _bytes(tensor: Tensor) -> int:
    return _elements(tensor) * np.dtype(tensor.dtype).itemsize


def _elements(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape, dtype=np.int64))


def _macs(operator: Operator, graph: Graph) -> int:
    output = _elements(graph.tensors[operator.outputs[0]])
    match operator.kind:
        case "CONV_2D" | "FULLY_CONNECTED":
            weights = graph.tensors[operator.inputs[1]]
            return output * (_elements(weights) // weights.shape[0])
        case "DEPTHWISE_CONV_2D":
            weights = graph.tensors[operator.inputs[1]]
            return output * (_elements(weights) // weights.shape[-1])
        case "TRANSPOSE_CONV":
            weights = graph.tensors[operator.inputs[1]]
            return _elements(graph.tensors[operator.inputs[2]]) * (_elements(weights) // weights.shape[-1])
        case _:
            return 0


def _describe(tensor: Tensor) -> str:
    shape = "x".join(str(side) for side in tensor.shape)
    text = f"{tensor.name} {tensor.dtype} {shape}"
    if tensor.quantization is not None and tensor.quantization.scale.size == 1:
        text += f" scale {float(tensor.quantization.scale[0]):.9g} zero point {int(tensor.quantization.zero_point[0])}"
    return text
