"""Learning rate and averaged weights, both measured in fractions of the run."""

from __future__ import annotations

import math

import torch
from torch import nn

from edgedet.config import TrainConfig

# The average forgets over at most this fraction of the run, so that short runs are not averaged with their beginning.
EMA_WINDOW_FRACTION = 0.1


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Linear warm-up over `warmup_fraction` of the run, then cosine to `lr * min_lr_ratio`.

    Args:
        step: 0..steps-1.
        steps: iterations of the whole run.
        config: training settings.
    Returns:
        Learning rate of this step.
    """
    warmup = max(1, round(steps * config.warmup_fraction))
    if step < warmup:
        return config.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    floor = config.min_lr_ratio
    return config.lr * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Two groups for AdamW: weights of convolutions with decay, norms and biases without."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


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
