"""A folder of images without annotations, for steps that need pictures only: distillation, calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgedet.data.coco.facts import SourceFacts
from edgedet.data.coco.split import CocoSplit, ImageRecord
from edgedet.data.coco.wide_pictures import weak_pictures
from edgedet.data.pictures.headers import IMAGE_SUFFIXES, read_header
from edgedet.errors import BrokenImagesError, DataError


def load_folder(
    folder: Path, class_names: tuple[str, ...], category_ids: tuple[int, ...] = (), skip_broken: bool = False
) -> CocoSplit:
    """List the images below a folder, sorted by path.

    Args:
        folder: searched with its sub-folders; files that are no images by their suffix are passed over.
        class_names: of the model, so that the split fits it.
        category_ids: of the classes; empty: 0, 1, 2, ...
        skip_broken: leave out images whose header can't be read, and name them.
    Returns:
        A split named `train` whose images have no boxes.
    Raises:
        DataError: no such folder, or no image in it.
        BrokenImagesError: headers can't be read.
    """
    if folder.is_file():
        raise DataError(f"{folder}: is a file, expected a folder of images; give its folder by `images`")
    if not folder.is_dir():
        raise DataError(f"{folder}: image folder not found; check the path given by `images`")
    paths, found, broken, wide = list_images(folder), list[ImageRecord](), list[str](), list[Path]()
    for number, path in enumerate(paths, start=1):
        try:
            header = read_header(path)
            found.append(_record(number, path, *header.upright_size))
            wide += [path] if header.wide else []
        except DataError as error:
            broken.append(str(error))
    if broken and not (skip_broken and found):
        raise BrokenImagesError(str(folder), len(paths), broken)
    records = tuple(found)
    ids = category_ids or tuple(range(len(class_names)))
    return CocoSplit(
        "train", folder, records, class_names, ids, (), ground_truth_of(records, class_names, ids),
        (SourceFacts(str(folder), 0, dark=weak_pictures(wide)),), tuple(broken),
    )  # fmt: skip


def list_images(folder: Path) -> list[Path]:
    """Image files below a folder by their suffix, sorted by path. Raises DataError when there is none."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not paths:
        raise DataError(f"{folder}: holds no images; expected files that end in {', '.join(IMAGE_SUFFIXES)}")
    return paths


def ground_truth_of(
    records: tuple[ImageRecord, ...], class_names: tuple[str, ...], category_ids: tuple[int, ...]
) -> dict[str, object]:
    """The COCO dict of records that do not come from an annotation file.

    Args:
        records: images with boxes, or without.
        class_names: by label.
        category_ids: by label.
    Returns:
        images, annotations (numbered from 1) and categories.
    """
    annotations: list[dict[str, object]] = []
    for record in records:
        for box, label, area, crowd in zip(record.boxes, record.labels, record.areas, record.crowd, strict=True):
            left, top, right, bottom = (float(v) for v in box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record.image_id,
                    "category_id": category_ids[int(label)],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    return {
        "images": [{"id": r.image_id, "file_name": r.path.name, "width": r.width, "height": r.height} for r in records],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in zip(category_ids, class_names, strict=True)],
    }


def _record(number: int, path: Path, width: int, height: int) -> ImageRecord:
    return ImageRecord(
        image_id=number,
        path=path,
        width=width,
        height=height,
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        crowd=np.zeros(0, bool),
        areas=np.zeros(0, np.float32),
    )
