"""What lies in a run folder, for its page; what is absent is None, with a sentence about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edgedet.errors import ConfigError, DataError
from edgedet.outputs.page_files import DATA
from edgedet.page.found import Found, load_found
from edgedet.page.record import RunRecord, belongs_to, load_record
from edgedet.texts import counted

RECORD, FLOAT, INT8 = "run.json", "found_float.npz", "found_int8.npz"
INSPECTED = "inspect_run.json"  # how the layers were inspected, beside how the folder was made
EVALUATION, INSPECTION = "evaluate.json", "inspect.json"
SUBSTITUTION = "substitute.json"  # as edgedet.finetune.substitute writes it
_RESULTS = ("history.json", "report.json", INSPECTION, EVALUATION, RECORD)

Read = TypeVar("Read")


@dataclass(frozen=True)
class Epoch:
    """A line of history.json."""

    epoch: int
    loss: float
    cls: float
    box: float
    ap: float | None
    lr: float | None = None


@dataclass(frozen=True, eq=False)
class RunFiles:
    """A run folder, as far as a page shows it."""

    folder: Path
    record: RunRecord | None
    history: tuple[Epoch, ...]  # empty: not a training
    results: dict[str, Any]  # report.json of a quantization; empty: none
    layers: tuple[dict[str, Any], ...]  # of inspect.json
    found_float: Found | None
    found_int8: Found | None
    augmented: tuple[Path, ...]  # JPEGs
    notes: tuple[str, ...]  # what is absent or damaged
    evaluation: dict[str, Any] = field(default_factory=dict)  # evaluate.json; empty: none
    inspection: RunRecord | None = None  # how inspect.json was made
    substitution: dict[str, Any] = field(default_factory=dict)  # substitute.json; empty: none

    @property
    def kind(self) -> str:
        """What made the folder."""
        if self.record is not None:
            return self.record.kind
        return "train" if self.history else "quantize" if self.results else "inspect"


def is_run(folder: Path) -> bool:
    """True when a folder holds something that a page shows."""
    return any((folder / name).is_file() for name in (*_RESULTS, f"{DATA}/{RECORD}"))


def _found_instead(folder: Path) -> str:
    """What is there in place of a run."""
    if folder.is_file():
        beside = folder.absolute().parent
        return f"is a file{f', which lies in the run {beside}' if is_run(beside) else ''}"
    if not folder.is_dir():
        return "no such folder"
    try:
        runs = sorted(path for path in folder.iterdir() if is_run(path))
    except OSError:
        runs = []
    if runs:
        return f"is no run but holds {counted(len(runs), 'run')}, {', '.join(map(str, runs[:3]))}"
    return f"holds none of {', '.join(_RESULTS[:4])}"


def read_run(folder: Path, fresh: Path | None = None) -> RunFiles:
    """Read a run folder.

    Args:
        folder: of train, quantize, substitute, inspect or evaluate.
        fresh: folder of files that are about to join those of `folder`, or to take their place.
    Raises:
        ConfigError: it is no run.
    """

    def place(name: str) -> Path:
        if fresh is None:
            return folder / name
        whole = name.startswith(f"{DATA}/") and (fresh / DATA / RECORD).is_file()  # all of the data is new
        return (fresh if whole or (fresh / name).is_file() else folder) / name

    if fresh is None and not is_run(folder):
        raise ConfigError(f"{folder}: {_found_instead(folder)}; expected the folder of a run or of a deployment")
    notes: list[str] = []

    def attempt(name: str, read: Callable[[Path], Read], absent: str = "") -> Read | None:
        path = place(name)
        if not path.is_file():
            notes.extend([absent] if absent else [])
            return None
        try:
            return read(path)
        except (DataError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f"{name} can't be read: {error}")
            return None

    inspection = attempt(f"{DATA}/{INSPECTED}", load_record)
    absent = "" if inspection is not None else "How it was run is not recorded: the folder has no run.json."
    record = attempt(f"{DATA}/{RECORD}", load_record, absent)
    history = attempt("history.json", _history) or ()
    results = attempt("report.json", _object) or {}
    evaluation = attempt(EVALUATION, _object) or {}
    substitution = attempt(SUBSTITUTION, _object) or {}
    layers = tuple((attempt(INSPECTION, _object) or {}).get("layers", ()))
    found_float, found_int8 = attempt(f"{DATA}/{FLOAT}", load_found), attempt(f"{DATA}/{INT8}", load_found)
    if record is not None and not belongs_to(record, folder):
        notes.append(f"{DATA} belongs to another model than the one in the folder and is not shown.")
        record = found_float = found_int8 = None
    return RunFiles(
        folder,
        record,
        history,
        results,
        layers,
        found_float,
        found_int8,
        tuple(sorted(place(f"{DATA}/{RECORD}").parent.glob("augmented_*.jpg"))),
        (*notes, *(record.notes if record is not None else ())),
        evaluation,
        inspection,
        substitution,
    )


def _object(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise DataError("expected a JSON object")
    return content


def _history(path: Path) -> tuple[Epoch, ...]:
    return tuple(
        Epoch(int(row["epoch"]), float(row["loss"]), float(row["cls"]), float(row["box"]), row.get("ap"), row.get("lr"))
        for row in json.loads(path.read_text(encoding="utf-8"))
    )
