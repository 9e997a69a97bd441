"""Codings of boxes: from rows to corners in pixels of the network's input. float64 throughout."""

from __future__ import annotations

import numpy as np

from edgedet.contracts import OutputSpec
from edgedet.numerics.heads.layout import Rows

MAX_EXPONENT = 50.0  # exp of it is far outside any input, and finite


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow; float64, same shape."""
    small = np.exp(-np.abs(x))
    result: np.ndarray = np.where(x >= 0, 1.0, small) / (1.0 + small)
    return result


def softmax(x: np.ndarray) -> np.ndarray:
    """exp(x) / sum(exp(x)) over the last axis; float64, same shape."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return result


def decode_boxes(rows: Rows, spec: OutputSpec, size: tuple[int, int]) -> np.ndarray:
    """Corners of the boxes of all rows.

    Args:
        rows: of the head.
        spec: output contract; `head.coding` names the formula, see `HeadSpec`.
        size: (width, height) of the network's input, px.
    Returns:
        float64 (N, 4), xyxy, px of the input, not clipped.
    """
    head, box = spec.head, rows.box.astype(np.float64)
    if head.coding == "distance":
        return _distances(box, rows, head.offset, head.bins)
    if head.coding == "ssd":
        return _ssd(box, np.array(head.anchors, np.float64).reshape(-1, 4), head.variances, size)
    if head.coding in ("xywh", "xyxy"):
        if head.unit == "normalized":
            box = box * np.array([size[0], size[1]] * 2, np.float64)
        return box if head.coding == "xyxy" else _corners(box[:, :2], box[:, 2:])
    strides = rows.strides[:, None]
    if head.coding == "yolox":
        return _corners((box[:, :2] + rows.cells) * strides, _exp(box[:, 2:]) * strides)
    inner = box if head.box_sigmoid else logistic(box)
    if head.coding == "yolov3":
        return _corners((inner[:, :2] + rows.cells) * strides, _exp(box[:, 2:]) * rows.anchors)
    assert head.coding == "yolov5", head.coding
    sides = (2.0 * inner[:, 2:]) ** 2 * rows.anchors
    return _corners((2.0 * inner[:, :2] - 0.5 + rows.cells) * strides, sides)


def _distances(box: np.ndarray, rows: Rows, offset: float, bins: int) -> np.ndarray:
    if bins:
        box = softmax(box.reshape(-1, 4, bins)) @ np.arange(float(bins))
    strides = rows.strides[:, None]
    centres = (rows.cells + offset) * strides
    return np.concatenate([centres - box[:, :2] * strides, centres + box[:, 2:] * strides], axis=1)


def _ssd(box: np.ndarray, anchors: np.ndarray, variances: tuple[float, ...], size: tuple[int, int]) -> np.ndarray:
    """Offsets (y, x, height, width) from anchors (centre y, centre x, height, width); arXiv:1512.02325, (2)."""
    coded = box / np.array(variances)
    centre = coded[:, :2] * anchors[:, 2:] + anchors[:, :2]
    sides = _exp(coded[:, 2:]) * anchors[:, 2:]
    pixels = np.array([size[1], size[0]], np.float64)
    return _corners((centre * pixels)[:, ::-1], (sides * pixels)[:, ::-1])


def _exp(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.exp(np.minimum(x, MAX_EXPONENT))
    return result


def _corners(centre: np.ndarray, sides: np.ndarray) -> np.ndarray:
    return np.concatenate([centre - sides / 2, centre + sides / 2], axis=1)
