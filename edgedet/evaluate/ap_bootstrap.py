"""How much the AP of two models on the same images may differ by chance."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout

import numpy as np
from pycocotools.cocoeval import COCOeval

from edgedet.contracts import Detections
from edgedet.data.coco.split import CocoSplit
from edgedet.evaluate.detect import detect_records
from edgedet.evaluate.evaluator import COCO_SCORE_THRESHOLD, match_classes
from edgedet.evaluate.figures.coco_ap import load_detections
from edgedet.runtimes.protocol import Runtime

ROUNDS = 200


def ap_difference_error(first: Runtime, second: Runtime, split: CocoSplit, seed: int = 0) -> float:
    """Standard error of the difference of two APs: a bootstrap over images, which are the same for both in each round.

    Args:
        first, second: models with the same classes.
        split: images and ground truth, at least one image.
        seed: of the draws.
    Returns:
        Standard deviation of AP (IoU 0.50:0.95) of `second` less that of `first` over `ROUNDS` draws; 0: no difference.
    """
    judges = [_judge(runtime, split) for runtime in (first, second)]
    rng = np.random.default_rng(seed)
    differences = []
    for _ in range(ROUNDS):
        drawn = rng.integers(0, len(split.images), len(split.images)).tolist()
        one, other = (_ap_of(judge, evaluated, drawn) for judge, evaluated in judges)
        if one is not None and other is not None:  # some object was drawn
            differences.append(other - one)
    return float(np.std(differences)) if differences else 0.0


def _judge(runtime: Runtime, split: CocoSplit) -> tuple[COCOeval, list[list[object]]]:
    """Pycocotools with every image matched once; for each class, its images."""
    split, labels, _ = match_classes(runtime.outputs.class_names, split)
    found: Mapping[int, Detections] = {
        record.image_id: detections
        for record, detections in detect_records(runtime, split.images, COCO_SCORE_THRESHOLD, labels)
    }
    truth, results, image_ids = load_detections(split, found)
    judge = COCOeval(truth, results, "bbox")
    judge.params.imgIds = image_ids
    judge.params.maxDets = [max(100, runtime.outputs.max_detections)]
    judge.params.areaRng, judge.params.areaRngLbl = judge.params.areaRng[:1], judge.params.areaRngLbl[:1]
    with redirect_stdout(io.StringIO()):
        judge.evaluate()
    images = len(judge.params.imgIds)
    matches = judge.evalImgs
    return judge, [matches[start : start + images] for start in range(0, len(matches), images)]


def _ap_of(judge: COCOeval, evaluated: list[list[object]], drawn: list[int]) -> float | None:
    """AP of a draw of images; None when it holds no object."""
    judge.evalImgs = [of_class[index] for of_class in evaluated for index in drawn]
    with redirect_stdout(io.StringIO()):
        judge.accumulate()
    precision = judge.eval["precision"]
    present = precision[precision > -1]
    return float(present.mean()) if present.size else None
