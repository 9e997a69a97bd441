"""Running an FX graph node by node: keep every value, or change one and see what comes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg


class NodeRunner:
    """Runs the nodes of one graph, in inference mode.

    Args:
        graph_module: one input, a tuple of outputs.
    """

    def __init__(self, graph_module: GraphModule) -> None:
        self._nodes = list(graph_module.graph.nodes)
        self.modules: dict[str, nn.Module] = dict(graph_module.named_modules(remove_duplicate=False))

    def values(self, x: Tensor) -> dict[str, Tensor]:
        """Every node's value.

        Args:
            x: float32 (N, 3, H, W).
        Returns:
            Node name -> value; the output node is left out.
        """
        env: dict[str, Tensor] = {}
        with torch.inference_mode():
            for node in self._nodes:
                if node.op == "placeholder":
                    env[node.name] = x
                elif node.op != "output":
                    env[node.name] = self.call(node, env)
        return env

    def call(self, node: Node, env: dict[str, Tensor]) -> Tensor:
        """One node's value from those of its inputs."""
        args: Any = map_arg(node.args, lambda source: env[source.name])
        kwargs: Any = map_arg(node.kwargs, lambda source: env[source.name])
        if node.op == "call_module":
            return self.modules[str(node.target)](*args, **kwargs)
        function: Any = node.target
        return function(*args, **kwargs)

    def outputs(self, env: dict[str, Tensor], changed: dict[str, Tensor]) -> list[Tensor]:
        """The network's outputs when some nodes have other values.

        Args:
            env: every node's value, as `values` gave them; not changed.
            changed: node name -> other value; only what depends on it is computed again.
        """
        new = dict(changed)
        with torch.inference_mode():
            for node in self._nodes:
                if node.op == "output":
                    return [new.get(source.name, env[source.name]) for source in node.all_input_nodes]
                if node.name not in new and any(source.name in new for source in node.all_input_nodes):
                    needed = {source.name: new.get(source.name, env[source.name]) for source in node.all_input_nodes}
                    new[node.name] = self.call(node, needed)
        raise AssertionError("an FX graph ends with its output node")
