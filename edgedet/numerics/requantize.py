"""Requantization of whole layers in float64, proven at construction to give the integers' bits.

The double rounding of the kernels is a staircase in the accumulator: non-decreasing, at most 255 steps. The float64
formula below is non-decreasing too. Two non-decreasing functions that agree on both sides of every step and at the ends
agree everywhere, so that comparing a few hundred accumulators per channel proves all of them. A layer whose proof fails
is computed with integers, slower and as exactly.
"""

from __future__ import annotations

import numpy as np

from edgedet.numerics.integer import requantize

_MAX_SHIFT = 22  # beyond it the step positions would not fit int64; such layers are computed with integers
_WIDTH = 256  # inner loops shorter than this cost NumPy more than their arithmetic


class Requantizer:
    """Accumulators of one layer to int8.

    The result is clip(multiply_by_quantized_multiplier(accumulator + offset) + zero_point, low, high), where
    multiply_by_quantized_multiplier is the one of `integer.py`.
    """

    def __init__(
        self,
        multiplier: np.ndarray,
        shift: np.ndarray,
        offset: np.ndarray,
        zero_point: int,
        limits: tuple[int, int],
        reach: np.ndarray,
    ) -> None:
        """Prepare and prove the constants.

        Args:
            multiplier, shift: int64 (channels,), from `quantize_multipliers`.
            offset: int64 (channels,), added to every accumulator: bias and input zero point.
            zero_point: of the output.
            limits: (smallest, largest) output code.
            reach: int64 (channels,), largest absolute accumulator that can occur.
        """
        self.multiplier, self.shift, self.offset = multiplier, shift, offset
        self.zero_point, self.limits = zero_point, limits
        low, high = limits[0] - zero_point, limits[1] - zero_point
        right = np.maximum(-shift, 0).astype(np.float64)
        second = np.where(right > 0, 2.0 ** (-right - 1), 0.0)  # how far the first rounding pulls the second's ties
        nudge = 2.0 ** (-right - 32)  # half the distance of two products: no tie is left to float rounding
        self._scale = multiplier * 2.0 ** (shift - 31.0)
        self._signed = low < 0  # steps on both sides of zero: half away from zero needs the sign
        self._start = offset * self._scale + nudge
        self._half = 0.5 + second
        if not self._signed:
            self._start += self._half - low
        self._floor, self._ceiling = (low, high) if self._signed else (0, high - low)
        self._tiled: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        self.proven = self._prove(reach)

    def __call__(self, accumulator: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
        """Requantize.

        Args:
            accumulator: float32 or float64 (rows, channels), integral, C-contiguous.
            out: int8 (rows, channels), written.
            scratch: float64 (rows, channels), C-contiguous, overwritten.
        """
        if not self.proven:
            exact = accumulator.astype(np.int64) + self.offset
            out[...] = requantize(exact, self.multiplier, self.shift, self.zero_point, *self.limits)
            return
        rows, channels = accumulator.shape
        tiles = _tiles(rows, channels)
        if tiles not in self._tiled:
            self._tiled[tiles] = (
                np.tile(self._scale, tiles),
                np.tile(self._start, tiles),
                np.tile(self._half, tiles),
            )
        wide = (rows // tiles, channels * tiles)
        self._fast(accumulator.reshape(wide), out.reshape(wide), scratch.reshape(wide), *self._tiled[tiles])

    def _fast(
        self,
        accumulator: np.ndarray,
        out: np.ndarray,
        scratch: np.ndarray,
        scale: np.ndarray,
        start: np.ndarray,
        half: np.ndarray,
    ) -> None:
        np.multiply(accumulator, scale, out=scratch)
        scratch += start
        if self._signed:
            scratch += np.copysign(half, scratch)
        np.clip(scratch, self._floor, self._ceiling, out=scratch)
        # The conversion truncates: towards zero when signed, which makes half away from zero; else of positive numbers.
        # int8 arithmetic may wrap in between; what counts is the sum modulo 256.
        np.copyto(out, scratch.astype(np.int32), casting="unsafe")
        base = self.zero_point if self._signed else self.limits[0]
        if base:
            out += np.array(base).astype(np.int8)

    def _prove(self, reach: np.ndarray) -> bool:
        if (self.shift > 0).any() or (self.shift < -_MAX_SHIFT).any() or (self.multiplier <= 0).any():
            return False
        low, high = self.limits[0] - self.zero_point, self.limits[1] - self.zero_point
        steps = np.arange(low + 1, high + 1, dtype=np.int64)[:, None]  # the result reaches `steps` at `first`
        right = -self.shift
        rounded = (steps << right) - ((np.int64(1) << right) >> 1) + ((steps <= 0) & (right > 0))
        first = -((-((rounded << 31) - (1 << 30))) // self.multiplier) - self.offset
        ends = np.stack([-reach, reach])
        probes = np.concatenate([first - 1, first, ends])
        inside = np.clip(probes, -reach, reach)
        exact = requantize(inside + self.offset, self.multiplier, self.shift, self.zero_point, *self.limits)
        codes = exact.astype(np.int64) - self.zero_point
        before, after = codes[: len(steps)], codes[len(steps) : 2 * len(steps)]
        are_steps = ((before < steps) | (first - 1 < -reach) | (first - 1 > reach)) & (
            (after >= steps) | (first > reach) | (first < -reach)
        )
        got = np.empty(inside.shape, np.int8)
        self._fast(inside.astype(np.float64), got, np.empty(inside.shape), self._scale, self._start, self._half)
        return bool(are_steps.all() and np.array_equal(got, exact))


def _tiles(rows: int, channels: int) -> int:
    """How many rows to treat as one, so that inner loops are long: a divisor of `rows`."""
    tiles = 1
    while channels * tiles < _WIDTH and rows % (tiles * 2) == 0:
        tiles *= 2
    return tiles
