"""Checkpoints: plain tensors and a JSON-able spec, written atomically, loaded without running any code of the file."""

from __future__ import annotations

import pickle
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgedet.config import ModelConfig, build
from edgedet.errors import CheckpointError, ConfigError
from edgedet.fileio import atomic_path
from edgedet.net.rtmdet import RTMDet, build_detector
from edgedet.structs import OutputSpec, PreprocessSpec

FORMAT = "edgedet-checkpoint"
VERSION = 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained detector and both contracts."""

    model_config: ModelConfig
    preprocess: PreprocessSpec
    outputs: OutputSpec
    weights: dict[str, Tensor]  # state dict of RTMDet (averaged weights, when training averaged them)
    info: dict[str, Any]  # JSON-able: how it was trained (epoch, AP, seed, data, versions)
    resume: dict[str, Any] | None = None  # what --resume needs; None in checkpoints made for use

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.outputs.class_names)

    def build(self) -> RTMDet:
        """The detector with these weights, float32, in evaluation mode."""
        model = build_detector(self.model_config, self.num_classes)
        model.load_state_dict(self.weights)
        return model.eval()


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; a reader finds the old file or the new one, never a part of it."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "spec": {
            "model": asdict(checkpoint.model_config),
            "preprocess": checkpoint.preprocess.to_json(),
            "outputs": checkpoint.outputs.to_json(),
        },
        "info": checkpoint.info,
        "state_dict": checkpoint.weights,
    }
    if checkpoint.resume is not None:
        content["resume"] = checkpoint.resume
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Args:
        path: a .pt file written by edgedet.
    Returns:
        The checkpoint; the weights fit its model configuration.
    Raises:
        CheckpointError: missing, truncated, not a checkpoint of edgedet, or weights of another architecture.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: not an edgedet checkpoint (no format key {FORMAT!r}); expected a .pt of edgedet train"
        )
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: checkpoint version {content.get('version')!r}, this edgedet reads {VERSION}; train again"
        )
    try:
        spec = content["spec"]
        checkpoint = Checkpoint(
            model_config=build(ModelConfig, spec["model"], f"{path}: model"),
            preprocess=PreprocessSpec.from_json(spec["preprocess"]),
            outputs=OutputSpec.from_json(spec["outputs"]),
            weights=content["state_dict"],
            info=content["info"],
            resume=content.get("resume"),
        )
    except (KeyError, TypeError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{path}: incomplete or foreign checkpoint: {error}; train or export it again") from error
    _check_weights(checkpoint, path)
    return checkpoint


def read_torch_file(path: Path) -> Any:
    """Content of a file of torch.save, without running any code of it.

    Raises:
        CheckpointError: missing, truncated, or foreign.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; expected a .pt file written by edgedet train")
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] == b"TFL3":
        raise CheckpointError(f"{path}: is a .tflite, expected a checkpoint (.pt) of edgedet train")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError, OSError) as error:
        reason = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({path.stat().st_size} bytes; truncated, or foreign): {reason}"
        ) from error


def _check_weights(checkpoint: Checkpoint, path: Path) -> None:
    """Compare names and shapes with the architecture, and reject weights that are not numbers."""
    expected = build_detector(checkpoint.model_config, checkpoint.num_classes).state_dict()
    if not isinstance(checkpoint.weights, dict) or not all(isinstance(v, Tensor) for v in checkpoint.weights.values()):
        raise CheckpointError(f"{path}: state_dict holds something else than tensors; train or export it again")
    for problem, names in (
        ("lacks", expected.keys() - checkpoint.weights.keys()),
        ("has unknown", checkpoint.weights.keys() - expected.keys()),
    ):
        if names:
            raise CheckpointError(
                f"{path}: {problem} weights {sorted(names)[:3]} ({len(names)} in all) for "
                f"{checkpoint.model_config.name} with {checkpoint.num_classes} classes; a checkpoint of another model?"
            )
    for name, value in checkpoint.weights.items():
        if value.shape != expected[name].shape:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(value.shape)}, {checkpoint.model_config.name} needs "
                f"{tuple(expected[name].shape)}; is it a checkpoint of another model or number of classes?"
            )
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{path}: {name} holds NaN or infinity; training diverged, use an earlier checkpoint")
