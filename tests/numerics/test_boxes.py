from __future__ import annotations

import numpy as np
import pytest

from edgedet.errors import ShapeError
from edgedet.numerics.boxes import areas, clip_boxes, decode_distances, xyxy_to_xywh


def boxes_of(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def test_areas_negative_side_gives_zero() -> None:
    assert areas(boxes_of((0, 0, 2, 3), (2, 0, 0, 3))).tolist() == [6.0, 0.0]


def test_clip_boxes_outside_moves_to_the_border_and_copies() -> None:
    boxes = boxes_of((-5, -1, 300, 90), (210, 10, 220, 20))
    clipped = clip_boxes(boxes, 200, 64)
    assert clipped.tolist() == [[0, 0, 200, 64], [200, 10, 200, 20]]
    assert clipped.dtype == np.float32
    assert boxes[0, 0] == -5


def test_decode_distances_scales_by_stride() -> None:
    boxes = decode_distances(
        boxes_of((1, 2, 3, 4), (0.5, 0, 0, 1)),
        np.array([[16, 8], [32, 64]], dtype=np.float32),
        np.array([8, 32], dtype=np.float32),
    )
    assert boxes.tolist() == [[8, -8, 40, 40], [16, 64, 32, 96]]


def test_xyxy_to_xywh_keeps_dtype() -> None:
    result = xyxy_to_xywh(np.array([[1, 2, 4, 8]], dtype=np.float64))
    assert result.tolist() == [[1, 2, 3, 6]]
    assert result.dtype == np.float64


def test_boxes_wrong_shape_names_it() -> None:
    with pytest.raises(ShapeError, match=r"expected shape \(N, 4\), found \(4,\)"):
        areas(np.zeros(4, dtype=np.float32))
    with pytest.raises(ShapeError, match=r"priors \(1, 2\).*found \(2, 2\)"):
        decode_distances(boxes_of((0, 0, 1, 1)), np.zeros((2, 2), np.float32), np.zeros(1, np.float32))
