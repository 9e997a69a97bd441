"""What an interrupted QAT run goes on from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from edgedet.errors import CheckpointError, ConfigError
from edgedet.escape import json_text
from edgedet.fileio import atomic_write_text
from edgedet.net.checkpoint import is_format, read_torch_file, write_torch_file
from edgedet.training.log import EpochRecord
from edgedet.training.resume import compare_settings, damaged_state
from edgedet.typed import require_plain

STATE_FILE, HISTORY_FILE = "qat_last.pt", "history.json"
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
    write_torch_file(content, path)


def save_history(out: Path, history: list[EpochRecord]) -> None:
    """Write OUT/history.json: the records of the epochs done."""
    atomic_write_text(out / HISTORY_FILE, json_text([asdict(record) for record in history]))


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
    compare_settings(path, content["identity"], identity)
    with damaged_state(path):
        trainer.load_state(content["state"])
        return [EpochRecord(**record) for record in content["history"]]


def check_identity(path: Path, identity: dict[str, Any]) -> None:
    """Raise what `load_state` would raise, before anything takes long; see there."""
    compare_settings(path, _read(path)["identity"], identity)


def _read(path: Path) -> dict[str, Any]:
    content = read_torch_file(path)
    if not is_format(content, _FORMAT) or content.get("version") is not _VERSION or "identity" not in content:
        raise CheckpointError(
            f"{path}: expected format {_FORMAT!r} version {_VERSION}, found something else; start anew without `resume`"
        )
    try:
        require_plain([content["identity"], content.get("history")], "identity and history")
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}; start anew without `resume`") from error
    result: dict[str, Any] = content
    return result
