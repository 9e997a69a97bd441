"""Hidden folders in which outputs are made, and what is left of them after a process was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedet.outputs.names import SUFFIX, is_workshop, stem_of


@contextmanager
def workshop(path: Path) -> Iterator[Path]:
    """An empty hidden folder beside `path`, removed at the end.

    It is locked while it is in use: `remove_leftovers` takes those of dead processes only.

    Args:
        path: of the output; its folder exists.
    Yields:
        The folder, on the same file system.
    """
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{stem_of(path)}.", suffix=SUFFIX, dir=path.parent))
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # a neighbour took it for a leftover before it was locked
        _try_lock(handle)
        if folder.is_dir():
            break
        os.close(handle)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # what can't be removed now is a leftover for the next run
        os.close(handle)


def dead_workshops(path: Path) -> list[Path]:
    """Hidden folders beside an output, whose processes were killed."""
    return [folder for folder in _workshops(path.parent, path) if _is_dead(folder)]


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes left beside an output, and, when it is a folder, inside it."""
    for folder in (*_workshops(path.parent, path), *_workshops(path, None)):
        if _is_dead(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _workshops(place: Path, owner: Path | None) -> list[Path]:
    """Hidden folders in a folder, of one output or of all."""
    if not place.is_dir():
        return []
    with os.scandir(place) as entries:
        return [
            Path(entry.path)
            for entry in entries
            if is_workshop(entry.name, owner) and entry.is_dir(follow_symlinks=False)
        ]


def _is_dead(folder: Path) -> bool:
    """True when no process works there: the lock that it would hold ended with it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False  # gone meanwhile, or another user's
    try:
        return _try_lock(handle)
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    """False when another process has it; file systems without such locks can't tell, so nothing is removed there."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
