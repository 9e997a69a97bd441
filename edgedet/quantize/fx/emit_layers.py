"""Operators that compute: convolutions, pooling, resizing, functions of one value, sums and products."""

from __future__ import annotations

import operator

import numpy as np
from torch import nn
from torch.fx import Node

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.operators import same_padding
from edgedet.net.foreign import LoneReLU6, PaddedMaxPool2d, Requantize, ResizeLinear, add_relu, add_relu6, prelu
from edgedet.quantize.fx.fake_quant import QuantConv2d, QuantConvTranspose2d, QuantWeights
from edgedet.quantize.fx.graph_builder import NO_OPTIONS, GraphBuilder
from edgedet.quantize.fx.prepare import quantized_by
from edgedet.quantize.fx.qparams import QMIN

_FUSED = {"none": "NONE", "relu": "RELU", "relu6": "RELU6", "unit": "RELU"}
ELEMENTWISE = {
    operator.add: ("ADD", "NONE"),
    operator.sub: ("SUB", "NONE"),
    operator.mul: ("MUL", "NONE"),
    add_relu: ("ADD", "RELU"),
    add_relu6: ("ADD", "RELU6"),
    prelu: ("PRELU", "NONE"),
}
_UNARY: dict[type[nn.Module], str] = {
    nn.Sigmoid: "LOGISTIC",
    nn.Tanh: "TANH",
    nn.Hardswish: "HARD_SWISH",
    nn.ReLU: "RELU",
    LoneReLU6: "RELU6",
    nn.LeakyReLU: "LEAKY_RELU",
    Requantize: "QUANTIZE",
}


def emit_layer(builder: GraphBuilder, node: Node, module: nn.Module) -> None:
    """Operator of a node that calls a module.

    Args:
        builder: of the graph.
        node: the call.
        module: what it calls.
    Raises:
        UnsupportedOpError: no operator does exactly this.
        ConversionError: weights without codes.
    """
    match module:
        case QuantConv2d():
            _convolution(builder, node, module)
        case QuantConvTranspose2d():
            _transposed_convolution(builder, node, module)
        case nn.MaxPool2d():
            _max_pool(builder, node, module)
        case PaddedMaxPool2d():
            _padded_max_pool(builder, node, module)
        case nn.AvgPool2d():
            _average_pool(builder, node, module)
        case nn.Upsample():
            _upsample(builder, node, module)
        case ResizeLinear():
            _resize_linear(builder, node, module)
        case nn.ZeroPad2d():
            left, right, top, bottom = module.padding
            builder.emit("PAD", node, (pad_amounts(builder, (left, right, top, bottom), builder.label(node)),))
        case nn.Softmax():
            _softmax(builder, node, module)
        case _:
            _unary(builder, node, module)


def emit_elementwise(builder: GraphBuilder, node: Node) -> None:
    """ADD, SUB, MUL or PRELU, with the axes as the first operand has them.

    Raises:
        UnsupportedOpError: an operand is a number, or both are the same tensor.
    """
    if len(node.all_input_nodes) != len(node.args):
        raise UnsupportedOpError(f"{node.name}: {node.args} must be two different tensors")
    kind, activation = ELEMENTWISE[node.target]  # type: ignore[index]
    # Without this TFLite's int16 ADD would take another kernel when all scales are powers of two.
    plain = kind == "ADD" and quantized_by(node, builder.modules).bits == 16
    options = g.ElementwiseOptions(activation, pot_scale_int16=not plain) if kind != "PRELU" else NO_OPTIONS
    first, second = node.all_input_nodes
    order = builder.order_of(second if builder.is_constant(first) else first)
    builder.emit(kind, node, options=options, order=order)


def pad_amounts(builder: GraphBuilder, padding: tuple[int, int, int, int], name: str) -> int:
    """Constant of a PAD; padding is (left, right, top, bottom)."""
    left, right, top, bottom = padding
    amounts = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    return builder.constant(f"{name}.paddings", amounts)


def _unary(builder: GraphBuilder, node: Node, module: nn.Module) -> None:
    kind = _UNARY.get(type(module))
    if kind is None:
        raise UnsupportedOpError(f"{node.name}: {type(module).__name__} {node.target} has no int8 form")
    options: g.Options = NO_OPTIONS
    if isinstance(module, nn.LeakyReLU):
        options = g.LeakyReluOptions(float(np.float32(module.negative_slope)))
    builder.emit(kind, node, options=options, order=builder.order_of(node.all_input_nodes[0]))


