"""What the graph says about its outputs: whether a sigmoid or softmax is in it, and how far its boxes reach."""

from __future__ import annotations

from edgedet.graph.graph import Graph, Tensor

# Operators that carry values to an output without computing with them; MUL rescales decoded scores or boxes.
_CARRIERS = ("RESHAPE", "TRANSPOSE", "CONCATENATION", "SQUEEZE", "EXPAND_DIMS", "DEQUANTIZE", "QUANTIZE", "SLICE",
             "STRIDED_SLICE", "SPLIT", "SPLIT_V", "PACK", "UNPACK", "GATHER", "PAD")  # fmt: skip
_LAST_CODES = {"int8": 127, "uint8": 255, "int16": 32767}
_ACTIVATIONS = {"LOGISTIC": "sigmoid", "SOFTMAX": "softmax"}


def activation_in_graph(graph: Graph, tensor: int) -> str | None:
    """Activation whose values an output holds, wholly or in part.

    Args:
        graph: of the file.
        tensor: index of the output's tensor.
    Returns:
        "sigmoid", "softmax", or None when neither feeds the output.
    """
    producers = {index: operator for operator in graph.operators for index in operator.outputs}
    pending, seen = [tensor], set()
    while pending:
        index = pending.pop()
        if index in seen or index not in producers:
            continue
        seen.add(index)
        operator = producers[index]
        if operator.kind in _ACTIVATIONS:
            return _ACTIVATIONS[operator.kind]
        if operator.kind in _CARRIERS:
            pending += [i for i in operator.inputs if i >= 0]
    return None


def _quantized(graph: Graph, tensor: int) -> Tensor | None:
    """The quantized tensor of an output: itself, or what its DEQUANTIZE reads; None when no scale is known."""
    found = graph.tensors[tensor]
    if found.dtype == "float32":
        for operator in graph.operators:
            if operator.kind == "DEQUANTIZE" and tensor in operator.outputs:
                found = graph.tensors[operator.inputs[0]]
    return None if found.quantization is None or found.dtype not in _LAST_CODES else found


def largest_value(graph: Graph, tensor: int) -> float | None:
    """Largest real value that the codes of an output can hold; of a float output those of its DEQUANTIZE.

    Args:
        graph: of the file.
        tensor: index of the output's tensor.
    Returns:
        The value, or None when no scale is known.
    """
    found = _quantized(graph, tensor)
    if found is None or found.quantization is None:
        return None
    last, affine = _LAST_CODES[found.dtype], found.quantization
    return float((last - int(affine.zero_point[0])) * float(affine.scale[0]))


def step_of(graph: Graph, tensor: int) -> float:
    """Step between neighbouring codes of an output, in real units; 0 when no scale is known."""
    found = _quantized(graph, tensor)
    return 0.0 if found is None or found.quantization is None else float(found.quantization.scale[0])
