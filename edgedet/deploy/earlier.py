"""The deployment whose place a new one takes: recognized by its manifest, and nothing that a user did to it is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.deploy.output_folder import FORMAT, MANIFEST, sha256
from edgedet.deploy.projects.leftovers import leftovers
from edgedet.errors import ConfigError
from edgedet.fileio import read_bytes
from edgedet.typed import shown

_LISTED = 10  # files in a message


@dataclass(frozen=True)
class Earlier:
    """What lies in the folder; without a manifest: nothing."""

    manifest: Mapping[str, Any] | None = None
    staying: tuple[
        str, ...
    ] = ()  # files of the user's and of his builder, with slashes: the next deployment keeps them

    def replaced(self, manifest: Mapping[str, Any]) -> str:
        """What a new deployment of the same target and project replaces, in a sentence; empty: the same, or nothing.

        Args:
            manifest: of the new one.
        """
        if self.manifest is None:
            return ""
        old, new = _model_of(self.manifest), _model_of(manifest)
        said = []
        if old != new:
            said.append(
                f"the deployment of {_word(old[0])} (SHA-256 {_word(old[1][:12])}...) by that of {_word(new[0])} "
                f"({_word(new[1][:12])}...)"
            )
        before, after = self.manifest.get("name", manifest.get("name")), manifest.get("name")
        if before != after:
            said.append(f"the name {_word(before)} by {_word(after)}")
        return "; ".join(said)


def check_replaceable(out: Path, target: str, project: str | None) -> Earlier:
    """Refuse a path that holds anything but an earlier deployment of the same kind as it was written.

    Args:
        out: folder to be written.
        target, project: of the new deployment.
    Returns:
        What lies there.
    Raises:
        ConfigError: `out` is a file, or a folder with files that neither a deployment nor its build wrote, with the
            deployment of another target or project, or with generated files that were changed.
    """
    if not out.exists():
        return Earlier()
    if not out.is_dir():
        raise ConfigError(f"{out} is a file; deploy writes a folder, give another path")
    if not any(out.iterdir()):
        return Earlier()
    try:
        found = json.loads(read_bytes(out / MANIFEST))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ConfigError(
            f"{out} is not empty and holds no {MANIFEST} of an earlier deployment; give a new or empty folder"
        )
    _require_kind(out, found, target, project)
    files = found["files"] if isinstance(found.get("files"), dict) else {}
    left = leftovers(out, frozenset(files) | {MANIFEST}, project)
    if left.strangers:
        raise ConfigError(
            f"{out} holds files that deploy did not write ({_listed(left.strangers)}); move them or give another folder"
        )
    changed = [name for name, entry in files.items() if _is_changed(out / name, entry)]
    if changed:
        raise ConfigError(
            f"{out} holds files that were changed since deploy wrote them ({_listed(changed)}): deploy into another "
            "folder and copy the module over, or move these files away"
        )
    return Earlier(found, left.staying)


def _require_kind(out: Path, manifest: Mapping[str, Any], target: str, project: str | None) -> None:
    """Raises ConfigError where the folder holds the deployment of another target or project."""
    entry = manifest.get("project")
    old = (manifest.get("target"), entry.get("kind") if isinstance(entry, dict) else None)
    if old == (target, project):
        return
    words = [
        f"target {_word(kind)}, {'no project' if form is None else f'project {_word(form)}'}"
        for kind, form in (old, (target, project))
    ]
    raise ConfigError(
        f"{out} holds a deployment of {_word(_model_of(manifest)[0])} for {words[0]}; this one is for {words[1]}: give "
        "another folder, or remove that one"
    )


def _model_of(manifest: Mapping[str, Any]) -> tuple[str, str]:
    """Name and hash of the file that was deployed."""
    entry = manifest.get("model")
    if not isinstance(entry, dict):
        return "", ""
    return str(entry.get("name", "")), str(entry.get("sha256", ""))


def _is_changed(path: Path, entry: Any) -> bool:
    """Whether a file is another than its manifest says; one that is gone is not, nor one with line ends of Windows."""
    if not os.path.lexists(path):
        return False
    written = entry.get("sha256") if isinstance(entry, dict) else None
    try:
        data = read_bytes(path)
    except OSError:
        return True  # unreadable, or no file: nothing that deploy wrote
    return written not in (sha256(data), sha256(data.replace(b"\r\n", b"\n")))


def _word(value: Any) -> str:
    """A name out of a manifest, in one line."""
    return value if isinstance(value, str) and value.isprintable() and 0 < len(value) <= 60 else shown(value)


def _listed(names: Any) -> str:
    names = list(names)
    return ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
