"""Learning rate and averaged weights, both measured in fractions of the run."""

from __future__ import annotations

import math

import torch
from torch import nn

from edgedet.config import TrainConfig

# The average forgets over at most this fraction of the run, so that short runs are not averaged with their beginning.
EMA_WINDOW_FRACTION = 0.1


def learning_rate(step: int, steps: int, config: TrainConfig, hold: int = 0, planned: int | None = None) -> float:
    """Linear warm-up over `warmup_fraction` of the run, perhaps a flat part, then cosine to `lr * min_lr_ratio`.

    Args:
        step: 0..steps-1.
        steps: iterations of the whole run.
        config: training settings.
        hold: step until which the rate is held at its peak; 0: it falls after the warm-up.
        planned: iterations whose fraction the warm-up takes; None: `steps`.
    Returns:
        Learning rate of this step.
    """
    warmup = max(1, round((steps if planned is None else planned) * config.warmup_fraction))
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if step < hold:
        return config.lr
    start = max(warmup, hold)
    progress = (step - start) / max(1, steps - 1 - start)
    floor = config.min_lr_ratio
    return config.lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def parameter_groups(model: nn.Module, weight_decay: float, backbone_lr_scale: float = 1.0) -> list[dict[str, object]]:
    """Groups for AdamW: weights of convolutions with decay, norms and biases without; frozen parameters in none.

    Args:
        model: its backbone's parameters have names that begin with `backbone.`.
        weight_decay: of the weights of convolutions.
        backbone_lr_scale: of the backbone's learning rate, as `lr_scale` of its groups; 1: two groups in all.
    """
    groups: list[dict[str, object]] = []
    scales = (1.0,) if backbone_lr_scale == 1.0 else (1.0, backbone_lr_scale)
    for scale in scales:
        chosen = [
            parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and (len(scales) == 1 or name.startswith("backbone.") == (scale != 1.0))
        ]
        for decay, found in (
            (weight_decay, [p for p in chosen if p.ndim > 1]),
            (0.0, [p for p in chosen if p.ndim <= 1]),
        ):
            if found:
                groups.append({"params": found, "weight_decay": decay, "lr_scale": scale})
    return groups


class WeightAverage:
    """Exponential moving average of weights and BatchNorm statistics.

    Args:
        model: the network being trained.
        average: a second network of the same kind, which receives the average.
        decay: of a long run; lower in short runs and at the beginning.
        steps: iterations of the whole run.
    """

    def __init__(self, model: nn.Module, average: nn.Module, decay: float, steps: int) -> None:
        self.model = average.eval().requires_grad_(False)
        self._decay = min(decay, 1 - 1 / max(1.0, steps * EMA_WINDOW_FRACTION))
        source, target = model.state_dict(), average.state_dict()
        names = [name for name in source if source[name].is_floating_point()]
        self._source = [source[name] for name in names]
        self._target = [target[name] for name in names]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after iteration `step` (0-based)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._target, self._source, 1 - decay)
