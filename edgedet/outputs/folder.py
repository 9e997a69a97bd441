"""Folders that appear whole: new ones, and files that join those of a folder all at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedet.outputs.failures import naming_output
from edgedet.outputs.lock import hold_output
from edgedet.outputs.swap import can_swap, carry_over, move_in, names_below, put_in_place, remove_except, sync_file
from edgedet.outputs.workshop import workshop


@contextmanager
def new_folder(out: Path, seal: str) -> Iterator[Path]:
    """Give an empty folder that takes the place of `out` when the block ends well, and vanishes when it does not.

    Args:
        out: absent, empty, or what may be replaced; the caller has made sure.
        seal: name of the file in it that says what the folder is.
    Yields:
        The folder to write into.
    Raises:
        ConfigError: another process writes there.
        OutputError: it can't be written.
    """
    with _stage(out) as (real, fresh):
        known = names_below(real)
        yield fresh
        _commit(real, fresh, seal, known)


@contextmanager
def added_files(out: Path, seal: str, without: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Give an empty folder whose files join those of `out`, all at once, when the block ends well.

    Files of the same name are replaced, all others stay. Where the folder can't be exchanged (mounted, or the current
    one), the files are moved one by one, the seal last, and an older seal is removed before the first.

    Args:
        out: created when absent.
        seal: name of the file that says what the others are.
        without: names of files and folders of `out` that go at the same time.
    Yields:
        The folder to write into.
    Raises:
        ConfigError: another process writes there.
        OutputError: they can't be written; `out` is as it was.
    """
    with _stage(out) as (real, fresh):
        yield fresh
        for path in fresh.rglob("*"):
            if path.is_file():
                sync_file(path)
        known = frozenset[str]()
        if real.is_dir() and can_swap(real):
            known = names_below(real)
            carry_over(real, fresh, without)
        made = names_below(fresh)
        _commit(real, fresh, seal, known)
        for name in without:  # where files were moved one by one
            remove_except(real, name, made)


@contextmanager
def _stage(out: Path) -> Iterator[tuple[Path, Path]]:
    """The place of a folder, with links followed, and an empty one on the same file system."""
    with hold_output(out), naming_output(out):
        real = Path(os.path.realpath(out))
        beside = real if can_swap(real) else real / real.name
        with workshop(beside) as folder:
            fresh = folder / (real.name or "out")
            fresh.mkdir()
            yield real, fresh


def _commit(real: Path, fresh: Path, seal: str, known: frozenset[str]) -> None:
    if can_swap(real):
        put_in_place(fresh, real, known)
    else:
        move_in(fresh, real, seal, known)
