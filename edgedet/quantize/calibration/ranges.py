"""From a histogram to the range that is worth an int8 code: percentile, least squared error, least divergence.

Pure functions of a histogram; each returns (low, high) that holds 0 and lies inside the values seen. What lies outside
saturates. Ties go to the wider range.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgedet.numerics.affine import choose_affine
from edgedet.quantize.calibration.histogram import Histogram
from edgedet.quantize.fx.qparams import QMAX, QMIN

PERCENTILE = 99.99  # of the values other than 0, half of the rest is cut off at either end
CANDIDATES = 64  # ends tried on either side, evenly spaced from the extreme value down to 1/64 of it
SWEEPS = 3  # over both sides; the second rarely moves anything
_EMPTY = 1e-9  # of all values, given to a bin that the quantized distribution leaves empty: keeps the divergence finite

Range = tuple[float, float]


def percentile_range(histogram: Histogram, percentile: float = PERCENTILE) -> Range:
    """Range that holds `percentile` per cent of the values other than exact zeros.

    Args:
        histogram: finite values, at least one.
        percentile: 0 < percentile <= 100.
    Returns:
        (low <= 0, high >= 0): the edges of bins, or the extreme value.
    """
    centers, counts = histogram.bins()
    if not len(centers):
        return 0.0, 0.0
    cut = counts.sum() * (100.0 - percentile) / 200.0
    below = np.cumsum(counts)
    above = np.cumsum(counts[::-1])[::-1]
    # The outermost bins that are not cut off as a whole.
    first, last = int(np.argmax(below > cut)), len(counts) - 1 - int(np.argmax(above[::-1] > cut))
    low = max(centers[first] - histogram.width / 2, histogram.low)
    high = min(centers[last] + histogram.width / 2, histogram.high)
    return min(float(low), 0.0), max(float(high), 0.0)


def mse_range(histogram: Histogram) -> Range:
    """Range with the least squared error of the quantized values.

    Args:
        histogram: finite values, at least one.
    """
    centers, counts = histogram.bins()
    return _search(histogram, lambda low, high: squared_error(centers, counts, low, high))


def kl_range(histogram: Histogram) -> Range:
    """Range with the least Kullback-Leibler divergence between the values and the quantized values.

    Ranges of fewer bins than codes are not tried: in them the quantized distribution is the original, whatever they
    cut off. Source: Migacz, 8-bit inference with TensorRT, GTC 2017; here for affine codes, and without exact zeros.

    Args:
        histogram: finite values, at least one.
    """
    centers, counts = histogram.bins()
    least = (QMAX - QMIN + 1) * histogram.width
    return _search(
        histogram,
        lambda low, high: divergence(centers, counts, low, high) if high - low >= least else math.inf,
    )


def squared_error(centers: np.ndarray, counts: np.ndarray, low: float, high: float) -> float:
    """Summed squared error of values quantized with the scale of a range.

    Args:
        centers: float64 (n,), values.
        counts: int64 (n,), how often each.
        low: <= 0.
        high: >= 0, not both 0.
    """
    scale, zero_point = choose_affine(low, high)
    codes = np.clip(np.rint(centers / scale), QMIN - zero_point, QMAX - zero_point)
    return float(np.dot(counts, (centers - codes * scale) ** 2))


def divergence(centers: np.ndarray, counts: np.ndarray, low: float, high: float) -> float:
    """KL(P || Q) of values and quantized values, nats.

    P counts the values of each bin inside the range, with all that saturates in the outermost bin. Q is what codes
    know of it: the values inside the range, each code's count spread evenly over its bins.

    Args:
        centers: float64 (n,), ascending.
        counts: int64 (n,), positive.
        low: <= 0.
        high: >= 0, not both 0.
    """
    first, last = np.searchsorted(centers, [low, high])
    if last <= first:
        return math.inf
    inside = counts[first:last]
    p = inside.astype(np.float64)
    p[0] += counts[:first].sum()
    p[-1] += counts[last:].sum()
    scale, zero_point = choose_affine(low, high)
    codes = np.clip(np.rint(centers[first:last] / scale), QMIN - zero_point, QMAX - zero_point).astype(np.int64)
    codes -= codes[0]
    share = np.bincount(codes, inside) / np.maximum(np.bincount(codes), 1)
    q = share[codes]
    p, q = p / p.sum(), np.maximum(q / q.sum(), _EMPTY)
    return float(np.dot(p, np.log(p / q)))


def _search(histogram: Histogram, loss: Callable[[float, float], float]) -> Range:
    """Least loss over a grid of low and high ends: both by the same factor first, then one after the other."""
    full = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if full[0] == full[1]:
        return full
    fractions = np.arange(CANDIDATES, 0, -1) / CANDIDATES
    lows, highs = ([end * float(f) for f in fractions] for end in full)

    def least(candidates: list[Range]) -> Range:
        losses = [loss(*candidate) for candidate in candidates]
        return candidates[int(np.argmin(losses))]

    best = least(list(zip(lows, highs, strict=True)))
    for _ in range(SWEEPS):
        before = best
        if full[1] > 0:
            best = least([best, *((best[0], high) for high in highs)])
        if full[0] < 0:
            best = least([best, *((low, best[1]) for low in lows)])
        if best == before:
            break
    return best
