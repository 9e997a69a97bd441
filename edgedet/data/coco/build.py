"""From annotations to a split: everything is checked once against the image files.

Rules:
- Boxes refer to the upright image, i.e. after its EXIF orientation is applied. When the annotation file states the
  size of the stored, turned image instead, its boxes are turned along and that is counted.
- Boxes are clipped to the image; boxes without area are dropped; both are counted, and the ground truth that AP is
  measured against (`CocoSplit.to_coco_dict`) has the same boxes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgedet.data.coco.split import CocoSplit, DataWarning, ImageRecord
from edgedet.data.formats.annotations import Annotations, Findings, Instance, RawImage
from edgedet.data.formats.layout import absent, read_files, read_folder
from edgedet.data.pictures.headers import ImageHeader, read_header
from edgedet.errors import DataError

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
            classes, missing or broken images, sizes that differ from the files, or a split without images or boxes.
    """
    if ann is None and data_dir is None:
        raise DataError(f"{split}: give a data folder, or an annotation file and an image folder")
    if ann is not None:
        return build_split(split, read_files(split, ann, images))
    assert data_dir is not None
    parsed = read_folder(data_dir, split)
    if parsed is None:
        raise absent(data_dir, split)
    return build_split(split, parsed)


def build_split(split: str, parsed: Annotations) -> CocoSplit:
    """Check images and boxes against the image files, and make arrays of them.

    Args:
        split: train, valid or test.
        parsed: what the annotations say.
    Returns:
        The split, with the images in the order of the annotations.
    Raises:
        DataError: missing or broken images, sizes that differ from the files, or no box at all.
    """
    findings = parsed.findings
    headers = _check_images(parsed)
    label_of = {category.category_id: label for label, category in enumerate(parsed.categories)}
    of_image: dict[int, list[Instance]] = {image.image_id: [] for image in parsed.images}
    for instance in parsed.instances:
        of_image[instance.image_id].append(instance)
    records, kept = [], []
    for raw, header in zip(parsed.images, headers, strict=True):
        instances = _clean_instances(raw, header, of_image[raw.image_id], findings)
        records.append(_record(raw, header, instances, label_of))
        kept += instances
    if not kept:
        raise DataError(f"{parsed.where}: {split} has {len(records)} images but no usable box; check the export")
    return CocoSplit(
        name=split,
        ann_path=Path(parsed.where),
        images=tuple(records),
        class_names=tuple(category.name for category in parsed.categories),
        category_ids=tuple(category.category_id for category in parsed.categories),
        warnings=tuple(DataWarning(*found) for found in findings.items()),
        _ground_truth=_ground_truth(records, parsed, kept),
    )


def _check_images(parsed: Annotations) -> list[ImageHeader]:
    """Headers of all images; one DataError that counts what is missing, broken or of another size."""
    headers: list[ImageHeader] = []
    missing, broken, resized = [], [], []
    for raw in parsed.images:
        path = raw.path
        try:
            header = parsed.headers.get(path) or read_header(path)
        except FileNotFoundError:
            missing.append(str(path))
            continue
        except DataError as error:
            broken.append(str(error))
            continue
        if (raw.width, raw.height) not in (header.upright_size, (header.stored_width, header.stored_height)):
            actual = "{}x{}".format(*header.upright_size)
            resized.append(f"{path} is {actual}, stated {raw.width}x{raw.height}")
        headers.append(header)
    total, where = len(parsed.images), parsed.where
    if missing:
        raise DataError(
            f"{where}: {len(missing)} of {total} images not found, first {missing[0]}; "
            "restore the files, remove their entries, or give the right image folder"
        )
    if broken:
        raise DataError(f"{where}: {len(broken)} of {total} images are broken, first {broken[0]}")
    if resized:
        raise DataError(
            f"{where}: {len(resized)} of {total} images have another size than stated, first {resized[0]}; "
            "the boxes would be misplaced; export images and annotations together again"
        )
    return headers


def _clean_instances(
    raw: RawImage, header: ImageHeader, instances: list[Instance], findings: Findings
) -> list[Instance]:
    """Clip, drop and turn the boxes of one image, counting each."""
    if header.orientation != 1:
        findings.add("exif_rotated", raw.file_name)
    turned = (raw.width, raw.height) != header.upright_size
    if turned:
        findings.add("exif_boxes_turned", raw.file_name)
    kept = []
    for instance in instances:
        where = f"annotation {instance.annotation_id} of {raw.file_name}"
        x, y, width, height = instance.bbox
        if width <= 0 or height <= 0:
            findings.add("box_empty", f"{where}: {width:g}x{height:g} px")
            continue
        left, top = max(x, 0.0), max(y, 0.0)
        right, bottom = min(x + width, float(raw.width)), min(y + height, float(raw.height))
        if right <= left or bottom <= top:
            findings.add("box_outside", where)
            continue
        if (left, top) != (x, y) or x + width > raw.width or y + height > raw.height:
            if max(left - x, top - y, x + width - right, y + height - bottom) > CLIP_TOLERANCE_PX:
                findings.add("box_clipped", where)
            instance = instance.with_bbox((left, top, right - left, bottom - top))
        if turned:
            instance = instance.with_bbox(_turn_upright(instance.bbox, header))
        kept.append(instance)
    return kept


def _turn_upright(bbox: tuple[float, float, float, float], header: ImageHeader) -> tuple[float, float, float, float]:
    """Box (xywh) of the stored image in the upright frame, for the orientations 5 to 8, which swap the axes."""
    x, y, width, height = bbox
    if header.orientation in (6, 7):  # the stored bottom becomes the left side
        y = header.stored_height - y - height
    if header.orientation in (7, 8):  # the stored right side becomes the top
        x = header.stored_width - x - width
    return y, x, height, width


def _record(raw: RawImage, header: ImageHeader, instances: list[Instance], label_of: dict[int, int]) -> ImageRecord:
    """Arrays of one image."""
    xywh = np.array([instance.bbox for instance in instances], np.float64).reshape(-1, 4)
    width, height = header.upright_size
    boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1).astype(np.float32)
    return ImageRecord(
        image_id=raw.image_id,
        path=raw.path,
        width=width,
        height=height,
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
