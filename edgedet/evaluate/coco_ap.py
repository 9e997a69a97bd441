"""COCO average precision through pycocotools, in original image pixels and original category ids."""

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
from edgedet.numerics.boxes import xyxy_to_xywh


@dataclass(frozen=True)
class ClassAp:
    """Average precision of one class."""

    name: str
    ap: float  # IoU 0.50:0.95, all areas, as many detections as the table says; -1 when the class has no ground truth
    ap50: float  # IoU 0.50


@dataclass(frozen=True)
class ApResult:
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


def coco_ap(split: CocoSplit, detections: Mapping[int, Detections], max_detections: int = _BEST) -> ApResult:
    """Measure detections against a split.

    Args:
        split: ground truth.
        detections: by image id, boxes in pixels of the original image, labels as indices into `split.class_names`.
            Exactly these images are evaluated; an image where nothing was found has empty Detections.
        max_detections: how many of an image count, the best first, where COCO counts 100; fewer than 100 are taken for
            100, so that the number stays COCO's.
    Returns:
        AP of those images.
    Raises:
        DataError: no images, an image id that the split lacks, or a label without a category.
    """
    image_ids = _check_images(split, detections)
    judge = COCOeval(*load_detections(split, detections), "bbox")
    judge.params.imgIds = image_ids
    judge.params.maxDets = [1, 10, max(_BEST, max_detections)]
    with redirect_stdout(io.StringIO()):
        judge.evaluate()
        judge.accumulate()
    stats, table = _summary(judge)
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
    )


def load_detections(split: CocoSplit, detections: Mapping[int, Detections]) -> tuple[COCO, COCO]:
    """Ground truth and detections (by image id) as pycocotools takes them."""
    truth = _load_quietly(split.to_coco_dict())
    return truth, _load_quietly(_detections_dict(truth.dataset, split, detections))


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
    for name, category_id in zip(split.class_names, split.category_ids, strict=True):
        if category_id not in judge.params.catIds:
            rows.append(ClassAp(name, -1.0, -1.0))
            continue
        of_class = precision[:, :, judge.params.catIds.index(category_id)]
        rows.append(ClassAp(name, _mean_present(of_class), _mean_present(of_class[0])))
    return tuple(rows)


def _mean_present(precision: np.ndarray) -> float:
    present = precision[precision > -1]
    return float(present.mean()) if present.size else -1.0
