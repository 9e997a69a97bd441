"""Folders of runs: where results go when nobody says where, and that no run is put on top of another."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

from edgedet.errors import ConfigError
from edgedet.fileio import require_out_folder
from edgedet.outputs.lock import hold_output
from edgedet.outputs.names import lock_path

RUNS = Path("runs")
_TRIES = 100  # of folders that others take
INT8_FILE = "model_int8.tflite"
FILES_OF_RUNS = (INT8_FILE, "best.pt")  # what a run leaves: of quantize, of train and substitute
# What a run leaves -> what made it. One that replaces its own results, as predict and deploy do, is not refused there.
_MARKS = {
    "last.pt": "train",
    "qat_last.pt": "quantize",
    "best.pt": "train",
    INT8_FILE: "quantize",
    "evaluate.json": "evaluate",
    "detections.json": "predict",
    "manifest.json": "deploy",
}
_REPLACING = ("predict", "deploy")
_NUMBER = re.compile(r"-[0-9]+$")  # that `next_run` gave


def next_run(name: str) -> Path:
    """A folder in runs/ that does not exist yet: NAME-1, NAME-2, ... It is not made here.

    One that another process has just begun to write is taken, too.
    """
    numbered = (RUNS / f"{name}-{number}" for number in count(1))
    return next(folder for folder in numbered if not (os.path.lexists(folder) or lock_path(folder).exists()))


@contextmanager
def reserved_run(name: str) -> Iterator[Path]:
    """A new folder of `next_run`, that no other process or thread is given while it is held.

    Args:
        name: of the folder, without its number.
    Raises:
        ConfigError: others take every new folder, or several processes share the run: each would choose for itself.
        OutputError: nothing can be written in runs/.
    """
    if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
        raise ConfigError("several processes (WORLD_SIZE): they need one folder; give it as `out`")
    with ExitStack() as held:
        yield _reserve(held, name)


@contextmanager
def folder_of_run(out: Path | None, kind: str, name: str, resume: bool = False) -> Iterator[Path]:
    """The folder that a function's results go to.

    Args:
        out: what the caller gave; None: a new one, reserved while this lasts.
        kind: see `refuse_other_run`.
        name: of a new one, without its number.
        resume: the run goes on with one of its kind.
    Raises:
        ConfigError: `out` holds another run, or no new folder is to be had.
    """
    if out is None:
        with reserved_run(name) as folder:
            yield folder
    else:
        refuse_other_run(out, kind, resume)
        yield out


def _reserve(held: ExitStack, name: str) -> Path:
    for _ in range(_TRIES):
        out = next_run(name)
        require_out_folder(out, "`out`")
        with ExitStack() as attempt:
            try:
                attempt.enter_context(hold_output(out))
            except ConfigError:  # another was faster, and holds it now: `next_run` passes over it
                continue
            if not out.exists():
                held.push(attempt.pop_all())
                return out
    raise ConfigError(f"{out}: other processes take every new folder; give one by `out`")


def run_name(model: Path, what: str = "") -> str:
    """What a run of a model is called: after the run that the file lies in, or the file, and what is made of it.

    Args:
        model: checkpoint, int8 file or ONNX file.
        what: int8, c99, ...; empty: nothing is added.
    """
    name = _NUMBER.sub("", model.parent.name) if model.name in FILES_OF_RUNS else model.stem
    return "_".join(part for part in (name or "model", what) if part)


def refuse_other_run(out: Path, kind: str, resume: bool = False) -> None:
    """Raises ConfigError when a folder holds a run that would be overwritten or mixed with another.

    Args:
        out: folder of the new run.
        kind: train (substitute is one), quantize, evaluate, predict or deploy.
        resume: the new run goes on with one of its kind.
    """
    found = [(name, made_by) for name, made_by in _MARKS.items() if os.path.lexists(out / name)]
    if resume or kind in _REPLACING:
        found = [(name, made_by) for name, made_by in found if made_by != kind]
    for name, made_by in found[:1]:
        other = next_run(_NUMBER.sub("", out.resolve().name) or kind)
        go_on = "go on with it by `resume`, or " if made_by == kind and name.endswith("last.pt") else ""
        raise ConfigError(
            f"`out` {out}: already holds a run of {made_by} ({name}), which stays as it is; {go_on}give another "
            f"folder, for example {other}, or leave `out` out"
        )


def file_of(path: Path) -> Path:
    """The file itself, or what a run's folder holds. Raises ConfigError when there is neither."""
    if path.is_file():
        return path
    if not path.exists():
        raise ConfigError(f"{path}: no such file or folder; check the path (the current folder is {Path.cwd()})")
    found = [path / name for name in FILES_OF_RUNS if (path / name).is_file()]
    if not found:
        raise ConfigError(f"{path}: holds no {' and no '.join(FILES_OF_RUNS)}; {_advice(path)}")
    return found[0]


def _advice(folder: Path) -> str:
    """What to do where a folder was given as a model, by what it is."""
    from edgedet.data.pictures.headers import IMAGE_SUFFIXES
    from edgedet.page.deployments import is_deployment, read_deployment

    runs = [run for run in _entries(folder) if any((run / name).is_file() for name in FILES_OF_RUNS)]
    if runs:
        more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
        return f"it holds runs: give one of them, {', '.join(map(str, runs[:3]))}{more}"
    if is_deployment(folder):
        made = read_deployment(folder)
        return (
            "it is a deployment, whose sources hold the model: give the file that it was made from, "
            f"{made.model}, SHA-256 {made.model_sha256[:16]}..."
        )
    if any(path.suffix.lower() in IMAGE_SUFFIXES for path in _entries(folder)):
        return "it is a folder of images: the model comes first, the images after it"
    return "expected the folder of a finished run, or name a file"


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; of one that can't be read, nothing."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]
