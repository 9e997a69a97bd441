"""AP of detections that another program made: a JSON file in COCO's results format."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.contracts import Detections
from edgedet.data.check.content import count_objects
from edgedet.data.coco.split import CocoSplit, most_detections
from edgedet.errors import DataError
from edgedet.evaluate.evaluator import EvalReport, Timings, describe_machine, select_records, sha256_of
from edgedet.evaluate.figures.coco_ap import coco_ap
from edgedet.evaluate.figures.false_alarms import count_false_alarms
from edgedet.texts import read_text

_KEYS = ("image_id", "category_id", "bbox", "score")


def evaluate_results(path: Path, split: CocoSplit, *, max_images: int | None = None) -> EvalReport:
    """Measure detections of a file on a split; no model is run.

    Args:
        path: JSON list of {"image_id", "category_id", "bbox": [left, top, width, height], "score"}, px of the original
            image. Images of the split that it does not mention count as images where nothing was found.
        split: ground truth.
        max_images: only the first so many images of the split; None for all.
    Returns:
        The same report as for a model; timings and input size are zero.
    Raises:
        DataError: the file is missing or damaged, or names images or categories that the split lacks.
        ConfigError: max_images is not positive.
    """
    records = select_records(split, max_images)
    objects = count_objects(split, records)
    found = read_results(path, split)
    chosen = {record.image_id: found[record.image_id] for record in records}
    return EvalReport(
        ap=coco_ap(split, chosen, most_detections(split)),
        timings=Timings(0.0, 0.0, 0.0),
        runtime="detections",
        arithmetic=f"no model was run; detections of {path}",
        model=str(path),
        model_sha256=sha256_of(path),
        split=split.name,
        annotations=str(split.ann_path),
        images=len(records),
        score_threshold=0.0,
        nms_iou=1.0,
        max_detections=most_detections(split),
        input_size=(0, 0),
        machine=describe_machine(),
        left_out=()
        if any(len(one) for one in chosen.values())
        else (f"{path} holds no detection in these images: nothing was found, or it belongs to other pictures",),
        false_alarms=None if objects else count_false_alarms(chosen, split.class_names, 0.0),
    )


def read_results(path: Path, split: CocoSplit) -> dict[int, Detections]:
    """Detections of every image of a split.

    Args:
        path: JSON file in COCO's results format.
        split: that the ids belong to.
    Returns:
        Image id -> detections in px of the original image, best first, labels as indices into `split.class_names`.
    Raises:
        DataError: the file is missing or damaged, or names images or categories that the split lacks.
    """
    rows: dict[int, list[tuple[float, int, list[float]]]] = {record.image_id: [] for record in split.images}
    labels = {category: label for label, category in enumerate(split.category_ids)}
    for number, entry in enumerate(_load(path)):
        image_id, category, box, score = _checked(entry, f"{path}: entry {number}")
        if image_id not in rows or category not in labels:
            what = f"image_id {image_id}" if image_id not in rows else f"category_id {category}"
            raise DataError(
                f"{path}: entry {number}: {what} is not in {split.ann_path}; give the results of this split"
            )
        rows[image_id].append((score, labels[category], box))
    return {image_id: _detections(found) for image_id, found in rows.items()}


def _load(path: Path) -> list[Any]:
    try:
        text = read_text(path)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); give a JSON file of COCO results") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON: {error}") from error
    if not isinstance(content, list):
        raise DataError(
            f"{path}: expected a list of detections with {', '.join(_KEYS)}, found {type(content).__name__}"
        )
    return content


def _checked(entry: Any, where: str) -> tuple[int, int, list[float], float]:
    """(image id, category id, xywh, score) of one entry."""
    if isinstance(entry, dict):
        values: tuple[Any, ...] = tuple(entry.get(key) for key in _KEYS)
        image_id, category, box, score = values
        numbers = [*box, score] if isinstance(box, list) and len(box) == 4 else []
        finite = len(numbers) == 5 and all(_is_finite(v) for v in numbers)
        if finite and all(isinstance(v, int) and not isinstance(v, bool) for v in (image_id, category)):
            return image_id, category, [float(v) for v in box], float(score)
    raise DataError(
        f"{where}: expected whole image_id and category_id, bbox of 4 numbers and a score, found {str(entry)[:120]}"
    )


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 2**1023 if isinstance(value, int) else math.isfinite(value)


def _detections(found: list[tuple[float, int, list[float]]]) -> Detections:
    found.sort(key=lambda row: -row[0])  # stable: equal scores stay in the order of the file
    boxes = np.array([row[2] for row in found], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return Detections(
        boxes,  # float64: the file's numbers, not rounded a second time
        np.array([row[0] for row in found], np.float64),
        np.array([row[1] for row in found], np.int64),
    )
