"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgedet.errors import ConfigError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well, remove it when it does not.

    Args:
        path: final path; its folder is created when absent.
    Yields:
        A path in the same folder (so that the rename is atomic), not existing yet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        yield temporary
        os.replace(temporary, path)


def refuse_folder(path: Path, option: str) -> None:
    """Raises ConfigError when a file is to be written where a folder is; called before long work."""
    if path.is_dir():
        raise ConfigError(f"{option} {path}: is a folder, expected the name of a file")


def remove_unfinished(path: Path) -> None:
    """Remove what a process that was killed inside `atomic_path(path)` left beside `path`."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        shutil.rmtree(leftover, ignore_errors=True)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` through a temporary file in the same folder."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def atomic_write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` through a temporary file in the same folder."""
    atomic_write_bytes(path, text.encode("utf-8"))
