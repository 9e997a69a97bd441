"""Boxes as corner coordinates (xyxy): clipping, areas, intersection over union, conversions."""

from __future__ import annotations

import numpy as np

from edgedet.errors import ShapeError


def check_boxes(boxes: np.ndarray, name: str = "boxes") -> None:
    """Raise ShapeError unless `boxes` is (N, 4)."""
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError(f"{name}: expected shape (N, 4), found {boxes.shape}; pass one row per box")


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas of boxes; 0 where a side is negative.

    Args:
        boxes: float (N, 4), xyxy, px.
    Returns:
        (N,), px squared, dtype of `boxes`.
    Raises:
        ShapeError: not (N, 4).
    """
    check_boxes(boxes)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    result: np.ndarray = sides[:, 0] * sides[:, 1]
    return result


def clip_boxes(boxes: np.ndarray, width: float, height: float) -> np.ndarray:
    """Move corners that lie outside an image onto its border.

    Args:
        boxes: float (N, 4), xyxy, px.
        width: right border, px.
        height: bottom border, px.
    Returns:
        (N, 4), a copy, x in 0..width, y in 0..height, dtype of `boxes`.
    Raises:
        ShapeError: not (N, 4).
    """
    check_boxes(boxes)
    limit = np.array([width, height, width, height], dtype=boxes.dtype)
    result: np.ndarray = np.minimum(np.maximum(boxes, 0), limit)
    return result


def decode_distances(distances: np.ndarray, priors: np.ndarray, strides: np.ndarray) -> np.ndarray:
    """Turn left/top/right/bottom distances into corner boxes.

    Args:
        distances: float32 (N, 4), in units of the stride.
        priors: float32 (N, 2), px, (x, y).
        strides: float32 (N,), px per cell.
    Returns:
        float32 (N, 4), px, xyxy, not clipped.
    Raises:
        ShapeError: the lengths differ.
    Source: RTMDet, arXiv:2212.07784.
    """
    check_boxes(distances, "distances")
    if priors.shape != (len(distances), 2) or strides.shape != (len(distances),):
        raise ShapeError(
            f"decode_distances: distances {distances.shape} need priors {(len(distances), 2)} and strides "
            f"{(len(distances),)}; found {priors.shape} and {strides.shape}"
        )
    lengths = distances * strides[:, None]
    return np.concatenate([priors - lengths[:, :2], priors + lengths[:, 2:]], axis=1)


def xyxy_to_xywh(boxes: np.ndarray) -> np.ndarray:
    """Corner boxes to COCO's (left, top, width, height).

    Args:
        boxes: float (N, 4), xyxy.
    Returns:
        (N, 4), a copy, dtype of `boxes`.
    Raises:
        ShapeError: not (N, 4).
    """
    check_boxes(boxes)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