def _softmax(builder: GraphBuilder, node: Node, module: nn.Softmax) -> None:
    """TFLite's is over the last axis."""
    order = builder.order_of(node.all_input_nodes[0])
    axis = int(module.dim or 0) % len(order)
    order = (*(a for a in order if a != axis), axis)
    builder.emit("SOFTMAX", node, options=g.SoftmaxOptions(), order=order)


def _codes_of(builder: GraphBuilder, layer: QuantWeights, codes: np.ndarray, axis: int) -> tuple[int, int]:
    """Constants of weights, in TFLite's order, and bias."""
    if layer.weight_scale is None or layer.bias_code is None or layer.bias_scale is None:
        raise ConversionError(f"{layer.name}: has no integer weights yet; pass the graph through freeze() first")
    w_scales, b_scales = layer.weight_scale.numpy(), layer.bias_scale.numpy()
    zeros = np.zeros(len(w_scales), np.int64)
    weight = builder.constant(f"{layer.name}.weight", codes, g.Quantization(w_scales, zeros, axis))
    bias = builder.constant(f"{layer.name}.bias", layer.bias_code.numpy(), g.Quantization(b_scales, zeros, 0))
    return weight, bias


def _weight_codes(layer: QuantWeights) -> np.ndarray:
    """int8 (O, I, H, W)."""
    if layer.weight_code is None:
        raise ConversionError(f"{layer.name}: has no integer weights yet; pass the graph through freeze() first")
    return layer.weight_code.numpy()


def _convolution(builder: GraphBuilder, node: Node, conv: QuantConv2d) -> None:
    depthwise = conv.groups > 1
    codes = _weight_codes(conv)
    # OIHW -> OHWI; depthwise (C, 1, H, W) -> (1, H, W, C).
    codes = codes.transpose(1, 2, 3, 0) if depthwise else codes.transpose(0, 2, 3, 1)
    weight, bias = _codes_of(builder, conv, codes, 3 if depthwise else 0)
    source, padding = _padding(builder, node, conv)
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    make = g.DepthwiseConvOptions if depthwise else g.ConvOptions
    options = make(padding, conv.stride, conv.dilation, _FUSED[conv.activation])
    builder.append(kind, node, (source, weight, bias), conv.name, options)


def _padding(builder: GraphBuilder, node: Node, conv: QuantConv2d) -> tuple[int, str]:
    """Tensor that the convolution reads and its padding: SAME or VALID where they fit, else a PAD in front."""
    source = node.args[0]
    assert isinstance(source, Node)
    index = builder.read(source)
    height, width = builder.shapes[source][2:]
    left, right, top, bottom = conv.padding
    kernel = conv.weight.shape[2:]
    reach = [(taps - 1) * dilation + 1 for taps, dilation in zip(kernel, conv.dilation, strict=True)]
    same = [same_padding(*axis) for axis in zip((height, width), reach, conv.stride, strict=True)]
    if same == [(top, bottom), (left, right)]:
        return index, "SAME"
    if not any(conv.padding):
        return index, "VALID"
    # The zero point of the same scale: PAD fills with it, and it means exactly 0.
    return builder.padded(index, conv.padding, conv.name), "VALID"


def _transposed_convolution(builder: GraphBuilder, node: Node, conv: QuantConvTranspose2d) -> None:
    """SAME where its padding is what the layer cuts off, else VALID of a layer that cuts nothing off."""
    (source,) = node.all_input_nodes
    sizes, out = builder.shapes[source][2:], builder.shapes[node][2:]
    kernel = conv.weight.shape[2:]
    padding = "VALID"
    if any(conv.padding):
        fits = all(
            new == size * stride and max(taps - stride, 0) == 2 * pad
            for size, new, taps, stride, pad in zip(sizes, out, kernel, conv.stride, conv.padding, strict=True)
        )
        if not fits:
            raise UnsupportedOpError(f"{conv.name}: padding {conv.padding} is not TFLite's; slice its result instead")
        padding = "SAME"
    shape = builder.constant(f"{conv.name}.shape", np.array([1, *out, len(conv.weight)], np.int32))
    weight, bias = _codes_of(builder, conv, _weight_codes(conv).transpose(0, 2, 3, 1), 0)
    options = g.TransposeConvOptions(padding, conv.stride)
    builder.append("TRANSPOSE_CONV", node, (shape, weight, builder.read(source), bias), conv.name, options)


