from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgedet.quantize.calibration.histogram import Histogram


def filled(values: np.ndarray, half: int = 64, parts: int = 1) -> Histogram:
    histogram = Histogram(half)
    for part in np.array_split(values.astype(np.float32), parts):
        histogram.add(torch.from_numpy(part))
    return histogram


def reference(values: np.ndarray, half: int) -> tuple[float, dict[float, int]]:
    """Smallest power-of-two width that fits, and the count of each bin center: found the slow way."""
    width = 2.0**-60
    while any(not -half <= math.floor(v / width) < half for v in (values.min(), values.max())):
        width *= 2
    counts: dict[float, int] = {}
    for value in values.tolist():
        if value != 0:
            center = (math.floor(value / width) + 0.5) * width
            counts[center] = counts.get(center, 0) + 1
    return width, dict(sorted(counts.items()))


CASES = {
    "normal": np.random.default_rng(0).normal(size=500),
    "positive": np.abs(np.random.default_rng(1).normal(size=500)) * 1e4,
    "negative": -np.abs(np.random.default_rng(2).normal(size=500)) * 1e-4,
    "relu": np.maximum(np.random.default_rng(3).normal(size=500), 0),
    "growing": np.linspace(-1, 1, 200) * np.exp2(np.arange(200) / 10),
    "edges": np.array([1.0, -1.0, 0.5, 64.0, -64.0, 63.9999]),  # 64 does not fit into 64 bins of 1, -64 does
    "one": np.array([3.5]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("parts", [1, 3])
def test_histogram_equals_slow_reference(name, parts):
    values = CASES[name].astype(np.float32).astype(np.float64)
    histogram = filled(values, 64, min(parts, len(values)))
    width, counts = reference(values, 64)
    assert histogram.width == width
    centers, found = histogram.bins()
    assert dict(zip(centers.tolist(), found.tolist(), strict=True)) == counts
    assert histogram.zeros == int((values == 0).sum())
    assert (histogram.low, histogram.high) == (values.min(), values.max())


def test_histogram_order_of_values_plays_no_role():
    values = CASES["growing"]
    forward, backward = filled(values, 64, 7), filled(values[::-1], 64, 3)
    assert forward.width == backward.width
    for one, other in zip(forward.bins(), backward.bins(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_histogram_memory_does_not_grow():
    histogram = filled(np.arange(1, 9), 64)
    size = histogram._counts.nbytes
    for exponent in range(-40, 40):
        histogram.add(torch.full((3, 5), 2.0**exponent))
    assert histogram._counts.nbytes == size
    assert histogram.bins()[1].sum() == 8 + 80 * 15


def test_histogram_only_zeros_has_no_bins():
    histogram = filled(np.zeros(9))
    assert histogram.zeros == 9
    assert histogram.width == 0
    assert [len(part) for part in histogram.bins()] == [0, 0]
    assert (histogram.low, histogram.high) == (0, 0)


def test_histogram_nan_and_infinity_stay_visible():
    histogram = filled(np.array([1.0, np.nan]))
    histogram.add(torch.tensor([2.0]))
    assert math.isnan(histogram.low)
    assert math.isnan(histogram.high)
    assert filled(np.array([1.0, np.inf])).high == math.inf


@pytest.mark.parametrize("half", [0, 3])
def test_histogram_odd_half_is_an_error(half):
    with pytest.raises(ValueError, match="even"):
        Histogram(half)
