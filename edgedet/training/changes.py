"""Whether somebody changes the data set while a run reads it."""

from __future__ import annotations

import os
from pathlib import Path

from edgedet.data.coco.split import CocoSplit


class DataWatch:
    """Remembers size and time of every image of some splits, and says when they are no longer the same.

    Pixels are not read: an image that keeps its size and time counts as unchanged. Annotations are read once, before
    the run, and compared when it is resumed.

    Args:
        splits: of the run.
    """

    def __init__(self, *splits: CocoSplit) -> None:
        self._stamps = {record.path: _stamp(record.path) for split in splits for record in split.images}

    def warning(self) -> str:
        """What to say about files that changed since the last call, or vanished; empty: none."""
        changed = []
        for path, before in self._stamps.items():
            now = _stamp(path)
            if now != before:
                changed.append(path)
                self._stamps[path] = now
        if not changed:
            return ""
        return (
            f"warning: {len(changed)} images changed during training, first {changed[0]}: epochs before "
            "and after do not see the same pictures; start anew for a run that can be repeated"
        )


def _stamp(path: Path) -> tuple[int, int] | None:
    """Bytes and time of change, ns; None: it can't be seen."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
