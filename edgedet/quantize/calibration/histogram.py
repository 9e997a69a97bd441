"""A histogram of unknown range, filled in one pass: when a value does not fit, neighbouring bins are merged.

Bin widths are powers of two and 0 is always an edge, so that merging is exact: the result depends on the values alone,
not on how they were split into batches or in which order they came.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

HALF = 2048  # bins on each side of 0; of those, the side of the largest value uses at least half: 4 to 8 a code
_LEAST_WIDTH = 2.0**-100  # far below any scale that float32 and the kernels can work with


class Histogram:
    """Counts of float32 values; memory is fixed.

    Args:
        half: bins on each side of 0, even.
    """

    def __init__(self, half: int = HALF) -> None:
        if half < 2 or half % 2:
            raise ValueError(f"half must be even and at least 2, got {half}")
        self._half = half
        self._width = 0.0  # of a bin; 0 before the first value other than 0
        self._counts = np.zeros(2 * half, np.int64)  # bin i holds [(i - half) * width, (i - half + 1) * width)
        self.zeros = 0  # exact zeros, which every scale shows exactly; they are in no bin
        self.low = math.inf  # smallest value seen, exact; NaN when a value was NaN
        self.high = -math.inf  # largest value seen, exact

    def add(self, values: Tensor) -> None:
        """Count values.

        Args:
            values: float32, any shape, not empty. NaN and infinity are remembered in `low` and `high`, not counted.
        """
        values = values.detach().reshape(-1)
        least, most = (float(v) for v in torch.aminmax(values))
        self.low = math.nan if math.isnan(least) else min(self.low, least)
        self.high = math.nan if math.isnan(most) else max(self.high, most)
        if not (math.isfinite(least) and math.isfinite(most)):
            return
        if least == most == 0.0:
            self.zeros += values.numel()
            return
        self._widen(least, most)
        index = torch.floor(values * (1.0 / self._width)).to(torch.int32)
        counts = torch.bincount(index + self._half, minlength=2 * self._half).numpy().astype(np.int64)
        zeros = int((values == 0).sum())
        counts[self._half] -= zeros
        self._counts += counts
        self.zeros += zeros

    def _widen(self, least: float, most: float) -> None:
        """Merge bins pairwise until both values have one."""
        width = self._width or _LEAST_WIDTH
        if not self._width:
            # One too small at most, whatever the rounding: the loop below makes it the smallest that fits.
            width = max(width, 2.0 ** (math.frexp(max(-least, most) / self._half)[1] - 2))
        while math.floor(most / width) >= self._half or math.floor(least / width) < -self._half:
            width *= 2
            quarter = self._half // 2
            merged = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = np.zeros_like(self._counts)
            self._counts[quarter : quarter + self._half] = merged
        self._width = width

    @property
    def width(self) -> float:
        """Width of a bin, a power of two; 0 when nothing but zeros was seen."""
        return self._width

    def bins(self) -> tuple[np.ndarray, np.ndarray]:
        """Bins that hold something, without the exact zeros.

        Returns:
            Centers, float64 (n,), ascending; counts, int64 (n,), positive.
        """
        full = np.flatnonzero(self._counts)
        return (full - self._half + 0.5) * self._width, self._counts[full]
