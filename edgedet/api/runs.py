"""Where results go when nobody says where."""

from __future__ import annotations

from itertools import count
from pathlib import Path

RUNS = Path("runs")


def next_run(name: str) -> Path:
    """A folder in runs/ that does not exist yet: NAME-1, NAME-2, ... It is not made here."""
    return next(folder for number in count(1) if not (folder := RUNS / f"{name}-{number}").exists())
