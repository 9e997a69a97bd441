"""Clean-up of an ONNX graph: known activations are put together again from the parts that exporters make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgedet.exchange.onnx_in.ops.builder import Operator
from edgedet.exchange.onnx_in.to_fx import operators_of

_NEAR = 1e-4  # of 1/6, which files round
Constants = dict[str, np.ndarray]


def cleaned(model: Any) -> tuple[list[Operator], Constants]:
    """Operators of a model in the order of the data, without dead branches.

    Args:
        model: onnx.ModelProto, simplified.
    Returns:
        Operators and constants. HardSigmoid and HardSwish stand for their written-out forms:
        clip(x + 3, 0, 6) / 6, and x times it; other parts of the graph stay as they are.
    """
    import onnx_graphsurgeon as gs

    graph = gs.import_onnx(model)
    graph.cleanup(remove_unused_node_outputs=False).toposort()
    operators, constants = operators_of(graph)
    outputs = {tensor.name for tensor in graph.outputs}
    for change in (_hard_sigmoid, _hard_swish):
        operators = _rewritten(operators, constants, outputs, change)
    return operators, constants


Change = Callable[[Operator, "_Graph"], Operator | None]


class _Graph:
    """Who computes and who reads a tensor."""

    def __init__(self, operators: Sequence[Operator], constants: Constants, outputs: set[str]) -> None:
        self._makers = {name: op for op in operators for name in op.outputs}
        self._reads: dict[str, int] = {}
        for name in [name for op in operators for name in op.inputs] + list(outputs):
            self._reads[name] = self._reads.get(name, 0) + 1
        self.constants = constants

    def before(self, op: Operator, place: int = 0) -> Operator | None:
        """The operator that computes an input, when nothing else reads it."""
        name = op.inputs[place]
        return self._makers.get(name) if self._reads.get(name) == 1 else None

    def maker(self, name: str) -> Operator | None:
        """The operator that computes a tensor, whoever else reads it."""
        return self._makers.get(name)

    def number(self, op: Operator, place: int) -> float | None:
        """Value of a constant input of one element."""
        value = self.constants.get(op.inputs[place]) if place < len(op.inputs) else None
        return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def other(self, op: Operator) -> tuple[int, float] | None:
        """(place of the computed operand, value of the constant one) of a binary operator."""
        for place in (0, 1):
            value = self.number(op, 1 - place)
            if value is not None:
                return place, value
        return None


def _rewritten(operators: list[Operator], constants: Constants, outputs: set[str], change: Change) -> list[Operator]:
    """Every operator changed that can be, and what nobody reads any more left out."""
    graph = _Graph(operators, constants, outputs)
    changed = [change(op, graph) or op for op in operators]
    read = set(outputs)
    kept: list[Operator] = []
    for op in reversed(changed):
        if read.intersection(op.outputs):
            kept.append(op)
            read.update(op.inputs)
    return kept[::-1]


def _hard_sigmoid(op: Operator, graph: _Graph) -> Operator | None:
    """clip(x + 3, 0, 6) / 6 or * 1/6."""
    if op.kind not in ("Div", "Mul"):
        return None
    found = graph.other(op)
    if found is None or (op.kind == "Div" and found[0] != 0):
        return None
    factor = found[1] if op.kind == "Mul" else 1.0 / found[1] if found[1] else 0.0
    clip = graph.before(op, found[0])
    if abs(factor * 6 - 1) > _NEAR or clip is None:
        return None
    source = _shifted(clip, graph)
    attributes = {"alpha": 1 / 6, "beta": 0.5}
    return None if source is None else Operator(op.name, "HardSigmoid", (source,), op.outputs, attributes)


def _shifted(clip: Operator, graph: _Graph) -> str | None:
    """X of clip(x + 3, 0, 6)."""
    if clip.kind != "Clip":
        return None
    bounds = (
        clip.attributes.get("min", graph.number(clip, 1)),
        clip.attributes.get("max", graph.number(clip, 2)),
    )
    add = graph.before(clip)
    if bounds != (0.0, 6.0) or add is None or add.kind != "Add":
        return None
    found = graph.other(add)
    return add.inputs[found[0]] if found is not None and found[1] == 3.0 else None


def _hard_swish(op: Operator, graph: _Graph) -> Operator | None:
    """X * hardsigmoid(x); and x * clip(x + 3, 0, 6), divided by 6."""
    if op.kind == "Mul":
        for place in (0, 1):
            gate = graph.before(op, place) if len(op.inputs) == 2 else None
            if gate is None or gate.kind != "HardSigmoid" or gate.inputs[0] != op.inputs[1 - place]:
                continue
            alpha, beta = gate.attributes.get("alpha", 0.2), gate.attributes.get("beta", 0.5)
            if abs(alpha * 6 - 1) <= _NEAR and abs(beta - 0.5) <= _NEAR:
                return Operator(op.name, "HardSwish", (gate.inputs[0],), op.outputs, {})
    found = graph.other(op) if op.kind in ("Div", "Mul") else None
    if found is None or (op.kind == "Div" and found[0] != 0) or not found[1]:
        return None
    factor = found[1] if op.kind == "Mul" else 1.0 / found[1]
    product = graph.before(op, found[0])
    if product is None or product.kind != "Mul" or abs(factor * 6 - 1) > _NEAR:
        return None
    for place in (0, 1):
        clip = graph.before(product, place)
        if clip is not None and _shifted(clip, graph) == product.inputs[1 - place]:
            return replace(op, kind="HardSwish", inputs=(product.inputs[1 - place],), attributes={})
    return None
