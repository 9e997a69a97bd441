"""Progress on stderr: a bar in a terminal when rich is installed, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgedet.terminal import is_quiet

Progress = Callable[[int, int], None]  # (done, in all)

_PLAIN_LINES = 5  # per run


@contextmanager
def show_progress(title: str, unit: str = "images") -> Iterator[Progress]:
    """Give a callback that shows how far a loop is.

    Args:
        title: what is going on, for example `evaluate`.
        unit: what is counted, in the plural.
    Yields:
        A function of (units done, units in all).
    """
    if is_quiet():
        yield lambda done, total: None
        return
    if not sys.stderr.isatty():
        yield _plain(title, unit)
        return
    try:  # only looks differ without it
        from rich import progress as rich_progress
        from rich.console import Console
    except ModuleNotFoundError:
        yield _plain(title, unit)
        return
    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain(title: str, unit: str) -> Progress:
    def report(done: int, total: int) -> None:
        if done == total or done % max(1, -(-total // _PLAIN_LINES)) == 0:
            sys.stderr.write(f"{title}: {done}/{total} {unit}\n")
            sys.stderr.flush()

    return report


class Stopwatch:
    """Wall-clock seconds of consecutive steps."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self.laps: list[tuple[str, float]] = []

    def seconds(self) -> float:
        """Since the last call, or since the start."""
        now = time.perf_counter()
        passed, self._since = now - self._since, now
        return passed

    def lap(self, name: str) -> None:
        """End a step."""
        self.laps.append((name, self.seconds()))
