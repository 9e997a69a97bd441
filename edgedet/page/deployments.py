"""Folders of `edgedet deploy`, as far as a page shows them: its own page, and what its manifest says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.errors import ConfigError, DataError
from edgedet.outputs.page_files import PAGE
from edgedet.page.blocks import Page, Section, Table, number, words

MANIFEST = "manifest.json"
FORMAT = "edgedet-deploy"
_AGAIN = "write it again with `edgedet deploy`"


@dataclass(frozen=True)
class Deployment:
    """What a manifest says."""

    folder: Path
    target: str
    model: str  # name of the int8 file
    model_sha256: str
    model_bytes: int | None  # None: not in the manifest
    constant_bytes: int | None  # in flash; None: the model file is
    arena_bytes: int | None
    operators: tuple[tuple[str, int], ...]
    page_sha256: str  # of report.html as it was written; empty: by an edgedet without pages


def is_deployment(folder: Path) -> bool:
    """True for a folder with a manifest of `edgedet deploy`."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("format") == FORMAT


def read_deployment(folder: Path) -> Deployment:
    """Read a manifest.

    Raises:
        DataError: it is not as edgedet writes it.
    """
    path = folder / MANIFEST
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        model, arena = found["model"], found["arena"]
        page = found["files"].get(PAGE, {})
        return Deployment(
            folder,
            str(found["target"]),
            str(model["name"]),
            str(model["sha256"]),
            _bytes(model, "bytes") or _bytes(found.get("model_data") or {}, "bytes"),
            _bytes(found, "weights_bytes"),
            _bytes(arena, "bytes") or _bytes(arena, "total_bytes"),
            _operators(found["operators"]),
            str(page.get("sha256", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is not as edgedet writes it ({type(error).__name__}: {error}); {_AGAIN}") from error


def _bytes(entry: Mapping[str, Any], key: str) -> int | None:
    return int(entry[key]) if key in entry else None


def _operators(entry: Any) -> tuple[tuple[str, int], ...]:
    """Kind and how many: targets around TFLite Micro also say how it registers each."""
    pairs = entry.items() if isinstance(entry, Mapping) else ((one["kind"], one["count"]) for one in entry)
    return tuple((str(kind), int(count)) for kind, count in pairs)


def page_of_deployment(folder: Path) -> Path:
    """The page that lies in a deployment, as it was written.

    Raises:
        ConfigError: there is none, or it was changed.
        DataError: the manifest is damaged.
    """
    deployment, path = read_deployment(folder), folder / PAGE
    if not path.is_file():
        raise ConfigError(f"{path}: is not there; {_AGAIN}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != deployment.page_sha256:
        raise ConfigError(f"{path}: is not the page that the manifest beside it names; {_AGAIN}")
    return path


def deployment_page(deployment: Deployment) -> Page:
    """What a manifest says, as a page: that which lies in the folder is HTML already."""
    name, arena = deployment.folder.resolve().name, deployment.arena_bytes
    needs = "" if arena is None else f", arena {arena:,} bytes"
    section = deployments_section((name,), (deployment,))
    return Page(f"deployment: {name}", f"{deployment.model} for {deployment.target}{needs}.", (), (section,))


def deployments_section(names: Sequence[str], deployments: Sequence[Deployment]) -> Section:
    """Several deployments beside each other."""
    head = ("deployment", "target", "constants in flash, bytes", "arena, bytes", "operators", "model", "model, bytes",
            "SHA-256 of the model, beginning")  # fmt: skip
    rows = tuple(
        (words(name), words(one.target),
         number(one.model_bytes if one.constant_bytes is None else one.constant_bytes, 0), number(one.arena_bytes, 0),
         number(sum(count for _, count in one.operators), 0), words(one.model), number(one.model_bytes, 0),
         words(one.model_sha256[:16]))
        for name, one in zip(names, deployments, strict=True)
    )  # fmt: skip
    counts = [dict(one.operators) for one in deployments]
    kinds = sorted({kind for one in counts for kind in one})
    operators = tuple((words(kind), *(number(one.get(kind, 0), 0) for one in counts)) for kind in kinds)
    return Section("Deployments", tables=(Table(head, rows), Table(("operator", *names), operators)))
