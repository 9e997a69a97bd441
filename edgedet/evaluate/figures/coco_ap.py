"""COCO average precision through pycocotools, in original image pixels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgedet.contracts import Detections
from edgedet.data.coco.split import CocoSplit
from edgedet.errors import DataError
from edgedet.notebook import Brief
from edgedet.numerics.boxes import xyxy_to_xywh


@dataclass(frozen=True)
class ClassAp:
    """Average precision of one class."""

    name: str
    ap: float  # IoU 0.50:0.95, all areas, as many detections as the table says; -1 when the class has no ground truth
    ap50: float  # IoU 0.50


@dataclass(frozen=True, repr=False)
class ApResult(Brief):
    """COCO AP of a split. A value of -1 means: no ground truth of this kind."""

    ap: float  # IoU 0.50:0.95
    ap50: float
    ap75: float
    ap_small: float  # area below 32 x 32 px of the original image
    ap_medium: float
    ap_large: float  # area above 96 x 96 px
    stats: tuple[float, ...]  # pycocotools' 12 numbers, in its order
    table: str  # what pycocotools prints, line by line
    per_class: tuple[ClassAp, ...]
    note: str = ""  # what plain pycocotools prints, where that is another number; one line for people

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        return asdict(self)


_BEST = 100  # COCO's maxDets: the best detections of an image that count
# pycocotools' 12 numbers: (of recall?, IoU or None for the mean over all, area, which of maxDets).
_ROWS = (
    (False, None, "all", 2), (False, 0.5, "all", 2), (False, 0.75, "all", 2),
    (False, None, "small", 2), (False, None, "medium", 2), (False, None, "large", 2),
    (True, None, "all", 0), (True, None, "all", 1), (True, None, "all", 2),
    (True, None, "small", 2), (True, None, "medium", 2), (True, None, "large", 2),
)  # fmt: skip


def coco_ap(
    split: CocoSplit, detections: Mapping[int, Detections], max_detections: int = _BEST, compare_plain: bool = True
) -> ApResult:
    """Measure detections against a split.

    Args:
        split: ground truth.
        detections: by image id, boxes in pixels of the original image, labels as indices into `split.class_names`.
            Exactly these images are evaluated; an image where nothing was found has empty Detections.
        max_detections: how many of an image count, the best first, where COCO counts 100; fewer than 100 are taken for
            100, so that the number stays COCO's.
        compare_plain: measure once more as plain pycocotools does, for `note`, where the ids of the file make a
            difference to it.
    Returns:
        AP of those images.
    Raises:
        DataError: no images, an image id that the split lacks, or a label without a category.
    """
    image_ids = _check_images(split, detections)
    truth = split.to_coco_dict()
    found = _detections_dict(truth, split, detections)
    stats, table, judge = _measure(*_numbered(truth, found, image_ids), max_detections)
    return ApResult(
        ap=stats[0],
        ap50=stats[1],
        ap75=stats[2],
        ap_small=stats[3],
        ap_medium=stats[4],
        ap_large=stats[5],
        stats=stats,
        table=table,
        per_class=_per_class(judge, split),
        note=_plain_note(truth, found, image_ids, max_detections, stats) if compare_plain else "",
    )


def _numbered(
    truth: dict[str, Any], found: dict[str, Any], image_ids: list[int]
) -> tuple[dict[str, Any], dict[str, Any], list[int]]:
    """The same with images, categories and annotations numbered from 1.

    pycocotools takes an object that was matched for one that was not when its annotation has id 0, and compares ids as
    float64 when some of them lie above 2^63 and others below. Images and categories keep their order, on which the
    order of equal scores depends.
    """
    image_of = {old: new for new, old in enumerate(sorted(entry["id"] for entry in truth["images"]), start=1)}
    category_of = {old: new for new, old in enumerate(sorted(entry["id"] for entry in truth["categories"]), start=1)}

    def numbered(dataset: dict[str, Any]) -> dict[str, Any]:
        return {
            "images": [{**entry, "id": image_of[entry["id"]]} for entry in dataset["images"]],
            "categories": [{**entry, "id": category_of[entry["id"]]} for entry in dataset["categories"]],
            "annotations": [
                {
                    **entry,
                    "id": number,
                    "image_id": image_of[entry["image_id"]],
                    "category_id": category_of[entry["category_id"]],
                }
                for number, entry in enumerate(dataset["annotations"], start=1)
            ],
        }

    return numbered(truth), numbered(found), [image_of[image_id] for image_id in image_ids]


def _measure(
    truth: dict[str, Any], found: dict[str, Any], image_ids: list[int], max_detections: int
) -> tuple[tuple[float, ...], str, COCOeval]:
    """Pycocotools' 12 numbers, its table, and what it computed them from."""
    judge = COCOeval(_load_quietly(truth), _load_quietly(found), "bbox")
    judge.params.imgIds = image_ids
    judge.params.maxDets = [1, 10, max(_BEST, max_detections)]
    with redirect_stdout(io.StringIO()):
        judge.evaluate()
        judge.accumulate()
    return *_summary(judge), judge


