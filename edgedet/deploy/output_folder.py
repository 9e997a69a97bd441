"""A deployment as a folder that appears whole or not at all, and is recognized when it is replaced."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgedet.deploy.projects.leftovers import SDKCONFIG, SDKCONFIG_DEFAULTS, carried_sdkconfig, leftovers
from edgedet.errors import ConfigError
from edgedet.escape import json_text
from edgedet.fileio import read_bytes, write_text
from edgedet.outputs.folder import new_folder
from edgedet.outputs.swap import carry_file
from edgedet.page.deployments import FORMAT as FORMAT
from edgedet.page.deployments import MANIFEST as MANIFEST

FORMAT_VERSION = 1


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def file_table(texts: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Sizes and hashes of files for the manifest."""
    return byte_table({name: text.encode("utf-8") for name, text in texts.items()})


def byte_table(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """The same of files that are no text."""
    return {name: {"bytes": len(data), "sha256": sha256(data)} for name, data in files.items()}


def check_replaceable(out: Path) -> tuple[str, ...]:
    """Refuse a path that holds anything but an earlier deployment.

    Returns:
        Files of the user's and of his builder that the next deployment keeps, relative to the folder, with slashes.
    Raises:
        ConfigError: `out` is a file, or a folder with files that neither a deployment nor its build wrote, or whose
            example was changed.
    """
    if not out.exists():
        return ()
    if not out.is_dir():
        raise ConfigError(f"{out} is a file; deploy writes a folder, give another path")
    if not any(out.iterdir()):
        return ()
    try:
        found = json.loads(read_bytes(out / MANIFEST))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ConfigError(
            f"{out} is not empty and holds no {MANIFEST} of an earlier deployment; give a new or empty folder"
        )
    files = found.get("files")
    written = frozenset(files if isinstance(files, dict) else ()) | {MANIFEST}
    project = found.get("project")
    left = leftovers(out, written, str(project.get("kind")) if isinstance(project, dict) else None)
    if left.strangers:
        raise ConfigError(
            f"{out} holds files that deploy did not write ({', '.join(left.strangers[:10])}); move them or give "
            "another folder"
        )
    changed = [name for name in _changeable(found) if _is_changed(out / name, found["files"][name])]
    if changed:
        raise ConfigError(
            f"{out} holds files of the example that were changed ({', '.join(changed[:10])}); deploy into another "
            "folder and copy the module over, or move these files away"
        )
    return left.staying


def _changeable(manifest: dict[str, Any]) -> list[str]:
    """Files of a project that are the user's to change."""
    project, files = manifest.get("project"), manifest.get("files")
    names = project.get("yours_to_change") if isinstance(project, dict) else None
    if not isinstance(names, list) or not isinstance(files, dict):
        return []
    return [name for name in names if isinstance(name, str) and isinstance(files.get(name), dict)]


def _is_changed(path: Path, entry: Mapping[str, Any]) -> bool:
    if not os.path.lexists(path):
        return False
    try:
        return sha256(path.read_bytes()) != entry.get("sha256")
    except OSError:
        return True  # unreadable: nothing that deploy wrote


def carried_settings(out: Path, staying: Sequence[str], texts: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What a deployment does to files that stay, before it is written.

    Args:
        out: of the earlier deployment.
        staying: as `check_replaceable` returned them.
        texts: of the new one, path inside `out` -> text.
    Returns:
        (path -> new text of a file that stays, sentences for the report).
    Raises:
        ConfigError: a file that stays would be replaced.
    """
    clash = sorted(set(staying) & set(texts))
    if clash:
        raise ConfigError(f"{out} holds {clash[0]}, which is yours, where deploy would write a file; move it away")
    if not staying:
        return {}, []
    heads = dict.fromkeys(name.split("/", 1)[0] for name in staying)
    said = [f"{', '.join([*heads][:8])}{', ...' if len(heads) > 8 else ''}: yours or your builder's, not replaced"]
    if SDKCONFIG not in staying or (out / SDKCONFIG).is_symlink():
        return {}, said
    try:
        before = (out / SDKCONFIG).read_text(encoding="utf-8")
        defaults = (out / SDKCONFIG_DEFAULTS).read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return {}, said  # nothing to compare with: it stays as it is
    after, notes = carried_sdkconfig(before, defaults, texts.get(SDKCONFIG_DEFAULTS, ""))
    return ({SDKCONFIG: after} if after != before else {}), [*said, *notes]


def write_folder(
    out: Path,
    texts: Mapping[str, str],
    manifest: Mapping[str, Any],
    binaries: Mapping[str, bytes] | None = None,
    staying: Sequence[str] = (),
) -> None:
    """Write the folder, which appears whole and takes the place of an earlier deployment in one step.

    Args:
        out: folder; an earlier one is replaced.
        texts: path inside `out`, with slashes -> text.
        manifest: JSON-able.
        binaries: path inside `out` -> bytes, of files that are no text.
        staying: files of the earlier deployment's folder that come along, unless `texts` has them.
    Raises:
        OutputError: no permission or no space; an earlier deployment is still there.
    """
    with new_folder(out, MANIFEST) as fresh:
        for name, text in texts.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        for name, data in (binaries or {}).items():
            (fresh / name).write_bytes(data)
        for name in staying:
            carry_file(out / name, fresh / name)
        write_text(fresh / MANIFEST, json_text(manifest, 2))
