"""A split of a data set, checked once against its image files; everything behind this module may trust what it gets.

Rules:
- Labels are indices into the category ids in ascending order.
- Boxes refer to the upright image, i.e. after its EXIF orientation is applied. When the annotation file states the
  size of the stored, turned image instead, its boxes are turned along and that is counted.
- Boxes are clipped to the image; boxes without area are dropped; both are counted, and the ground truth that AP is
  measured against (`CocoSplit.to_coco_dict`) has the same boxes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.data.annotations import Annotations, Findings, Instance, RawImage
from edgedet.data.headers import ImageHeader, read_header
from edgedet.data.layout import absent, read_files, read_folder
from edgedet.errors import DataError

# A box may overhang its image by this much before it counts as wrong: exporters round coordinates to two decimals.
CLIP_TOLERANCE_PX = 0.01

WARNING_TEXTS = {
    "classes_left_out": "selection of classes left out others",
    "annotation_id_duplicate": "annotations repeat an id and got a new one",
    "annotation_id_zero": "annotation has id 0, which pycocotools never counts as found; number annotations from 1",
    "annotation_without_image": "annotations belong to no image of the file and were dropped",
    "area_replaced": "annotations state an area that is no positive number; width x height is used",
    "box_clipped": "boxes reached outside their image and were clipped",
    "box_empty": "boxes have no width or height and were dropped",
    "box_outside": "boxes lie wholly outside their image and were dropped",
    "category_unused_parent": "categories without annotations are only the parent of the others and were left out",
    "exif_rotated": "images are turned by their EXIF orientation; boxes are taken to refer to the upright image",
    "exif_boxes_turned": "images have boxes given for the stored, turned image; these were turned upright",
    "file_name_duplicate": "images repeat the file of another image",
    "label_missing": "images have no label file and are taken to show no object",
    "label_without_image": "label files belong to no image and were left out",
    "shape_without_box": "shapes are no boxes (points, lines, cuboids, tags) and were left out",
    "split_absent": "data sets add nothing to this split",
    "split_drawn": "data sets name no such split; it was drawn by seed and file name",
    "voc_from_zero": "boxes are read from pixel 0 with an open end, as some of the set's coordinates are below VOC's 1",
}


@dataclass(frozen=True)
class DataWarning:
    """Something that was put right on load."""

    code: str  # key of WARNING_TEXTS
    count: int
    example: str  # the first one

    @property
    def text(self) -> str:
        """One sentence for people."""
        return f"{self.code}: {self.count} {WARNING_TEXTS[self.code]} (e.g. {self.example})"


@dataclass(frozen=True, eq=False)
class ImageRecord:
    """One image and its boxes."""

    image_id: int
    path: Path
    width: int  # px, upright
    height: int  # px, upright
    boxes: np.ndarray  # float32 (N, 4), xyxy, px of the upright image, inside it, with area
    labels: np.ndarray  # int64 (N,), index into CocoSplit.class_names
    crowd: np.ndarray  # bool (N,), COCO's iscrowd
    areas: np.ndarray  # float32 (N,), px^2, COCO's area (of the segment when the file has one)


@dataclass(frozen=True, eq=False)
class CocoSplit:
    """A checked split of a data set."""

    name: str  # train, valid or test
    ann_path: Path  # annotation file or folder, for messages; several are joined by " + "
    images: tuple[ImageRecord, ...]  # in the order of the annotations
    class_names: tuple[str, ...]  # by ascending category id
    category_ids: tuple[int, ...]  # ascending
    warnings: tuple[DataWarning, ...]
    _ground_truth: dict[str, Any] = field(repr=False, default_factory=dict)

    def with_classes(self, names: Sequence[str]) -> CocoSplit:
        """The same images with the boxes of some classes only.

        Args:
            names: classes of the split; their order does not matter.
        Returns:
            A split with these classes in their old order.
        """
        keep = [label for label, name in enumerate(self.class_names) if name in names]
        ids = tuple(self.category_ids[label] for label in keep)
        truth = {
            **self._ground_truth,
            "annotations": [a for a in self._ground_truth["annotations"] if a["category_id"] in ids],
            "categories": [c for c in self._ground_truth["categories"] if c["id"] in ids],
        }
        return replace(
            self,
            images=tuple(_with_labels(record, keep) for record in self.images),
            class_names=tuple(self.class_names[label] for label in keep),
            category_ids=ids,
            _ground_truth=truth,
        )

    def to_coco_dict(self) -> dict[str, Any]:
        """The cleaned ground truth for pycocotools: ids as in the file, boxes as in `images`, float64 precision.

        Returns:
            A new dict with images, annotations (id, image_id, category_id, bbox xywh, area, iscrowd), categories.
        """
        return copy.deepcopy(self._ground_truth)


def _with_labels(record: ImageRecord, keep: list[int]) -> ImageRecord:
    """The boxes of some labels, numbered anew in the order of `keep`."""
    mine = np.isin(record.labels, keep)
    return replace(
        record,
        boxes=record.boxes[mine],
        labels=np.searchsorted(keep, record.labels[mine]).astype(np.int64),
        crowd=record.crowd[mine],
        areas=record.areas[mine],
    )


def most_detections(*splits: CocoSplit) -> int:
    """How many detections an image may need: COCO's 100, or the next hundred above the fullest image's boxes."""
    most = max((len(record.labels) for split in splits for record in split.images), default=0)
    return max(100, -(-most // 100) * 100)


def load_split(data_dir: Path | None, split: str, *, ann: Path | None = None, images: Path | None = None) -> CocoSplit:
    """Read and check one split.

    Args:
        data_dir: root of a data set in any known format (see `edgedet.data.layout`); None when `ann` is given.
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


def require_same_classes(train: CocoSplit, valid: CocoSplit) -> None:
    """Make sure that a label means the same in both splits.

    Raises:
        DataError: category ids or names differ.
    """
    first = dict(zip(train.category_ids, train.class_names, strict=True))
    second = dict(zip(valid.category_ids, valid.class_names, strict=True))
    if first == second:
        return
    raise DataError(
        f"{train.ann_path} and {valid.ann_path} list different categories: {train.name} has {first}, "
        f"{valid.name} has {second}; export both splits with one category list"
    )


def common_classes(split: CocoSplit, model: str, class_names: Sequence[str], advice: str) -> tuple[str, ...]:
    """Names of the classes that a data set and a model share, in the order of the data set.

    Args:
        split: data set.
        model: what the message calls the model, for example its path.
        class_names: of the model.
        advice: what to do, for the message.
    Raises:
        DataError: there is none, as with pictures of another data set.
    """
    common = tuple(name for name in split.class_names if name in class_names)
    if not common:
        found, expected = list(split.class_names), list(class_names)
        raise DataError(f"{split.ann_path}: classes {found}, but {model} knows {expected}; {advice}")
    return common


def require_model_classes(
    split: CocoSplit, model: str, class_names: Sequence[str], advice: str, in_order: bool = False
) -> None:
    """Make sure that a data set has a model's classes: only they betray pictures of another data set.

    Args:
        split: data set.
        model: what the message calls the model, for example its path.
        class_names: of the model.
        advice: what to do, for the message.
        in_order: labels must mean the same, too.
    Raises:
        DataError: other classes, another number of them, or another order.
    """
    found, expected = list(split.class_names), list(class_names)
    if (found != expected) if in_order else (sorted(found) != sorted(expected)):
        raise DataError(f"{split.ann_path}: classes {found}, but {model} knows {expected}; {advice}")


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
