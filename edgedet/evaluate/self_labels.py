"""Ground truth for images that nobody annotated: what a model itself finds in them.

The AP of a quantized model against the detections of its float model says how much of the float model's behaviour is
left; it says nothing about how good the float model is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgedet.data.bare_images import ground_truth_of
from edgedet.data.coco.split import CocoSplit
from edgedet.errors import DataError
from edgedet.evaluate.detect import detect_records
from edgedet.evaluate.evaluator import match_classes
from edgedet.runtimes.protocol import Runtime


def self_labelled(runtime: Runtime, split: CocoSplit, max_images: int) -> CocoSplit:
    """Replace the boxes of a split by a model's detections above its own score threshold.

    Args:
        runtime: the model.
        split: images; annotations are not looked at.
        max_images: only the first so many.
    Returns:
        A split of these images.
    Raises:
        DataError: the model finds nothing in any image, or an image can't be read.
    """
    split, labels, _ = match_classes(runtime.outputs.class_names, split)
    records = []
    threshold = runtime.outputs.score_threshold
    for record, found in detect_records(runtime, split.images[:max_images], None, labels):
        boxes = found.boxes
        sides = boxes[:, 2:] - boxes[:, :2]
        keep = (sides > 0).all(axis=1)
        records.append(
            replace(
                record,
                boxes=boxes[keep],
                labels=found.labels[keep],
                crowd=np.zeros(int(keep.sum()), bool),
                areas=sides[keep].prod(axis=1),
            )
        )
    if not any(len(record.labels) for record in records):
        raise DataError(
            f"{split.ann_path}: the float model finds nothing above score {threshold} in "
            f"{len(records)} images, so there is nothing to compare with; give images like those it was trained on"
        )
    truth = ground_truth_of(tuple(records), split.class_names, split.category_ids)
    return replace(split, images=tuple(records), _ground_truth=truth)
