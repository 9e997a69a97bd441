"""Which tensors must share one scale: union-find over the whole graph.

TFLite's CONCATENATION, MAX_POOL_2D, RESIZE_NEAREST_NEIGHBOR, PAD and what moves values about copy codes; their inputs
and output need the same scale and zero point. So do AVERAGE_POOL_2D, RESIZE_BILINEAR and RELU6, which round.
Concatenations of a PAFPN are linked through a tensor that enters two of them, so the relation is closed over the whole
graph, not operator by operator.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedet.net.foreign import LoneReLU6, PaddedMaxPool2d, ResizeLinear, reshape_samples, take_slice

COPYING_MODULES = (nn.MaxPool2d, nn.Upsample, nn.ZeroPad2d, PaddedMaxPool2d)
COPYING_FUNCTIONS = (torch.cat, torch.permute, reshape_samples, take_slice)
KEEPING_MODULES = (nn.AvgPool2d, ResizeLinear, LoneReLU6)  # round, on the scale of what they read


def copies_codes(node: Node, modules: dict[str, nn.Module]) -> bool:
    """True when the values of this node's result are values of its inputs (or 0), so that it needs no rounding."""
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], COPYING_MODULES)
    return node.op == "call_function" and node.target in COPYING_FUNCTIONS


def keeps_scale(node: Node, modules: dict[str, nn.Module]) -> bool:
    """True when this node's result has the scale of its input, for whatever reason."""
    rounds = node.op == "call_module" and type(modules[str(node.target)]) in KEEPING_MODULES
    return rounds or copies_codes(node, modules)


def shared_scale_groups(graph_module: GraphModule) -> list[list[Node]]:
    """Tensors of a graph, grouped by the scale that they must share.

    Args:
        graph_module: prepared or float graph, without FakeQuant modules.
    Returns:
        Groups in the order of their first node; the nodes of a group in the order of the graph. Every tensor is in
        exactly one group.
    """
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    nodes = [node for node in graph_module.graph.nodes if node.op != "output"]
    parent = {node: node for node in nodes}

    def root(node: Node) -> Node:
        while parent[node] is not node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        result: Node = node
        return result

    for node in nodes:
        if keeps_scale(node, modules):
            for source in node.all_input_nodes:
                parent[root(source)] = root(node)
    groups: dict[Node, list[Node]] = {}
    for node in nodes:
        groups.setdefault(root(node), []).append(node)
    return list(groups.values())