def _plain_note(
    truth: dict[str, Any],
    found: dict[str, Any],
    image_ids: list[int],
    max_detections: int,
    stats: tuple[float, ...],
) -> str:
    """A line that says what pycocotools gives for the file's own ids, where that is another number."""
    ids = [entry["id"] for entry in (*truth["images"], *truth["categories"])]
    zero = any(entry["id"] == 0 for entry in truth["annotations"])
    wide = max(ids) >= 2**63
    if not zero and not wide:
        return ""
    reasons = ["it never counts annotation id 0 as found"] if zero else []
    reasons += ["it compares ids above 2^63 as floating-point numbers"] if wide else []
    plain = _measure(truth, found, image_ids, max_detections)[0]
    if all(f"{one:.3f}" == f"{other:.3f}" for one, other in zip(plain, stats, strict=True)):
        return ""
    return (
        f"plain pycocotools prints AP {plain[0]:.3f}, AP50 {plain[1]:.3f} for the ids of this file, because "
        f"{' and '.join(reasons)}; {stats[0]:.3f} counts every object"
    )


def load_detections(split: CocoSplit, detections: Mapping[int, Detections]) -> tuple[COCO, COCO, list[int]]:
    """Ground truth and detections (by image id) as pycocotools takes them, and the images by their new numbers."""
    truth = split.to_coco_dict()
    found = _detections_dict(truth, split, detections)
    numbered_truth, numbered_found, image_ids = _numbered(truth, found, sorted(detections))
    return _load_quietly(numbered_truth), _load_quietly(numbered_found), image_ids


def _check_images(split: CocoSplit, detections: Mapping[int, Detections]) -> list[int]:
    known = {record.image_id for record in split.images}
    unknown = sorted(set(detections) - known)
    if unknown or not detections:
        example = f" (first id: {unknown[0]})" if unknown else ""
        raise DataError(
            f"coco_ap: {split.ann_path}: expected detections for at least one image of the split, found "
            f"{len(detections)} images, {len(unknown)} of them unknown{example}; "
            "pass one Detections per evaluated image id"
        )
    for image_id, found in detections.items():
        if len(found) and not 0 <= int(found.labels.min()) <= int(found.labels.max()) < len(split.category_ids):
            raise DataError(
                f"coco_ap: image id {image_id}: labels {found.labels.min()}..{found.labels.max()} do not fit the "
                f"{len(split.category_ids)} classes of {split.ann_path}; map the model's classes to the split's"
            )
    return sorted(detections)


def _load_quietly(dataset: dict[str, Any]) -> COCO:
    """A COCO index over a dict, without pycocotools' chatter."""
    coco = COCO()
    coco.dataset = dataset
    with redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _detections_dict(truth: dict[str, Any], split: CocoSplit, detections: Mapping[int, Detections]) -> dict[str, Any]:
    """Detections as a COCO data set. Built here because `COCO.loadRes` fails on an empty list."""
    annotations: list[dict[str, Any]] = []
    for image_id in sorted(detections):
        found = detections[image_id]
        # float64 first: width and height are then exact differences of the float32 corners
        xywh = xyxy_to_xywh(found.boxes.astype(np.float64).reshape(-1, 4))
        for box, score, label in zip(xywh.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": split.category_ids[label],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "score": score,
                }
            )
    return {"images": truth["images"], "categories": truth["categories"], "annotations": annotations}


def _summary(judge: COCOeval) -> tuple[tuple[float, ...], str]:
    """What `COCOeval.summarize` computes and prints; that one reads AP as -1 unless 100 detections count."""
    params, stats, lines = judge.params, [], []
    for of_recall, iou, area, which in _ROWS:
        table = judge.eval["recall" if of_recall else "precision"]  # [IoU, (recall,) class, area, maxDets]
        values = table[..., params.areaRngLbl.index(area), which]
        if iou is not None:
            values = values[np.where(iou == params.iouThrs)[0]]
        present = values[values > -1]
        stats.append(float(np.mean(present)) if present.size else -1.0)
        kind = "Average Recall     (AR)" if of_recall else "Average Precision  (AP)"
        ious = f"{params.iouThrs[0]:0.2f}:{params.iouThrs[-1]:0.2f}" if iou is None else f"{iou:0.2f}"
        most = params.maxDets[which]
        lines.append(f" {kind} @[ IoU={ious:<9} | area={area:>6s} | maxDets={most:>3d} ] = {stats[-1]:0.3f}\n")
    return tuple(stats), "".join(lines)


def _per_class(judge: COCOeval, split: CocoSplit) -> tuple[ClassAp, ...]:
    """AP of each class from the precision table [IoU, recall, class, area, maxDets]: area "all", the last maxDets."""
    precision = judge.eval["precision"][:, :, :, 0, -1]
    rows = []
    order = sorted(split.category_ids)  # they are numbered from 1 in this order
    for name, category_id in zip(split.class_names, split.category_ids, strict=True):
        category = order.index(category_id) + 1
        if category not in judge.params.catIds:
            rows.append(ClassAp(name, -1.0, -1.0))
            continue
        of_class = precision[:, :, judge.params.catIds.index(category)]
        rows.append(ClassAp(name, _mean_present(of_class), _mean_present(of_class[0])))
    return tuple(rows)


def _mean_present(precision: np.ndarray) -> float:
    present = precision[precision > -1]
    return float(present.mean()) if present.size else -1.0
