"""Activations, sums and products."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn
from torch.fx import Node

from edgedet.exchange.onnx_in.ops.builder import FxBuilder, Operator
from edgedet.exchange.onnx_in.ops.moved_view import MovedView
from edgedet.exchange.onnx_in.ops.weighted import affine
from edgedet.net.foreign import LoneReLU6, add_relu, add_relu6, prelu
from edgedet.quantize.fx.fake_quant import FakeQuant

_SIXTH = 1.0 / 6.0
_NEAR = 1e-4  # of constants such as 1/6, which files round


def relu(b: FxBuilder, op: Operator) -> Node:
    """Relu, with the sum in front of it where nothing else reads that."""
    source = b.node(op)
    if _implied(b, source, 0.0, math.inf):
        return source
    if source.target is operator.add and b.read_once(op):
        return b.retarget(source, add_relu)
    return b.module(nn.ReLU(), (source,), op.name)


def clip(b: FxBuilder, op: Operator) -> Node:
    """Clip to 0..6, 0..1 or from 0 on."""
    bounds = []
    for position, name, default in ((1, "min", -math.inf), (2, "max", math.inf)):
        constant = b.constant(op, position)
        bounds.append(float(op.attributes.get(name, default)) if constant is None else float(constant.reshape(-1)[0]))
    low, high = bounds
    if low == 0 and high >= np.finfo(np.float32).max:
        return relu(b, op)
    if low == 0 and high == 6:
        source = b.node(op)
        if _implied(b, source, low, high):
            return source
        if source.target is operator.add and b.read_once(op):
            return b.retarget(source, add_relu6)
        fused = isinstance(b.module_of(source), nn.Conv2d) and b.read_once(op)
        return b.module(nn.ReLU6() if fused else LoneReLU6(), (source,), op.name)
    if (low, high) == (0, 1):
        return _unit(b, op, 1.0, 0.0)
    raise b.unsupported(op, f"a clip to {low:g}..{high:g}; 0..6, 0..1 and from 0 on are supported")


def _implied(b: FxBuilder, source: Node, low: float, high: float) -> bool:
    """True for a tensor of a quantized network whose codes, all 256, mean values inside the bounds already."""
    quant = b.module_of(source)
    if not isinstance(quant, FakeQuant):
        return False
    scale, zero_point = float(quant.params.scale), quant.params.zero_point
    return low <= (-128 - zero_point) * scale and (127 - zero_point) * scale <= high


def hard_sigmoid(b: FxBuilder, op: Operator) -> Node:
    """HardSigmoid: the slope goes into the convolution in front."""
    return _unit(b, op, float(op.attributes.get("alpha", 0.2)), float(op.attributes.get("beta", 0.5)))


def _unit(b: FxBuilder, op: Operator, gain: float, offset: float) -> Node:
    """min(max(gain * x + offset, 0), 1), behind a convolution."""
    source = b.node(op)
    if len(b.shape(source)) != 4:
        raise b.unsupported(op, f"of a tensor of {len(b.shape(source))} axes, expected a picture")
    alone = b.alone(op) and isinstance(b.module_of(source), nn.Conv2d)
    if not alone or (gain, offset) != (1.0, 0.0):
        slope = Operator(f"{op.name}_slope", op.kind, op.inputs, op.outputs, {})
        source = affine(b, slope, source, np.array([gain]), np.array([offset]), alone)
    return b.module(nn.Hardtanh(0.0, 1.0), (source,), op.name)


def hard_swish(b: FxBuilder, op: Operator) -> Node:
    """HardSwish."""
    return b.module(nn.Hardswish(), (b.node(op),), op.name)


def sigmoid(b: FxBuilder, op: Operator) -> Node:
    """Sigmoid."""
    return b.module(nn.Sigmoid(), (b.node(op),), op.name)


def tanh(b: FxBuilder, op: Operator) -> Node:
    """Tanh."""
    return b.module(nn.Tanh(), (b.node(op),), op.name)


def leaky_relu(b: FxBuilder, op: Operator) -> Node:
    """LeakyRelu."""
    return b.module(nn.LeakyReLU(float(op.attributes.get("alpha", 0.01))), (b.node(op),), op.name)


def parametric_relu(b: FxBuilder, op: Operator) -> Node:
    """PRelu with constant slopes."""
    source, slope = b.node(op), b.constant(op, 1)
    assert slope is not None
    return b.function(prelu, source, b.constant_node(op, slope, len(b.shape(source))))


def softmax(b: FxBuilder, op: Operator) -> Node | MovedView:
    """Softmax over one axis; before opset 13 it was over all axes from one on."""
    view = b.nodes.get(op.inputs[0])
    if isinstance(view, MovedView) and view.positions.ndim == 2 and int(op.attributes.get("axis", 1)) in (1, -1):
        # Rows of all samples, exported as a matrix: the same softmax over the last axis of where they come from.
        shape = b.shape(view.source)
        plain = np.array_equal(view.positions.ravel(), np.arange(view.positions.size))
        if plain and view.positions.size == math.prod(shape) and shape[-1] == view.positions.shape[1]:
            return MovedView(b.module(nn.Softmax(dim=len(shape) - 1), (view.source,), op.name), view.positions)
    source = b.node(op)
    rank = len(b.shape(source))
    axis = int(op.attributes.get("axis", -1 if b.opset >= 13 else 1)) % rank
    if axis == 0 or (b.opset < 13 and math.prod(b.shape(source)[axis + 1 :]) != 1):
        raise b.unsupported(op, f"over axis {axis} of {b.shape(source)} in opset {b.opset}")
    return b.module(nn.Softmax(dim=axis), (source,), op.name)


def add(b: FxBuilder, op: Operator) -> Node:
    """Add; a constant for each channel goes into the convolution in front."""
    return _with_constant(b, op, operator.add) or b.function(operator.add, *_both(b, op))


def subtract(b: FxBuilder, op: Operator) -> Node:
    """Sub."""
    return _with_constant(b, op, operator.sub) or b.function(operator.sub, *_both(b, op))


def multiply(b: FxBuilder, op: Operator) -> Node:
    """Mul."""
    return _with_constant(b, op, operator.mul) or b.function(operator.mul, *_both(b, op))


def divide(b: FxBuilder, op: Operator) -> Node:
    """Div by a constant."""
    if not b.is_constant(op, 1):
        raise b.unsupported(op, "a quotient of two computed tensors")
    found = _with_constant(b, op, operator.truediv)
    assert found is not None
    return found


def negate(b: FxBuilder, op: Operator) -> Node:
    """Neg, as a product with -1."""
    source = b.node(op)
    if len(b.shape(source)) == 4:
        return affine(b, op, source, np.array([-1.0]), np.array([0.0]), b.alone(op))
    minus = b.constant_node(op, np.array([-1.0]), len(b.shape(source)))
    return b.function(operator.mul, source, minus)


def _both(b: FxBuilder, op: Operator) -> tuple[Node, Node]:
    """Two computed operands of one rank."""
    first, second = b.node(op, 0), b.node(op, 1)
    ranks = len(b.shape(first)), len(b.shape(second))
    if ranks[0] != ranks[1]:
        raise b.unsupported(op, f"operands of shapes {b.shape(first)} and {b.shape(second)}")
    if first is second:
        raise b.unsupported(op, "both operands are the same tensor")
    return first, second


def _with_constant(b: FxBuilder, op: Operator, function: Callable[..., Any]) -> Node | None:
    """The operator with one constant operand; None when both are computed."""
    if not (b.is_constant(op, 0) or b.is_constant(op, 1)):
        return None
    place = 1 if b.is_constant(op, 1) else 0
    constant = b.constant(op, place)
    assert constant is not None
    constant = constant.astype(np.float64)
    source = b.node(op, 1 - place)
    if function is operator.truediv:
        function, constant = operator.mul, 1.0 / constant
    alone = b.alone(op, 1 - place)
    channels = _per_channel(b, source, constant)
    if channels is not None:
        one, zero = np.array([1.0]), np.array([0.0])
        if function is operator.mul:
            return affine(b, op, source, channels, zero, alone)
        if function is operator.add:
            return affine(b, op, source, one, channels, alone)
        return affine(b, op, source, *((one, -channels) if place == 1 else (-one, channels)), alone)
    if function is operator.sub and place == 1:
        function, constant = operator.add, -constant
    if not constant.any() and function is operator.add:
        return source
    other = b.constant_node(op, constant, len(b.shape(source)))
    return b.function(function, *((source, other) if place == 1 else (other, source)))


def _per_channel(b: FxBuilder, source: Node, constant: np.ndarray) -> np.ndarray | None:
    """One value, or one for each channel of a picture; None for other constants."""
    shape = b.shape(source)
    if len(shape) != 4 or b.exact:
        return None
    padded = constant.reshape((1,) * (4 - constant.ndim) + constant.shape) if constant.ndim <= 4 else constant
    if padded.ndim != 4 or padded.size not in (1, shape[1]) or padded.shape[1] not in (1, shape[1]):
        return None
    return padded.reshape(-1) if padded.size == padded.shape[1] else None
