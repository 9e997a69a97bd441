from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from edgedet.data.coco.facts import corner_example, misread_boxes

SIZES = np.full((40, 2), [128.0, 96.0])


def boxes(count: int = 40) -> np.ndarray:
    """xywh inside 128x96, spread over the image."""
    rng = np.random.default_rng(0)
    sides = rng.uniform(8, 40, (count, 2))
    return np.concatenate([rng.uniform(0, SIZES[:count] - sides), sides], axis=1)


def corners(xywh: np.ndarray) -> np.ndarray:
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def normalized(xywh: np.ndarray) -> np.ndarray:
    return xywh / np.tile(SIZES[: len(xywh)], 2)


def test_misread_boxes_right_ones_give_nothing() -> None:
    assert misread_boxes(boxes(), SIZES) == ""
    assert misread_boxes(np.zeros((0, 4)), np.zeros((0, 2))) == ""


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (normalized, "lie in 0..1"),
        (lambda b: normalized(corners(b)), "lie in 0..1"),
        (lambda b: np.concatenate([normalized(b)[:30], b[30:]]), "30 of 40 boxes lie in 0..1"),
        (corners, r"taken for corners \(x1, y1, x2, y2\); "),
        (lambda b: np.round(corners(b)), "taken for corners"),
        (lambda b: np.concatenate([b[:, :2] + b[:, 2:], -b[:, 2:]], 1), "negative widths"),
        (lambda b: np.concatenate([b[:, :2] + b[:, 2:] / 2, b[:, 2:]], 1), "for the centre"),
        # a YOLO row of corners, read as centre and size
        (lambda b: np.concatenate([b[:, :2] - (b[:, :2] + b[:, 2:]) / 2, b[:, :2] + b[:, 2:]], 1), "rows are taken"),
    ],
)  # fmt: skip
def test_misread_boxes_names_the_likely_cause(make: Callable[[np.ndarray], np.ndarray], cause: str) -> None:
    assert re.search(cause, misread_boxes(make(boxes()), SIZES))


def test_misread_boxes_parts_of_hundred_and_thousand_are_named() -> None:
    large = np.full((40, 2), [640.0, 480.0])
    small_px = boxes() * [640 / 128, 480 / 96, 640 / 128, 480 / 96]
    percent, thousandths = normalized(boxes()) * 100, normalized(boxes()) * 1000
    assert "look like percent" in misread_boxes(percent, large)
    assert "for thousandths" in misread_boxes(thousandths, large)
    assert "for corners in thousandths" in misread_boxes(corners(thousandths), large)
    assert misread_boxes(small_px, large) == ""
    assert misread_boxes(percent[:19], large[:19]) == ""  # too few to tell
    assert misread_boxes(percent, np.full((40, 2), [200.0, 160.0])) == ""  # an ordinary place


def test_misread_boxes_objects_that_stay_in_a_corner_are_right() -> None:
    rng = np.random.default_rng(2)
    logos = np.concatenate([rng.uniform(0, 20, (40, 2)), rng.uniform(60, 80, (40, 2))], axis=1)
    assert misread_boxes(logos, np.full((40, 2), [640.0, 480.0])) == ""


def test_misread_boxes_y_before_x_is_named() -> None:
    wide = np.full((40, 2), [400.0, 96.0])
    spread = boxes() * [3, 1, 3, 1]
    assert "y is taken to stand before x" in misread_boxes(spread[:, [1, 0, 3, 2]], wide)


def test_misread_boxes_few_sloppy_boxes_are_no_proof() -> None:
    sloppy = boxes()
    sloppy[:8, 2] += 130  # a fifth reaches out
    assert misread_boxes(sloppy, SIZES) == ""
    two = np.array([[60.0, 40, 100, 80], [70, 50, 120, 90]])
    assert misread_boxes(two, SIZES[:2]) == ""


def test_misread_boxes_of_two_tools_are_named_and_objects_that_reach_out_are_not() -> None:
    mixed = boxes()
    mixed[::2] = corners(mixed)[::2]
    assert re.search(r"of 40 boxes reach far out .* taken for corners", misread_boxes(mixed, SIZES))
    parts = boxes()
    parts[::10] = normalized(parts)[::10]
    assert "4 of 40 boxes lie in 0..1, the others do not" in misread_boxes(parts, SIZES)
    marks = boxes()
    marks[::10] = [0, 0, 1, 1]  # as some tools mark pictures without an object
    assert misread_boxes(marks, SIZES) == ""
    hidden = boxes()  # whole bodies, of which the border hides a part
    hidden[:, 2:] *= 2
    hidden[:, :2] -= hidden[:, 2:] / 4
    assert misread_boxes(hidden, SIZES) == ""


def test_misread_boxes_of_larger_pictures_are_named() -> None:
    assert re.search(
        r"of 40 boxes lie wholly outside their images, up to 3\.\d+ times", misread_boxes(boxes() * 4, SIZES)
    )


def test_corner_example_speaks_of_boxes_that_spread_over_a_corner() -> None:
    assert re.fullmatch(r"the left 4\d % and the upper 4\d % of their images", corner_example(boxes() * 0.45, SIZES))
    assert corner_example(boxes(), SIZES) == ""
    assert corner_example(boxes()[:19] * 0.45, SIZES[:19]) == ""  # too few to tell
    logos = np.tile([4.0, 4.0, 20.0, 20.0], (40, 1)) + np.random.default_rng(3).uniform(0, 3, (40, 4))
    assert corner_example(logos, SIZES) == ""


def test_misread_boxes_one_large_object_in_each_image_is_right() -> None:
    rng = np.random.default_rng(1)
    start = rng.uniform(0, 10, (40, 2))
    assert misread_boxes(np.concatenate([start, SIZES - start - rng.uniform(0, 10, (40, 2))], axis=1), SIZES) == ""


def test_misread_boxes_huge_numbers_do_not_overflow() -> None:
    huge = boxes()
    huge[:, 2] = 1.7e308
    assert misread_boxes(huge, SIZES) == ""
