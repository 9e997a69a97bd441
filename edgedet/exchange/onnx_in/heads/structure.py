"""What stands at the end of a detector: the last convolutions, and what is done with their results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.exchange.onnx_in.load import OnnxNetwork
from edgedet.exchange.onnx_in.ops.builder import Operator

Shape = tuple[int, ...]
ACTIVATIONS = ("Sigmoid", "Softmax", "HardSigmoid", "Tanh", "Exp")
_PASSING = ("QuantizePair", "Identity")
_SCALES = ("Mul", "Add")  # of one number or one for each channel: part of the layer in front


@dataclass(frozen=True, eq=False)
class Structure:
    """An ONNX graph to walk about in."""

    operators: Sequence[Operator]
    constants: Mapping[str, np.ndarray]
    shapes: Mapping[str, Shape]  # of the tensors that shape inference knows
    outputs: tuple[str, ...]
    size: tuple[int, int]  # (width, height) of the input, px

    def maker(self, tensor: str) -> Operator | None:
        """Operator that computes a tensor."""
        return next((op for op in self.operators if tensor in op.outputs), None)

    def readers(self, tensor: str) -> list[Operator]:
        """Operators that read a tensor."""
        return [op for op in self.operators if tensor in op.inputs]

    def shape(self, tensor: str) -> Shape:
        """Shape of a tensor; empty when it is not known."""
        return self.shapes.get(tensor, ())

    def is_distribution(self, op: Operator) -> bool:
        """True for the convolution that makes the mean of a distribution: weights 0, 1, 2, ..."""
        weight = self.constants.get(op.inputs[1]) if op.kind == "Conv" and len(op.inputs) > 1 else None
        return weight is not None and len(weight) == 1 and np.array_equal(weight.ravel(), np.arange(weight.size))

    def last_layers(self, outputs: Iterable[str] | None = None) -> list[str]:
        """Results of the last convolutions before the outputs, scales of their own included, in the graph's order.

        Args:
            outputs: to walk back from; None: those of the network.
        """
        pending, seen, found = list(self.outputs if outputs is None else outputs), set[str](), set[str]()
        while pending:
            op = self.maker(pending.pop())
            if op is None or op.name in seen:
                continue
            seen.add(op.name)
            if op.kind in ("Conv", "ConvTranspose", "Gemm") and not self.is_distribution(op):
                found.add(self._scaled(op.outputs[0]))
            else:
                pending += [name for name in op.inputs if name and name not in self.constants]
        order = {name: number for number, op in enumerate(self.operators) for name in op.outputs}
        return sorted(found, key=order.__getitem__)

    def _scaled(self, tensor: str) -> str:
        """Behind the learned scale of a level, where one follows; not behind a product with the stride."""
        while len(self.readers(tensor)) == 1 and tensor not in self.outputs:
            (op,) = self.readers(tensor)
            if op.kind in _PASSING:
                tensor = op.outputs[0]
                continue
            constant = next((self.constants[name] for name in op.inputs if name in self.constants), None)
            if op.kind not in _SCALES or constant is None or constant.size not in (1, self._channels(tensor)):
                break
            stride = self.stride(tensor)
            if op.kind == "Mul" and constant.size == 1 and stride is not None and float(constant.ravel()[0]) == stride:
                break
            tensor = op.outputs[0]
        return tensor

    def _channels(self, tensor: str) -> int:
        shape = self.shape(tensor)
        return shape[1] if len(shape) == 4 else -1

    def stride(self, tensor: str) -> int | None:
        """Pixels of the input for one of a picture; None when both axes don't agree."""
        shape = self.shape(tensor)
        if len(shape) != 4 or not shape[2] or not shape[3]:
            return None
        stride = round(self.size[1] / shape[2])
        fits = stride and (-(-self.size[1] // stride), -(-self.size[0] // stride)) == (shape[2], shape[3])
        return stride if fits else None

    def behind(self, tensor: str, stop: Iterable[str] = ("Concat",)) -> set[str]:
        """Kinds of the operators between a tensor and the first of `stop` or the outputs.

        Args:
            tensor: to walk on from.
            stop: kinds that end the walk.
        """
        kinds, pending, seen = set[str](), [tensor], set[str]()
        while pending:
            for op in self.readers(pending.pop()):
                if op.name in seen or op.kind in stop:
                    continue
                seen.add(op.name)
                kinds.add(op.kind)
                pending += op.outputs
        return kinds

    def outputs_behind(self, tensor: str) -> list[str]:
        """Outputs of the network that depend on a tensor, in the network's order."""
        pending, seen = [tensor], {tensor}
        while pending:
            for op in self.readers(pending.pop()):
                new = [name for name in op.outputs if name not in seen]
                seen.update(new)
                pending += new
        return [name for name in self.outputs if name in seen]

    def concatenated(self, tensors: Sequence[str]) -> list[str]:
        """The tensors in the order in which the first common concatenation takes them; as given without one."""
        fronts = {tensor: self._until_concat(tensor) for tensor in tensors}
        for op in self.operators:
            if op.kind != "Concat":
                continue
            places = {t: next((i for i, name in enumerate(op.inputs) if name in fronts[t]), None) for t in tensors}
            if None not in places.values() and len(set(places.values())) == len(tensors):
                return sorted(tensors, key=lambda t: places[t] or 0)
        return list(tensors)

    def _until_concat(self, tensor: str) -> set[str]:
        names, pending = {tensor}, [tensor]
        while pending:
            for op in self.readers(pending.pop()):
                if op.kind != "Concat":
                    new = [name for name in op.outputs if name not in names]
                    names.update(new)
                    pending += new
        return names


def structure_of(network: OnnxNetwork, operators: list[Operator], constants: dict[str, np.ndarray]) -> Structure:
    """The graph to walk about in, with the shapes that inference knows."""
    graph = network.model.graph
    shapes = {
        value.name: tuple(int(dim.dim_value) for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.output, *graph.input)
    }
    for op in operators:  # made by edgedet, so that inference does not know their results
        if op.kind in _PASSING and op.inputs[0] in shapes:
            shapes.setdefault(op.outputs[0], shapes[op.inputs[0]])
    return Structure(operators, constants, shapes, tuple(value.name for value in graph.output), network.size)
