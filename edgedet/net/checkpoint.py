"""Checkpoints: plain tensors and a JSON-able spec, written atomically, loaded without running any code of the file."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgedet.config import ModelConfig, build
from edgedet.contracts import OutputSpec, PreprocessSpec, require_trainable_size
from edgedet.errors import CheckpointError, ConfigError
from edgedet.fileio import atomic_path
from edgedet.net.families import build_detector
from edgedet.net.rtmdet import RTMDet

FORMAT = "edgedet-checkpoint"
VERSION = 1
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"  # how files of torch.save and of pickle begin
_AGAIN = "train or export it again with this edgedet"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained detector and both contracts."""

    model_config: ModelConfig
    preprocess: PreprocessSpec
    outputs: OutputSpec
    weights: dict[str, Tensor]  # state dict of RTMDet (averaged weights, when training averaged them)
    info: dict[str, Any]  # JSON-able: how it was trained (epoch, AP, seed, data, versions)
    resume: dict[str, Any] | None = None  # what --resume needs; None in checkpoints made for use

    def __repr__(self) -> str:  # without the weights
        return f"<Checkpoint of {self.model_config.name}, {self.num_classes} classes>"

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.outputs.class_names)

    def build(self) -> RTMDet:
        """The detector with these weights, float32, in evaluation mode."""
        model = build_detector(self.model_config, self.num_classes, self.preprocess.channels)
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
        found = f"a {type(content).__name__}"
        if isinstance(content, dict):
            found = f"format {content['format']!r}" if "format" in content else "no key 'format'"
        raise CheckpointError(
            f"{path}: not an edgedet checkpoint: expected format {FORMAT!r}, found {found}; give a .pt of edgedet train"
        )
    if content.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: checkpoint version {content.get('version')!r}, this edgedet reads {VERSION}; train again"
        )
    _require_parts(content, path)
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
        require_trainable_size(checkpoint.preprocess.width, checkpoint.preprocess.height)
    except (TypeError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{path}: incomplete or foreign checkpoint: {error}; {_AGAIN}") from error
    _check_weights(checkpoint, path)
    return checkpoint


def _require_parts(content: dict[str, Any], path: Path) -> None:
    """Raises CheckpointError when a table, or a key of one without a default, is missing; `build` checks the model."""
    for where, keys in (
        ((), ("spec", "info", "state_dict")),
        (("info",), ()),
        (("spec",), ("model", "preprocess", "outputs")),
        (("spec", "preprocess"), ("width", "height")),
        (("spec", "outputs"), ("class_names",)),
    ):
        table: Any = content
        for key in where:
            table = table[key]
        place = f"key {'.'.join(where)!r}" if where else "the checkpoint"
        if not isinstance(table, dict):
            raise CheckpointError(f"{path}: {place}: expected a dict, found {type(table).__name__}; {_AGAIN}")
        missing = [repr(key) for key in keys if key not in table]
        if missing:
            raise CheckpointError(f"{path}: incomplete or foreign: {place} lacks {', '.join(missing)}; {_AGAIN}")
    names = content["spec"]["outputs"]["class_names"]
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path}: key 'spec.outputs.class_names': expected names, found {names!r}; {_AGAIN}")


def read_torch_file(path: Path) -> Any:
    """Content of a file of torch.save, without running any code of it.

    Raises:
        CheckpointError: missing, truncated, or foreign.
    """
    if path.is_dir():
        there = " or ".join(sorted(str(file) for file in path.glob("*.pt"))[:3])
        hint = f"give {there}" if there else "give a file of a run; this one holds none"
        raise CheckpointError(f"{path}: is a folder, expected a checkpoint (.pt); {hint}")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; expected a .pt file of edgedet train or edgedet import")
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:8] == b"TFL3":
        raise CheckpointError(f"{path}: is a .tflite, expected a checkpoint (.pt) of edgedet train")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what the errors below say
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # the bytes of a foreign file decide which: KeyError, IndexError, RuntimeError, ...
        is_pickle = head.startswith((_ZIP, _PICKLE))
        if (isinstance(error, pickle.UnpicklingError) and is_pickle) or "TorchScript" in str(error):
            reason = (
                "refused: only tensors, text and numbers of torch.save are loaded; the rest could run code of the file"
            )
        else:
            reason = f"not a readable checkpoint ({path.stat().st_size} bytes): truncated, or no file of torch.save"
        raise CheckpointError(f"{path}: {reason}; expected a .pt of edgedet train") from error


def _check_weights(checkpoint: Checkpoint, path: Path) -> None:
    """Compare names and shapes with the architecture, and reject weights that are not numbers."""
    channels = checkpoint.preprocess.channels
    expected = build_detector(checkpoint.model_config, checkpoint.num_classes, channels).state_dict()
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
