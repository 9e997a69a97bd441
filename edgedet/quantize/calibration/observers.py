"""What is remembered of a tensor's values during calibration.

An observer sees the values of every tensor of one shared-scale group, batch by batch, and gives the range to quantize.
Its memory does not grow with the number of images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgedet.quantize.calibration.histogram import Histogram

MOVING_AVERAGE = 0.05  # weight of each new image: the last 20 images decide nearly two thirds


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

    def end_batch(self) -> None:
        """Nothing to do: the order of images plays no role."""

    def range(self) -> tuple[float, float]:
        """(smallest, largest) value seen."""
        return float(self._low), float(self._high)

    def extremes(self) -> tuple[float, float]:
        """The same."""
        return self.range()


class MovingAverageObserver:
    """Exponential moving average of each image's smallest and largest value, in the order of the images.

    An image's extremes are taken over all tensors of the group; the split into batches plays no role.
    """

    def __init__(self) -> None:
        self._batch: tuple[Tensor, Tensor] | None = None  # float32 (N,) each, of the images of the current batch
        self._average: Tensor | None = None  # float64 (2,)
        self._seen = MinMaxObserver()

    def update(self, values: Tensor) -> None:
        """Take in one tensor (N, ...) of the current batch; NaN stays."""
        self._seen.update(values)
        low, high = torch.aminmax(values.detach().reshape(len(values), -1), dim=1)
        if self._batch is not None:
            low, high = torch.minimum(low, self._batch[0]), torch.maximum(high, self._batch[1])
        self._batch = low, high

    def end_batch(self) -> None:
        """Average the images of this batch in, one after the other."""
        if self._batch is None:
            return
        for ends in torch.stack(self._batch, dim=1).double():
            self._average = ends if self._average is None else torch.lerp(self._average, ends, MOVING_AVERAGE)
        self._batch = None

    def range(self) -> tuple[float, float]:
        """(average smallest, average largest) value."""
        if self._average is None:
            return float("inf"), float("-inf")
        low, high = self._average.tolist()
        return low, high

    def extremes(self) -> tuple[float, float]:
        """(smallest, largest) value seen."""
        return self._seen.range()


class StatisticsObserver:
    """Everything that any calibrator needs, in one pass: extremes, moving averages and a histogram."""

    def __init__(self) -> None:
        self.histogram = Histogram()
        self.moving_average = MovingAverageObserver()

    def update(self, values: Tensor) -> None:
        """Take in one tensor (N, ...) of the current batch."""
        self.histogram.add(values)
        self.moving_average.update(values)

    def end_batch(self) -> None:
        """Every tensor of the group has been taken in for this batch."""
        self.moving_average.end_batch()

    def range(self) -> tuple[float, float]:
        """(smallest, largest) value seen."""
        return self.histogram.low, self.histogram.high

    def extremes(self) -> tuple[float, float]:
        """The same."""
        return self.range()
