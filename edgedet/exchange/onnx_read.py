"""An ONNX file as lint sees it: TFLite's operators in NHWC, as a converter would make them; nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.errors import ConversionError, missing_extra
from edgedet.graph import graph as g
from edgedet.graph.operators import same_padding

_NHWC = (0, 3, 1, 2)  # NCHW axis -> NHWC axis
_SMALL = 4096  # elements of a constant whose values a rule may look at

# ONNX operator -> what converters make of it. What is missing keeps its name, and has no kernel.
_KINDS = {
    "Abs": "ABS", "Add": "ADD", "ArgMax": "ARG_MAX", "AveragePool": "AVERAGE_POOL_2D", "Cast": "CAST",
    "Concat": "CONCATENATION", "ConvTranspose": "TRANSPOSE_CONV", "DepthToSpace": "DEPTH_TO_SPACE",
    "DequantizeLinear": "DEQUANTIZE", "Div": "DIV", "Elu": "ELU", "Equal": "EQUAL", "Exp": "EXP",
    "Expand": "BROADCAST_TO", "Flatten": "RESHAPE", "Gather": "GATHER", "GatherND": "GATHER_ND",
    "Gemm": "FULLY_CONNECTED", "GlobalAveragePool": "MEAN", "Greater": "GREATER", "HardSwish": "HARD_SWISH",
    "HardSigmoid": "MINIMUM", "LeakyRelu": "LEAKY_RELU", "Less": "LESS", "Log": "LOG", "MatMul": "BATCH_MATMUL",
    "Max": "MAXIMUM", "MaxPool": "MAX_POOL_2D", "Min": "MINIMUM", "Mul": "MUL", "Neg": "NEG",
    "NonMaxSuppression": "NON_MAX_SUPPRESSION_V4", "PRelu": "PRELU", "Pad": "PAD", "Pow": "POW",
    "QuantizeLinear": "QUANTIZE", "ReduceMax": "REDUCE_MAX", "ReduceMean": "MEAN", "ReduceSum": "SUM", "Relu": "RELU",
    "Reshape": "RESHAPE", "Shape": "SHAPE", "Sigmoid": "LOGISTIC", "Slice": "STRIDED_SLICE", "Softmax": "SOFTMAX",
    "SpaceToDepth": "SPACE_TO_DEPTH", "Split": "SPLIT", "Sqrt": "SQRT", "Squeeze": "SQUEEZE", "Sub": "SUB",
    "Tanh": "TANH", "TopK": "TOPK_V2", "Transpose": "TRANSPOSE", "Unsqueeze": "EXPAND_DIMS", "Where": "SELECT_V2",
}  # fmt: skip
_NOTHING = ("Identity", "Dropout", "BatchNormalization")  # folded away by every converter
_LAYOUT_TURNS = ((0, 2, 3, 1), (0, 3, 1, 2))  # NCHW <-> NHWC: nothing is left of them in an NHWC graph


def onnx_graph(path: Path) -> g.Graph:
    """Read an ONNX file.

    Args:
        path: the file; weights beside it are not needed.
    Returns:
        Its operators as TFLite's, in NHWC.
    Raises:
        ConversionError: missing or damaged file.
        ToolchainError: the package onnx is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise missing_extra("onnx", "onnx") from error
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ConversionError(f"{path}: can't be read ({error.strerror}); give the path of a .onnx file") from error
    except Exception as error:  # google.protobuf's DecodeError, which no package promises
        raise ConversionError(f"{path}: not an ONNX model ({error}); export or copy it again") from error
    if not model.graph.node:
        raise ConversionError(f"{path}: an ONNX model without operators; export or copy it again")
    return _Builder(onnx.shape_inference.infer_shapes(model).graph).graph()


