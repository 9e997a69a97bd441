"""What is remembered of a tensor's values during calibration.

An observer sees the values of every tensor of one shared-scale group, batch by batch, and gives the range to quantize.
Its memory must not grow with the number of images. Another calibrator is another class with these two methods.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Observer(Protocol):
    """What calibration needs of an observer."""

    def update(self, values: Tensor) -> None:
        """Take in one batch of float32 values of any shape."""

    def range(self) -> tuple[float, float]:
        """(low, high) to quantize; low > high when nothing was seen, NaN when a value was NaN."""


class MinMaxObserver:
    """The smallest and the largest value ever seen."""

    def __init__(self) -> None:
        self._low = torch.tensor(torch.inf)
        self._high = torch.tensor(-torch.inf)

    def update(self, values: Tensor) -> None:
        """Widen the range to hold these values; NaN stays."""
        low, high = torch.aminmax(values.detach())
        self._low = torch.minimum(self._low, low)
        self._high = torch.maximum(self._high, high)

    def range(self) -> tuple[float, float]:
        """(smallest, largest) value seen."""
        return float(self._low), float(self._high)
