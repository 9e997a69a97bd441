"""From annotations to a split: everything is checked once against the image files.

Rules:
- Boxes refer to the upright image, i.e. after its EXIF orientation is applied (how that is known: `orientation.py`).
- Boxes are clipped to the image; boxes without area are dropped; both are counted, and the ground truth that AP is
  measured against (`CocoSplit.to_coco_dict`) has the same boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.data.coco.classes import names_alike, require_plain_names
from edgedet.data.coco.facts import corner_example, source_facts, stated_boxes
from edgedet.data.coco.orientation import bring_upright, with_headers
from edgedet.data.coco.split import CocoSplit, DataWarning, ImageRecord
from edgedet.data.formats.annotations import Annotations, Findings, Instance, RawImage
from edgedet.data.formats.layout import NO_DIVISION, SPLITS, Division, absent, read_files, read_folder
from edgedet.errors import DataError
from edgedet.progress import Progress

# A box may overhang its image by this much before it counts as wrong: exporters round coordinates to two decimals.
CLIP_TOLERANCE_PX = 0.01


def load_split(data_dir: Path | None, split: str, *, ann: Path | None = None, images: Path | None = None) -> CocoSplit:
    """Read and check one split.

    Args:
        data_dir: root of a data set in any known format (see `edgedet.data.formats.layout`); None when `ann` is given.
        split: train, valid or test.
        ann: COCO annotation file, instead of searching below data_dir.
        images: image folder, instead of the one that belongs to `ann`.
    Returns:
        The split, with the images in the order of the annotations.
    Raises:
        DataError: files not found, malformed annotations, missing keys, ids that contradict each other, unknown
            classes, missing or broken images, sizes that differ from the files, or a split without images.
    """
    if ann is None and data_dir is None:
        raise DataError(f"{split}: give a data folder, or an annotation file and an image folder")
    if ann is not None:
        return build_split(split, upright_source(read_files(split, ann, images)))
    assert data_dir is not None
    parsed = read_folder(data_dir, split)
    if parsed is None:
        raise absent(data_dir, split)
    return build_split(split, upright_source(parsed, others=partial(other_splits, data_dir, split)))


def other_splits(data_dir: Path, split: str, division: Division = NO_DIVISION) -> Iterator[Annotations]:
    """The other splits of a folder, with the headers of their images."""
    for name in SPLITS:
        part = None if name == split else read_folder(data_dir, name, division)
        if part is not None:
            yield with_headers(part, skip_broken=True)


def upright_source(
    part: Annotations,
    exif: str = "auto",
    others: Callable[[], Iterable[Annotations]] = tuple,
    progress: Progress | None = None,
    skip_broken: bool = False,
) -> Annotations:
    """Check the image files of a source and bring its boxes upright.

    Args:
        part: what one annotation file or folder says.
        exif: auto | upright | stored; see `edgedet.data.coco.orientation`.
        others: reads the other splits of the data set, with headers.
        progress: called with (headers read, in all).
        skip_broken: leave out images whose header can't be read, and name them.
    Returns:
        The same with headers, sizes and boxes of the upright images.
    Raises:
        DataError: missing or broken images, sizes that differ from the files, or contradicting frames.
        ConfigError: another `exif`, or all images show the opposite.
    """
    part = with_headers(part, progress, skip_broken)
    for raw in part.images:
        if note := part.headers[raw.path].note:
            part.findings.add("image_odd", f"{raw.file_name}: {note}")
    return bring_upright(part, exif, others)


def build_split(split: str, parsed: Annotations, sources: Sequence[Annotations] | None = None) -> CocoSplit:
    """Clip and drop boxes, and make arrays of them.

    Args:
        split: train, valid or test.
        parsed: all that is in the split, upright, with headers (see `upright_source`).
        sources: what it was merged from; None: itself.
    Returns:
        The split, with the images in the order of the annotations. It may have no boxes: `edgedet.data.check.content`
        says whether that is an error.
    """
    findings = parsed.findings
    require_plain_names(parsed)
    for pair in names_alike([category.name for category in parsed.categories]):
        findings.add("class_names_alike", " and ".join(ascii(name) for name in pair))
    for part in sources or (parsed,):
        if example := corner_example(*stated_boxes(part)):
            findings.add("boxes_in_corner", example, len(part.instances))
    label_of = {category.category_id: label for label, category in enumerate(parsed.categories)}
    of_image: dict[int, list[Instance]] = {image.image_id: [] for image in parsed.images}
    for instance in parsed.instances:
        of_image[instance.image_id].append(instance)
    records, kept = [], []
    for raw in parsed.images:
        instances = _clean_instances(raw, of_image[raw.image_id], findings)
        records.append(_record(raw, instances, label_of))
        kept += instances
    return CocoSplit(
        name=split,
        ann_path=Path(parsed.where),
        images=tuple(records),
        class_names=tuple(category.name for category in parsed.categories),
        category_ids=tuple(category.category_id for category in parsed.categories),
        warnings=tuple(DataWarning(*found) for found in findings.items()),
        sources=tuple(source_facts(part) for part in sources or (parsed,)),
        broken=parsed.broken,
        _ground_truth=_ground_truth(records, parsed, kept),
    )


def _clean_instances(raw: RawImage, instances: list[Instance], findings: Findings) -> list[Instance]:
    """Clip and drop the boxes of one image, counting each."""
    kept = []
    seen: set[tuple[int, tuple[float, ...]]] = set()
    for instance in instances:
        where = f"annotation {instance.annotation_id} of {raw.file_name}"
        x, y, width, height = instance.bbox
        if width <= 0 or height <= 0:
            findings.add(
                "box_negative" if width < 0 or height < 0 else "box_empty", f"{where}: {width:g}x{height:g} px"
            )
            continue
        if (instance.category_id, instance.bbox) in seen:
            findings.add("box_duplicate", where)
        seen.add((instance.category_id, instance.bbox))
        left, top = max(x, 0.0), max(y, 0.0)
        right, bottom = min(x + width, float(raw.width)), min(y + height, float(raw.height))
        if right <= left or bottom <= top:
            findings.add("box_outside", where)
            continue
        if (left, top) != (x, y) or x + width > raw.width or y + height > raw.height:
            if max(left - x, top - y, x + width - right, y + height - bottom) > CLIP_TOLERANCE_PX:
                findings.add("box_clipped", where)
            instance = instance.with_bbox((left, top, right - left, bottom - top))
        kept.append(instance)
    return kept


def _record(raw: RawImage, instances: list[Instance], label_of: dict[int, int]) -> ImageRecord:
    """Arrays of one image."""
    xywh = np.array([instance.bbox for instance in instances], np.float64).reshape(-1, 4)
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1).astype(np.float32)
    return ImageRecord(
        image_id=raw.image_id,
        path=raw.path,
        width=raw.width,
        height=raw.height,
        boxes=boxes,
        labels=np.array([label_of[instance.category_id] for instance in instances], np.int64),
        crowd=np.array([instance.crowd for instance in instances], bool),
        areas=np.array([instance.area for instance in instances], np.float32),
    )


def _ground_truth(records: list[ImageRecord], parsed: Annotations, instances: list[Instance]) -> dict[str, Any]:
    """The COCO dict of what was kept."""
    return {
        "images": [
            {"id": record.image_id, "file_name": raw.file_name, "width": record.width, "height": record.height}
            for record, raw in zip(records, parsed.images, strict=True)
        ],
        "annotations": [
            {
                "id": instance.annotation_id,
                "image_id": instance.image_id,
                "category_id": instance.category_id,
                "bbox": list(instance.bbox),
                "area": instance.area,
                "iscrowd": int(instance.crowd),
            }
            for instance in instances
        ],
        "categories": [
            {"id": category.category_id, "name": category.name, "supercategory": category.parent}
            for category in parsed.categories
        ],
    }
