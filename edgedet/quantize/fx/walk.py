"""The exact and the quantized network side by side, one layer after the other, so that each layer can be improved
before the next one sees its result.

Only the values that later layers still read are kept, and the number of images follows the input size
(`images_for_walk`), so that the memory is about the same for every input size and calibration set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d

_TINY = 1e-30  # keeps quotients finite
WALK_PIXELS = 64 * 192 * 192  # of all images together: about 400 MB of activations in RTMDet nano

# exact convolution, quantized convolution (to be changed), their inputs batch by batch: float32 (N, I, H, W) each
Visit = Callable[[QuantConv2d, QuantConv2d, Sequence[Tensor], Sequence[Tensor]], None]


def images_for_walk(width: int, height: int) -> int:
    """How many images of this size (px) a walk takes at most."""
    return max(WALK_PIXELS // (width * height), 1)


def walk_layers(exact: GraphModule, quantized: GraphModule, batches: Sequence[Tensor], visits: Sequence[Visit]) -> None:
    """Run both networks and visit each convolution before the quantized one is computed.

    Args:
        exact: prepared graph with float weights; its FakeQuants pass values on.
        quantized: the same graph, calibrated, its weights quantized; the visits change its convolutions in place.
        batches: float32 (N, 3, H, W), normalized, at least one.
        visits: called in this order at each convolution, in the order of the graph.
    """
    pairs = zip(exact.graph.nodes, quantized.graph.nodes, strict=True)
    exact_modules = dict(exact.named_modules(remove_duplicate=False))
    modules = dict(quantized.named_modules(remove_duplicate=False))
    batches = [batch.contiguous(memory_format=torch.channels_last) for batch in batches]
    exact_done, done = last_readers(exact.graph), last_readers(quantized.graph)
    exact_values: dict[Node, list[Tensor]] = {}
    values: dict[Node, list[Tensor]] = {}
    with torch.no_grad():
        for exact_node, node in pairs:
            if node.op == "output":
                continue
            if node.op == "placeholder":
                exact_values[exact_node], values[node] = list(batches), list(batches)
                continue
            module = modules[str(node.target)] if node.op == "call_module" else None
            if isinstance(module, QuantConv2d):
                exact_module = exact_modules[str(exact_node.target)]
                assert isinstance(exact_module, QuantConv2d)
                inputs = exact_values[exact_node.all_input_nodes[0]], values[node.all_input_nodes[0]]
                for visit in visits:
                    visit(exact_module, module, *inputs)
            exact_values[exact_node] = run_batches(exact_node, exact_modules, exact_values, exact=True)
            values[node] = run_batches(node, modules, values)
            for source in exact_done.get(exact_node, ()):
                del exact_values[source]
            for source in done.get(node, ()):
                del values[source]


def run_batches(
    node: Node, modules: dict[str, nn.Module], values: dict[Node, list[Tensor]], exact: bool = False
) -> list[Tensor]:
    """Compute one node for each batch.

    Args:
        node: calls a module or a function.
        modules: of its graph, by path.
        values: of the nodes that it reads, one tensor a batch.
        exact: FakeQuants pass values on.
    Returns:
        One tensor a batch.
    """
    count = len(values[node.all_input_nodes[0]])
    return [run_node(node, modules, {s: values[s][i] for s in node.all_input_nodes}, exact) for i in range(count)]


def run_node(node: Node, modules: dict[str, nn.Module], values: dict[Node, Tensor], exact: bool = False) -> Tensor:
    """Compute one node.

    Args:
        node: calls a module or a function.
        modules: of its graph, by path.
        values: of the nodes that it reads.
        exact: a FakeQuant passes its value on.
    """
    args: Any = map_arg(node.args, values.__getitem__)
    kwargs: Any = map_arg(node.kwargs, values.__getitem__)
    if node.op == "call_module":
        module = modules[str(node.target)]
        return args[0] if exact and isinstance(module, FakeQuant) else module(*args, **kwargs)
    assert callable(node.target)
    return node.target(*args, **kwargs)


def run_exact(prepared: GraphModule, batch: Tensor) -> list[Tensor]:
    """Outputs of the float network.

    Args:
        prepared: its FakeQuants pass values on, calibrated or not.
        batch: float32 (N, 3, H, W), normalized.
    Returns:
        float32 (N, C, h, w), one for each output, in order.
    """
    modules = dict(prepared.named_modules(remove_duplicate=False))
    done = last_readers(prepared.graph)
    values: dict[Node, Tensor] = {}
    outputs: list[Node] = []
    with torch.no_grad():
        for node in prepared.graph.nodes:
            if node.op == "output":
                outputs = node.all_input_nodes
            elif node.op == "placeholder":
                values[node] = batch.contiguous(memory_format=torch.channels_last)
            else:
                values[node] = run_node(node, modules, values, exact=True)
            for source in done.get(node, ()):
                if not any(user.op == "output" for user in source.users):
                    del values[source]
    return [values[node] for node in outputs]


def output_error(exact: Sequence[Sequence[Tensor]], outputs: Sequence[Sequence[Tensor]]) -> float:
    """Mean over the outputs of squared error divided by variance (about the channel's mean).

    Args:
        exact: of each batch the outputs of the float network, float32 (N, C, H, W) each.
        outputs: of the quantized network, same shapes.
    Returns:
        0 for equal outputs; 1 for outputs that only know the mean.
    """
    errors = []
    for exact_parts, parts in zip(zip(*exact, strict=True), zip(*outputs, strict=True), strict=True):
        y = torch.cat(exact_parts).double()
        variance = float((y - y.mean((0, 2, 3), keepdim=True)).square().sum())
        error = float((y - torch.cat(parts).double()).square().sum())
        errors.append(error / max(variance, _TINY))
    return float(np.mean(errors))


def last_readers(graph: Graph) -> dict[Node, list[Node]]:
    """Node -> values that no later node reads; the output node reads nothing here."""
    last: dict[Node, Node] = {}
    for node in graph.nodes:
        if node.op != "output":
            last.update(dict.fromkeys(node.all_input_nodes, node))
    readers: dict[Node, list[Node]] = {}
    for source, reader in last.items():
        readers.setdefault(reader, []).append(source)
    return readers


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
