"""Whether a run may go on: settings compared with those of its state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgedet.errors import ConfigError


def compare_settings(path: Path, before: dict[str, Any], identity: dict[str, Any]) -> None:
    """Refuse to go on with a run under other settings.

    Args:
        path: of the state, for the error.
        before: settings of the run, as JSON holds them.
        identity: settings asked for now.
    Raises:
        ConfigError: they differ; every difference is named.
    """
    before, now = _flat(json.loads(json.dumps(before))), _flat(json.loads(json.dumps(identity)))
    changed = [
        f"{key}: the run has {before.get(key)}, asked for {now.get(key)}"
        for key in dict.fromkeys((*now, *before))
        if before.get(key) != now.get(key)
    ]
    if changed:
        raise ConfigError(
            f"{path}: `resume` with other settings ({'; '.join(changed)}); repeat the options of the interrupted run, "
            "or start anew with another `out`"
        )


def planned_before(before: dict[str, Any], identity: dict[str, Any]) -> dict[str, Any]:
    """The settings asked for, with the epochs that the run was planned with, when more are asked for.

    A run may be extended: it goes on as a run of the new length would from this epoch on, rate and averaging included.

    Args:
        before: settings of the run.
        identity: settings asked for now.
    """
    epochs = before["train"]["epochs"]
    if identity["train"]["epochs"] <= epochs:
        return identity
    return {**identity, "train": {**identity["train"], "epochs": epochs}}


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Keys of nested dicts joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
