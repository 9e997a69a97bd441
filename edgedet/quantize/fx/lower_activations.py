"""Second step: rewrite the float graph with the operators that TFLite Micro has, without changing what it computes."""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedet.errors import UnsupportedOpError
from edgedet.quantize.fx.copied import copied

# Modules that do nothing in evaluation mode.
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)


def lower_activations(folded: GraphModule) -> GraphModule:
    """Split SiLU into sigmoid and product, move the hard sigmoid into its convolution, drop what does nothing.

    hardsigmoid(x) = clamp(x / 6 + 1/2, 0, 1): 1/6 and 1/2 go into weights and bias of the convolution in front of it,
    and what is left is `nn.Hardtanh(0, 1)`, which int8 saturation gives for free.

    Args:
        folded: graph without BatchNorm; not changed.
    Returns:
        A new graph of the same function.
    Raises:
        UnsupportedOpError: a hard sigmoid that does not follow a convolution of its own.
    """
    lowered = copied(folded)
    modules = dict(lowered.named_modules(remove_duplicate=False))
    for node in list(lowered.graph.nodes):
        if node.op != "call_module":
            continue
        module = modules[str(node.target)]
        if isinstance(module, _NOTHING):
            node.replace_all_uses_with(node.args[0])
            lowered.graph.erase_node(node)
        elif isinstance(module, nn.SiLU):
            _split_silu(lowered, node)
        elif isinstance(module, nn.Hardsigmoid):
            _merge_hard_sigmoid(lowered, node, modules)
        elif isinstance(module, nn.ReLU | nn.ReLU6 | nn.Hardswish):
            module.inplace = False  # later steps read the tensor in front of the activation
    lowered.delete_all_unused_submodules()
    lowered.recompile()
    return lowered


def _split_silu(graph_module: GraphModule, node: Node) -> None:
    x = node.args[0]
    path = f"{node.target}_sigmoid"
    graph_module.add_submodule(path, nn.Sigmoid())
    with graph_module.graph.inserting_before(node):
        gate = graph_module.graph.call_module(path, (x,))
        product = graph_module.graph.call_function(operator.mul, (x, gate))
    node.replace_all_uses_with(product)
    graph_module.graph.erase_node(node)


def _merge_hard_sigmoid(graph_module: GraphModule, node: Node, modules: dict[str, nn.Module]) -> None:
    before = node.args[0]
    conv = modules.get(str(before.target)) if isinstance(before, Node) and before.op == "call_module" else None
    alone = isinstance(before, Node) and len(before.users) == 1 and _calls(graph_module, before.target) == 1
    if not isinstance(conv, nn.Conv2d) or not alone:
        raise UnsupportedOpError(
            f"{node.target}: a hard sigmoid must follow a convolution whose result nothing else reads, found "
            f"{before}; put it behind a convolution of its own"
        )
    with torch.no_grad():
        bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
        conv.weight = nn.Parameter(conv.weight / 6)
        conv.bias = nn.Parameter(bias / 6 + 0.5)
    graph_module.set_submodule(str(node.target), nn.Hardtanh(0.0, 1.0))


def _calls(graph_module: GraphModule, target: str | Callable[..., object]) -> int:
    """Number of nodes that call this module."""
    return sum(node.target == target for node in graph_module.graph.nodes)
