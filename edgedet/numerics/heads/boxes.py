"""Codings of boxes: from rows to corners in pixels of the network's input.

C must give the same bits (`edk_detect_rows`), from a chip without an exponential. So it is done in two steps: every
number of a row becomes a value by itself, in float64 and rounded once to float32, which for int8 outputs is a table of
256; then the values become corners in float32, one rounding an operation, in the order written here. Softmaxes are sums
of float64 powers in the order of the channels.
"""

from __future__ import annotations

import numpy as np

from edgedet.contracts import OutputSpec
from edgedet.head_spec import PRIOR_CODINGS, HeadSpec
from edgedet.numerics.heads.layout import Rows

MAX_EXPONENT = 20.0  # of a side: exp of it is far outside any input, and products of two such sides are finite
MAX_NUMBER = 1e30  # of a box: finite in float32 even after a multiplication by a stride
MAX_LOGIT = 600.0  # of a softmax: powers and their sums are finite, and above 0


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow; float64, same shape."""
    small = np.exp(-np.abs(x))
    result: np.ndarray = np.where(x >= 0, 1.0, small) / (1.0 + small)
    return result


def softmax_powers(x: np.ndarray) -> np.ndarray:
    """exp(x), limited to exp(+-600); float64, same shape."""
    result: np.ndarray = np.exp(np.clip(x, -MAX_LOGIT, MAX_LOGIT))
    return result


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum(exp(x)) over the last axis, summed in its order; float64, same shape."""
    powers = softmax_powers(x)
    result: np.ndarray = powers / _sum(powers)[..., None]
    return result


def decode_boxes(rows: Rows, spec: OutputSpec, size: tuple[int, int]) -> np.ndarray:
    """Corners of the boxes of all rows.

    Args:
        rows: of the head.
        spec: output contract; `head.coding` names the formula, see `HeadSpec`.
        size: (width, height) of the network's input, px.
    Returns:
        float32 (N, 4), xyxy, px of the input, not clipped.
    """
    head = spec.head
    values = expected_bins(rows.box, head.bins) if head.bins else box_values(rows.box, head, size)
    first, second = values[:, :2], values[:, 2:]
    if head.coding == "xyxy":
        return values
    if head.coding == "xywh":
        return _corners(first, second)
    if head.coding == "ssd":
        anchors = ssd_anchors_px(head, size)
        sides = anchors[:, 2:]
        return _corners(first[:, ::-1] * sides + anchors[:, :2], second[:, ::-1] * sides)
    strides, cells = rows.strides.astype(np.float32)[:, None], rows.cells.astype(np.float32)
    if head.coding in PRIOR_CODINGS:
        centres = (cells + np.float32(head.offset)) * strides
        return np.concatenate([centres - first * strides, centres + second * strides], axis=1)
    if head.coding == "fastestdet":
        return _corners((first + cells) * strides, second)
    sides = strides if head.coding == "yolox" else rows.anchors.astype(np.float32)
    return _corners((first + cells) * strides, second * sides)


def box_values(box: np.ndarray, head: HeadSpec, size: tuple[int, int]) -> np.ndarray:
    """The first step, for codings without bins: each number of a box by itself.

    Args:
        box: float32 (N, 4), as the network gives them.
        head: whose coding holds.
        size: (width, height) of the network's input, px.
    Returns:
        float32 (N, 4): distances and offsets as they are, sides as multiples of their anchor, decoded boxes in px.
    """
    x = np.ascontiguousarray(box, np.float64)
    if head.coding == "ssd":
        x = x / np.array(head.variances)
    if head.coding in ("xywh", "xyxy") and head.unit == "normalized":
        x = x * np.array([size[0], size[1]] * 2, np.float64)
    centre, side = x, x
    if head.coding == "log_distance":
        centre = side = np.exp(np.minimum(x, MAX_EXPONENT))
    if head.coding in ("yolox", "yolov3", "ssd"):
        side = np.exp(np.minimum(x, MAX_EXPONENT))
    if head.coding in ("yolov3", "yolov5"):
        centre = x if head.box_sigmoid else logistic(x)
    if head.coding == "fastestdet":
        centre, side = np.tanh(x), logistic(x) * np.array([size[0], size[1]] * 2, np.float64)
    if head.coding == "yolov5":
        centre, side = 2.0 * centre - 0.5, (2.0 * centre) ** 2
    numbers = np.concatenate([centre[:, :2], side[:, 2:]], axis=1)
    result: np.ndarray = np.clip(numbers, -MAX_NUMBER, MAX_NUMBER).astype(np.float32)
    return result


def expected_bins(box: np.ndarray, bins: int) -> np.ndarray:
    """The first step with bins: the mean of the distribution of each side.

    Args:
        box: float32 (N, 4 * bins), logits.
        bins: of a side.
    Returns:
        float32 (N, 4), 0..bins - 1.
    """
    powers = softmax_powers(np.ascontiguousarray(box, np.float64).reshape(-1, 4, bins))
    result: np.ndarray = (_sum(powers * np.arange(float(bins))) / _sum(powers)).astype(np.float32)
    return result


def ssd_anchors_px(head: HeadSpec, size: tuple[int, int]) -> np.ndarray:
    """Anchors of head ssd, float32 (N, 4): centre x, centre y, width, height, px of an input of (width, height)."""
    anchors = np.array(head.anchors, np.float64).reshape(-1, 4)[:, [1, 0, 3, 2]]
    return (anchors * np.array([size[0], size[1]] * 2, np.float64)).astype(np.float32)


def _sum(x: np.ndarray) -> np.ndarray:
    """Sum over the last axis in its order; .sum() adds in pairs."""
    result: np.ndarray = np.add.accumulate(x, axis=-1)[..., -1]
    return result


def _corners(centre: np.ndarray, sides: np.ndarray) -> np.ndarray:
    half = sides / np.float32(2)
    return np.concatenate([centre - half, centre + half], axis=1)
