"""Starting from a trained checkpoint: what of it is taken, re-made and frozen."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from edgedet.config import ModelConfig, ModelFile, available_models, load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec, require_trainable_size
from edgedet.errors import ConfigError
from edgedet.net.checkpoint import Checkpoint, load_checkpoint
from edgedet.net.families import build_detector

_STEM = "backbone.stem.0.conv.weight"  # its shape depends on the channels of the pictures


@dataclass(frozen=True)
class WarmStart:
    """From which checkpoint to start, and what of it to change more slowly or not at all."""

    checkpoint: Path  # of edgedet, trained or imported
    freeze: str | None = None  # a stage such as stage2, or backbone, or neck: it and everything before it stays
    backbone_lr_scale: float = 1.0  # learning rate of the backbone, relative to the others'
    remake_head: bool = False  # fresh weights for the whole head, also where they fit

    def __post_init__(self) -> None:
        if not 0 < self.backbone_lr_scale <= 1:
            raise ConfigError(
                f"`backbone_lr_scale` must be in (0, 1], got {self.backbone_lr_scale}; to keep it, `freeze`"
            )


@dataclass(frozen=True, eq=False)
class Start:
    """Weights that a run starts from."""

    weights: dict[str, Tensor] | None  # state dict; None: fresh
    source: str  # where they come from, in words or as a hash; --resume compares it
    frozen: tuple[str, ...] = ()  # parts of the network that stay as they are
    backbone_lr_scale: float = 1.0
    notes: tuple[str, ...] = ()  # for people: what was taken


def warm_model_file(checkpoint: Checkpoint, model: str | None, overrides: tuple[str, ...], path: Path) -> ModelFile:
    """Network and settings of a run that starts from a checkpoint.

    Args:
        checkpoint: to start from.
        model: shipped model or path of a TOML; None: the network of the checkpoint, trained like
            the shipped model of its name.
        overrides: key=value.
        path: of the checkpoint, for messages.
    Raises:
        ConfigError: no such model, or None and no shipped model has the checkpoint's name.
    """
    if model is not None:
        return load_model_file(model, overrides)
    name = checkpoint.model_config.name
    if name not in available_models():
        raise ConfigError(
            f"{path}: its network {name!r} is none of the shipped models, so the training settings are unknown; "
            "give `model`"
        )
    plain, changed = load_model_file(name), load_model_file(name, overrides)
    before, after = asdict(plain.model), asdict(changed.model)
    network = replace(checkpoint.model_config, **{key: value for key, value in after.items() if value != before[key]})
    return replace(changed, model=network)


def warm_preprocess(
    checkpoint: Checkpoint, file: ModelFile, model: str | None, imgsz: tuple[int, int] | None
) -> PreprocessSpec:
    """The checkpoint's contract, which its weights were trained for; the model file's, where an override changed that.

    Args:
        checkpoint: to start from.
        file: with the overrides.
        model: as in `warm_model_file`.
        imgsz: width, height, px; None: the checkpoint's.
    """
    own = checkpoint.preprocess
    width, height = imgsz or (own.width, own.height)
    require_trainable_size(width, height)
    if file.preprocess != load_model_file(model or checkpoint.model_config.name).preprocess:
        return file.preprocess.spec(imgsz or (own.width, own.height))
    return replace(own, width=width, height=height)


def make_start(
    warm: WarmStart, model: ModelConfig, preprocess: PreprocessSpec, outputs: OutputSpec, seed: int
) -> Start:
    """The weights to start with: the checkpoint's where they fit, fresh ones elsewhere.

    Class predictors keep the rows of classes with equal names.

    Args:
        warm: what to take.
        model: network of the run.
        preprocess: its input contract.
        outputs: its output contract.
        seed: of the fresh weights.
    Raises:
        CheckpointError: no checkpoint of edgedet.
        ConfigError: a network of another width or kind, or no such stage to freeze.
    """
    checkpoint = load_checkpoint(warm.checkpoint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_detector(model, len(outputs.class_names), preprocess.channels)
    frozen = _frozen_parts(network.parts(), warm.freeze)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    taken, remade = [], []
    for name in weights:
        source = checkpoint.weights.get(name)
        if source is not None and _fits(name, source, weights[name], warm, checkpoint.model_config, model):
            weights[name] = source.clone()
            taken.append(name)
        else:
            remade.append(name)
    _require_same_family(warm.checkpoint, taken, remade, checkpoint, weights, model)
    kept = () if warm.remake_head else _keep_rows(weights, checkpoint, outputs.class_names)
    notes = (
        f"start: {warm.checkpoint} ({checkpoint.model_config.name}): {len(taken)} of {len(weights)} weights taken; "
        f"class rows kept: {', '.join(kept) or 'none'}",
        *_re_made_note(remade, kept, outputs.class_names),
        *_differences(checkpoint.model_config, model),
        *_frozen_note(network, frozen),
        *([f"backbone: learning rate x {warm.backbone_lr_scale:g}"] if warm.backbone_lr_scale != 1 else []),
    )
    settings = f"freeze {warm.freeze}, backbone_lr_scale {warm.backbone_lr_scale:g}, remake_head {warm.remake_head}"
    return Start(weights, f"{_fingerprint(checkpoint)}, {settings}", frozen, warm.backbone_lr_scale, notes)


def _fits(name: str, source: Tensor, target: Tensor, warm: WarmStart, before: ModelConfig, after: ModelConfig) -> bool:
    """True when a weight is taken as it is."""
    if name.startswith("bbox_head.rtm_cls."):
        return False  # by rows
    if name.startswith("bbox_head."):
        exchanged = name.startswith("bbox_head.rtm_reg.") and before.exp_boxes != after.exp_boxes
        return source.shape == target.shape and not warm.remake_head and not exchanged
    return source.shape == target.shape


def _require_same_family(
    path: Path,
    taken: list[str],
    remade: list[str],
    checkpoint: Checkpoint,
    weights: dict[str, Tensor],
    model: ModelConfig,
) -> None:
    other = [
        name for name in remade if name in checkpoint.weights and name != _STEM and not name.startswith("bbox_head.")
    ]
    if other or not any(name.startswith("backbone.") for name in taken):
        example = (
            f"; {other[0]} has shape {tuple(checkpoint.weights[other[0]].shape)} there, "
            f"{tuple(weights[other[0]].shape)} here"
            if other
            else ""
        )
        raise ConfigError(
            f"{path}: is a {checkpoint.model_config.name}, which {model.name} can't start from{example}; leave "
            "`model` out to train the checkpoint's own network"
        )


def _keep_rows(weights: dict[str, Tensor], checkpoint: Checkpoint, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Copy the predictors of classes that both know; changes `weights`. Their names, in order."""
    before = checkpoint.outputs.class_names
    rows = [(index, before.index(name)) for index, name in enumerate(class_names) if name in before]
    for name in [name for name in weights if name.startswith("bbox_head.rtm_cls.")]:
        source = checkpoint.weights.get(name)
        if source is None or source.shape[1:] != weights[name].shape[1:]:
            return ()
        for new, old in rows:
            weights[name][new] = source[old]
    return tuple(class_names[index] for index, _ in rows)


