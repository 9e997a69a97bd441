"""Cross-layer equalization: move scale from the channels of one convolution into the inputs of the next.

Where a ReLU, or nothing, stands between two convolutions, relu(s x) = s relu(x) for every s > 0, so that a channel may
be made s times larger in front and s times smaller behind. Channels of alike size share the scale of their tensor
better. The factors here are powers of two: the function of the network does not change by a single bit.

A ReLU6 between them clips at 6, whatever the factor. It is left in peace, except for channels that provably never
reach 6, before and after. SiLU and Hardswish are not linear in any part: left in peace.
Source: Data-Free Quantization through Weight Equalization and Bias Correction, arXiv:1906.04721, section 4.1.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedet.quantize.fx.copied import copied
from edgedet.quantize.fx.qparams import check_finite

ROUNDS = 8  # over the graph; a chain of layers settles in two or three
MAX_EXPONENT = 6  # of two, of a factor in one round: what lies outside is a dead channel
_DEAD = 1e-12  # largest weight of a channel that is left as it is


def equalize(lowered: GraphModule) -> tuple[GraphModule, int]:
    """Equalize all pairs of convolutions with a ReLU, or nothing, between them.

    Args:
        lowered: float graph without BatchNorm; not changed.
    Returns:
        A new graph of exactly the same function, and the number of channels that changed.
    Raises:
        ConversionError: a weight is NaN or infinite.
    """
    equalized = copied(lowered)
    modules = dict(equalized.named_modules(remove_duplicate=False))
    for name, module in modules.items():
        if isinstance(module, nn.Conv2d):
            check_finite(module.weight.detach().numpy(), f"{name}.weight")
    pairs = [pair for node in equalized.graph.nodes if (pair := _pair(node, modules)) is not None]
    total: dict[nn.Conv2d, np.ndarray] = {}
    for _ in range(ROUNDS):
        moved = False
        for first, seconds, room in pairs:
            exponents = _exponents(first, seconds, room)
            if exponents.any():
                moved = True
                room /= np.exp2(exponents)
                _scale(first, seconds, exponents)
                total[first] = total.get(first, np.zeros(len(exponents), np.int64)) + exponents
        if not moved:
            break
    return equalized, sum(int(np.count_nonzero(exponents)) for exponents in total.values())


Pair = tuple[nn.Conv2d, list[nn.Conv2d], np.ndarray]


def _pair(node: Node, modules: dict[str, nn.Module]) -> Pair | None:
    """A convolution, all convolutions that read it, and how far each channel may grow (infinite without ReLU6)."""
    first = _convolution(node, modules)
    if first is None:
        return None
    end = node
    room = np.full(first.out_channels, math.inf)
    if len(node.users) == 1:
        user = next(iter(node.users))
        module = modules.get(str(user.target)) if user.op == "call_module" else None
        if type(module) in (nn.ReLU, nn.ReLU6):
            end = user
            if type(module) is nn.ReLU6:
                room = _room_below_six(node, first, modules)
    seconds: list[nn.Conv2d] = []
    readers = list(end.users)
    while readers:
        reader = readers.pop()
        if reader.op == "call_module" and isinstance(modules[str(reader.target)], nn.ZeroPad2d):
            readers += list(reader.users)
            continue
        second = _convolution(reader, modules)
        if second is None or second in seconds or second.groups not in (1, second.out_channels):
            return None
        seconds.append(second)
    return (first, seconds, room) if seconds else None


def _convolution(node: Node, modules: dict[str, nn.Module]) -> nn.Conv2d | None:
    """The convolution that this node, and no other, calls."""
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    if not isinstance(module, nn.Conv2d):
        return None
    calls = sum(modules.get(str(n.target)) is module for n in node.graph.nodes if n.op == "call_module")
    return module if calls == 1 else None


def _room_below_six(node: Node, conv: nn.Conv2d, modules: dict[str, nn.Module]) -> np.ndarray:
    """By which factor each channel may grow and still stay below 6, for every picture; 0: it may reach 6 already.

    Needs bounded inputs: those behind another ReLU6 are 0..6.
    """
    source = node.all_input_nodes[0]
    while source.op == "call_module" and isinstance(modules[str(source.target)], nn.ZeroPad2d):
        source = source.all_input_nodes[0]
    before = modules.get(str(source.target)) if source.op == "call_module" else None
    if type(before) is not nn.ReLU6:
        return np.zeros(conv.out_channels)
    weight = conv.weight.detach().numpy().astype(np.float64).reshape(conv.out_channels, -1)
    bias = 0.0 if conv.bias is None else conv.bias.detach().numpy().astype(np.float64)
    # A millionth for the sums of float32.
    largest = (6 * np.maximum(weight, 0).sum(axis=1) + bias) * (1 + 1e-6)
    return np.where(largest <= 0, math.inf, np.where(largest <= 6, 6 / np.maximum(largest, 1e-300), 0.0))


def _exponents(first: nn.Conv2d, seconds: list[nn.Conv2d], room: np.ndarray) -> np.ndarray:
    """int64 (C,): channel i of the first grows by 2**exponent, so that both sides have weights of alike size."""
    outgoing = _largest(first.weight, by_input=False)
    incoming = np.max([_largest(second.weight, by_input=second.groups == 1) for second in seconds], axis=0)
    alive = (outgoing > _DEAD) & (incoming > _DEAD) & (room > 0)
    ratio = np.where(alive, incoming, 1.0) / np.where(alive, outgoing, 1.0)
    exponents = np.rint(np.clip(np.log2(ratio) / 2, -MAX_EXPONENT, MAX_EXPONENT)).astype(np.int64)
    limit = np.floor(np.log2(np.clip(room, 1.0, 2.0**MAX_EXPONENT))).astype(np.int64)
    return np.where(alive, np.minimum(exponents, limit), 0)


def _largest(weight: torch.Tensor, by_input: bool) -> np.ndarray:
    """Largest absolute weight of each output or input channel, float64."""
    values = np.abs(weight.detach().numpy().astype(np.float64))
    result: np.ndarray = values.max(axis=(0, 2, 3) if by_input else (1, 2, 3))
    return result


def _scale(first: nn.Conv2d, seconds: list[nn.Conv2d], exponents: np.ndarray) -> None:
    factor = torch.from_numpy(np.exp2(exponents).astype(np.float32))
    with torch.no_grad():
        first.weight *= factor[:, None, None, None]
        if first.bias is not None:
            first.bias *= factor
        for second in seconds:
            second.weight /= factor[None, :, None, None] if second.groups == 1 else factor[:, None, None, None]
