"""Which channels of an int8 file were rescaled against the checkpoint, found from the weights alone.

Cross-layer equalization (`edgedet.quantize.ptq.equalize`) multiplies a channel by a power of two and divides the
weights that read it by the same. The file does not say so, but output channel o of a convolution reads known inputs,
so its gain is the one number that carries the checkpoint's weights over to the file's: least squares, rounded to the
nearest power of two, which the rounding of weights never moves. Layer by layer, that gives the gain of every channel.
"""

from __future__ import annotations

import operator

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d

_Gains = dict[str, np.ndarray]


def channel_gains(prepared: GraphModule, frozen: GraphModule) -> _Gains | None:
    """Gain of every channel of every tensor.

    Args:
        prepared: the checkpoint's network, float weights.
        frozen: the same graph with the file's weights.
    Returns:
        Node name -> float64 (C,), file / checkpoint; None when nothing was rescaled, or when the differences are no
        rescaling that keeps the function (fine-tuned weights).
    """
    modules = dict(prepared.named_modules(remove_duplicate=False))
    gains: _Gains = {}
    for node in prepared.graph.nodes:
        if node.op == "output":
            continue
        found = _gain(node, modules, frozen, gains)
        if found is None:
            return None
        gains[node.name] = found
    if all((gain == 1.0).all() for gain in gains.values()):
        return None
    return gains


def _gain(node: Node, modules: dict[str, nn.Module], frozen: GraphModule, gains: _Gains) -> np.ndarray | None:
    """Gain of one node's result; None when its inputs can't have gains."""
    if node.op == "placeholder":
        return np.ones(3)
    inputs = [gains[source.name] for source in node.all_input_nodes]
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, QuantConv2d):
        return _convolution_gain(module, frozen.get_submodule(str(node.target)), inputs[0])
    if isinstance(module, FakeQuant | nn.MaxPool2d | nn.Upsample | nn.ZeroPad2d) or node.target is torch.mean:
        return inputs[0]
    if node.target is torch.cat:
        return np.concatenate(inputs)
    if node.target is operator.mul:
        return inputs[0] * inputs[-1]
    if node.target is operator.add:
        return inputs[0] if np.array_equal(inputs[0], inputs[-1]) else None
    # Sigmoid and hard swish are not linear: no gain may stand in front of them.
    return inputs[0] if (inputs[0] == 1.0).all() else None


def _convolution_gain(conv: QuantConv2d, other: nn.Module, before: np.ndarray) -> np.ndarray:
    """File's weights over the checkpoint's, one power of two for each output channel."""
    weight = conv.weight.detach().numpy().astype(np.float64)
    weight = weight / (before[:, None, None, None] if conv.groups > 1 else before[None, :, None, None])
    target = other.get_parameter("weight").detach().numpy().astype(np.float64)
    power = (weight**2).sum((1, 2, 3))
    gain = (target * weight).sum((1, 2, 3)) / np.where(power > 0, power, 1.0)
    # A dead channel has no weights to compare.
    return np.exp2(np.rint(np.log2(np.where((power > 0) & (gain > 0), gain, 1.0))))
