"""Convolutions and matrix products, and what can be moved into their weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.fx import Node

from edgedet.exchange.onnx_in.ops.builder import FxBuilder, Operator
from edgedet.exchange.onnx_in.ops.windows import window_of
from edgedet.net.foreign import reshape_samples, take_slice

MAX_DENSE = 64  # channels up to which an uneven grouped convolution becomes a dense one with zeros


def convolution(b: FxBuilder, op: Operator) -> Node:
    """Conv of pictures, any padding; groups other than 1 and depthwise are taken apart."""
    source = b.node(op)
    weight, bias = b.constant(op, 1), b.constant(op, 2)
    if weight is None or weight.ndim != 4 or len(b.shape(source)) != 4:
        raise b.unsupported(op, f"a convolution over {len(b.shape(source)) - 2} axes, expected 2")
    groups, channels = int(op.attributes.get("group", 1)), b.shape(source)[1]
    if weight.shape[1] * groups != channels or weight.shape[0] % groups:
        raise b.unsupported(op, f"weights {weight.shape} in {groups} groups for {channels} channels")
    window = window_of(b, op, source, weight.shape[2:])
    bias = np.zeros(len(weight), np.float32) if bias is None else bias.reshape(-1)
    if groups > 1 and not (weight.shape[1] == 1 and len(weight) == channels):
        if channels > MAX_DENSE or b.exact:
            return _grouped(b, op, source, weight, bias, groups)
        weight, groups = _dense(weight, groups), 1
    if any(window.padding) and not window.symmetric:
        source = b.module(nn.ZeroPad2d(window.padding), (source,), f"{op.name}_pad")
    padding = window.padding[2::-2] if window.symmetric else (0, 0)  # (top, left)
    conv = _conv(weight, bias, window.stride, padding, window.dilation, groups)
    return _noted(b, op, b.module(conv, (source,), op.name))


def _noted(b: FxBuilder, op: Operator, node: Node) -> Node:
    """Remember which constants a layer was made of."""
    b.weights[str(node.target)] = (op.inputs[1], op.inputs[2] if len(op.inputs) > 2 else "")
    return node


def _conv(
    weight: np.ndarray,
    bias: np.ndarray,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> nn.Conv2d:
    outputs, inputs, height, width = weight.shape
    conv = nn.Conv2d(inputs * groups, outputs, (height, width), stride, tuple(padding), dilation, groups)  # type: ignore[arg-type]
    conv.weight = nn.Parameter(torch.from_numpy(np.array(weight, np.float32, order="C")))
    conv.bias = nn.Parameter(torch.from_numpy(np.array(bias, np.float32, order="C")))
    return conv


def _dense(weight: np.ndarray, groups: int) -> np.ndarray:
    """Weights of one group, zero where the groups saw nothing."""
    outputs, inputs = weight.shape[:2]
    dense = np.zeros((outputs, inputs * groups, *weight.shape[2:]), np.float32)
    size = outputs // groups
    for group in range(groups):
        rows = slice(group * size, (group + 1) * size)
        dense[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return dense


def _grouped(b: FxBuilder, op: Operator, source: Node, weight: np.ndarray, bias: np.ndarray, groups: int) -> Node:
    """One convolution for each group, and their results side by side."""
    inputs, size = weight.shape[1], len(weight) // groups
    window = window_of(b, op, source, weight.shape[2:])
    parts = []
    for group in range(groups):
        part = b.function(take_slice, source, 1, group * inputs, (group + 1) * inputs, 1)
        rows = slice(group * size, (group + 1) * size)
        if any(window.padding):
            part = b.module(nn.ZeroPad2d(window.padding), (part,), f"{op.name}_pad{group}")
        conv = _conv(weight[rows], bias[rows], window.stride, (0, 0), window.dilation)
        parts.append(b.module(conv, (part,), f"{op.name}_group{group}"))
    return b.function(torch.cat, parts, 1)


def transposed_convolution(b: FxBuilder, op: Operator) -> Node:
    """ConvTranspose: with TFLite's SAME padding as it is, else without padding and its result cut."""
    source = b.node(op)
    weight, bias = b.constant(op, 1), b.constant(op, 2)
    attributes = op.attributes
    if weight is None or weight.ndim != 4 or len(b.shape(source)) != 4:
        raise b.unsupported(op, "a transposed convolution over other than 2 axes")
    dilations = list(attributes.get("dilations", (1, 1)))
    if int(attributes.get("group", 1)) != 1 or dilations != [1, 1]:
        raise b.unsupported(op, f"groups {attributes.get('group', 1)}, dilations {dilations}; expected 1")
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or "output_shape" in attributes:
        raise b.unsupported(op, "auto_pad or output_shape; expected explicit pads")
    stride = _pair(attributes.get("strides", (1, 1)))
    pads = [int(p) for p in attributes.get("pads", (0, 0, 0, 0))]
    extra = _pair(attributes.get("output_padding", (0, 0)))
    cut = [(pads[axis], pads[axis + 2] - extra[axis]) for axis in (0, 1)]
    if min(min(ends) for ends in cut) < 0:
        raise b.unsupported(op, f"output_padding {extra} beyond its pads {pads}")
    kernel = weight.shape[2:]
    same = all(
        begin == end and max(taps - step, 0) == 2 * begin and taps >= step
        for (begin, end), taps, step in zip(cut, kernel, stride, strict=True)
    )
    inside = (cut[0][0], cut[1][0]) if same else (0, 0)
    conv = nn.ConvTranspose2d(weight.shape[0], weight.shape[1], (kernel[0], kernel[1]), stride, inside)
    conv.weight = nn.Parameter(torch.from_numpy(np.ascontiguousarray(weight, np.float32)))
    values = np.zeros(weight.shape[1], np.float32) if bias is None else bias.astype(np.float32).reshape(-1)
    conv.bias = nn.Parameter(torch.from_numpy(values.copy()))
    node = b.module(conv, (source,), op.name)
    for axis, (begin, end) in enumerate(cut, start=2):
        length = b.shape(node)[axis]
        if not same and (begin or end):
            node = b.function(take_slice, node, axis, begin, length - end, 1)
    return node


