"""Which detections hit an object: what precision, recall and F1 at a score threshold are computed from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval

from edgedet.contracts import Detections
from edgedet.data.coco.split import CocoSplit
from edgedet.evaluate.figures.coco_ap import load_detections

HIT_IOU = 0.5  # what people mean by "found"; COCO's AP50


@dataclass(frozen=True, eq=False)
class Matches:
    """The detections of one class, best first, and the objects that they were to find."""

    name: str  # of the class
    scores: np.ndarray  # float64 (N,), descending
    hits: np.ndarray  # bool (N,), True: on an object that no better detection took
    images: np.ndarray  # int64 (N,), index of the image
    objects: np.ndarray  # int64 (images,), how many objects of the class each image shows, crowds left out


def match(split: CocoSplit, detections: Mapping[int, Detections], iou: float = HIT_IOU) -> tuple[Matches, ...]:
    """Match detections with objects as pycocotools does: the best score first, each object once.

    Detections on a crowd are neither hits nor false alarms, as in COCO's AP.

    Args:
        split: ground truth.
        detections: by image id, boxes in pixels of the image, labels as indices into `split.class_names`; these images
            are looked at.
        iou: from which on a detection hits.
    Returns:
        One entry for each class of the split.
    """
    truth, found, image_ids = load_detections(split, detections)
    judge = COCOeval(truth, found, "bbox")
    judge.params.imgIds = image_ids
    judge.params.iouThrs = np.array([iou])
    judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
    judge.params.maxDets = [max([1, *(len(one) for one in detections.values())])]
    with redirect_stdout(io.StringIO()):
        judge.evaluate()
    images = len(image_ids)
    return tuple(
        _of_class(name, judge.evalImgs[label * images : (label + 1) * images])
        for label, name in enumerate(split.class_names)
    )


def _of_class(name: str, per_image: list[dict[str, Any] | None]) -> Matches:
    """The judgements of a class, one for each image; None: neither an object nor a detection there."""
    scores, hits, images = [np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, np.int64)]
    objects = np.zeros(len(per_image), np.int64)
    for image, judged in enumerate(per_image):
        if judged is None:
            continue
        objects[image] = int(np.sum(np.array(judged["gtIgnore"]) == 0))
        counted = ~np.array(judged["dtIgnore"][0], bool)
        scores.append(np.array(judged["dtScores"], np.float64)[counted])
        hits.append(np.array(judged["dtMatches"][0])[counted] > 0)
        images.append(np.full(int(counted.sum()), image, np.int64))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return Matches(
        name, np.concatenate(scores)[order], np.concatenate(hits)[order], np.concatenate(images)[order], objects
    )
