"""Training settings for a network that is trained already: short, gentle, with weak augmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgedet.config import TrainConfig, available_models, load_model_file
from edgedet.contracts import PreprocessSpec
from edgedet.data.coco.split import CocoSplit, require_model_classes
from edgedet.errors import ConfigError
from edgedet.net.checkpoint import Checkpoint
from edgedet.typed import build

# Resize and colour stay this close to what the network sees in use; strong augmentation would pull a trained network
# away from it, and a short run has no time to come back.
WEAK_SCALE = (0.8, 1.25)
WEAK_HSV = 0.5  # of the training's


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a network was fine-tuned on, as it saw it."""

    train: CocoSplit
    preprocess: PreprocessSpec
    config: TrainConfig
    seed: int


def training_settings(checkpoint: Checkpoint) -> TrainConfig:
    """The settings that a checkpoint was trained with.

    Args:
        checkpoint: of edgedet train; an imported one falls back on the shipped model of its name.
    Raises:
        ConfigError: neither recorded in the checkpoint, nor a shipped model of this name.
    """
    identity = checkpoint.info.get("identity")
    recorded = identity.get("train") if isinstance(identity, dict) else None
    if recorded is not None:
        return build(TrainConfig, recorded, "checkpoint: info.identity.train")
    name = checkpoint.model_config.name
    if name not in available_models():
        raise ConfigError(
            f"the checkpoint does not say how it was trained, and {name} is none of the shipped models "
            f"{', '.join(available_models())}; train with edgedet, or name the model like its closest relative"
        )
    # Fine-tuning brings a rate and a length of its own.
    return replace(load_model_file(name).train, reference_batch=0)


def weak_augmentation(config: TrainConfig) -> TrainConfig:
    """The same settings without mosaic and mixup, with half the colour changes and resizing by 0.8 to 1.25."""
    return replace(
        config,
        mosaic=0.0,
        mixup=0.0,
        scale_min=min(max(config.scale_min, WEAK_SCALE[0]), 1.0),
        scale_max=max(min(config.scale_max, WEAK_SCALE[1]), 1.0),
        hsv_h=config.hsv_h * WEAK_HSV,
        hsv_s=config.hsv_s * WEAK_HSV,
        hsv_v=config.hsv_v * WEAK_HSV,
    )


def require_checkpoint_classes(checkpoint: Checkpoint, split: CocoSplit) -> None:
    """Make sure that a label of the training split means the same to the network.

    Raises:
        DataError: other classes, another number of them, or another order.
    """
    advice = "fine-tune on the data set that it was trained on, or train anew"
    require_model_classes(split, "the checkpoint", checkpoint.outputs.class_names, advice, in_order=True)
