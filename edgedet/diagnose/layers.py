"""Float network, chip's integers and single rounded layers side by side, picture by picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from edgedet.data.coco.split import ImageRecord
from edgedet.data.pictures.preprocess import load_pixels, normalize, quantize_input
from edgedet.diagnose.measures import RangeUse, Similarity, output_damage
from edgedet.diagnose.rebuild import Rebuilt
from edgedet.graph.model import Int8Model
from edgedet.numerics.affine import dequantize
from edgedet.progress import Progress
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.prepare import requantizes
from edgedet.quantize.fx.walk import GraphWalk
from edgedet.simulate.simulator import Simulator


@dataclass(frozen=True, eq=False)
class Probe:
    """One layer whose result is rounded, and what was measured of it."""

    node: Node  # computes, in the frozen graph
    roundings: tuple[Node, ...]  # the FakeQuant behind it; two where a 16-bit operator's result goes back to int8
    tensor: int  # of the file
    kind: str  # operator, or INPUT
    has_weights: bool
    scale: float
    zero_point: int
    channels: int
    cumulative: Similarity
    alone: Similarity
    weights: Similarity
    range: RangeUse


class LayerComparison:
    """Feeds pictures to all forms of a network.

    Args:
        rebuilt: the networks behind the file.
        model: the file.
    """

    def __init__(self, rebuilt: Rebuilt, model: Int8Model) -> None:
        self._model = model
        self._float = GraphWalk(rebuilt.scaled)
        self._frozen = GraphWalk(rebuilt.frozen)
        self._simulator = Simulator(model.graph)
        self.probes = tuple(_probes(rebuilt, self._frozen, model))

    def add(self, records: Sequence[ImageRecord]) -> Tensor:
        """Measure pictures.

        Args:
            records: a few pictures; they run as one batch.
        Returns:
            The float network's input for them, float32 (N, C, H, W).
        """
        spec = self._model.preprocess
        pixels = np.stack([load_pixels(record.path, spec) for record in records])
        x = torch.from_numpy(normalize(pixels, spec)).permute(0, 3, 1, 2)
        env = _by_name(self._float.values(x))
        for probe in self.probes:
            reference = _nhwc(env[probe.node.name])
            before, after = self._alone(probe, env)
            probe.alone.add(reference, _nhwc(after))
            if probe.has_weights:
                probe.weights.add(reference, _nhwc(before))
        for number, picture in enumerate(pixels):
            codes = quantize_input(picture, spec, self._model.input_scale, self._model.input_zero_point)[None]
            values = self._simulator.invoke_all(codes)
            for probe in self.probes:
                reference = _nhwc(env[probe.node.name][number : number + 1])
                chip = values[probe.tensor]
                probe.cumulative.add(reference, dequantize(chip, probe.scale, probe.zero_point))
                probe.range.add(reference, chip)
        return x

    def sensitivities(self, x: Tensor, progress: Progress | None = None) -> tuple[float, list[float]]:
        """Damage at the outputs when only one layer is int8, for each.

        Args:
            x: float32 (N, C, H, W); every layer costs a part of a forward pass over it.
            progress: called with (layers done, layers in all).
        Returns:
            Damage of the whole fake-quantized network, and of each probe.
        """
        twins = {node.name: node for node in self._float.nodes}
        values = self._float.values(x)
        env = _by_name(values)
        reference = self._float.outputs_again(values, {})
        log_boxes = self._model.outputs.head.coding == "log_distance"
        together = output_damage(reference, self._frozen.outputs(x), log_boxes)
        found = []
        for done, probe in enumerate(self.probes, 1):
            changed = {twins[probe.roundings[-1].name]: self._alone(probe, env)[1]}
            found.append(output_damage(reference, self._float.outputs_again(values, changed), log_boxes))
            if progress is not None:
                progress(done, len(self.probes))
        return together, found

    def _alone(self, probe: Probe, env: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The layer with int8 weights on float inputs, before and after its result is rounded."""
        with torch.no_grad():
            is_input = probe.node.op == "placeholder"
            inputs = {source: env[source.name] for source in probe.node.all_input_nodes}
            before = after = env[probe.node.name] if is_input else self._frozen.call(probe.node, inputs)
            for rounding in probe.roundings:
                after = self._frozen.call(rounding, {rounding.all_input_nodes[0]: after})
            return before, after


def _probes(rebuilt: Rebuilt, frozen: GraphWalk, model: Int8Model) -> list[Probe]:
    producer_of = {op.outputs[0]: op.kind for op in model.graph.operators}
    probes = []
    for rounding in rebuilt.frozen.graph.nodes:
        quant = frozen.module_of(rounding)
        if not isinstance(quant, FakeQuant) or quant.border:
            continue
        node = rounding.all_input_nodes[0]
        roundings: tuple[Node, ...] = (rounding,)
        if requantizes(rounding, frozen.modules):
            border = frozen.module_of(node)
            if not (isinstance(border, FakeQuant) and border.border):
                continue  # an int8 copy of an int16 result, for an operator without int16 kernel
            node, roundings = node.all_input_nodes[0], (node, rounding)
        index = rebuilt.tensors[rounding.name if len(roundings) > 1 else node.name]
        scale, zero_point = float(quant.params.scale), quant.params.zero_point
        channels = model.graph.tensors[index].shape[-1]
        module = frozen.module_of(node)
        probes.append(
            Probe(
                node=node,
                roundings=roundings,
                tensor=index,
                kind=producer_of.get(rebuilt.tensors[node.name], "INPUT"),
                has_weights=isinstance(module, QuantConv2d),
                scale=scale,
                zero_point=zero_point,
                channels=channels,
                cumulative=Similarity(),
                alone=Similarity(),
                weights=Similarity(),
                range=RangeUse(scale, zero_point, channels, quant.bits),
            )
        )
    return probes


def _by_name(values: Mapping[Node, Tensor]) -> dict[str, Tensor]:
    """Values by the names of their nodes, which the float and the frozen graph share."""
    return {node.name: value for node, value in values.items()}


def _nhwc(x: Tensor) -> np.ndarray:
    """(N, C, H, W) -> (N, H, W, C)."""
    return x.permute(0, 2, 3, 1).numpy()
