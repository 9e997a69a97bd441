"""run.json: how a run was made, for its page."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgedet.contracts import PreprocessSpec
from edgedet.data.coco.split import CocoSplit
from edgedet.errors import DataError
from edgedet.escape import json_text
from edgedet.evaluate.evaluator import describe_machine
from edgedet.evaluate.figures.reading import input_sides
from edgedet.fileio import atomic_write_text

PACKAGES = ("edgedet", "numpy", "torch", "ai-edge-litert", "tflite-micro", "pycocotools")
RESULTS = ("model_int8.tflite", "best.pt")  # what the pictures of a page were measured with
SIDE_EDGES_PX = (0, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)

PLANNED = "epochs planned"  # setting of a training that goes on: epochs of the whole run, as far as known
SETTLED = "AP settled"  # setting of a training of as many epochs as it takes: yes, or no, it took the most


@dataclass(frozen=True)
class LabelCounts:
    """Labels of one split."""

    split: str
    images: int
    empty: int  # images without an object
    classes: tuple[tuple[str, int], ...]  # objects of each class
    sides: tuple[int, ...]  # objects by their shorter side at the input, bins of SIDE_EDGES_PX and one above


@dataclass(frozen=True)
class RunRecord:
    """How a run was made."""

    kind: str  # train | quantize | ...
    command: str  # as typed; empty: called from Python
    created: str  # UTC, ISO 8601
    machine: str
    versions: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]  # what was asked for, seed included
    files: tuple[tuple[str, int, str], ...]  # name, bytes, sha256
    labels: tuple[LabelCounts, ...] = ()
    notes: tuple[str, ...] = ()  # what the page lacks, and why
    effective: tuple[tuple[str, str], ...] = ()  # of a training: keys of the model file, as they were used


def new_record(
    kind: str,
    command: str,
    settings: Sequence[tuple[str, str]],
    files: Sequence[Path],
    notes: Sequence[str] = (),
    labels: Sequence[LabelCounts] = (),
    effective: Sequence[tuple[str, str]] = (),
) -> RunRecord:
    """Record a run that has just ended.

    Args:
        kind: of the command.
        command: as typed.
        settings: names and values.
        files: results, hashed here.
        notes: what the page lacks.
        labels: of the splits.
        effective: keys of the model file, as they were used.
    """
    return RunRecord(
        kind,
        command,
        datetime.now(UTC).isoformat(timespec="seconds"),
        describe_machine(),
        tuple(_versions()),
        tuple(settings),
        tuple((path.name, path.stat().st_size, _sha256(path)) for path in files if path.is_file()),
        tuple(labels),
        tuple(notes),
        tuple(effective),
    )


def count_labels(split: CocoSplit, preprocess: PreprocessSpec) -> LabelCounts:
    """Count the labels of a split.

    Args:
        split: images and objects.
        preprocess: of the model; decides sizes at its input.
    """
    counts = [0] * len(split.class_names)
    for record in split.images:
        for label in record.labels[~record.crowd].tolist():
            counts[label] += 1
    sides, bins = input_sides(split.images, preprocess), [0] * len(SIDE_EDGES_PX)
    for side in sides.tolist():
        bins[max(i for i, edge in enumerate(SIDE_EDGES_PX) if side >= edge)] += 1
    empty = sum(not len(record.labels) for record in split.images)
    return LabelCounts(
        split.name, len(split.images), empty, tuple(zip(split.class_names, counts, strict=True)), tuple(bins)
    )


def save_record(record: RunRecord, path: Path) -> None:
    """Write JSON."""
    atomic_write_text(path, json_text(asdict(record)))


def load_record(path: Path) -> RunRecord:
    """Read what `save_record` wrote.

    Raises:
        DataError: it is something else.
        OSError: it can't be read.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        content.setdefault("effective", ())  # of an earlier version
        for key in ("versions", "settings", "files", "effective"):
            content[key] = tuple(tuple(row) for row in content[key])
        content["notes"] = tuple(content["notes"])
        content["labels"] = tuple(
            LabelCounts(
                row["split"],
                row["images"],
                row["empty"],
                tuple((name, count) for name, count in row["classes"]),
                tuple(row["sides"]),
            )
            for row in content["labels"]
        )
        return RunRecord(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is damaged ({type(error).__name__}); remove it, or repeat the run") from error


def belongs_to(record: RunRecord, folder: Path) -> bool:
    """False when a result in the folder is no longer the one that was recorded."""
    recorded = {name: sha256 for name, _, sha256 in record.files}
    present = [folder / name for name in RESULTS if name in recorded and (folder / name).is_file()]
    return all(_sha256(path) == recorded[path.name] for path in present)


def _versions() -> list[tuple[str, str]]:
    found = []
    for package in PACKAGES:
        try:
            found.append((package, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
