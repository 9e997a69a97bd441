"""Thresholds and what is counted at them, against a slow search over all thresholds and pycocotools' curves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgedet.contracts import Detections
from edgedet.data.bare_images import ground_truth_of
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.evaluate.figures.matches import Matches, match
from edgedet.evaluate.figures.operating_point import HIGHEST, LOWEST, Aim, at_threshold, operation_of, propose, together
from edgedet.evaluate.fit_thresholds import _counts


def drawn(seed: int, images: int = 12, count: int = 80) -> Matches:
    """Scores of a coarse grid, so that many are equal, as those of an int8 network are."""
    rng = np.random.default_rng(seed)
    scores = np.sort(rng.integers(1, 40, count) / 40)[::-1]
    hits = rng.random(count) < scores
    return Matches(
        "a", scores, hits, rng.integers(0, images, count), np.bincount(rng.integers(0, images, 60), minlength=images)
    )


@pytest.fixture(scope="module")
def split(tiny_coco_once: Path) -> CocoSplit:
    return DataPaths(tiny_coco_once).load("train")


def detections(split: CocoSplit, seed: int) -> dict[int, Detections]:
    """Objects moved a little, some left out, some of the wrong class, and false alarms."""
    rng = np.random.default_rng(seed)
    found = {}
    for record in split.images:
        keep = rng.random(len(record.labels)) < 0.8
        boxes = record.boxes[keep] + rng.normal(0, 3, (int(keep.sum()), 4))
        corners = rng.uniform(0, 40, (3, 2))
        boxes = np.concatenate([boxes, np.hstack([corners, corners + 20])])
        order = np.argsort(-rng.random(len(boxes)))
        scores = np.sort(rng.random(len(boxes)))[::-1]
        labels = rng.integers(0, 2, len(boxes))
        found[record.image_id] = Detections(boxes[order].astype(np.float32), scores.astype(np.float32), labels)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_match_gives_pycocotools_recall_and_precision(split: CocoSplit, seed: int) -> None:
    found = detections(split, seed)
    truth = COCO()
    truth.dataset = split.to_coco_dict()
    truth.createIndex()
    rows = [
        {
            "image_id": image,
            "category_id": split.category_ids[label],
            "bbox": [float(b[0]), float(b[1]), float(b[2] - b[0]), float(b[3] - b[1])],
            "score": float(score),
        }
        for image, one in found.items()
        for b, score, label in zip(one.boxes.astype(float), one.scores, one.labels, strict=True)
    ]
    judge = COCOeval(truth, truth.loadRes(rows), "bbox")
    judge.evaluate()
    judge.accumulate()
    for label, matches in enumerate(match(split, found)):
        hits = np.cumsum(matches.hits)
        assert hits[-1] / matches.objects.sum() == judge.eval["recall"][0, label, 0, -1]
        recall, precision = hits / matches.objects.sum(), hits / np.arange(1, len(hits) + 1)
        # accumulate() takes the highest precision at each of 101 recalls or beyond them
        envelope = [max(precision[recall >= r], default=0.0) for r in judge.params.recThrs]
        assert np.allclose(envelope, judge.eval["precision"][0, :, label, 0, -1], atol=1e-12)  # float64 sums


def test_match_crowds_are_neither_hits_nor_false_alarms(split: CocoSplit) -> None:
    record = split.images[0]
    crowd = replace(record, crowd=np.ones(len(record.labels), bool))
    found = {record.image_id: Detections(record.boxes, np.full(len(record.labels), 0.9, np.float32), record.labels)}
    truth = ground_truth_of((crowd,), split.class_names, split.category_ids)
    for matches in match(replace(split, images=(crowd,), _ground_truth=truth), found):
        assert len(matches.scores) == 0
        assert matches.objects.sum() == 0


def test_match_nothing_found(split: CocoSplit) -> None:
    empty = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    matches = match(split, {record.image_id: empty for record in split.images})
    point = at_threshold(together(matches), 0.5)
    assert (point.hits, point.false_alarms, point.objects) == (0, 0, 18)
    assert (point.precision, point.recall, point.f1) == (None, 0.0, 0.0)
    assert (point.f1_interval, point.precision_interval) == (None, None)
    operation = operation_of(matches, [0.5] * len(matches), Aim())
    rows = json.loads(json.dumps(operation.to_json()))
    assert [rows["now"][-1][key] for key in ("precision", "precision_interval", "f1_interval")] == [None] * 3
    assert rows["proposed_together"]["precision"] is None
    assert "1.000" not in operation.text()
    assert "0.000..0.000" not in operation.text()
    assert "each class at its own: precision -, recall 0.000" in operation.text()
    assert (
        _counts("int8 now", operation.now, "valid")
        == "int8 now, valid: precision -, recall 0.000 (0.000..0.000), F1 0.000"
    )
    assert propose(together(matches), Aim()) is None


def test_propose_of_false_alarms_alone_is_none_and_the_class_keeps_its_threshold() -> None:
    wrong = replace(drawn(0), hits=np.zeros(80, bool))
    assert propose(wrong, Aim()) is None
    right = replace(drawn(1), name="b")
    operation = operation_of((wrong, right), (0.3, 0.4), Aim())
    assert operation.proposed[0] is None
    assert operation.proposed[1] is not None
    assert operation.proposed_together is not None
    kept = (
        at_threshold(wrong, 0.3).false_alarms + at_threshold(right, operation.proposed[1].score_threshold).false_alarms
    )
    assert operation.proposed_together.false_alarms == kept


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("text", ["f1", "precision=0.7", "recall=0.3", "precision=0.999"])
def test_propose_is_what_a_search_over_all_thresholds_finds(seed: int, text: str) -> None:
    matches, aim = drawn(seed), Aim.parse(text)
    points = [at_threshold(matches, t) for t in np.unique(matches.scores)]
    chosen = propose(matches, aim)
    if aim.kind == "f1":
        assert chosen is not None
        assert at_threshold(matches, chosen).f1 == max(point.f1 for point in points)
        return
    reached = [p for p in points if (p.precision if aim.kind == "precision" else p.recall) >= aim.target]
    assert (chosen is None) == (not reached)
    if chosen is not None:
        point = at_threshold(matches, chosen)
        if aim.kind == "precision":
            assert point.precision >= aim.target
            assert point.recall == max(p.recall for p in reached)
        else:
            highest = max(reached, key=lambda p: p.score_threshold)
            assert (point.hits, point.false_alarms) == (highest.hits, highest.false_alarms)


def search(matches: Matches, aim: Aim) -> tuple[int, int] | None:
    """Hits and false alarms of what serves an aim best, found by counting, in whole numbers and fractions."""
    objects, best = int(matches.objects.sum()), None
    candidates = sorted({s for s in matches.scores.tolist() if LOWEST <= s <= HIGHEST}, reverse=True)
    for threshold in candidates:
        hits = false_alarms = 0
        for score, hit in zip(matches.scores.tolist(), matches.hits.tolist(), strict=True):
            if score >= threshold:
                hits, false_alarms = hits + hit, false_alarms + (not hit)
        figures = {
            "f1": Fraction(2 * hits, hits + false_alarms + objects),
            "precision": Fraction(hits, hits + false_alarms),
            "recall": Fraction(hits, objects),
        }
        value, target = figures[aim.kind], Fraction(str(aim.target))
        if aim.kind == "f1":
            if value > (best[0] if best else 0):  # of false alarms alone no threshold is the best
                best = (value, hits, false_alarms)
        elif value >= target and (aim.kind == "precision" or best is None):  # the lowest, the highest threshold
            best = (value, hits, false_alarms)
    return None if best is None else best[1:]


def close(seed: int) -> Matches:
    """Few detections, whose scores are neighbours among float32 numbers, or equal, around decimals."""
    rng = np.random.default_rng(seed)
    around = np.float32(rng.choice([0.01, 0.0101, 0.5, 0.25005, 0.9899999]))
    near = np.nextafter(around, np.float32(2)), np.nextafter(around, np.float32(0))
    scores = np.array([float(rng.choice([*near, around, 0.3, 0.002, 0.995])) for _ in range(7)])
    order = np.argsort(-scores, kind="stable")
    return Matches("a", scores[order], rng.random(7) < 0.6, rng.integers(0, 3, 7), rng.integers(2, 4, 3))


AIMS = (
    "f1",
    *(f"{kind}={target}" for kind in ("precision", "recall") for target in ("0.1", "0.5", "0.6", "0.75", "1")),
)


@pytest.mark.parametrize("text", AIMS)
@pytest.mark.parametrize("make", [close, lambda seed: drawn(seed, count=1 + seed % 30)])
def test_propose_keeps_exactly_what_counting_finds(text: str, make: Callable[[int], Matches]) -> None:
    """The threshold is used as a user types it, in decimal digits."""
    aim = Aim.parse(text)
    for seed in range(150):
        matches = make(seed)
        chosen = propose(matches, aim)
        expected = search(matches, aim)
        assert (chosen is None) == (expected is None)
        if chosen is not None:
            assert LOWEST <= chosen <= HIGHEST
            kept = matches.scores >= float(str(chosen))
            hits = int(matches.hits[kept].sum())
            assert (hits, int(kept.sum()) - hits) == expected


def test_propose_takes_more_digits_only_where_four_do_not_part_the_scores() -> None:
    def of(*scores: float) -> float | None:
        return propose(
            Matches("a", np.array(scores), np.array([True, False]), np.zeros(2, int), np.array([1])),
            Aim("precision", 1.0),
        )

    assert of(0.6, 0.2) == 0.4
    assert of(0.60004, 0.60002) == 0.60003
    assert of(0.5, np.nextafter(0.5, 0)) == 0.5


def test_propose_lies_between_two_scores() -> None:
    matches = Matches("a", np.array([0.9, 0.6, 0.2]), np.array([True, True, False]), np.zeros(3, int), np.array([2]))
    assert propose(matches, Aim()) == pytest.approx(0.4)  # middle of 0.6 and 0.2


def test_interval_holds_f1_and_shrinks_with_images() -> None:
    widths = []
    for images in (10, 1000):
        point = at_threshold(drawn(0, images, 8 * images), 0.5, seed=1)
        low, high = point.f1_interval
        assert low <= point.f1 <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3
    assert at_threshold(drawn(0), 0.5, seed=1) == at_threshold(drawn(0), 0.5, seed=1)


@pytest.mark.parametrize(
    "text", ["", "F2", "precision", "precision=0", "recall=1.5", "recall=x", "f1=0.5", "precision=nan"]
)
def test_aim_of_something_else_says_what_is_expected(text: str) -> None:
    with pytest.raises(ConfigError, match="expected f1, precision=P or recall=R"):
        Aim.parse(text)


def test_operation_reads_as_a_table_and_as_json(split: CocoSplit) -> None:
    found = detections(split, 0)
    operation = operation_of(match(split, found), (0.25,) * len(split.class_names), Aim())
    table = operation.text().splitlines()
    assert [line.split()[0] for line in table[2:5]] == ["red", "green", "all"]
    rows = operation.to_json()
    assert [row["name"] for row in rows["now"]] == ["red", "green", "all"]
    for point, row in zip(operation.now, rows["now"], strict=True):
        assert row["precision"] == point.precision == point.hits / (point.hits + point.false_alarms)
        assert row["recall"] == point.hits / point.objects
    assert operation.now[-1].hits == operation.now[0].hits + operation.now[1].hits
    assert json.loads(json.dumps(rows)) == json.loads(json.dumps(operation.to_json()))
