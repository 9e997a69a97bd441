"""`--int16 auto`: which tensors are worth 16 bits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedet.quantize.fx.fake_quant import FakeQuant
from edgedet.quantize.fx.int16 import can_widen
from edgedet.quantize.fx.walk import GraphWalk, output_error, run_exact

LEAST_SHARE = 0.05  # of the output error, that 16 bits in one group must take away to be worth their memory and time
IMAGES = 8  # looked at; every tensor of the network is kept for them


def choose_int16(prepared: GraphModule, quantized: GraphModule, batches: Sequence[Tensor]) -> tuple[str, ...]:
    """Groups that do much of the damage, found one after the other: the best one given those chosen before.

    Args:
        prepared: the float network.
        quantized: the same, calibrated and with weights quantized; not changed.
        batches: float32 (N, C, H, W), normalized, at least one image; the first `IMAGES` are used.
    Returns:
        Names for `widen`, most harmful first; empty when no group alone makes up `LEAST_SHARE` of the error.
    """
    trial = _Trial(prepared, quantized, torch.cat(list(batches))[:IMAGES])
    whole = current = trial.error(())
    gains = {quant: whole - trial.error((quant,)) for quant in trial.candidates}
    chosen: list[FakeQuant] = []
    # Gains are measured anew only for the most promising: what is chosen rarely makes another group more harmful.
    stale = set(gains)
    while gains:
        best = max(gains, key=gains.__getitem__)
        if best in stale and chosen:
            gains[best] = current - trial.error((*chosen, best))
            stale.discard(best)
            continue
        if gains[best] < LEAST_SHARE * whole or gains[best] <= 0:
            break
        current -= gains.pop(best)
        chosen.append(best)
        stale = set(gains)
    return tuple(quant.name for quant in chosen)


class _Trial:
    """The outputs of a quantized network when some tensors are not rounded.

    What int16 rounds is a 128th of what int8 does, or less: not rounding at all is the same for this purpose.
    """

    def __init__(self, prepared: GraphModule, quantized: GraphModule, x: Tensor) -> None:
        self._exact = [run_exact(prepared, x)]
        self._walk = GraphWalk(quantized)
        self._values = self._walk.values(x)
        self._calls: dict[FakeQuant, list[Node]] = {}
        wideable = set(can_widen(quantized).values())
        for node in self._values:
            quant = self._walk.module_of(node)
            if isinstance(quant, FakeQuant) and quant in wideable:
                self._calls.setdefault(quant, []).append(node)
        self.candidates = tuple(self._calls)

    def error(self, unrounded: Sequence[FakeQuant]) -> float:
        """`output_error` when these groups pass their values on."""
        skipped = {node for quant in unrounded for node in self._calls[quant]}
        return output_error(self._exact, [self._walk.outputs_again(self._values, {}, unrounded=skipped)])
