"""Running the nodes of an FX graph: a whole network, every tensor of it, or what changes with one tensor; and the exact
and the quantized network side by side, so that each layer can be improved before the next one sees its result.

Where a walk over many images needs no value again, it frees it after its last reader, and the number of images follows
the input size (`images_for_walk`), so that the memory is about the same for every input size and calibration set.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d

_TINY = 1e-30  # keeps quotients finite
WALK_PIXELS = 64 * 192 * 192  # of all images together: about 400 MB of activations in RTMDet nano

# exact convolution, quantized convolution (to be changed), their inputs batch by batch: float32 (N, I, H, W) each
Visit = Callable[[QuantConv2d, QuantConv2d, Sequence[Tensor], Sequence[Tensor]], None]


def images_for_walk(width: int, height: int) -> int:
    """How many images of this size (px) a walk takes at most."""
    return max(WALK_PIXELS // (width * height), 1)


class GraphWalk(Interpreter):
    """Runs the nodes of one graph; every walk over a network is one of these.

    Args:
        graph_module: one input, a tensor or a tuple of tensors as output.
        exact: FakeQuants pass values on, calibrated or not.
    """

    def __init__(self, graph_module: GraphModule, exact: bool = False) -> None:
        super().__init__(graph_module)
        self.extra_traceback = False  # errors keep their messages
        self.nodes: tuple[Node, ...] = tuple(graph_module.graph.nodes)
        self.modules = dict(graph_module.named_modules(remove_duplicate=False))
        self._passing = frozenset(n for n in self.nodes if isinstance(self.module_of(n), FakeQuant) and exact)

    def module_of(self, node: Node) -> torch.nn.Module | None:
        """The module that a node calls, if it calls one."""
        return self.modules.get(str(node.target)) if node.op == "call_module" else None

    def run_node(self, n: Node) -> Any:
        """One node's value from those of its inputs in `env`."""
        return self.env[n.all_input_nodes[0]] if n in self._passing else super().run_node(n)

    def outputs(self, x: Tensor) -> list[Tensor]:
        """The network's outputs; every other value is freed after its last reader.

        Args:
            x: float32 (N, C, H, W).
        Returns:
            float32 (N, C, h, w), one for each output, in order.
        """
        with torch.no_grad():
            found = self.run(_channels_last(x))
        self.env = {}
        return [found] if isinstance(found, Tensor) else list(found)

    def values(self, x: Tensor) -> dict[Node, Tensor]:
        """Every node's value but the output node's.

        Args:
            x: float32 (N, C, H, W).
        """
        env: dict[Node, Tensor] = {}
        with torch.no_grad():
            for node in self.nodes[:-1]:
                env[node] = _channels_last(x) if node.op == "placeholder" else self.call(node, env)
        return env

    def call(self, node: Node, env: Mapping[Node, Tensor]) -> Tensor:
        """One node's value.

        Args:
            node: calls a module or a function.
            env: values of the nodes that it reads, at least.
        """
        self.env = env  # type: ignore[assignment]  # only read
        value: Tensor = self.run_node(node)
        self.env = {}  # the caller decides how long values live
        return value

    def advance(self, node: Node, env: dict[Node, Tensor]) -> None:
        """Put one node's value into `env`, and take out the values that no later node reads."""
        env[node] = self.call(node, env)
        for source in self.user_to_last_uses.get(node, ()):
            del env[source]

    def outputs_again(
        self, values: Mapping[Node, Tensor], changed: Mapping[Node, Tensor], unrounded: Collection[Node] = ()
    ) -> list[Tensor]:
        """The network's outputs when some nodes have other values; only what depends on them is computed.

        Args:
            values: every node's value, as `values` gave them; not changed.
            changed: other values of some nodes.
            unrounded: calls of FakeQuants that pass their values on.
        """
        new = dict(changed)
        known = ChainMap(new, values)  # type: ignore[arg-type]  # only `new` is written
        with torch.no_grad():
            for node in self.nodes[:-1]:
                if node in unrounded:
                    new[node] = known[node.all_input_nodes[0]]
                elif node not in new and any(source in new for source in node.all_input_nodes):
                    new[node] = self.call(node, known)
        return [known[node] for node in self.nodes[-1].all_input_nodes]


def walk_layers(exact: GraphModule, quantized: GraphModule, batches: Sequence[Tensor], visits: Sequence[Visit]) -> None:
    """Run both networks and visit each convolution before the quantized one is computed.

    Args:
        exact: prepared graph with float weights; its FakeQuants pass values on.
        quantized: the same graph, calibrated, its weights quantized; the visits change its convolutions in place.
        batches: float32 (N, C, H, W), normalized, at least one.
        visits: called in this order at each convolution, in the order of the graph.
    """
    walks = GraphWalk(exact, exact=True), GraphWalk(quantized)
    inputs = [_channels_last(batch) for batch in batches]
    envs: tuple[list[dict[Node, Tensor]], ...] = tuple([{} for _ in inputs] for _ in walks)  # of each batch
    with torch.no_grad():
        for nodes in zip(walks[0].nodes, walks[1].nodes, strict=True):
            if nodes[0].op == "output":
                continue
            if nodes[0].op == "placeholder":
                for node, own in zip(nodes, envs, strict=True):
                    for x, env in zip(inputs, own, strict=True):
                        env[node] = x
                continue
            layers = [walk.module_of(node) for walk, node in zip(walks, nodes, strict=True)]
            if isinstance(layers[0], QuantConv2d) and isinstance(layers[1], QuantConv2d):
                read = [[env[node.all_input_nodes[0]] for env in own] for node, own in zip(nodes, envs, strict=True)]
                for visit in visits:
                    visit(layers[0], layers[1], read[0], read[1])
            for walk, node, own in zip(walks, nodes, envs, strict=True):
                for env in own:
                    walk.advance(node, env)


def run_exact(prepared: GraphModule, batch: Tensor) -> list[Tensor]:
    """Outputs of the float network.

    Args:
        prepared: its FakeQuants pass values on, calibrated or not.
        batch: float32 (N, C, H, W), normalized.
    Returns:
        float32 (N, C, h, w), one for each output, in order.
    """
    return GraphWalk(prepared, exact=True).outputs(batch)


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
        others = [axis for axis in range(y.ndim) if axis != 1]
        variance = float((y - y.mean(others, keepdim=True)).square().sum())
        error = float((y - torch.cat(parts).double()).square().sum())
        errors.append(error / max(variance, _TINY))
    return float(np.mean(errors))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
