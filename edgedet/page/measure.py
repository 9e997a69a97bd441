"""Run models over the first pictures of a split, for a few seconds: what the page of a run is drawn from."""

from __future__ import annotations

from pathlib import Path

from edgedet.contracts import Detections
from edgedet.data.coco.split import CocoSplit
from edgedet.evaluate.detect import detect
from edgedet.evaluate.evaluator import COCO_SCORE_THRESHOLD, match_classes
from edgedet.evaluate.figures.operating_point import thresholds_of
from edgedet.page.found import Found, renumbered
from edgedet.progress import Stopwatch
from edgedet.runtimes.protocol import Runtime

MOST_IMAGES = 200  # COCO's AP of more takes seconds
SECONDS = 5.0  # for one model


def find_objects(runtime: Runtime, split: CocoSplit, images: int = MOST_IMAGES, seconds: float = SECONDS) -> Found:
    """Detect objects in the first images of a split.

    Args:
        runtime: the model.
        split: images and ground truth; classes are matched by name.
        images: at most so many.
        seconds: after this time no further image is begun; at least one is done.
    Returns:
        Detections and ground truth of the images that were reached.
    Raises:
        DataError: no class in common, or an image can't be read.
    """
    chosen, labels, _ = match_classes(runtime.outputs.class_names, split)
    watch, spent, found = Stopwatch(), 0.0, []
    for record in chosen.images[:images]:
        seen = detect(runtime, Path(record.path), COCO_SCORE_THRESHOLD).in_image
        known = labels[seen.labels] >= 0
        found.append(Detections(seen.boxes[known], seen.scores[known], labels[seen.labels[known]]))
        spent += watch.seconds()
        if spent > seconds:
            break
    part = renumbered(chosen, chosen.images[: len(found)])
    return Found(
        part,
        dict(enumerate(found, 1)),
        len(chosen.images),
        thresholds_of(runtime.outputs, part.class_names),
        runtime.preprocess,
        runtime.outputs.max_detections,
    )
