"""Whether a run may go on: settings compared with those of its state."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgedet.errors import CheckpointError, ConfigError

# Settings that runs from before them do not name.
_BEFORE = {"length": "planned", "train.reference_batch": 0}


@contextmanager
def damaged_state(path: Path) -> Iterator[None]:
    """Say of a state that a trainer can't take that its file is damaged, whichever exception its values lead to.

    Args:
        path: of the file.
    Raises:
        CheckpointError: instead of what torch and Python raise for wrong keys, types and shapes.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: holds no state that this network can go on from; start anew without `resume`"
        ) from error


def compare_settings(path: Path, before: Any, identity: dict[str, Any]) -> None:
    """Refuse to go on with a run under other settings.

    Args:
        path: of the state, for the error.
        before: settings of the run, as JSON holds them.
        identity: settings asked for now.
    Raises:
        ConfigError: they differ; every difference is named.
        CheckpointError: the state holds no settings.
    """
    if not isinstance(before, dict):
        raise CheckpointError(f"{path}: does not say with which settings it was made; start anew without `resume`")
    before, now = _flat(json.loads(json.dumps(before))), _flat(json.loads(json.dumps(identity)))
    changed = [
        f"{key}: the run has {before.get(key, _BEFORE.get(key))}, asked for {now.get(key)}"
        for key in dict.fromkeys((*now, *before))
        if before.get(key, _BEFORE.get(key)) != now.get(key)
    ]
    if changed:
        raise ConfigError(
            f"{path}: `resume` with other settings ({'; '.join(changed)}); repeat the options of the interrupted run, "
            "or start anew with another `out`"
        )


def fitted_by_recipe(before: Any) -> bool:
    """Whether the settings of a run were fitted to its batch and data; False for one from before there was a rule.

    Settings that are none at all are `compare_settings`'s to refuse.
    """
    train = before.get("train") if isinstance(before, dict) else None
    return isinstance(train, dict) and "reference_batch" in train


def planned_before(before: Any, identity: dict[str, Any], done: int) -> dict[str, Any]:
    """The settings asked for, with the length that the run was planned with, when a longer one is asked for.

    A run may be extended: it goes on as a run of the new length would from this epoch on, rate and averaging included.

    Args:
        before: settings of the run.
        identity: settings asked for now.
        done: epochs that the run has behind it.
    """
    length, epochs = before.get("length", "planned"), before["train"]["epochs"]
    least = done if length == "auto" else epochs  # the length of an open-ended run was never planned
    if identity["length"] == "auto" or identity["train"]["epochs"] <= least:
        return identity
    return {**identity, "length": length, "train": {**identity["train"], "epochs": epochs}}


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Keys of nested dicts joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
