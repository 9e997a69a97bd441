"""A split written as COCO, YOLO or Pascal VOC, and what each of them can't hold.

What a reader gets back:
- COCO: everything, to the last digit.
- YOLO: boxes to 10 decimals of the image's sides, less than 1e-6 px off up to 4096 px. Areas become width x height, and
  crowds are left out.
- VOC: whole pixels, at least one wide and high; a side moves by half a pixel at most, and stays where boxes lie on
  whole pixels. Areas become width x height. Crowds are `difficult`. Classes come back in alphabetical order, without
  those that have no box.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.data.coco.split import CocoSplit, ImageRecord
from edgedet.data.formats.coco_layout import ROBOFLOW_FILE
from edgedet.errors import DataError
from edgedet.escape import is_xml, json_text, xml_text

FORMATS = ("coco", "yolo", "voc")
_YOLO_KEYS = {"train": "train", "valid": "val", "test": "test"}


@dataclass(frozen=True)
class Named:
    """An image of the new data set."""

    record: ImageRecord
    name: str  # of the file, unique in its split
    boxes: tuple[dict[str, Any], ...]  # COCO annotations, float64


def image_folder(root: Path, form: str, split: str) -> Path:
    """Where the images of a split go.

    Args:
        root: of the new data set.
        form: one of FORMATS.
        split: train, valid or test.
    """
    return {"coco": root / split, "yolo": root / split / "images", "voc": root / "JPEGImages"}[form]


def write_split(root: Path, form: str, split: CocoSplit, images: Sequence[Named]) -> int:
    """Write the annotations of one split; its images are copied by the caller.

    Args:
        root: of the new data set.
        form: one of FORMATS.
        split: what to write.
        images: its images under their new names.
    Returns:
        Boxes that the format can't hold and that were left out.
    Raises:
        DataError: a class name that the format can't hold.
    """
    if form == "coco":
        return _write_coco(root / split.name, split, images)
    if form == "yolo":
        return _write_yolo(root / split.name / "labels", split, images)
    return _write_voc(root, split, images)


def finish(root: Path, form: str, splits: Sequence[CocoSplit]) -> None:
    """Write what describes the whole data set: data.yaml of YOLO."""
    if form != "yolo":
        return
    lines = [f"{_YOLO_KEYS[split.name]}: {split.name}/images" for split in splits]
    names = [f"  {label}: {json.dumps(name)}" for label, name in enumerate(splits[0].class_names)]
    text = "\n".join([*lines, f"nc: {len(names)}", "names:", *names]) + "\n"
    (root / "data.yaml").write_text(text, encoding="utf-8")


def _write_coco(folder: Path, split: CocoSplit, images: Sequence[Named]) -> int:
    document = split.to_coco_dict()
    for entry, image in zip(document["images"], images, strict=True):
        entry["file_name"] = image.name
    folder.mkdir(parents=True, exist_ok=True)
    text = json_text(document)
    (folder / ROBOFLOW_FILE).write_text(text, encoding="utf-8")
    return 0


def _write_yolo(folder: Path, split: CocoSplit, images: Sequence[Named]) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    left_out = 0
    for image in images:
        rows = []
        for box in image.boxes:
            if box["iscrowd"]:
                left_out += 1
                continue
            x, y, width, height = box["bbox"]
            values = (
                (x + width / 2) / image.record.width,
                (y + height / 2) / image.record.height,
                width / image.record.width,
                height / image.record.height,
            )
            label = split.category_ids.index(box["category_id"])
            rows.append(f"{label} " + " ".join(f"{value:.10f}" for value in values) + "\n")
        (folder / f"{Path(image.name).stem}.txt").write_text("".join(rows), encoding="utf-8")
    return left_out


def _write_voc(root: Path, split: CocoSplit, images: Sequence[Named]) -> int:
    annotations, lists = root / "Annotations", root / "ImageSets" / "Main"
    for folder in (annotations, lists):
        folder.mkdir(parents=True, exist_ok=True)
    bad = [name for name in split.class_names if name != name.strip() or not name.isprintable()]
    if bad:
        raise DataError(f"{split.ann_path}: class {bad[0]!r} can't be written as XML text; rename it by `rename`")
    unwritable = [image.name for image in images if not is_xml(image.name)]
    if unwritable:
        raise DataError(f"{split.ann_path}: file name {unwritable[0]!r} can't be written as XML text; rename the file")
    for image in images:
        (annotations / f"{Path(image.name).stem}.xml").write_text(_voc_text(split, image), encoding="utf-8")
    list_name = {"valid": "val"}.get(split.name, split.name)
    (lists / f"{list_name}.txt").write_text("".join(f"{Path(image.name).stem}\n" for image in images), encoding="utf-8")
    return 0


def _voc_text(split: CocoSplit, image: Named) -> str:
    width, height = image.record.width, image.record.height
    lines = [
        "<annotation>",
        f"  <filename>{xml_text(image.name)}</filename>",
        f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
    ]
    for box in image.boxes:
        name = split.class_names[split.category_ids.index(box["category_id"])]
        xmin, xmax = _voc_ends(box["bbox"][0], box["bbox"][2], width)
        ymin, ymax = _voc_ends(box["bbox"][1], box["bbox"][3], height)
        lines += [
            f"  <object>\n    <name>{xml_text(name)}</name>\n    <difficult>{box['iscrowd']}</difficult>",
            f"    <bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>"]) + "\n"


def _voc_ends(start: float, length: float, side: int) -> tuple[int, int]:
    """First and last pixel, counted from 1, both inside."""
    first = min(round(start), side - 1)
    return first + 1, max(round(start + length), first + 1)
