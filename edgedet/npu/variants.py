"""A network with one choice made otherwise, to be compiled beside it: what the choice costs is the difference.

The variants have the shapes of a real network and made-up weights where they need others; nobody evaluates them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from edgedet.graph.graph import Graph, Operator

SMALL_KERNEL = 3


def silu_gates(graph: Graph) -> dict[int, tuple[int, Operator, Operator]]:
    """What every x * sigmoid(x) writes -> (x, the LOGISTIC, the MUL)."""
    producers = {index: operator for operator in graph.operators for index in operator.outputs}
    found = {}
    for product in graph.operators:
        if product.kind != "MUL":
            continue
        for index in product.inputs:
            gate = producers.get(index)
            if gate is not None and gate.kind == "LOGISTIC" and gate.inputs[0] in product.inputs:
                found[product.outputs[0]] = (gate.inputs[0], gate, product)
    return found


def hard_swish_for_silu(graph: Graph) -> Graph:
    """HARD_SWISH in place of every LOGISTIC and MUL that are a SiLU."""
    gates = silu_gates(graph)
    dropped = {id(gate) for _, gate, _ in gates.values()}
    operators = []
    for operator in graph.operators:
        if operator.outputs[0] in gates:
            source = gates[operator.outputs[0]][0]
            operators.append(Operator("HARD_SWISH", (source,), operator.outputs))
        elif id(operator) not in dropped:
            operators.append(operator)
    return replace(graph, operators=tuple(operators))


def relu_for_silu(graph: Graph) -> Graph:
    """ReLU inside the operator in front of every SiLU; those whose operator has no activation stay."""
    gates = silu_gates(graph)
    producers = {index: operator for operator in graph.operators for index in operator.outputs}
    target = {source: out for out, (source, _, _) in gates.items() if _activation(producers.get(source)) == "NONE"}
    dropped = {id(operator) for out, pair in gates.items() if pair[0] in target for operator in pair[1:]}
    operators = []
    for operator in graph.operators:
        if id(operator) in dropped:
            continue
        out = target.get(operator.outputs[0])
        operators.append(operator if out is None else replace(_with_activation(operator, "RELU"), outputs=(out,)))
    return replace(graph, operators=tuple(operators))


def without_activations(graph: Graph, names: Collection[str]) -> Graph:
    """No activation in the operators that write these tensors."""
    return replace(
        graph,
        operators=tuple(
            _with_activation(operator, "NONE") if graph.tensors[operator.outputs[0]].name in names else operator
            for operator in graph.operators
        ),
    )


def same_for_pads(graph: Graph) -> Graph:
    """TFLite's SAME padding in place of every PAD in front of a convolution."""
    pads = {o.outputs[0]: o.inputs[0] for o in graph.operators if o.kind == "PAD" and _only_for_windows(graph, o)}
    operators = []
    for operator in graph.operators:
        if operator.kind == "PAD" and operator.outputs[0] in pads:
            continue
        if operator.inputs and operator.inputs[0] in pads:
            options: Any = operator.options
            inputs = (pads[operator.inputs[0]], *operator.inputs[1:])
            operator = replace(operator, inputs=inputs, options=replace(options, padding="SAME"))
        operators.append(operator)
    return replace(graph, operators=tuple(operators))


def large_depthwise(graph: Graph) -> list[Operator]:
    """Depthwise convolutions with a window above 3x3."""
    return [
        o for o in graph.operators
        if o.kind == "DEPTHWISE_CONV_2D" and min(graph.tensors[o.inputs[1]].shape[1:3]) > SMALL_KERNEL
    ]  # fmt: skip


def small_depthwise(graph: Graph) -> Graph:
    """3x3 windows in every depthwise convolution that has larger ones and pads SAME."""
    tensors = list(graph.tensors)
    rng = np.random.default_rng(0)
    for operator in large_depthwise(graph):
        weights = tensors[operator.inputs[1]]
        options: Any = operator.options
        if options.padding != "SAME" or weights.data is None:
            continue
        shape = (1, SMALL_KERNEL, SMALL_KERNEL, weights.shape[3])
        codes = rng.integers(-127, 128, shape).astype(np.int8)
        tensors[operator.inputs[1]] = replace(weights, shape=shape, data=codes)
    return replace(graph, tensors=tuple(tensors))


def reversed_concatenations(graph: Graph) -> Graph:
    """The inputs of every CONCATENATION in the opposite order."""
    return replace(
        graph,
        operators=tuple(
            replace(operator, inputs=operator.inputs[::-1]) if operator.kind == "CONCATENATION" else operator
            for operator in graph.operators
        ),
    )


def one_channel_input(graph: Graph) -> Graph:
    """A grey picture in place of a coloured one; the same graph where no convolution reads the picture first."""
    if len(graph.inputs) != 1 or len(graph.tensors[graph.inputs[0]].shape) != 4:
        return graph
    index, narrowed = graph.inputs[0], [graph.inputs[0]]
    readers = [operator for operator in graph.operators if index in operator.inputs]
    if len(readers) == 1 and readers[0].kind == "PAD":
        index = readers[0].outputs[0]
        narrowed.append(index)
        readers = [operator for operator in graph.operators if index in operator.inputs]
    if len(readers) != 1 or readers[0].kind != "CONV_2D" or graph.tensors[index].shape[3] != 3:
        return graph
    tensors, position = list(graph.tensors), readers[0].inputs[1]
    weights = tensors[position]
    if weights.data is None or weights.shape[3] != 3:
        return graph
    for index in narrowed:
        tensors[index] = replace(tensors[index], shape=(*tensors[index].shape[:3], 1))
    codes = np.ascontiguousarray(weights.data[..., :1])
    tensors[position] = replace(weights, shape=codes.shape, data=codes)
    return replace(graph, tensors=tuple(tensors))


def is_no_clamp(graph: Graph, operator: Operator) -> bool:
    """Whether an activation changes no code, since the output's scale shows nothing that it would cut off."""
    quantization = graph.tensors[operator.outputs[0]].quantization
    if quantization is None or int(quantization.zero_point[0]) != -128:
        return False
    # TFLite's code for 6 is rounded; from 127 on nothing is cut off.
    above = round(6 / float(quantization.scale[0])) - 128 >= 127
    return _activation(operator) == "RELU" or (_activation(operator) == "RELU6" and above)


def _only_for_windows(graph: Graph, pad: Operator) -> bool:
    readers = [operator for operator in graph.operators if pad.outputs[0] in operator.inputs]
    return (
        bool(readers)
        and pad.outputs[0] not in graph.outputs
        and all(hasattr(operator.options, "padding") and operator.inputs[0] == pad.outputs[0] for operator in readers)
    )


def _activation(operator: Operator | None) -> str | None:
    return None if operator is None else getattr(operator.options, "activation", None)


def _with_activation(operator: Operator, activation: str) -> Operator:
    options: Any = operator.options
    if not hasattr(options, "activation"):
        return operator
    return replace(operator, options=replace(options, activation=activation))
