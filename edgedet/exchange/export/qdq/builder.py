"""Builds a QDQ ONNX model: every int8 tensor of the graph as QuantizeLinear, DequantizeLinear with the file's numbers.

Between them stand the ordinary float operators. A tool that knows integer kernels joins DequantizeLinear, operator and
QuantizeLinear to one; any other computes in floats and lands on the same grid. Tensors with four axes are NCHW here and
NHWC in the graph; all others have the graph's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.graph.graph import Graph, Tensor

NCHW = (0, 3, 1, 2)  # as a permutation of NHWC
NHWC = (0, 2, 3, 1)  # as a permutation of NCHW
INT16_OPSET = 21  # from here on QuantizeLinear has int16
_CODES = {"int8": np.int8, "int16": np.int16}
_CLAMPS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}


class QdqBuilder:
    """Collects nodes and initializers; tensors of the graph are known by their index.

    Args:
        graph: the int8 graph.
        opset: of the model.
        apart: every operator reads inputs of the model instead of what the operators before it wrote, so that each can
            be judged alone.
    """

    def __init__(self, graph: Graph, opset: int, apart: bool = False) -> None:
        self.graph = graph
        self.opset = opset
        self.given: dict[int, str] | None = {} if apart else None  # index -> input of the model
        self.nodes: list[Any] = []  # onnx.NodeProto
        self.initializers: list[Any] = []  # onnx.TensorProto
        self._names = _unique_names(graph)
        self._taken = set(self._names)
        self._known: dict[int, str] = {}  # index -> float tensor
        self._weights: dict[tuple[int, tuple[int, ...]], str] = {}

    def name(self, index: int) -> str:
        """Name of a tensor: that of the graph, or with a number behind it where two have the same."""
        return self._names[index]

    def new_name(self, wish: str) -> str:
        """A name that no tensor has yet."""
        name, number = wish, 1
        while name in self._taken:
            number += 1
            name = f"{wish}_{number}"
        self._taken.add(name)
        return name

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        attributes: Mapping[str, Any] | None = None,
        output: str | None = None,
    ) -> str:
        """Append a node.

        Args:
            kind: ONNX operator.
            inputs: tensor names; "" for an optional one that is absent.
            attributes: of the node.
            output: name of its result; None: a new one.
        Returns:
            Name of the result.
        """
        return self.add_many(kind, inputs, attributes, [output or self.new_name(f"{kind.lower()}_{len(self.nodes)}")])[
            0
        ]

    def add_many(
        self, kind: str, inputs: Sequence[str], attributes: Mapping[str, Any] | None, outputs: Sequence[str]
    ) -> list[str]:
        """Append a node with several results; as `add`."""
        from onnx import helper

        name = f"{outputs[0]}/{kind}"
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), name, **dict(attributes or {})))
        return list(outputs)

    def constant(self, wish: str, values: np.ndarray) -> str:
        """An initializer; gives its name."""
        from onnx import numpy_helper

        name = self.new_name(wish)
        self.initializers.append(numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def integers(self, wish: str, values: Sequence[int]) -> str:
        """An int64 initializer of one axis."""
        return self.constant(wish, np.array(values, np.int64))

    def real(self, index: int) -> str:
        """Float tensor of an activation, or of a constant that stands in the place of one; NCHW when it has four axes.

        Raises:
            ConversionError: nothing has computed it yet.
        """
        tensor = self.graph.tensors[index]
        if self.given is not None and tensor.data is None:
            return self.given.setdefault(index, f"given_{index}")
        if index in self._known:
            return self._known[index]
        if tensor.data is None:
            raise ConversionError(f"tensor {tensor.name!r} is read before an operator has written it")
        return self.weights(index, NCHW if len(tensor.shape) == 4 else tuple(range(len(tensor.shape))))

    def real_as_stored(self, index: int) -> str:
        """As `real`, in the axes of the graph."""
        value = self.real(index)
        return self.add("Transpose", [value], {"perm": NHWC}) if len(self.graph.tensors[index].shape) == 4 else value

    def weights(self, index: int, order: tuple[int, ...]) -> str:
        """Float tensor of constant codes, axes permuted.

        Args:
            index: of the constant.
            order: permutation of its axes.
        """
        key = (index, order)
        if key not in self._weights:
            tensor = self.graph.tensors[index]
            assert tensor.data is not None, tensor.name
            wish = self.name(index) if index not in {known for known, _ in self._weights} else None
            codes = self.constant(f"{self.name(index)}_quantized", self._codes(tensor).transpose(order))
            parameters = self._parameters(index)
            axis = {"axis": order.index(_axis(tensor))} if len(order) else {}
            self._weights[key] = self.add("DequantizeLinear", [codes, *parameters], axis, wish)
        return self._weights[key]

    def bias(self, index: int) -> str:
        """Float tensor of a bias; of int64 codes those that fit into int32, which is what DequantizeLinear takes."""
        key = (index, (0,))
        if key not in self._weights:
            tensor = self.graph.tensors[index]
            data = tensor.data
            if data is None or data.dtype not in (np.int32, np.int64):
                raise UnsupportedOpError(
                    f"bias {tensor.name!r} must be a constant of int32 or int64, it is {tensor.dtype}"
                )
            if data.size and int(np.abs(data).max()) > np.iinfo(np.int32).max:
                raise UnsupportedOpError(
                    f"bias {tensor.name!r} has codes up to {int(np.abs(data).max())}; ONNX dequantizes int32, not int64"
                )
            codes = self.constant(f"{self.name(index)}_quantized", data.astype(np.int32))
            scale, *_ = self._parameters(index, with_zero_point=False)
            self._weights[key] = self.add("DequantizeLinear", [codes, scale], {"axis": 0}, self.name(index))
        return self._weights[key]

    def take_input(self, index: int) -> None:
        """Declare a model input: float, quantized at once where the graph's is a code."""
        tensor = self.graph.tensors[index]
        if tensor.dtype == "float32":
            self._known[index] = self.name(index)
            return
        self._quantize(index, self.name(index), self.new_name(f"{self.name(index)}_dequantized"))

    def store(self, index: int, value: str, as_stored: bool = False) -> None:
        """Say what an operator has computed for a tensor, in floats, and round it to the tensor's codes.

        Args:
            index: of the tensor.
            value: float tensor.
            as_stored: its axes are those of the graph, not yet NCHW.
        """
        tensor = self.graph.tensors[index]
        if as_stored and len(tensor.shape) == 4:
            value = self.add("Transpose", [value], {"perm": NCHW})
        if tensor.dtype == "float32":
            self._known[index] = self.add("Identity", [value], None, self.name(index))
        else:
            self._quantize(index, value, self.name(index))

    def activated(self, value: str, activation: str) -> str:
        """The result of an operator with TFLite's fused activation behind it."""
        if activation == "NONE":
            return value
        if activation == "RELU":
            return self.add("Relu", [value])
        return self.clamped(value, *_CLAMPS[activation])

    def clamped(self, value: str, low: float, high: float) -> str:
        """Clip between two numbers."""
        ends = [self.constant("clip", np.array(end, np.float32)) for end in (low, high)]
        return self.add("Clip", [value, *ends])

    def _quantize(self, index: int, value: str, output: str) -> None:
        tensor = self.graph.tensors[index]
        if tensor.dtype not in _CODES:
            raise UnsupportedOpError(
                f"tensor {tensor.name!r} is {tensor.dtype}; QDQ ONNX is written for int8 and int16 activations"
            )
        if tensor.dtype == "int16" and self.opset < INT16_OPSET:
            raise UnsupportedOpError(
                f"tensor {tensor.name!r} is int16, which QuantizeLinear takes from opset {INT16_OPSET} on, found "
                f"`opset` {self.opset}"
            )
        parameters = self._parameters(index)
        codes = self.add("QuantizeLinear", [value, *parameters], None, self.new_name(f"{self.name(index)}_quantized"))
        self._known[index] = self.add("DequantizeLinear", [codes, *parameters], None, output)

    def _parameters(self, index: int, with_zero_point: bool = True) -> list[str]:
        """Initializers of scale and zero point: numbers for one scale, vectors for one a channel."""
        tensor = self.graph.tensors[index]
        quantization = tensor.quantization
        if quantization is None:
            raise ConversionError(f"tensor {tensor.name!r} has no scale and zero point")
        shape = quantization.scale.shape if quantization.scale.size > 1 else ()
        scale = self.constant(f"{self.name(index)}_scale", quantization.scale.astype(np.float32).reshape(shape))
        if not with_zero_point:
            return [scale]
        zero_point = quantization.zero_point.astype(_CODES[tensor.dtype]).reshape(shape)
        return [scale, self.constant(f"{self.name(index)}_zero_point", zero_point)]

    def _codes(self, tensor: Tensor) -> np.ndarray:
        if tensor.dtype not in _CODES:
            raise UnsupportedOpError(f"constant {tensor.name!r} is {tensor.dtype}, expected int8 or int16 codes")
        assert tensor.data is not None
        return tensor.data


def _axis(tensor: Tensor) -> int:
    """Axis of the scales; any one will do for a single scale."""
    return tensor.quantization.axis if tensor.quantization is not None and tensor.quantization.scale.size > 1 else 0


def _unique_names(graph: Graph) -> list[str]:
    names: list[str] = []
    taken: set[str] = set()
    for tensor in graph.tensors:
        wish = tensor.name or "tensor"
        name, number = wish, 1
        while name in taken:
            number += 1
            name = f"{wish}_{number}"
        taken.add(name)
        names.append(name)
    return names
