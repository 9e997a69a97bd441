"""A torch.fx graph in the making: every node is computed on one picture as soon as it is added, so shapes are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.exchange.onnx_in.ops.moved_view import MovedView
from edgedet.net.foreign import Constant, reshape_samples
from edgedet.quantize.fx.qparams import AffineParams

Attributes = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Operator:
    """One node of the ONNX graph."""

    name: str
    kind: str
    inputs: tuple[str, ...]  # "" where an optional one is left out
    outputs: tuple[str, ...]
    attributes: Attributes


@dataclass(eq=False)
class FxBuilder:
    """Nodes, modules and values; `Operator`s are added in the order of the graph."""

    path: Path
    opset: int
    constants: dict[str, np.ndarray]  # name of a tensor -> its value
    readers: dict[str, int]  # name of a tensor -> how often it is read, the network's outputs counted
    exact: bool = False  # of quantized networks: nothing is moved into weights, every constant keeps its codes
    weights: dict[str, tuple[str, str]] = field(default_factory=dict)  # path of a layer -> names of weights and bias
    constant_params: dict[str, AffineParams] = field(default_factory=dict)  # constant operands of quantized networks
    root: nn.Module = field(default_factory=nn.Module)
    graph: Graph = field(default_factory=Graph)
    nodes: dict[str, Node | MovedView] = field(default_factory=dict)  # name of a tensor -> what computes it
    _values: dict[Node, Tensor] = field(default_factory=dict)
    _paths: set[str] = field(default_factory=set)

    def placeholder(self, name: str, picture: Tensor) -> None:
        """The input of the network."""
        node = self.graph.placeholder("image")
        self.nodes[name], self._values[node] = node, picture

    def value(self, node: Node) -> Tensor:
        """What a node computes of the picture."""
        return self._values[node]

    def shape(self, node: Node) -> tuple[int, ...]:
        """Shape of a node's result, batch 1 in front."""
        return tuple(self._values[node].shape)

    def node(self, operator: Operator, position: int = 0) -> Node:
        """The node of an input, constant or not."""
        name = operator.inputs[position] if position < len(operator.inputs) else ""
        if name in self.constants:
            return self.constant_node(operator, self.constants[name])
        if name not in self.nodes:
            raise ConversionError(f"{self.where(operator)}: input {name!r} is computed nowhere; export the file again")
        found = self.nodes[name]
        if isinstance(found, MovedView):
            found = self.nodes[name] = found.materialize(self, operator)
        return found

    def constant_node(self, operator: Operator, value: np.ndarray, rank: int | None = None) -> Node:
        """A constant as an operand; axis 0 stands for the batch.

        Args:
            operator: that reads it.
            value: numbers.
            rank: of the other operand; axes of length 1 are put in front.
        """
        value = value.astype(np.float32)
        value = value.reshape((1,) * (max(rank or 1, 1) - value.ndim) + value.shape)
        if value.shape[0] != 1:
            raise self.unsupported(operator, f"a constant of shape {value.shape} along the batch axis")
        return self.module(Constant(torch.from_numpy(np.ascontiguousarray(value))), (), f"{operator.name}_constant")

    def constant(self, operator: Operator, position: int) -> np.ndarray | None:
        """Value of an input that must be constant; None where it is left out."""
        name = operator.inputs[position] if position < len(operator.inputs) else ""
        if not name:
            return None
        if name not in self.constants:
            raise self.unsupported(operator, f"input {name!r} must be a constant, and is computed")
        return self.constants[name]

    def is_constant(self, operator: Operator, position: int) -> bool:
        """True when an input is a constant."""
        return position < len(operator.inputs) and operator.inputs[position] in self.constants

    def alone(self, operator: Operator, position: int = 0) -> bool:
        """True when nothing else reads this input, so that what computes it may be changed."""
        return self.read_once(operator, position) and not self.exact

    def read_once(self, operator: Operator, position: int = 0) -> bool:
        """True when nothing else reads this input, so that what computes it may take in what follows."""
        return self.readers.get(operator.inputs[position], 0) == 1

    def module(self, module: nn.Module, sources: Sequence[Node], label: str) -> Node:
        """Add a call of a module."""
        path = re.sub(r"\W+", "_", label).strip("_") or "layer"
        path = path if not path[0].isdigit() else f"n{path}"
        unique, number = path, 1
        while unique in self._paths:
            number += 1
            unique = f"{path}_{number}"
        self._paths.add(unique)
        self.root.add_module(unique, module.eval())
        node = self.graph.call_module(unique, tuple(sources))
        with torch.no_grad():
            self._values[node] = module(*(self._values[source] for source in sources))
        return node

    def function(self, function: Callable[..., Any], *arguments: Any) -> Node:
        """Add a call of a function; nodes among the arguments, also in lists, are its inputs."""
        node = self.graph.call_function(function, arguments)
        real = [
            [self._values[a] for a in argument]
            if isinstance(argument, list)
            else self._values.get(argument, argument)
            if isinstance(argument, Node)
            else argument
            for argument in arguments
        ]
        with torch.no_grad():
            self._values[node] = function(*real)
        return node

    def reshaped(self, source: Node, shape: Sequence[int]) -> Node:
        """Reshape of every sample; `shape` holds the batch axis."""
        shape = tuple(int(side) for side in shape)
        return source if shape == self.shape(source) else self.function(reshape_samples, source, shape[1:])

    def module_of(self, node: Node) -> nn.Module | None:
        """The module that a node calls."""
        return self.root.get_submodule(str(node.target)) if node.op == "call_module" else None

    def recompute(self, node: Node) -> None:
        """Compute the value of a node whose module was changed."""
        module = self.module_of(node)
        assert module is not None
        with torch.no_grad():
            self._values[node] = module(*(self._values[source] for source in node.all_input_nodes))

    def retarget(self, node: Node, function: Callable[..., Tensor]) -> Node:
        """Let a node call another function of the same arguments."""
        node.target = function
        node.name = node.name
        with torch.no_grad():
            self._values[node] = function(*(self._values[source] for source in node.all_input_nodes))
        return node

    def finish(self, outputs: Sequence[str]) -> GraphModule:
        """The graph with these tensors as its outputs."""
        found = []
        for name in outputs:
            if name in self.constants:
                raise ConversionError(f"{self.path}: output {name} does not depend on the input; leave it out")
            found.append(self.node(Operator("outputs", "output", (name,), (), {})))
        self.graph.output(tuple(found))
        result = GraphModule(self.root, self.graph).eval()
        result.graph.eliminate_dead_code()
        result.delete_all_unused_submodules()
        result.graph.lint()
        result.recompile()
        return result

    def where(self, operator: Operator) -> str:
        """File and node, for errors."""
        return f"{self.path}: node {operator.name!r} ({operator.kind})"

    def unsupported(self, operator: Operator, what: str) -> UnsupportedOpError:
        """Error about one node."""
        before = next((name for name in operator.inputs if name and name not in self.constants), "")
        return UnsupportedOpError(
            f"{self.where(operator)}: {what}; it has no int8 form here. Let the network end in front of it (`outputs` "
            f"{before or 'NAME'}), export it otherwise, or take onnx2tf for a float TFLite"
        )
