"""What detections of one model say: AP, curves, confusions, worst pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask

from edgedet.evaluate.figures.coco_ap import ApResult, coco_ap
from edgedet.evaluate.figures.matches import HIT_IOU, Matches, match
from edgedet.evaluate.figures.operating_point import Aim, Operation, operation_of, together
from edgedet.evaluate.figures.reading import Sentence, read_ap
from edgedet.numerics.boxes import xyxy_to_xywh
from edgedet.page.found import Found

RIGHT, FALSE, OTHER = "right", "false", "other class"
_POINTS = 120  # of a curve; more can't be seen


@dataclass(frozen=True)
class Curve:
    """Precision, recall and F1 of a class while the score threshold falls."""

    name: str
    thresholds: tuple[float, ...]  # descending
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]


@dataclass(frozen=True)
class PictureErrors:
    """Errors in one picture at the model's threshold."""

    image_id: int
    missed: int
    false: int
    wrong_class: int
    objects: tuple[bool, ...] = ()  # of each object that is no crowd: whether it was found, in whatever class
    said: tuple[str, ...] = ()  # of each detection that reaches its threshold: RIGHT, FALSE or OTHER


@dataclass(frozen=True, eq=False)
class Judged:
    """Everything that is shown of one model's detections."""

    found: Found
    ap: ApResult
    operation: Operation
    reading: tuple[Sentence, ...]
    curves: tuple[Curve, ...]  # each class, then all together
    confusion: np.ndarray  # int64 (classes + 1, classes + 1): row what is there, column what was said; last: nothing
    errors: tuple[PictureErrors, ...]  # in the order of the images


def judge(found: Found) -> Judged:
    """Judge detections, as `edgedet evaluate` does.

    Args:
        found: of at least one image.
    """
    ap = coco_ap(found.split, found.detections, found.max_detections)
    matches = match(found.split, found.detections)
    operation = operation_of(matches, found.thresholds, Aim.parse("f1"))
    curves = tuple(_curve(one) for one in (*matches, together(matches)))
    confusion, errors = _confusion(found)
    reading = (
        read_ap(ap, operation, found.split.images, found.preprocess) if any(p.objects for p in operation.now) else ()
    )
    return Judged(found, ap, operation, reading, curves, confusion, errors)


def _curve(matches: Matches) -> Curve:
    objects, count = int(matches.objects.sum()), len(matches.scores)
    at = np.unique(np.linspace(0, count - 1, min(count, _POINTS)).astype(int)) if count else np.zeros(0, int)
    hits, kept = np.cumsum(matches.hits)[at].astype(float), at + 1.0
    return Curve(
        matches.name,
        tuple(matches.scores[at].tolist()),
        tuple((hits / kept).tolist()),
        tuple((hits / max(objects, 1)).tolist()),
        tuple((2 * hits / (kept + max(objects, 1))).tolist()),
    )


def _confusion(found: Found) -> tuple[np.ndarray, tuple[PictureErrors, ...]]:
    """Pair objects and detections by IoU whatever their classes: the best score first, equal classes preferred."""
    classes = len(found.split.class_names)
    table, errors = np.zeros((classes + 1, classes + 1), np.int64), []
    for record in found.split.images:
        seen = found.detections[record.image_id]
        strong = found.strong(record.image_id)
        boxes, labels = seen.boxes[strong], seen.labels[strong]
        pairs = _pairs(boxes, labels, seen.scores[strong], record.boxes[~record.crowd], record.labels[~record.crowd])
        truth = record.labels[~record.crowd]
        for index, target in enumerate(pairs):
            table[classes if target < 0 else truth[target], labels[index]] += 1
        missed = sorted(set(range(len(truth))) - set(pairs))
        for index in missed:
            table[truth[index], classes] += 1
        objects = tuple(index in pairs for index in range(len(truth)))
        said = tuple(
            FALSE if t < 0 else RIGHT if int(truth[t]) == int(labels[i]) else OTHER for i, t in enumerate(pairs)
        )
        errors.append(PictureErrors(record.image_id, len(missed), said.count(FALSE), said.count(OTHER), objects, said))
    return table, tuple(errors)


def _pairs(
    boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, truth: np.ndarray, truth_labels: np.ndarray
) -> list[int]:
    """For each detection the index of its object, or -1."""
    pairs = [-1] * len(boxes)
    if not len(boxes) or not len(truth):
        return pairs
    first, second = (xyxy_to_xywh(one.astype(np.float64).reshape(-1, 4)) for one in (boxes, truth))
    overlap = np.asarray(mask.iou(first, second, [0] * len(second)))
    taken: set[int] = set()
    for same in (True, False):
        for index in np.argsort(-scores, kind="stable").tolist():
            if pairs[index] >= 0:
                continue
            fits = [
                target
                for target in np.flatnonzero(overlap[index] >= HIT_IOU).tolist()
                if target not in taken and (not same or labels[index] == truth_labels[target])
            ]
            if fits:
                pairs[index] = max(fits, key=lambda target: float(overlap[index, target]))
                taken.add(pairs[index])
    return pairs
