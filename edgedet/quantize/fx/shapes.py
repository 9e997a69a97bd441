"""Shapes of all tensors of a prepared graph, by rule: nothing is computed, which at 640x640 would take seconds."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import Target

from edgedet.net.foreign import (
    Constant,
    LoneReLU6,
    PaddedMaxPool2d,
    Requantize,
    ResizeLinear,
    add_relu,
    add_relu6,
    prelu,
    reshape_samples,
    take_slice,
)
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d, QuantConvTranspose2d

Shape = tuple[int, ...]
# Modules whose result has the shape of their input, and functions with that of both.
_PER_VALUE = (FakeQuant, Requantize, nn.Sigmoid, nn.Tanh, nn.Softmax, nn.Hardswish, nn.ReLU, LoneReLU6, nn.LeakyReLU)
_PER_PAIR = (operator.add, operator.sub, operator.mul, add_relu, add_relu6, prelu)


def nchw_shapes(graph_module: GraphModule, input_shape: Shape) -> dict[Node, Shape]:
    """Shape of every node's result.

    Args:
        graph_module: prepared, with one input.
        input_shape: (N, C, H, W).
    Returns:
        Node -> (N, C, H, W), for all nodes but the output.
    """
    walk = _ShapeWalk(graph_module)
    walk.run(input_shape)
    return walk.shapes


class _ShapeWalk(Interpreter):
    """Passes shapes along where the graph passes tensors."""

    def __init__(self, graph_module: GraphModule) -> None:
        super().__init__(graph_module)
        self.shapes: dict[Node, Shape] = {}

    def run_node(self, n: Node) -> Any:
        """Also notes the shape."""
        result = super().run_node(n)
        if n.op != "output":
            self.shapes[n] = result
        return result

    def call_module(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Shape of a module's result."""
        module = self.fetch_attr(str(target))
        if isinstance(module, Constant):
            return tuple(module.value.shape)
        shape = args[0]
        if isinstance(module, _PER_VALUE):
            return shape
        rule = next((rule for kind, rule in _MODULES.items() if isinstance(module, kind)), None)
        return _run(module, args, kwargs) if rule is None else rule(module, shape)

    def call_function(self, target: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Shape of a function's result."""
        if target in _PER_PAIR:
            return np.broadcast_shapes(*args)
        if target is torch.permute:
            return tuple(args[0][axis] for axis in args[1])
        if target is reshape_samples:
            return (args[0][0], *args[1])
        if target is take_slice:
            return _taken(*args)
        if target is torch.cat:
            return _concatenated(*args, **kwargs)
        if target is torch.mean:
            return _averaged(*args, **kwargs)
        assert callable(target)
        return _run(target, args, kwargs)


def _convolved(conv: nn.Module, shape: Shape) -> Shape:
    assert isinstance(conv, QuantConv2d)
    left, right, top, bottom = conv.padding
    sides = (shape[2] + top + bottom, shape[3] + left + right)
    windows = zip(sides, conv.weight.shape[2:], conv.stride, conv.dilation, strict=True)
    return (shape[0], conv.weight.shape[0], *(_windows(*axis) for axis in windows))


def _pooled(pool: nn.Module, shape: Shape) -> Shape:
    assert isinstance(pool, nn.MaxPool2d)
    if pool.ceil_mode:
        return _run(pool, (shape,), {})
    kernel, stride, padding, dilation = (_pair(v) for v in (pool.kernel_size, pool.stride, pool.padding, pool.dilation))
    sides = (side + 2 * pad for side, pad in zip(shape[2:], padding, strict=True))
    windows = zip(sides, kernel, stride, dilation, strict=True)
    return (*shape[:2], *(_windows(*axis) for axis in windows))


def _upsampled(upsample: nn.Module, shape: Shape) -> Shape:
    assert isinstance(upsample, nn.Upsample)
    if upsample.size is not None:
        return (*shape[:2], *_pair(upsample.size))
    factors: Any = upsample.scale_factor
    factors = factors if isinstance(factors, tuple | list) else (factors, factors)
    return (*shape[:2], *(math.floor(side * float(factor)) for side, factor in zip(shape[2:], factors, strict=True)))


def _padded(pad: nn.Module, shape: Shape) -> Shape:
    assert isinstance(pad, nn.ZeroPad2d)
    left, right, top, bottom = pad.padding
    return (*shape[:2], shape[2] + top + bottom, shape[3] + left + right)


def _padded_pool(pool: nn.Module, shape: Shape) -> Shape:
    assert isinstance(pool, PaddedMaxPool2d)
    left, right, top, bottom = pool.padding
    sides = (shape[2] + top + bottom, shape[3] + left + right)
    return (*shape[:2], *(_windows(*axis, 1) for axis in zip(sides, pool.kernel, pool.stride, strict=True)))


def _resized(resize: nn.Module, shape: Shape) -> Shape:
    assert isinstance(resize, ResizeLinear)
    return (*shape[:2], *resize.size)


def _transposed(conv: nn.Module, shape: Shape) -> Shape:
    assert isinstance(conv, QuantConvTranspose2d)
    axes = zip(shape[2:], conv.weight.shape[2:], conv.stride, conv.padding, strict=True)
    return (shape[0], conv.weight.shape[0], *((side - 1) * step + taps - 2 * pad for side, taps, step, pad in axes))


def _taken(shape: Shape, axis: int, start: int, stop: int, step: int) -> Shape:
    return (*shape[:axis], len(range(start, min(stop, shape[axis]), step)), *shape[axis + 1 :])


_MODULES: dict[type[nn.Module], Callable[[nn.Module, Shape], Shape]] = {
    QuantConv2d: _convolved,
    QuantConvTranspose2d: _transposed,
    PaddedMaxPool2d: _padded_pool,
    ResizeLinear: _resized,
    nn.MaxPool2d: _pooled,
    nn.Upsample: _upsampled,
    nn.ZeroPad2d: _padded,
}


def _concatenated(tensors: Sequence[Shape], dim: int = 0) -> Shape:
    joined = list(tensors[0])
    joined[dim] = sum(shape[dim] for shape in tensors)
    return tuple(joined)


def _averaged(shape: Shape, dim: Sequence[int], keepdim: bool = False) -> Shape:
    axes = {axis % len(shape) for axis in dim}
    return tuple(1 if axis in axes else side for axis, side in enumerate(shape) if keepdim or axis not in axes)


def _run(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Shape:
    """What torch says, of tensors without values; it imports its compiler for that, two seconds at the first time."""
    args = tuple(torch.empty(arg, device="meta") if isinstance(arg, tuple) else arg for arg in args)
    if isinstance(function, nn.Module):
        own = {name: t.to("meta") for name, t in (*function.named_parameters(), *function.named_buffers())}
        return tuple(functional_call(function, own, args, kwargs).shape)
    return tuple(function(*args, **kwargs).shape)


def _windows(side: int, kernel: int, stride: int, dilation: int) -> int:
    return (side - (kernel - 1) * dilation - 1) // stride + 1


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))
