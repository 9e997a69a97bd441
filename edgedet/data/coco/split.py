"""A checked split of a data set: what everything behind it may trust, and how its classes meet those of others.

Labels are indices into the category ids in ascending order. Boxes refer to the upright image and lie inside it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.data.coco.facts import SourceFacts
from edgedet.errors import DataError
from edgedet.notebook import Brief

WARNING_TEXTS = {
    "class_names_alike": "class names differ only in upper case, blanks, or invisible marks; is one class meant?",
    "classes_left_out": "selection of classes left out others",
    "annotation_id_duplicate": "annotations repeat an id and got a new one",
    "annotation_id_zero": "annotation has id 0, which plain pycocotools never counts as found; it counts here",
    "annotation_without_image": "annotations belong to no image of the file and were dropped",
    "area_replaced": "annotations state an area that can't be one of their box; width x height is used",
    "box_clipped": "boxes reached outside their image and were clipped",
    "box_duplicate": "boxes are there twice, with the same class; AP counts each, and one detection finds only one",
    "box_empty": "boxes have no width or height and were dropped",
    "box_negative": "boxes have a negative width or height and were dropped; was the other corner meant?",
    "box_outside": "boxes lie wholly outside their image and were dropped",
    "boxes_in_corner": "boxes all keep to a corner of their images: were they drawn on smaller pictures? Look at them",
    "category_unused_parent": "categories without annotations are only the parent of the others and were left out",
    "exif_assumed": "images are turned by their EXIF orientation; whether boxes refer to the upright or the stored "
    "pixels no size of an image shows, upright is assumed: look at them, and say `exif` if it is not so",
    "exif_rotated": "images are turned by their EXIF orientation; boxes refer to the upright image",
    "exif_boxes_turned": "images are turned by their EXIF orientation, and so are their boxes, made for stored pixels",
    "file_name_differs": "images have a file whose name is written in another way (accents, %20, back-slashes, case)",
    "file_name_duplicate": "images repeat the file of another image",
    "ignore_flag": "annotations are marked `ignore`, which COCO does not know (iscrowd it does); they count as objects",
    "image_ids_shifted": "annotations belong to the number beside the images', and the other end has none: are all "
    "image_id one off? Look at the boxes",
    "images_in_train": "images are in train, too: AP on them is better than on new pictures",
    "image_odd": "images have something odd in their files that was passed over",
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


@dataclass(frozen=True, eq=False, repr=False)
class ImageRecord(Brief):
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
    sources: tuple[SourceFacts, ...] = ()  # what speaks against the annotation files that it was made of
    broken: tuple[str, ...] = ()  # what is wrong with each image that was left out because it can't be read

    def __repr__(self) -> str:
        boxes = sum(len(record.labels) for record in self.images)
        return f"<CocoSplit {self.name} of {self.ann_path}: {len(self.images)} images, {boxes} boxes>"

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

    def without(self, broken: Mapping[Path, str]) -> CocoSplit:
        """The split without some images and their boxes.

        Args:
            broken: path -> what is wrong with it; kept in `broken`.
        """
        if not broken:
            return self
        images = tuple(record for record in self.images if record.path not in broken)
        ids = {record.image_id for record in images}
        truth = {
            **self._ground_truth,
            "images": [i for i in self._ground_truth["images"] if i["id"] in ids],
            "annotations": [a for a in self._ground_truth["annotations"] if a["image_id"] in ids],
        }
        return replace(self, images=images, broken=(*self.broken, *broken.values()), _ground_truth=truth)

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
