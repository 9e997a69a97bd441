"""When a run is stopped because its loss ran away."""

from __future__ import annotations

import math

from edgedet.errors import EdgedetError

LARGEST_RISE = 100.0  # a loss this many times that of the start is no longer learning
SMALLEST_START = 0.1  # below it the start says nothing: a network that answers almost as its teacher costs almost 0


class LossWatch:
    """Compares the loss of every iteration with the first one that it saw.

    Args:
        what: is running, for the message: training, QAT.
        lr_name: of the setting to lower, as the user knows it.
        lr: its value.
    """

    def __init__(self, what: str, lr_name: str, lr: float) -> None:
        self._what, self._lr_name, self._lr = what, lr_name, lr
        self._start: float | None = None

    def check(self, step: int, loss: float, gradient: float = 0.0) -> None:
        """Look at one iteration.

        Args:
            step: number of the iteration, from 0.
            loss: of its batch.
            gradient: norm of the gradient, where an infinite one is no use.
        Raises:
            EdgedetError: loss or gradient are not finite, or the loss is `LARGEST_RISE` times that of the start (of at
                least `SMALLEST_START`).
        """
        if not math.isfinite(loss) or not math.isfinite(gradient):
            size = "" if math.isfinite(gradient) else f" and its gradient {gradient}"
            raise self._error(step, f"the loss is {loss}{size}")
        if self._start is None:
            self._start = max(loss, SMALLEST_START)
        if loss > LARGEST_RISE * self._start:
            raise self._error(
                step, f"the loss is {loss:.6g}, more than {LARGEST_RISE:g} times the {self._start:.6g} of the start"
            )

    def _error(self, step: int, found: str) -> EdgedetError:
        return EdgedetError(
            f"{found} at iteration {step + 1}: {self._what} diverged; lower {self._lr_name} (now {self._lr:g}); what "
            "earlier epochs saved is still there"
        )