def _frozen_parts(parts: tuple[str, ...], freeze: str | None) -> tuple[str, ...]:
    if freeze is None:
        return ()
    stages = [part.removeprefix("backbone.") for part in parts]
    last = stages[-2] if freeze == "backbone" else freeze  # the neck comes last
    if last not in stages:
        raise ConfigError(f"`freeze` {freeze!r}: expected one of {', '.join((*stages[:-1], 'backbone', 'neck'))}")
    return parts[: stages.index(last) + 1]


def _frozen_note(network: torch.nn.Module, frozen: tuple[str, ...]) -> list[str]:
    if not frozen:
        return []
    count = sum(p.numel() for part in frozen for p in network.get_submodule(part).parameters())
    total = sum(p.numel() for p in network.parameters())
    return [f"frozen: {', '.join(frozen)} ({count:,} of {total:,} parameters, and their BatchNorm statistics)"]


def _re_made_note(remade: list[str], kept: tuple[str, ...], class_names: tuple[str, ...]) -> list[str]:
    """Modules with fresh weights; class predictors by class."""
    modules = dict.fromkeys(name.rpartition(".")[0] for name in remade if not name.startswith("bbox_head.rtm_cls."))
    fresh = [name for name in class_names if name not in kept]
    lines = [f"re-made: predictors of classes {', '.join(fresh)}"] if fresh else []
    return lines + ([f"re-made: {', '.join(modules)}"] if modules else [])


def _differences(before: ModelConfig, after: ModelConfig) -> list[str]:
    old, new = asdict(before), asdict(after)
    changed = [f"{key} {old[key]} -> {new[key]}" for key in new if key != "name" and old[key] != new[key]]
    return [f"network changed: {', '.join(changed)}"] if changed else []


def _fingerprint(checkpoint: Checkpoint) -> str:
    """Hash of the weights: the same file under another path is the same start."""
    hasher = hashlib.sha256()
    for name, value in sorted(checkpoint.weights.items()):
        hasher.update(name.encode() + value.contiguous().numpy().tobytes())
    return f"sha256 {hasher.hexdigest()[:16]}"
