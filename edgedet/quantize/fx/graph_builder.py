"""Tensors and operators of the int8 graph while an FX graph is walked, and in which order the axes of a tensor lie.

torch says (N, C, H, W), TFLite stores (N, H, W, C). A tensor here has an order: its stored axis i is the torch axis
order[i]. Permuting axes costs nothing then, it only changes the order; a reshape that keeps apart what lies apart
changes shape and order together; and a TRANSPOSE appears only where an operator needs another order than its input has.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn
from torch.fx import Node

from edgedet.graph import graph as g
from edgedet.net.foreign import Constant
from edgedet.numerics.affine import round_half_away
from edgedet.quantize.fx.fake_quant import FakeQuant
from edgedet.quantize.fx.prepare import quantized_by, requantizes
from edgedet.quantize.fx.qparams import LIMITS, AffineParams

BORDER_SUFFIX = ".int16"  # of an int16 copy of an int8 tensor, in front of or behind a 16-bit operator
NO_OPTIONS = g.NoOptions()
MAX_TURNED = 5  # axes of a TRANSPOSE in TFLite Micro
Order = tuple[int, ...]


def channels_last(rank: int) -> Order:
    """Order of an image (N, C, H, W) as TFLite's operators take it; of other ranks torch's own."""
    return (0, 2, 3, 1) if rank == 4 else tuple(range(rank))


def per_tensor(params: AffineParams) -> g.Quantization:
    """Quantization of a tensor with one scale."""
    return g.Quantization(np.array([params.scale], np.float32), np.array([params.zero_point], np.int64))


@dataclass
class GraphBuilder:
    """Collects tensors and operators, in the order of the FX graph."""

    modules: dict[str, nn.Module]
    shapes: dict[Node, tuple[int, ...]]  # as in torch
    output_names: dict[Node, str]
    tensors: list[g.Tensor] = field(default_factory=list)
    operators: list[g.Operator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    orders: dict[Node, Order] = field(default_factory=dict)  # of the tensor that a node's result is stored in
    _index: dict[Node, int] = field(default_factory=dict)
    _padded: dict[tuple[int, tuple[int, int, int, int], int], int] = field(default_factory=dict)
    _turned: dict[tuple[int, Order], int] = field(default_factory=dict)  # (tensor, permutation) -> its TRANSPOSE
    _names: set[str] = field(default_factory=set)

    def module_of(self, node: Node) -> nn.Module | None:
        """The module that a node calls, if it calls one."""
        return self.modules.get(str(node.target)) if node.op == "call_module" else None

    def is_constant(self, node: Node) -> bool:
        """True for a value that does not depend on the input."""
        sources = node.all_input_nodes
        return isinstance(self.module_of(node), Constant) or (
            isinstance(self.module_of(node), FakeQuant) and isinstance(self.module_of(sources[0]), Constant)
        )

    def order_of(self, node: Node) -> Order:
        """Order of a node's axes; of a constant any will do, here the one of images."""
        return self.orders.get(node, channels_last(len(self.shapes[node])))

    def read(self, node: Node, order: Order | None = None) -> int:
        """Tensor that holds a node's result.

        Args:
            node: computed before, or a constant.
            order: that its axes must lie in, made by a TRANSPOSE where they do not; None: that of images.
        """
        order = channels_last(len(self.shapes[node])) if order is None else order
        if self.is_constant(node):
            return self._constant_of(node, order)
        found, index = self.orders[node], self._index[node]
        if found == order:
            return index
        return self.turned(index, tuple(found.index(axis) for axis in order))

    def turned(self, index: int, permutation: Order) -> int:
        """TRANSPOSE of a tensor, made once."""
        if (index, permutation) not in self._turned:
            source = self.tensors[index]
            shape = tuple(source.shape[axis] for axis in permutation)
            name = f"{source.name}.turned"
            if len(shape) > MAX_TURNED:  # axes of length 1 need no turning: that of the batch is always one
                kept = [axis for axis, side in enumerate(source.shape) if side != 1]
                flat = self.reshaped(index, tuple(source.shape[axis] for axis in kept))
                turned = self.turned(flat, tuple(kept.index(axis) for axis in permutation if axis in kept))
                self._turned[index, permutation] = self.reshaped(turned, shape)
                return self._turned[index, permutation]
            result = self.tensor(name, shape, source.dtype, source.quantization)
            constant = self.constant(f"{name}.permutation", np.array(permutation, np.int32))
            self.operators.append(g.Operator("TRANSPOSE", (index, constant), (result,), NO_OPTIONS))
            self._turned[index, permutation] = result
        return self._turned[index, permutation]

    def padded(self, index: int, padding: tuple[int, int, int, int], name: str, code: int | None = None) -> int:
        """PAD of an image, made once.

        Args:
            index: tensor, NHWC.
            padding: (left, right, top, bottom) px.
            name: of the layer that needs it.
            code: to fill with; None: the zero point.
        """
        source = self.tensors[index]
        assert source.quantization is not None
        zero_point = int(source.quantization.zero_point[0])
        code = zero_point if code is None else code
        key = (index, padding, code)
        if key not in self._padded:
            left, right, top, bottom = padding
            _, height, width, channels = source.shape
            shape = (1, height + top + bottom, width + left + right, channels)
            self._padded[key] = self.tensor(f"{name}.padded", shape, source.dtype, source.quantization)
            amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
            inputs = [index, self.constant(f"{name}.paddings", amounts)]
            if code != zero_point:
                inputs.append(self.constant(f"{name}.outside", np.array([code], np.int8), source.quantization))
            kind = "PAD" if code == zero_point else "PADV2"
            self.operators.append(g.Operator(kind, tuple(inputs), (self._padded[key],), NO_OPTIONS))
        return self._padded[key]

    def pass_on(self, node: Node) -> None:
        """Give a node the tensor of the node in front."""
        source = node.all_input_nodes[0]
        if not self.is_constant(node):
            self._index[node], self.orders[node] = self._index[source], self.orders[source]

    def reorder(self, node: Node, source: Node, order: Order) -> None:
        """Give a node the source's tensor, its axes called otherwise."""
        self._index[node], self.orders[node] = self.read(source, self.order_of(source)), order

    def emit(
        self,
        kind: str,
        node: Node,
        constants: tuple[int, ...] = (),
        options: g.Options = NO_OPTIONS,
        order: Order | None = None,
    ) -> None:
        """Operator that reads the node's input tensors, then the constants.

        Args:
            kind: of the operator.
            node: whose result it writes.
            constants: tensors.
            options: of the operator.
            order: of inputs and output; None: that of images.
        """
        inputs = tuple(self.read(source, order) for source in node.all_input_nodes)
        self.append(kind, node, (*inputs, *constants), self.label(node), options, order)

    def append(
        self,
        kind: str,
        node: Node,
        inputs: tuple[int, ...],
        label: str,
        options: g.Options = NO_OPTIONS,
        order: Order | None = None,
    ) -> None:
        """Operator with given inputs that writes a node's result."""
        self.operators.append(g.Operator(kind, inputs, (self.result(node, label, order),), options))

    def result(self, node: Node, label: str, order: Order | None = None) -> int:
        """New tensor for a node's result, named by the contract when it is an output."""
        usual = channels_last(len(self.shapes[node]))
        order = usual if order is None else order
        roundings = [user for user in node.users if isinstance(self.module_of(user), FakeQuant)]
        names = [self.output_names[n] for n in (node, *roundings) if n in self.output_names]
        quant = quantized_by(node, self.modules)
        if quant.border and self.module_of(node) is not quant:
            label += BORDER_SUFFIX
        name, dtype = names[0] if names and order == usual else label, f"int{quant.params.bits}"
        shape = tuple(self.shapes[node][axis] for axis in order)
        self._index[node], self.orders[node] = self.tensor(name, shape, dtype, per_tensor(quant.params)), order
        return self._index[node]

    def finish(self) -> None:
        """Make the outputs: images channels last, everything else with torch's axes."""
        for node, name in self.output_names.items():
            index = self.read(node)
            if index in (*self.outputs, *self.inputs):
                # A copy, so that it can leave the network under a name of its own.
                index = self.reshaped(index, self.tensors[index].shape, name)
            elif self.tensors[index].name != name:
                self.tensors[index] = replace(self.tensors[index], name=name)
            self.outputs.append(index)

    def reshaped(self, index: int, shape: tuple[int, ...], name: str | None = None) -> int:
        """RESHAPE of a stored tensor.

        Args:
            index: of the tensor.
            shape: as it is stored.
            name: of the result; None: made of the tensor's.
        """
        source = self.tensors[index]
        name = f"{source.name}.reshaped" if name is None else name
        result = self.tensor(name, shape, source.dtype, source.quantization)
        constant = self.constant(f"{name}.shape", np.array(shape, np.int32))
        self.operators.append(g.Operator("RESHAPE", (index, constant), (result,), g.ReshapeOptions(shape)))
        return result

    def label(self, node: Node) -> str:
        """Path of the layer, or the node's name where the path does not say which call it is."""
        module = self.module_of(node)
        if isinstance(module, FakeQuant):
            source = node.all_input_nodes[0]
            if requantizes(node, self.modules) and not self._follows_border(node):
                return self.label(source) + (BORDER_SUFFIX if module.bits == 16 else ".int8")
            return self.label(source)
        target = str(node.target)
        called_once = node.op == "call_module" and sum(str(other.target) == target for other in node.graph.nodes) == 1
        return target if called_once else node.name

    def _follows_border(self, node: Node) -> bool:
        """True for the FakeQuant that brings a 16-bit operator's result back to int8: it has the layer's own name."""
        source = self.modules.get(str(node.all_input_nodes[0].target))
        return isinstance(source, FakeQuant) and source.border

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        quantization: g.Quantization | None,
        data: np.ndarray | None = None,
    ) -> int:
        """New tensor; a number is added to a name that is taken."""
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        self.tensors.append(g.Tensor(unique, shape, dtype, quantization, data))
        return len(self.tensors) - 1

    def constant(self, name: str, data: np.ndarray, quantization: g.Quantization | None = None) -> int:
        """New constant tensor."""
        data = np.ascontiguousarray(data)
        return self.tensor(name, data.shape, str(data.dtype), quantization, data)

    def _constant_of(self, node: Node, order: Order) -> int:
        """Codes of a constant operand."""
        holder = node if isinstance(self.module_of(node), Constant) else node.all_input_nodes[0]
        module = self.module_of(holder)
        assert isinstance(module, Constant)
        params = quantized_by(node, self.modules).params
        steps = module.value.numpy().astype(np.float64) / np.float64(params.scale)
        codes = np.clip(round_half_away(steps) + params.zero_point, *LIMITS[params.bits])
        data = codes.astype(f"int{params.bits}").transpose(order)
        return self.constant(self.label(holder), data, per_tensor(params))
