"""Each rule speaks when its numbers are there, and is silent otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgedet.contracts import PreprocessSpec
from edgedet.data.coco.split import ImageRecord
from edgedet.evaluate.figures.coco_ap import ApResult, ClassAp
from edgedet.evaluate.figures.operating_point import ALL, OperatingPoint, Operation
from edgedet.evaluate.figures.reading import finds_nothing, input_sides, read_ap

GOOD = ApResult(
    ap=0.6, ap50=0.85, ap75=0.65, ap_small=0.5, ap_medium=0.6, ap_large=0.65,
    stats=(0.6, 0.85, 0.65, 0.5, 0.6, 0.65, 0.3, 0.65, 0.7, 0.6, 0.7, 0.75), table="",
    per_class=(ClassAp("cat", 0.62, 0.9), ClassAp("dog", 0.58, 0.8)),
)  # fmt: skip


def point(
    name: str = ALL, threshold: float = 0.25, hits: int = 90, interval: tuple[float, float] = (0.88, 0.92)
) -> OperatingPoint:
    return OperatingPoint(name, threshold, 100, hits, 10, interval)


WORKS = Operation("the best F1", (point("cat"), point("dog"), point()), (None, None, point(threshold=0.3)))
SPEC = PreprocessSpec(width=192, height=192)


def record(width: int, height: int, *boxes: tuple[float, float, float, float]) -> ImageRecord:
    count = len(boxes)
    shaped = np.array(boxes, np.float32).reshape(-1, 4)
    zeros = np.zeros(count, np.int64)
    return ImageRecord(1, Path("a.png"), width, height, shaped, zeros, zeros.astype(bool), np.ones(count, np.float32))


LARGE = (record(192, 192, (0, 0, 50, 60)),) * 10


def says(ap: ApResult = GOOD, operation: Operation = WORKS, records: tuple[ImageRecord, ...] = LARGE) -> list[str]:
    return [sentence.text() for sentence in read_ap(ap, operation, records, SPEC)]


def test_nothing_stands_out() -> None:
    assert says() == []


def test_untrained_model_hears_only_that() -> None:
    (text,) = says(replace(GOOD, ap=0.004, ap75=0.0))
    assert text.startswith("The model finds next to nothing (AP 0.004). Try: more epochs")


def test_untrained_model_hears_of_too_few_pictures_too() -> None:
    nothing, few = says(replace(GOOD, ap=0.004, ap75=0.0), records=LARGE[:4])
    assert nothing.startswith("The model finds next to nothing")
    assert few.startswith("These are too few pictures to say how good the model is (4 of at least 10)")


def test_loose_boxes() -> None:
    (text,) = says(replace(GOOD, ap75=0.2))
    assert "fit loosely (AP50 0.850, AP75 0.200)" in text


def test_small_objects_name_the_size_to_try() -> None:
    small = (record(384, 384, (0, 0, 16, 40), (0, 0, 16, 16), (0, 0, 200, 200)),) * 10  # 8, 8 and 100 px at the input
    (text,) = says(replace(GOOD, ap_small=0.1), records=small)
    assert "67 % of the objects have a side below 16 px at the input of 192x192" in text
    assert "`imgsz` 384x384, which costs 4.0 times the operations" in text
    assert says(replace(GOOD, ap_small=0.1), records=LARGE) == []  # small in the original, not at the input
    assert says(replace(GOOD, ap_small=-1.0), records=small) == []  # none in the ground truth


LAGS = replace(GOOD, per_class=(ClassAp("cat", 0.62, 0.9), ClassAp("dog", 0.1, 0.2), ClassAp("elk", -1, -1)))


def test_class_that_lags_is_named_with_its_objects() -> None:
    (text,) = says(LAGS)
    assert text.startswith("Some classes are far behind, though they are neither small nor few")
    assert "dog AP 0.100 of 100 objects; cat AP 0.620 of 100" in text
    assert "elk" not in text


def test_class_that_lags_and_is_rare_wants_more_pictures() -> None:
    rare = replace(WORKS, now=(point("cat"), replace(point("dog"), objects=20), point()))
    (text,) = says(LAGS, rare)
    assert text.startswith("Classes of few objects are far behind (dog AP 0.100 of 20 objects; cat AP 0.620 of 100)")
    assert "Try: more pictures of them" in text


def test_class_that_lags_and_is_small_wants_a_larger_input_and_not_more_pictures() -> None:
    """Also where it is rare: pictures that show it at 8 px would not help."""
    both = record(192, 192, (0, 0, 50, 60), (0, 0, 8, 30))
    records = (replace(both, labels=np.array([0, 1])),) * 10
    rare = replace(WORKS, now=(point("cat"), replace(point("dog"), objects=20), point()))
    for operation, objects in ((WORKS, 100), (rare, 20)):
        (text,) = says(LAGS, operation, records)
        assert text.startswith(
            f"Classes of small objects are far behind (dog AP 0.100 of {objects} objects, half of them with a side of "
            "at most 8 px at the input; cat AP 0.620 of 100). Try: `imgsz` 384x384"
        )
        assert "more pictures" not in text


def test_located_but_ranked_wrongly() -> None:
    (text,) = says(replace(GOOD, ap=0.3))
    assert "(AR 0.700, AP 0.300)" in text


@pytest.mark.parametrize(("threshold", "kind"), [(0.4, "low"), (0.1, "high")])
def test_threshold_that_costs_f1(threshold: float, kind: str) -> None:
    better = replace(WORKS, proposed=(None, None, point(threshold=threshold, hits=99)))
    (text,) = says(operation=better)
    assert f"too {kind}" in text
    assert f"--score-threshold {threshold} --out" in text


def test_few_pictures() -> None:
    (text,) = says(operation=replace(WORKS, now=(point(interval=(0.7, 0.95)),)))
    assert "F1 of other 10 pictures of the kind would lie in 0.700..0.950" in text


def test_input_sides_follow_the_resize() -> None:
    records = (record(384, 192, (0, 0, 40, 30)), record(100, 100))
    assert input_sides(records, SPEC).tolist() == [15.0]  # letterbox: halved both ways
    assert input_sides(records, replace(SPEC, resize="stretch")).tolist() == [20.0]


def test_too_few_pictures_are_said_however_narrow_their_interval_is() -> None:
    one = Operation("the best F1", (point("cat"), point("dog"), point(interval=(1.0, 1.0))), WORKS.proposed)
    (text,) = says(operation=one, records=LARGE[:1])
    assert text == (
        "These are too few pictures to say how good the model is (1 of at least 10). Try: more pictures in this split."
    )
    assert says(operation=one, records=LARGE) == []


def test_finds_nothing_speaks_of_an_ap_that_was_measured() -> None:
    assert finds_nothing(-1.0) is None  # no object to find
    assert finds_nothing(0.01) is None
    for ap in (0.0, 0.0099):
        assert finds_nothing(ap) is not None
