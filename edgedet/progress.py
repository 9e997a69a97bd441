"""Progress on stderr: a bar in a terminal when rich is installed, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edgedet.terminal import is_quiet

Progress = Callable[[int, int], None]  # (done, in all)

_PLAIN_LINES = 5  # per run
_PLAIN_SECONDS = 30.0  # a line after so long at the latest
_WORTH_A_RATE = 1.0  # seconds between two lines; below nobody waits


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
        rich_progress.TextColumn("{task.fields[rate]}"),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, rate="")

        def update(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, rate=_rate(bar.tasks[0].speed, unit))

        yield update


def _rate(per_second: float | None, unit: str) -> str:
    """How fast it goes, in the unit that gives a number above 1."""
    if not per_second:
        return ""
    return f"{per_second:.1f} {unit}/s" if per_second >= 1 else f"{1 / per_second:.1f} s each"


def _plain(title: str, unit: str) -> Progress:
    last = [0, time.monotonic()]  # of the last line: how many were done, and when

    def report(done: int, total: int) -> None:
        now = time.monotonic()
        passed = now - last[1]
        due = done == total or done % max(1, -(-total // _PLAIN_LINES)) == 0
        if not due and passed < _PLAIN_SECONDS:
            return
        line = f"{title}: {done}/{total} {unit}"
        if passed >= _WORTH_A_RATE and done > last[0]:
            each = passed / (done - last[0])
            line += f", {_rate(1 / each, unit)}"
            line += f", {_duration(each * (total - done))} left" if done < total else ""
        last[:] = done, now
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    return report


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


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
