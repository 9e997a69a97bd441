"""First step: trace the float network and fold each BatchNorm into the convolution in front of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule, Node, symbolic_trace

from edgedet.quantize.fx.copied import copied
from edgedet.quantize.fx.qparams import check_finite


def fold_batch_norm(model: nn.Module) -> GraphModule:
    """Trace a network in evaluation mode and fold its BatchNorms.

    A convolution that several BatchNorms follow (the shared head) becomes one convolution for each of them, named after
    its BatchNorm.

    Args:
        model: float32 network; not changed. A graph is taken as it is.
    Returns:
        A new graph of the same function, without any BatchNorm that follows a convolution.
    Raises:
        ConversionError: a weight or BatchNorm statistic is NaN or infinite.
    """
    network = copied(model).eval()
    traced = network if isinstance(network, GraphModule) else symbolic_trace(network)
    modules = dict(traced.named_modules(remove_duplicate=False))
    pairs = [(node, conv) for node in traced.graph.nodes if (conv := _convolution_before(node, modules)) is not None]
    folded_away = {conv for _, conv in pairs}
    # A convolution that is also called without BatchNorm keeps its name and its weights.
    used = {str(node.target) for node in traced.graph.nodes if node.op == "call_module" and node not in folded_away}
    for node, conv_node in pairs:
        path = _folded_path(str(node.target), str(conv_node.target), used)
        # `modules` still holds the unfolded convolution for the levels that share it.
        folded = _folded(modules[str(conv_node.target)], modules[str(node.target)], str(node.target))
        traced.add_submodule(path, folded)
        conv_node.target = path
        node.replace_all_uses_with(conv_node)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def _convolution_before(node: Node, modules: dict[str, nn.Module]) -> Node | None:
    """The convolution that only this BatchNorm node reads; None for every other node."""
    if node.op != "call_module" or not isinstance(modules[str(node.target)], nn.BatchNorm2d):
        return None
    before = node.args[0]
    if not isinstance(before, Node) or before.op != "call_module" or len(before.users) != 1:
        return None
    return before if isinstance(modules[str(before.target)], nn.Conv2d) else None


def _folded_path(bn_path: str, conv_path: str, used: set[str]) -> str:
    """The convolution's own name beside the BatchNorm, so that head level 1 is not called level 0."""
    path = ".".join([*bn_path.split(".")[:-1], conv_path.split(".")[-1]])
    while path in used:
        path += "_again"
    used.add(path)
    return path


def _folded(conv: nn.Module, bn: nn.Module, name: str) -> nn.Conv2d:
    """A new convolution with bias that does what the convolution and the BatchNorm did; computed in float64."""
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(bn, nn.BatchNorm2d)
    state = {key: value.detach().numpy().astype(np.float64) for key, value in bn.state_dict().items()}
    for key, value in state.items():
        check_finite(value, f"{name}.{key}")
    gain = state.get("weight", np.ones(bn.num_features)) / np.sqrt(state["running_var"] + bn.eps)
    offset = state.get("bias", np.zeros(bn.num_features))
    old_bias = 0.0 if conv.bias is None else conv.bias.detach().numpy().astype(np.float64)
    folded = copied(conv)
    weight = conv.weight.detach().numpy().astype(np.float64) * gain[:, None, None, None]
    folded.weight = nn.Parameter(torch.from_numpy(weight.astype(np.float32)))
    folded.bias = nn.Parameter(
        torch.from_numpy((offset + (old_bias - state["running_mean"]) * gain).astype(np.float32))
    )
    return folded
