"""What an interrupted QAT run goes on from."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch

from edgedet.errors import CheckpointError, ConfigError
from edgedet.fileio import atomic_path
from edgedet.train.checkpoint import read_torch_file
from edgedet.train.log import EpochRecord

STATE_FILE = "qat_last.pt"
_FORMAT = "edgedet-qat-state"
_VERSION = 1


class Resumable(Protocol):
    """A trainer whose state can be written and read."""

    def state(self) -> dict[str, Any]:
        """Tensors, numbers and lists."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""


def save_state(path: Path, identity: dict[str, Any], history: list[EpochRecord], trainer: Resumable) -> None:
    """Write the state after an epoch; a reader finds the old file or the new one.

    Args:
        path: of the state file.
        identity: JSON-able; what has to be equal for a run to be the same run.
        history: records of the epochs done.
        trainer: whose state to write.
    """
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "identity": identity,
        "history": [asdict(record) for record in history],
        "state": trainer.state(),
    }
    with atomic_path(path) as temporary:
        torch.save(content, temporary)


def load_state(path: Path, identity: dict[str, Any], trainer: Resumable) -> list[EpochRecord]:
    """Bring a trainer to the state of a file.

    Args:
        path: of the state file.
        identity: of the run that wants to go on.
        trainer: receives the state.
    Returns:
        Records of the epochs done.
    Raises:
        CheckpointError: missing, damaged, or something else.
        ConfigError: written by a run with other settings.
    """
    content = _read(path)
    _compare(path, content["identity"], identity)
    trainer.load_state(content["state"])
    return [EpochRecord(**record) for record in content["history"]]


def check_identity(path: Path, identity: dict[str, Any]) -> None:
    """Raise what `load_state` would raise, before anything takes long; see there."""
    _compare(path, _read(path)["identity"], identity)


def _read(path: Path) -> dict[str, Any]:
    content = read_torch_file(path)
    if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (_FORMAT, _VERSION):
        raise CheckpointError(
            f"{path}: expected format {_FORMAT!r} version {_VERSION}, found something else; start anew without --resume"
        )
    return content


def _compare(path: Path, before: dict[str, Any], identity: dict[str, Any]) -> None:
    before, now = _flat(json.loads(json.dumps(before))), _flat(json.loads(json.dumps(identity)))
    changed = [
        f"{key}: the run has {before.get(key)}, asked for {now.get(key)}"
        for key in dict.fromkeys((*now, *before))
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise ConfigError(
            f"{path}: --resume with other settings ({'; '.join(changed)}); repeat the options of the interrupted run, "
            "or start anew with another --out"
        )


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Keys of nested dicts joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
