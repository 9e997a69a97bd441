from __future__ import annotations

import numpy as np
import pytest
import torch

from edgedet.quantize.calibration.observers import (
    MOVING_AVERAGE,
    MinMaxObserver,
    MovingAverageObserver,
    StatisticsObserver,
)


def images(count: int = 9) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(count, 3, 4, 5)).astype(np.float32))


def show(observer, batches, tensors=lambda batch: [batch]):
    for batch in batches:
        for tensor in tensors(batch):
            observer.update(tensor)
        observer.end_batch()
    return observer


def slow_average(tensors: list[list[np.ndarray]]) -> tuple[float, float]:
    """Image by image: extremes over all tensors of the group, then the recursion."""
    low = high = None
    for image in tensors:
        least, most = min(float(t.min()) for t in image), max(float(t.max()) for t in image)
        low = least if low is None else (1 - MOVING_AVERAGE) * low + MOVING_AVERAGE * least
        high = most if high is None else (1 - MOVING_AVERAGE) * high + MOVING_AVERAGE * most
    return low, high


@pytest.mark.parametrize("batch", [1, 4, 9])
def test_moving_average_equals_slow_reference_for_any_batching(batch):
    x = images()
    found = show(MovingAverageObserver(), x.split(batch), lambda b: [b, b * 2 + 1]).range()
    want = slow_average([[i.numpy(), (i * 2 + 1).numpy()] for i in x])
    assert found == pytest.approx(want, rel=1e-6)


def test_moving_average_of_nothing_is_empty():
    low, high = MovingAverageObserver().range()
    assert low > high


@pytest.mark.parametrize("observer", [MinMaxObserver, MovingAverageObserver, StatisticsObserver])
def test_observers_nan_stays(observer):
    x = images()
    x[2, 0, 0, 0] = torch.nan
    assert all(np.isnan(end) for end in show(observer(), x.split(2)).range())


def test_statistics_observer_sees_what_the_single_observers_see():
    x = images()
    both = show(StatisticsObserver(), x.split(4))
    assert both.range() == show(MinMaxObserver(), x.split(4)).range()
    assert both.moving_average.range() == show(MovingAverageObserver(), x.split(4)).range()
    assert both.histogram.bins()[1].sum() + both.histogram.zeros == x.numel()