def _pair(values: object) -> tuple[int, int]:
    assert isinstance(values, list | tuple)
    return int(values[0]), int(values[-1])


def affine(b: FxBuilder, op: Operator, source: Node, gain: np.ndarray, offset: np.ndarray, alone: bool) -> Node:
    """Gain * x + offset for each channel: inside the convolution that computes x, or as a 1x1 depthwise one.

    Args:
        b: of the graph.
        op: that wants it.
        source: of a picture (N, C, H, W).
        gain: (C,) or (1,).
        offset: (C,) or (1,).
        alone: nothing else reads x.
    """
    channels = b.shape(source)[1]
    gain, offset = (np.broadcast_to(v.astype(np.float64).reshape(-1), (channels,)) for v in (gain, offset))
    module = b.module_of(source)
    if alone and isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        weight = module.weight.detach().numpy().astype(np.float64)
        shape = (1, -1, 1, 1) if isinstance(module, nn.ConvTranspose2d) else (-1, 1, 1, 1)
        assert module.bias is not None
        bias = module.bias.detach().numpy() * gain + offset
        module.weight = nn.Parameter(torch.from_numpy((weight * gain.reshape(shape)).astype(np.float32)))
        module.bias = nn.Parameter(torch.from_numpy(bias.astype(np.float32)))
        b.recompute(source)
        return source
    conv = _conv(gain.reshape(-1, 1, 1, 1), offset, groups=channels)
    return b.module(conv, (source,), op.name)


def batch_norm(b: FxBuilder, op: Operator) -> Node:
    """BatchNormalization that onnxsim left over: a gain and an offset for each channel."""
    source = b.node(op)
    scale, bias, mean, var = (b.constant(op, i) for i in (1, 2, 3, 4))
    if scale is None or bias is None or mean is None or var is None or len(b.shape(source)) != 4:
        raise b.unsupported(op, "without constant statistics, or not of a picture")
    gain = scale.astype(np.float64) / np.sqrt(var.astype(np.float64) + float(op.attributes.get("epsilon", 1e-5)))
    return affine(b, op, source, gain, bias - mean * gain, b.alone(op))


def gemm(b: FxBuilder, op: Operator) -> Node:
    """Gemm with constant weights: a convolution whose window is the whole input."""
    attributes = op.attributes
    weight, bias = b.constant(op, 1), b.constant(op, 2)
    if weight is None or int(attributes.get("transA", 0)):
        raise b.unsupported(op, "transA, or weights that are computed")
    weight = weight if int(attributes.get("transB", 0)) else weight.T
    weight = weight * np.float32(attributes.get("alpha", 1.0))
    values = np.zeros(len(weight)) if bias is None else bias.reshape(-1) * np.float32(attributes.get("beta", 1.0))
    return _product(b, op, b.node(op), weight, np.broadcast_to(values, (len(weight),)))


def matmul(b: FxBuilder, op: Operator) -> Node:
    """MatMul with a constant on the right."""
    if not b.is_constant(op, 1):
        raise b.unsupported(op, "a product of two computed tensors")
    weight = b.constant(op, 1)
    source = b.node(op)
    shape = b.shape(source)
    assert weight is not None
    if weight.ndim != 2 or len(shape) < 2:
        raise b.unsupported(op, f"shapes {shape} and {weight.shape}")
    bias = np.zeros(weight.shape[1])
    if len(shape) == 2:
        return _product(b, op, source, weight.T, bias)
    rows = int(np.prod(shape[1:-1]))
    flat = b.reshaped(source, (1, rows, shape[-1]))
    picture = b.reshaped(b.function(torch.permute, flat, (0, 2, 1)), (1, shape[-1], rows, 1))
    result = b.module(_conv(weight.T[:, :, None, None], bias), (picture,), op.name)
    turned = b.function(torch.permute, b.reshaped(result, (1, weight.shape[1], rows)), (0, 2, 1))
    return b.reshaped(turned, (*shape[:-1], weight.shape[1]))


def _product(b: FxBuilder, op: Operator, source: Node, weight: np.ndarray, bias: np.ndarray) -> Node:
    """Rows of weights times a vector (1, K)."""
    if len(b.shape(source)) != 2 or b.shape(source)[1] != weight.shape[1]:
        raise b.unsupported(op, f"weights {weight.shape} for an input {b.shape(source)}, expected (1, inputs)")
    picture = source.args[0] if source.target is reshape_samples else None
    if isinstance(picture, Node) and len(b.shape(picture)) == 4 and b.alone(op):
        _, channels, height, width = b.shape(picture)
    else:
        channels, height, width = weight.shape[1], 1, 1
        picture = b.reshaped(source, (1, channels, 1, 1))
    conv = _conv(weight.reshape(len(weight), channels, height, width), bias)
    return b.reshaped(b.module(conv, (picture,), op.name), (1, len(weight)))
