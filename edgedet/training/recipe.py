"""One recipe for any batch and data set: what learning rate, averaging and number of epochs become.

The rule has one number, k = sqrt(batch / reference batch). The learning rate is multiplied by k, which AdamW needs for
the same noise in its updates (arXiv:2205.10287), and the window of the averaged weights has 1/k as many steps. A run
has at least 1/k as many steps as `LEAST_IMAGES` make at the reference batch, that is, it sees k times as many images:
with the same number of images, a large batch has too few steps on a small data set. Warm-up and fall of the rate are
fractions of the run, so they follow. What the user gave is left alone.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edgedet.config import TrainConfig
from edgedet.training.loader import steps_per_epoch

# Images that a run sees at least at the reference batch: 2,400 steps of batch 8, or 1,200 of 16. docs/training.md
# measures what that gives on 205 images.
LEAST_IMAGES = 19_200


def fit_recipe(config: TrainConfig, images: int, given: frozenset[str] = frozenset()) -> TrainConfig:
    """Fit the settings of a model file to a batch and a number of images.

    Args:
        config: of the model file, with the batch that the run takes.
        images: of the training split.
        given: keys of `TrainConfig` that the user gave, which stay as they are.
    Returns:
        The settings to train with; their `reference_batch` is 0, so that fitting them again changes nothing.
    """
    if not config.reference_batch:
        return config
    k = math.sqrt(config.batch / config.reference_batch)
    lr, ema_decay, epochs = config.lr, config.ema_decay, config.epochs
    if k != 1 and "lr" not in given:
        lr = float(f"{lr * k:.3g}")
    if k != 1 and "ema_decay" not in given and ema_decay:
        ema_decay = round(max(0.0, 1 - (1 - ema_decay) * k), 6)
    if "epochs" not in given:
        seen = steps_per_epoch(images, config.batch) * config.batch
        epochs = max(epochs, math.ceil(LEAST_IMAGES * k / seen))
    return replace(config, lr=lr, ema_decay=ema_decay, epochs=epochs, reference_batch=0)


def describe_fit(config: TrainConfig, fitted: TrainConfig, images: int) -> str | None:
    """What `fit_recipe` changed, in one line; None: nothing.

    Args:
        config: what it was given.
        fitted: what it returned.
        images: of the training split.
    """
    changes = [
        f"{name} {before:g} -> {after:g}"
        for name, before, after in (
            ("rate", config.lr, fitted.lr),
            ("averaging", config.ema_decay, fitted.ema_decay),
            ("epochs", config.epochs, fitted.epochs),
        )
        if before != after
    ]
    if not changes:
        return None
    return f"batch {config.batch} (reference {config.reference_batch}), {images} images: {', '.join(changes)}"
