from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgedet.numerics.affine import choose_affine, dequantize, quantize
from edgedet.quantize.calibration.histogram import Histogram
from edgedet.quantize.calibration.ranges import (
    CANDIDATES,
    divergence,
    kl_range,
    mse_range,
    percentile_range,
    squared_error,
)

RNG = np.random.default_rng(0)
CASES = {
    "normal": RNG.normal(size=4000),
    "outlier": np.concatenate([RNG.normal(size=4000), [40.0]]),
    "both_sides": np.concatenate([RNG.normal(size=4000), [30.0, -25.0]]),
    "relu": np.maximum(RNG.normal(size=4000) * 3, 0),
    "negative": -np.abs(RNG.standard_t(2, size=3000)),
    "silu": (lambda x: x / (1 + np.exp(-x)))(RNG.normal(size=4000) * 4),
    "away_from_zero": RNG.normal(size=1000) + 20,
}


def histogram_of(values: np.ndarray, half: int = 512) -> Histogram:
    histogram = Histogram(half)
    histogram.add(torch.from_numpy(values.astype(np.float32)))
    return histogram


def brute_force(histogram: Histogram, loss) -> float:
    """Least loss over all pairs of the ends that the search may take."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    grid = np.arange(CANDIDATES, 0, -1) / CANDIDATES
    lows, highs = (grid * low if low else [0.0]), (grid * high if high else [0.0])
    return min(loss(float(a), float(b)) for a in lows for b in highs)


def slow_squared_error(values: np.ndarray, low: float, high: float) -> float:
    """Of the values themselves, through the package's oracle of quantization."""
    scale, zero_point = choose_affine(low, high)
    shown = dequantize(quantize(values, scale, zero_point), scale, zero_point).astype(np.float64)
    return float(((values - shown) ** 2).sum())


def slow_divergence(centers: np.ndarray, counts: np.ndarray, low: float, high: float) -> float:
    """Bin by bin."""
    scale, zero_point = choose_affine(low, high)
    inside = [i for i, center in enumerate(centers) if low <= center < high]
    if not inside:
        return math.inf
    p = {i: float(counts[i]) for i in inside}
    p[inside[0]] += float(counts[: inside[0]].sum())
    p[inside[-1]] += float(counts[inside[-1] + 1 :].sum())
    code = {i: min(max(round(centers[i] / scale) + zero_point, -128), 127) for i in inside}
    q = {}
    for i in inside:
        same = [j for j in inside if code[j] == code[i]]
        q[i] = sum(counts[j] for j in same) / len(same)
    total_p, total_q = sum(p.values()), sum(q.values())
    return sum(p[i] / total_p * math.log((p[i] / total_p) / (q[i] / total_q)) for i in inside)


@pytest.mark.parametrize("name", CASES)
def test_squared_error_of_the_histogram_is_that_of_the_values(name):
    values = CASES[name].astype(np.float32).astype(np.float64)
    histogram = histogram_of(values, 2048)
    for fraction in (1.0, 0.6):
        low, high = min(values.min(), 0) * fraction, max(values.max(), 0) * fraction
        # The histogram knows values to half a bin, an eighth of a code: a few per cent of the error's square.
        assert squared_error(*histogram.bins(), low, high) == pytest.approx(
            slow_squared_error(values, low, high), rel=0.08
        )


@pytest.mark.parametrize("name", CASES)
def test_divergence_equals_slow_reference(name):
    histogram = histogram_of(CASES[name], 256)
    centers, counts = histogram.bins()
    for fraction in (1.0, 0.7, 0.3):
        low, high = min(histogram.low, 0.0) * fraction, max(histogram.high, 0.0) * fraction
        fast, slow = divergence(centers, counts, low, high), slow_divergence(centers, counts, low, high)
        assert fast == pytest.approx(slow, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_mse_range_is_as_good_as_brute_force(name):
    histogram = histogram_of(CASES[name])
    centers, counts = histogram.bins()
    found = squared_error(centers, counts, *mse_range(histogram))
    assert found <= squared_error(centers, counts, min(histogram.low, 0.0), max(histogram.high, 0.0))
    # One side after the other finds the best pair, or one within a hundredth of it.
    best = brute_force(histogram, lambda low, high: squared_error(centers, counts, low, high))
    assert found <= best * 1.01


@pytest.mark.parametrize("name", ["normal", "both_sides", "relu", "silu"])
def test_kl_range_is_as_good_as_brute_force(name):
    histogram = histogram_of(CASES[name])
    centers, counts = histogram.bins()
    least = 256 * histogram.width

    def loss(low: float, high: float) -> float:
        return divergence(centers, counts, low, high) if high - low >= least else math.inf

    low, high = kl_range(histogram)
    assert high - low >= least
    assert loss(low, high) <= brute_force(histogram, loss) * 1.05 + 1e-9


def test_mse_range_cuts_an_outlier_off():
    low, high = mse_range(histogram_of(CASES["outlier"]))
    assert -5 < low < -2.5
    assert high < 40


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("percentile", [90.0, 99.0, 100.0])
def test_percentile_range_is_numpys_within_a_bin(name, percentile):
    values = CASES[name].astype(np.float32)
    histogram = histogram_of(values)
    low, high = percentile_range(histogram, percentile)
    shown = np.sort(values[values != 0])
    cut = len(shown) * (100 - percentile) / 200
    want_low, want_high = shown[math.floor(cut)], shown[len(shown) - 1 - math.floor(cut)]
    assert abs(low - min(want_low, 0)) <= histogram.width
    assert abs(high - max(want_high, 0)) <= histogram.width
    if percentile == 100:
        assert (low, high) == (min(values.min(), 0), max(values.max(), 0))


@pytest.mark.parametrize("find", [percentile_range, mse_range, kl_range])
def test_ranges_hold_zero_and_stay_inside_the_values(find):
    for values in CASES.values():
        histogram = histogram_of(values)
        low, high = find(histogram)
        assert min(histogram.low, 0) <= low <= 0 <= high <= max(histogram.high, 0)
        assert low < high


@pytest.mark.parametrize("find", [percentile_range, mse_range, kl_range])
@pytest.mark.parametrize("value", [3.0, -0.7])
def test_ranges_of_a_constant_show_it(find, value):
    low, high = find(histogram_of(np.full(10, value)))
    scale, zero_point = choose_affine(low, high)
    shown = float(dequantize(quantize(np.array(value), scale, zero_point), scale, zero_point))
    assert shown == pytest.approx(value, rel=0.02)


@pytest.mark.parametrize("find", [percentile_range, mse_range, kl_range])
def test_ranges_of_nothing_but_zeros_are_empty(find):
    assert find(histogram_of(np.zeros(5))) == (0.0, 0.0)
