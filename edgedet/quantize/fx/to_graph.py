"""Fake-quantized FX graph -> int8 graph: every scale, zero point and code is carried over, nothing is estimated again.

torch is NCHW, TFLite NHWC. No operator of a detector mixes the spatial axes with the channels, so it is enough to turn
the axes of shapes, weights and axis arguments; no TRANSPOSE appears.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.check import check_graph
from edgedet.graph.graph import Graph
from edgedet.graph.metadata import contract_metadata
from edgedet.graph.operators import same_padding
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.prepare import quantized_by, requantizes
from edgedet.quantize.fx.qparams import AffineParams
from edgedet.quantize.fx.shapes import nchw_shapes

INPUT_NAME = "input"
BORDER_SUFFIX = ".int16"  # of an int16 copy of an int8 tensor, in front of or behind a 16-bit operator
_NHWC_AXIS = (0, 3, 1, 2)  # NCHW axis -> NHWC axis
_NO_OPTIONS = g.NoOptions()
_FUSED = {"none": "NONE", "relu": "RELU", "relu6": "RELU6", "unit": "RELU"}


def graph_from_fx(frozen: GraphModule, preprocess: PreprocessSpec, outputs: OutputSpec) -> g.Graph:
    """Convert a fake-quantized network to the int8 graph.

    Args:
        frozen: from `edgedet.quantize.fx.prepare.freeze`; one input, a tuple of outputs in contract order.
        preprocess: input contract; decides the input size.
        outputs: output contract; names the outputs.
    Returns:
        The graph with batch 1, NHWC, both contracts in its metadata, operators in the order of the FX graph.
    Raises:
        ConversionError: not calibrated or not frozen, or outputs that contradict the contract.
        UnsupportedOpError: an operator, or an option of one, that int8 TFLite can't do exactly.
    """
    shapes = _shapes(frozen, preprocess)
    builder = _Builder(dict(frozen.named_modules(remove_duplicate=False)), shapes, _output_names(frozen, outputs))
    for node in frozen.graph.nodes:
        builder.add(node)
    result = g.Graph(
        tensors=tuple(builder.tensors),
        operators=tuple(builder.operators),
        inputs=tuple(builder.inputs),
        outputs=tuple(builder.outputs),
        metadata=(contract_metadata(preprocess, outputs),),
    )
    _check_output_shapes(result, preprocess, outputs)
    check_graph(result, "converted network")
    return result


def _shapes(frozen: GraphModule, preprocess: PreprocessSpec) -> dict[Node, tuple[int, ...]]:
    """NHWC shape of every tensor."""
    for module in frozen.modules():
        if isinstance(module, FakeQuant):
            _ = module.params  # raises
    found = nchw_shapes(frozen, (1, preprocess.channels, preprocess.height, preprocess.width))
    return {node: (n, h, w, c) for node, (n, c, h, w) in found.items()}


def _output_names(frozen: GraphModule, outputs: OutputSpec) -> dict[Node, str]:
    """Contract name of each output node."""
    result = next(node for node in frozen.graph.nodes if node.op == "output").args[0]
    nodes = [result] if isinstance(result, Node) else list(result)
    if len(nodes) != len(outputs.tensor_names) or len(set(nodes)) != len(nodes):
        raise ConversionError(
            f"the network gives {len(set(nodes))} different outputs, expected {len(outputs.tensor_names)}: "
            f"{', '.join(outputs.tensor_names)}"
        )
    return dict(zip(nodes, outputs.tensor_names, strict=True))


def _check_output_shapes(graph: g.Graph, preprocess: PreprocessSpec, outputs: OutputSpec) -> None:
    for index in graph.outputs:
        tensor = graph.tensors[index]
        kind, stride = tensor.name.split("_")
        channels = len(outputs.class_names) if kind == "cls" else 4
        expected = (1, preprocess.height // int(stride), preprocess.width // int(stride), channels)
        if tensor.shape != expected:
            raise ConversionError(
                f"output {tensor.name} has shape {tensor.shape}, expected {expected}; the network does not fit the "
                f"contract (input {preprocess.width}x{preprocess.height} px, {len(outputs.class_names)} classes)"
            )


@dataclass
class _Builder:
    """Collects tensors and operators while it walks the nodes in order."""

    modules: dict[str, nn.Module]
    shapes: dict[Node, tuple[int, ...]]  # NHWC
    output_names: dict[Node, str]
    tensors: list[g.Tensor] = field(default_factory=list)
    operators: list[g.Operator] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    _index: dict[Node, int] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _padded: dict[tuple[int, tuple[int, ...]], int] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Convert one node."""
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        if node.op == "output":
            self.outputs = [self._index[output] for output in self.output_names]
        elif node.op == "placeholder":
            self.inputs.append(self._result(node, INPUT_NAME))
        elif requantizes(node, self.modules):
            self._emit("QUANTIZE", node)
        elif isinstance(module, FakeQuant):
            self._index[node] = self._index[node.args[0]]  # type: ignore[index]
        elif isinstance(module, QuantConv2d):
            self._convolution(node, module)
        elif isinstance(module, nn.MaxPool2d):
            self._max_pool(node, module)
        elif isinstance(module, nn.Upsample):
            self._upsample(node, module)
        elif isinstance(module, nn.ZeroPad2d):
            left, right, top, bottom = module.padding
            self._emit("PAD", node, (self._pad_amounts((left, right, top, bottom), self._label(node)),))
        elif isinstance(module, nn.Sigmoid):
            self._emit("LOGISTIC", node)
        elif isinstance(module, nn.Hardswish):
            self._emit("HARD_SWISH", node)
        elif node.target is operator.add or node.target is operator.mul:
            if len(node.all_input_nodes) != len(node.args):
                raise UnsupportedOpError(f"{node.name}: {node.args} must be two different tensors")
            kind = "ADD" if node.target is operator.add else "MUL"
            # Without this TFLite's int16 ADD would take another kernel when all scales are powers of two.
            plain = kind == "ADD" and quantized_by(node, self.modules).bits == 16
            self._emit(kind, node, options=g.ElementwiseOptions(pot_scale_int16=not plain))
        elif node.target is torch.cat:
            self._concatenation(node)
        elif node.target is torch.mean:
            self._mean(node)
        else:
            raise UnsupportedOpError(f"{node.name}: {type(module).__name__} {node.target} has no int8 form")

    def _emit(self, kind: str, node: Node, constants: tuple[int, ...] = (), options: g.Options = _NO_OPTIONS) -> None:
        """Operator that reads the node's input tensors, then the constants."""
        inputs = tuple(self._index[source] for source in node.all_input_nodes)
        label = self._label(node)
        self.operators.append(g.Operator(kind, (*inputs, *constants), (self._result(node, label),), options))

    def _label(self, node: Node) -> str:
        """Path of the layer, or the node's name where the path does not say which call it is."""
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, FakeQuant):
            source = node.all_input_nodes[0]
            if requantizes(node, self.modules) and not self._follows_border(node):
                return self._label(source) + (BORDER_SUFFIX if module.bits == 16 else ".int8")
            return self._label(source)
        target = str(node.target)
        called_once = node.op == "call_module" and sum(str(other.target) == target for other in node.graph.nodes) == 1
        return target if called_once else node.name

    def _follows_border(self, node: Node) -> bool:
        """True for the FakeQuant that brings a 16-bit operator's result back to int8: it has the layer's own name."""
        source = self.modules.get(str(node.all_input_nodes[0].target))
        return isinstance(source, FakeQuant) and source.border

    def _result(self, node: Node, label: str) -> int:
        """New tensor for a node's result, named by the contract when it is an output."""
        roundings = [user for user in node.users if isinstance(self.modules.get(str(user.target)), FakeQuant)]
        names = [self.output_names[n] for n in (node, *roundings) if n in self.output_names]
        quant = quantized_by(node, self.modules)
        if quant.border and self.modules.get(str(node.target)) is not quant:
            label += BORDER_SUFFIX
        name, dtype = names[0] if names else label, f"int{quant.params.bits}"
        self._index[node] = self._tensor(name, self.shapes[node], dtype, _per_tensor(quant.params))
        return self._index[node]

    def _tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        quantization: g.Quantization | None,
        data: np.ndarray | None = None,
    ) -> int:
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        self.tensors.append(g.Tensor(unique, shape, dtype, quantization, data))
        return len(self.tensors) - 1

    def _constant(self, name: str, data: np.ndarray, quantization: g.Quantization | None = None) -> int:
        data = np.ascontiguousarray(data)
        return self._tensor(name, data.shape, str(data.dtype), quantization, data)

    def _pad_amounts(self, padding: tuple[int, int, int, int], name: str) -> int:
        left, right, top, bottom = padding
        amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        return self._constant(f"{name}.paddings", amounts)

    def _convolution(self, node: Node, conv: QuantConv2d) -> None:
        if conv.weight_code is None or conv.weight_scale is None or conv.bias_code is None or conv.bias_scale is None:
            raise ConversionError(f"{conv.name}: has no integer weights yet; pass the graph through freeze() first")
        depthwise = conv.groups > 1
        codes = conv.weight_code.numpy()
        w_scales, b_scales = conv.weight_scale.numpy(), conv.bias_scale.numpy()
        zeros = np.zeros(len(w_scales), np.int64)
        # OIHW -> OHWI; depthwise (C, 1, H, W) -> (1, H, W, C).
        codes = codes.transpose(1, 2, 3, 0) if depthwise else codes.transpose(0, 2, 3, 1)
        weight = self._constant(f"{conv.name}.weight", codes, g.Quantization(w_scales, zeros, 3 if depthwise else 0))
        bias = self._constant(f"{conv.name}.bias", conv.bias_code.numpy(), g.Quantization(b_scales, zeros, 0))
        source, padding = self._padding(node, conv)
        kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        make = g.DepthwiseConvOptions if depthwise else g.ConvOptions
        options = make(padding, conv.stride, conv.dilation, _FUSED[conv.activation])
        self.operators.append(g.Operator(kind, (source, weight, bias), (self._result(node, conv.name),), options))

    def _padding(self, node: Node, conv: QuantConv2d) -> tuple[int, str]:
        """Tensor that the convolution reads and its padding: SAME or VALID where they fit, else a PAD in front."""
        source = node.args[0]
        assert isinstance(source, Node)
        index = self._index[source]
        _, height, width, channels = self.shapes[source]
        left, right, top, bottom = conv.padding
        kernel = conv.weight.shape[2:]
        reach = [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, conv.dilation, strict=True)]
        same = [same_padding(*axis) for axis in zip((height, width), reach, conv.stride, strict=True)]
        if same == [(top, bottom), (left, right)]:
            return index, "SAME"
        if not any(conv.padding):
            return index, "VALID"
        key = (index, conv.padding)
        if key not in self._padded:
            shape = (1, height + top + bottom, width + left + right, channels)
            # The zero point of the same scale: PAD fills with it, and it means exactly 0.
            quantization = self.tensors[index].quantization
            self._padded[key] = self._tensor(f"{conv.name}.padded", shape, self.tensors[index].dtype, quantization)
            amounts = self._pad_amounts(conv.padding, conv.name)
            self.operators.append(g.Operator("PAD", (index, amounts), (self._padded[key],)))
        return self._padded[key], "VALID"

    def _max_pool(self, node: Node, pool: nn.MaxPool2d) -> None:
        kernel, stride, padding, dilation = (
            (v, v) if isinstance(v, int) else (int(v[0]), int(v[1]))
            for v in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
        )
        _, height, width, _ = self.shapes[node.all_input_nodes[0]]
        same = [same_padding(*axis) for axis in zip((height, width), kernel, stride, strict=True)]
        if dilation != (1, 1) or pool.ceil_mode or (any(padding) and same != [(p, p) for p in padding]):
            raise UnsupportedOpError(
                f"{node.target}: max pool with padding {padding}, dilation {dilation}, ceil_mode {pool.ceil_mode} on "
                f"{width}x{height} px is neither TFLite's SAME {same} nor VALID"
            )
        self._emit("MAX_POOL_2D", node, options=g.PoolOptions(kernel, stride, "SAME" if any(padding) else "VALID"))

    def _upsample(self, node: Node, upsample: nn.Upsample) -> None:
        sizes = list(zip(self.shapes[node.all_input_nodes[0]][1:3], self.shapes[node][1:3], strict=True))
        if upsample.mode != "nearest":
            raise UnsupportedOpError(f"{node.target}: upsampling mode {upsample.mode!r} is not supported, only nearest")
        for size, new_size in sizes:
            # TFLite takes floor(i * float32(size / new_size)); it must be the pixel that torch takes.
            taken = np.floor(np.arange(new_size, dtype=np.float32) * np.float32(size / new_size))
            if not np.array_equal(taken, np.arange(new_size) * size // new_size):
                raise UnsupportedOpError(f"{node.target}: upsampling {size} -> {new_size} px differs in TFLite; use 2x")
        new = np.array([new_size for _, new_size in sizes], np.int32)
        self._emit(
            "RESIZE_NEAREST_NEIGHBOR", node, (self._constant(f"{self._label(node)}.size", new),), g.ResizeOptions()
        )

    def _concatenation(self, node: Node) -> None:
        tensors = node.args[0] if node.args else node.kwargs["tensors"]
        axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
        assert isinstance(tensors, tuple | list)
        assert isinstance(axis, int)
        inputs = tuple(self._index[source] for source in tensors)
        options = g.ConcatOptions(_NHWC_AXIS[axis])
        self.operators.append(g.Operator("CONCATENATION", inputs, (self._result(node, node.name),), options))

    def _mean(self, node: Node) -> None:
        axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        keep = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
        if not isinstance(axes, tuple | list) or {int(a) % 4 for a in axes} != {2, 3} or not keep:
            raise UnsupportedOpError(f"{node.name}: mean over {axes}, keepdim {keep}; only (2, 3) with keepdim=True")
        constant = self._constant(f"{node.name}.axes", np.array([1, 2], np.int32))
        self._emit("MEAN", node, (constant,), g.ReduceOptions(keep_dims=True))


def _per_tensor(params: AffineParams) -> g.Quantization:
    return g.Quantization(np.array([params.scale], np.float32), np.array([params.zero_point], np.int64))


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """A network in its two forms, with the same numbers in both."""

    fake_quant: GraphModule  # float32 NCHW in and out, every value on its int8 grid
    graph: Graph  # int8, NHWC

    @property
    def scale_groups(self) -> int:
        """Number of groups of activations that share a scale."""
        return len({m.name for m in self.fake_quant.modules() if isinstance(m, FakeQuant)})
