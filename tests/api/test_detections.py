"""Detections as COCO results, as supervision's, as a picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgedet.api.detections import Detections
from edgedet.contracts import Detections as Found
from edgedet.errors import EdgedetError
from edgedet.evaluate.predict import draw_detections

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
FOUND = Detections(
    boxes=np.array([[1, 2, 11, 22], [5, 6, 9, 8], [0, 0, 64, 48]], np.float32),
    scores=np.array([0.9, 0.5, 0.25], np.float32),
    labels=np.array([1, 0, 1]),
    class_names=("cat", "dog"),
    path=None,
    size=(64, 48),
    category_ids=(7, 3),
    _pixels=PIXELS,
)


def test_iterates_over_objects_with_names() -> None:
    assert [(one.class_name, one.score, one.box) for one in FOUND] == [
        ("dog", pytest.approx(0.9), (1, 2, 11, 22)),  # float32 as float64
        ("cat", 0.5, (5, 6, 9, 8)),
        ("dog", 0.25, (0, 0, 64, 48)),
    ]
    assert len(FOUND) == 3
    assert repr(FOUND) == "<Detections in a picture in memory, 64x48: 2 dog, 1 cat>"


def test_to_coco_gives_results_in_category_ids() -> None:
    assert FOUND.to_coco(12)[1] == {"image_id": 12, "category_id": 7, "bbox": [5, 6, 4, 2], "score": 0.5}
    assert [row["category_id"] for row in FOUND.to_coco()] == [3, 7, 3]


def test_draw_is_predicts_picture_and_shows_in_notebooks() -> None:
    expected = draw_detections(PIXELS, Found(FOUND.boxes, FOUND.scores, FOUND.labels), FOUND.class_names)
    assert (np.array(FOUND.draw()) == expected).all()
    png = FOUND._repr_png_()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    import io

    assert (np.array(Image.open(io.BytesIO(png))) == expected).all()


def test_to_supervision_holds_the_same() -> None:
    supervision = pytest.importorskip("supervision")
    theirs = FOUND.to_supervision()
    assert isinstance(theirs, supervision.Detections)
    assert (theirs.xyxy == FOUND.boxes).all()
    assert theirs.class_id.tolist() == [1, 0, 1]
    assert theirs.data["class_name"].tolist() == ["dog", "cat", "dog"]
    drawn = supervision.BoxAnnotator().annotate(PIXELS.copy(), theirs)
    assert (drawn != PIXELS).any()


def test_nothing_found() -> None:
    nothing = Detections(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), ("a",), None, (4, 4)
    )
    assert list(nothing) == []
    assert nothing.to_coco() == []
    assert repr(nothing) == "<Detections in a picture in memory, 4x4: nothing>"


def test_objects_by_number_slice_list_and_mask() -> None:
    assert FOUND[0] == next(iter(FOUND))
    assert FOUND[np.int64(-1)].score == 0.25
    for which in (slice(1), [0], np.array([True, False, False]), FOUND.scores > 0.5, np.array([0])):
        some = FOUND[which]
        assert isinstance(some, Detections)
        assert list(some) == [FOUND[0]]
        assert (some.class_names, some.size, some.category_ids) == (FOUND.class_names, FOUND.size, FOUND.category_ids)
    assert len(FOUND[[]]) == 0
    assert np.array(FOUND[[]].draw()).shape == (48, 64, 3)
    for wrong in ("score", 0.5, FOUND.boxes > 3, [0.5], object()):
        with pytest.raises(EdgedetError, match="expected a number, a slice, a list of numbers or a mask"):
            FOUND[wrong]  # type: ignore[call-overload]
