"""A deployment as a folder that appears whole or not at all, and takes the place of an earlier one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgedet.deploy.projects.leftovers import SDKCONFIG, SDKCONFIG_DEFAULTS, carried_sdkconfig
from edgedet.errors import ConfigError
from edgedet.escape import json_text
from edgedet.fileio import write_text
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


def carried_settings(out: Path, staying: Sequence[str], texts: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """What a deployment does to files that stay, before it is written.

    Args:
        out: of the earlier deployment.
        staying: of `Earlier`.
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