def _max_pool(builder: GraphBuilder, node: Node, pool: nn.MaxPool2d) -> None:
    kernel, stride, padding, dilation = (
        (v, v) if isinstance(v, int) else (int(v[0]), int(v[1]))
        for v in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    )
    height, width = builder.shapes[node.all_input_nodes[0]][2:]
    same = [same_padding(*axis) for axis in zip((height, width), kernel, stride, strict=True)]
    if dilation != (1, 1) or pool.ceil_mode or (any(padding) and same != [(p, p) for p in padding]):
        raise UnsupportedOpError(
            f"{node.target}: max pool with padding {padding}, dilation {dilation}, ceil_mode {pool.ceil_mode} on "
            f"{width}x{height} px is neither TFLite's SAME {same} nor VALID"
        )
    options = g.PoolOptions(kernel, stride, "SAME" if any(padding) else "VALID")
    builder.emit("MAX_POOL_2D", node, options=options)


def _padded_max_pool(builder: GraphBuilder, node: Node, pool: PaddedMaxPool2d) -> None:
    (source,) = node.all_input_nodes
    left, right, top, bottom = pool.padding
    same = [same_padding(*axis) for axis in zip(builder.shapes[source][2:], pool.kernel, pool.stride, strict=True)]
    index, padding = builder.read(source), "VALID"
    if same == [(top, bottom), (left, right)]:
        padding = "SAME"
    elif any(pool.padding):
        # The lowest code: it wins nowhere.
        index = builder.padded(index, pool.padding, builder.label(node), QMIN)
    options = g.PoolOptions(pool.kernel, pool.stride, padding)
    builder.append("MAX_POOL_2D", node, (index,), builder.label(node), options)


def _average_pool(builder: GraphBuilder, node: Node, pool: nn.AvgPool2d) -> None:
    """TFLite's SAME leaves what lies outside out of the mean."""
    kernel, stride, padding = (
        (v, v) if isinstance(v, int) else (int(v[0]), int(v[1])) for v in (pool.kernel_size, pool.stride, pool.padding)
    )
    sizes = builder.shapes[node.all_input_nodes[0]][2:]
    same = [same_padding(*axis) for axis in zip(sizes, kernel, stride, strict=True)]
    plain = not any(padding)
    if not plain and (pool.count_include_pad or same != [(p, p) for p in padding]):
        raise UnsupportedOpError(f"{node.target}: average pool with padding {padding} is not TFLite's SAME {same}")
    builder.emit("AVERAGE_POOL_2D", node, options=g.PoolOptions(kernel, stride, "VALID" if plain else "SAME"))


def _upsample(builder: GraphBuilder, node: Node, upsample: nn.Upsample) -> None:
    sizes = list(zip(builder.shapes[node.all_input_nodes[0]][2:], builder.shapes[node][2:], strict=True))
    if upsample.mode != "nearest":
        raise UnsupportedOpError(f"{node.target}: upsampling mode {upsample.mode!r} is not supported, only nearest")
    for size, new_size in sizes:
        # TFLite takes floor(i * float32(size / new_size)); it must be the pixel that torch takes.
        taken = np.floor(np.arange(new_size, dtype=np.float32) * np.float32(size / new_size))
        if not np.array_equal(taken, np.arange(new_size) * size // new_size):
            raise UnsupportedOpError(f"{node.target}: upsampling {size} -> {new_size} px differs in TFLite; use 2x")
    new = builder.constant(f"{builder.label(node)}.size", np.array([new_size for _, new_size in sizes], np.int32))
    builder.emit("RESIZE_NEAREST_NEIGHBOR", node, (new,), g.ResizeOptions())


def _resize_linear(builder: GraphBuilder, node: Node, resize: ResizeLinear) -> None:
    options = g.ResizeOptions(resize.coordinates == "align_corners", resize.coordinates == "half_pixel")
    new = builder.constant(f"{builder.label(node)}.size", np.array(resize.size, np.int32))
    builder.emit("RESIZE_BILINEAR", node, (new,), options)


def emit_mean(builder: GraphBuilder, node: Node) -> None:
    """Mean over rows and columns."""
    axes = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    keep = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
    if not isinstance(axes, tuple | list) or {int(a) % 4 for a in axes} != {2, 3} or not keep:
        raise UnsupportedOpError(f"{node.name}: mean over {axes}, keepdim {keep}; only (2, 3) with keepdim=True")
    constant = builder.constant(f"{node.name}.axes", np.array([1, 2], np.int32))
    builder.emit("MEAN", node, (constant,), g.ReduceOptions(keep_dims=True))
