"""What a layer's int8 values are compared by: sums that grow picture by picture, and the damage at the outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgedet.numerics.heads.boxes import MAX_EXPONENT
from edgedet.quantize.fx.qparams import LIMITS

SATURATED_SHARE = 0.01  # of a channel's values beyond the range, above which the channel counts as saturated


class Similarity:
    """Signal to quantization noise ratio and cosine of float values and their int8 form, over all pictures."""

    def __init__(self) -> None:
        self._signal = self._noise = self._other = self._product = 0.0

    def add(self, reference: np.ndarray, other: np.ndarray) -> None:
        """Take float32 arrays of the same shape."""
        a, b = reference.astype(np.float64).ravel(), other.astype(np.float64).ravel()
        self._signal += float(a @ a)
        self._other += float(b @ b)
        self._product += float(a @ b)
        self._noise += float((a - b) @ (a - b))

    @property
    def sqnr_db(self) -> float:
        """10 log10(signal power / noise power); infinite without noise."""
        if self._noise == 0:
            return math.inf
        return 10 * math.log10(self._signal / self._noise) if self._signal > 0 else -math.inf

    @property
    def cosine(self) -> float:
        """-1..1; 1 for two zero tensors."""
        power = math.sqrt(self._signal * self._other)
        if power == 0:
            return 1.0 if self._signal == self._other else 0.0
        return self._product / power


class RangeUse:
    """How a tensor's values fill the range of its type.

    Args:
        scale: of the tensor.
        zero_point: of the tensor.
        channels: last axis of the tensor.
        bits: 8 or 16.
    """

    def __init__(self, scale: float, zero_point: int, channels: int, bits: int = 8) -> None:
        low, high = LIMITS[bits]
        self._steps = high - low
        self._low, self._high = ((code - zero_point) * scale for code in (low - 0.5, high + 0.5))
        self._smallest = np.full(channels, high, np.int64)
        self._largest = np.full(channels, low, np.int64)
        self._beyond = np.zeros(channels, np.int64)
        self._values = 0  # of one channel

    def add(self, reference: np.ndarray, codes: np.ndarray) -> None:
        """Take float32 values before rounding and the codes that the chip computed, both (..., C)."""
        values, codes = reference.reshape(-1, reference.shape[-1]), codes.reshape(-1, codes.shape[-1])
        self._smallest = np.minimum(self._smallest, codes.min(axis=0))
        self._largest = np.maximum(self._largest, codes.max(axis=0))
        self._beyond += ((values < self._low) | (values > self._high)).sum(axis=0)
        self._values += len(values)

    @property
    def range_use(self) -> float:
        """Part of the steps (255, or 65535) between the smallest and the largest code, 0..1."""
        return float(self._largest.max() - self._smallest.min()) / self._steps

    @property
    def clipped(self) -> float:
        """Part of the float values that lie beyond the range by more than half a step, 0..1."""
        return float(self._beyond.sum()) / (self._values * len(self._beyond))

    @property
    def dead_channels(self) -> int:
        """Channels whose code never changes."""
        return int(np.count_nonzero(self._largest == self._smallest))

    @property
    def saturated_channels(self) -> int:
        """Channels with more than `SATURATED_SHARE` of their float values beyond the range."""
        return int(np.count_nonzero(self._beyond > SATURATED_SHARE * self._values))


def output_damage(reference: Sequence[Tensor], other: Sequence[Tensor], log_boxes: bool = False) -> float:
    """How far a detector's outputs moved, as a loss that is 0 when they did not: a stand-in for AP without labels.

    Per picture: Kullback-Leibler divergence of the class scores, summed over cells and classes (nats), plus
    (1 - IoU) of the boxes, each weighted with the cell's best score in the reference.

    Args:
        reference: cls_8, box_8, ...: float32 (N, C or 4, H, W); logits and ltrb distances.
        other: the same from the changed network.
        log_boxes: the boxes are logarithms of the distances.
    Returns:
        Mean over the pictures, at least 0.
    """
    total = 0.0
    for cls, box, other_cls, other_box in zip(reference[::2], reference[1::2], other[::2], other[1::2], strict=True):
        scores = cls.double().sigmoid()
        divergence = F.binary_cross_entropy_with_logits(other_cls.double(), scores, reduction="sum")
        divergence -= F.binary_cross_entropy_with_logits(cls.double(), scores, reduction="sum")
        sides, other_sides = box.double(), other_box.double()
        if log_boxes:
            sides, other_sides = sides.clamp(max=MAX_EXPONENT).exp(), other_sides.clamp(max=MAX_EXPONENT).exp()
        apart = 1 - _iou(sides, other_sides)
        total += max(float(divergence), 0.0) + float((apart * scores.amax(1)).sum())
    return total / len(reference[0])


def _iou(one: Tensor, other: Tensor) -> Tensor:
    """IoU of the boxes that two sets of ltrb distances span around the same cells: (N, 4, H, W) -> (N, H, W)."""
    one, other = one.clamp(min=0), other.clamp(min=0)
    common = torch.minimum(one, other)
    overlap = (common[:, 0] + common[:, 2]) * (common[:, 1] + common[:, 3])
    areas = [(d[:, 0] + d[:, 2]) * (d[:, 1] + d[:, 3]) for d in (one, other)]
    union = areas[0] + areas[1] - overlap
    # Two empty boxes are the same box.
    return torch.where(union > 0, overlap / union.clamp(min=1e-12), torch.ones_like(union))
