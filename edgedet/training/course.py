"""How long a run is and when its rate falls: planned beforehand, or decided by the AP measured so far.

Both are pure functions of settings and history, so an interrupted run goes on exactly as it would have, and all
processes of a run, which know the same AP, decide the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgedet.config import TrainConfig

# Of an open-ended run, all but the last as parts of the epochs that the recipe would take (`TrainConfig.epochs`).
MOST = 5  # the longest run
PATIENCE = 0.3  # AP has stopped rising when it did not rise for so long
TAIL = 0.25  # in which the rate falls and pictures are whole
MEASUREMENTS = 3  # of AP, at least, that patience takes
LEAST_RISE = 0.002  # of AP that counts as rising


@dataclass(frozen=True)
class Course:
    """Course of a run, as far as it is known; all numbers are epochs."""

    epochs: int  # of the whole run; while `open`, the most that it may become
    hold: int  # until which the rate stays at its peak after warm-up; 0: it falls from there at once
    weak_from: int  # first epoch (0-based) without mosaic, mixup and strong zoom
    open: bool = False  # AP decides the end, and has not yet
    waited: int = 0  # for how long AP had not risen when that was decided
    best: float = 0.0  # highest AP until then

    def news(self, epoch: int) -> str | None:
        """What is new in an epoch (0-based), for people; None: nothing."""
        if not self.hold or epoch != self.hold:
            return None
        tail = self.epochs - self.hold
        if self.open:
            return f"AP still rises, but {self.epochs} epochs are the most: annealing over the last {tail}"
        return f"AP has not risen above {self.best:.3f} for {self.waited} epochs: annealing over the last {tail}"


def planned_course(config: TrainConfig) -> Course:
    """Course of a run whose number of epochs is given."""
    return Course(config.epochs, 0, config.epochs - round(config.epochs * config.close_mosaic))


def open_course(config: TrainConfig, measured: Iterable[tuple[int, float]]) -> Course:
    """Course of a run that ends when AP no longer rises.

    Args:
        config: its `epochs` are those of a planned run.
        measured: epoch (1-based) and AP, in order; those after the decision do not change it.
    """
    tail = max(1, round(TAIL * config.epochs))
    patience = max(MEASUREMENTS * config.eval_interval, round(PATIENCE * config.epochs))
    last_hold = MOST * config.epochs - tail
    best, risen = 0.0, 0  # AP that counted as the last rise, and its epoch
    for epoch, ap in measured:
        if epoch >= last_hold:
            break
        if ap > best + LEAST_RISE:
            best, risen = ap, epoch
        waited = epoch - risen
        # A network that finds nothing yet has not stopped rising: it gets as long as a planned run.
        if waited >= patience and (best > 0 or epoch >= config.epochs):
            return Course(epoch + tail, epoch, epoch, waited=waited, best=best)
    return Course(last_hold + tail, last_hold, last_hold, open=True)