@dataclass
class _Builder:
    """Walks the nodes of an ONNX graph."""

    source: Any  # onnx.GraphProto
    tensors: list[g.Tensor] = field(default_factory=list)
    operators: list[g.Operator] = field(default_factory=list)
    _index: dict[str, int] = field(default_factory=dict)
    _shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)  # as in the file, NCHW

    def graph(self) -> g.Graph:
        """The whole graph."""
        for value in (*self.source.input, *self.source.value_info, *self.source.output):
            dims = value.type.tensor_type.shape.dim
            sides = tuple(int(dim.dim_value) or (1 if axis == 0 else 0) for axis, dim in enumerate(dims))
            self._shapes[value.name] = sides if all(sides) else ()
        for constant in self.source.initializer:
            self._constant(constant.name, constant)
        inputs = [self._tensor(v.name) for v in self.source.input if v.name not in self._index]
        for node in self.source.node:
            self._add(node)
        return g.Graph(
            tuple(self.tensors),
            tuple(self.operators),
            tuple(inputs),
            tuple(self._tensor(value.name) for value in self.source.output),
        )

    def _add(self, node: Any) -> None:
        kind, attributes = node.op_type, {a.name: _value(a) for a in node.attribute}
        if kind == "Constant":
            proto = next((a.t for a in node.attribute if a.name == "value"), None)
            self._constant(node.output[0], proto)
            return
        inputs = [self._tensor(name) if name else -1 for name in node.input]
        turned = kind == "Transpose" and tuple(attributes.get("perm", ())) in _LAYOUT_TURNS
        if kind in _NOTHING or turned:
            self._index[node.output[0]] = inputs[0]
            return
        if kind == "Conv":
            self._convolution(node, inputs, attributes)
            return
        kind, options = self._translated(node, kind, attributes)
        outputs = tuple(self._tensor(name) for name in node.output if name)
        self.operators.append(g.Operator(kind, tuple(inputs), outputs, options))

    def _translated(self, node: Any, kind: str, attributes: dict[str, Any]) -> tuple[str, g.Options]:
        """TFLite's operator and its options, as far as a rule looks at them."""
        if kind == "Concat":
            rank = len(self._shapes.get(node.input[0], ())) or 4
            axis = int(attributes.get("axis", 0)) % rank
            return "CONCATENATION", g.ConcatOptions(_NHWC[axis] if rank == 4 else axis)
        if kind in ("MaxPool", "AveragePool"):
            window = _pair(attributes.get("kernel_shape"), 1)
            return _KINDS[kind], g.PoolOptions(window, _pair(attributes.get("strides"), 1))
        if kind in ("Resize", "Upsample"):
            linear = b"linear" in bytes(attributes.get("mode", b"nearest"))
            return "RESIZE_BILINEAR" if linear else "RESIZE_NEAREST_NEIGHBOR", g.ResizeOptions()
        if kind == "Clip":
            bounds = [self._number(name) for name in node.input[1:3]] or [attributes.get("min"), attributes.get("max")]
            return ("RELU6" if bounds == [0.0, 6.0] else "MINIMUM"), g.NoOptions()
        return _KINDS.get(kind, kind), g.NoOptions()

    def _convolution(self, node: Any, inputs: list[int], attributes: dict[str, Any]) -> None:
        group = int(attributes.get("group", 1))
        weight = self.tensors[inputs[1]].shape  # (O, I / group, H, W)
        source = self.tensors[inputs[0]]
        stride, dilation = _pair(attributes.get("strides"), 1), _pair(attributes.get("dilations"), 1)
        pads = [int(p) for p in attributes.get("pads", (0, 0, 0, 0))]
        padding = "VALID"
        if bytes(attributes.get("auto_pad", b"NOTSET")).startswith(b"SAME"):
            padding = "SAME"
        elif any(pads):
            padding = "SAME" if self._is_same(source.shape, weight, stride, dilation, pads) else "VALID"
            if padding == "VALID":
                inputs = [self._padded(node, inputs[0], pads), *inputs[1:]]
        channels = source.shape[-1] if source.shape else 0
        depthwise = group > 1 and group == channels
        make = g.DepthwiseConvOptions if depthwise else g.ConvOptions
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        self.operators.append(
            g.Operator(kind, tuple(inputs), (self._tensor(node.output[0]),), make(padding, stride, dilation))
        )

    def _is_same(
        self,
        shape: Sequence[int],
        weight: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        pads: Sequence[int],
    ) -> bool:
        """True when pads (top, left, bottom, right) are what TFLite's SAME adds to an NHWC shape."""
        if len(shape) != 4 or len(weight) != 4 or len(pads) != 4:
            return max(stride) == 1  # sizes unknown: symmetric padding is SAME without a stride
        for axis in (0, 1):
            reach = (weight[2 + axis] - 1) * dilation[axis] + 1
            if (pads[axis], pads[axis + 2]) != same_padding(shape[1 + axis], reach, stride[axis]):
                return False
        return True

    def _padded(self, node: Any, index: int, pads: Sequence[int]) -> int:
        source = self.tensors[index]
        shape = source.shape
        if len(shape) == 4:
            shape = (shape[0], shape[1] + pads[0] + pads[2], shape[2] + pads[1] + pads[3], shape[3])
        self.tensors.append(g.Tensor(f"{node.output[0]}.padded", shape, "float32"))
        self.operators.append(g.Operator("PAD", (index,), (len(self.tensors) - 1,)))
        return len(self.tensors) - 1

    def _tensor(self, name: str) -> int:
        """Index of a tensor, made when it is new."""
        if name not in self._index:
            shape = self._shapes.get(name, ())
            if len(shape) == 4:
                shape = (shape[0], shape[2], shape[3], shape[1])
            self.tensors.append(g.Tensor(name, shape, "float32"))
            self._index[name] = len(self.tensors) - 1
        return self._index[name]

    def _constant(self, name: str, proto: Any) -> None:
        """A constant; its values only when a rule may look at them."""
        from onnx import numpy_helper

        shape = () if proto is None else tuple(int(side) for side in proto.dims)
        data = np.empty(0, np.float32)
        if proto is not None and math.prod(shape) <= _SMALL and not proto.external_data:
            data = numpy_helper.to_array(proto)
        self.tensors.append(g.Tensor(name, shape, str(data.dtype), None, data))
        self._index[name] = len(self.tensors) - 1

    def _number(self, name: str) -> float | None:
        """Value of a constant with one element."""
        data = self.tensors[self._index[name]].data if name in self._index else None
        return float(data.reshape(-1)[0]) if data is not None and data.size == 1 else None


def _value(attribute: Any) -> Any:
    """Value of an attribute of type float, int, string, floats or ints; None for others."""
    return {1: attribute.f, 2: attribute.i, 3: attribute.s, 6: list(attribute.floats), 7: list(attribute.ints)}.get(
        attribute.type
    )


def _pair(values: Sequence[int] | None, default: int) -> tuple[int, int]:
    """(height, width) of an attribute."""
    if not values:
        return default, default
    return int(values[0]), int(values[-1])
