"""YOLO data sets: one text file of normalized boxes beside, or parallel to, each image.

Read here and not by supervision (0.31): that keeps float32 corners, knows no splits, list files and `path`, does not
name the file of a bad row, and brings SciPy, Matplotlib and PyAV; its loader of Pascal VOC decodes every image.

Rules:
- A row is `class x_center y_center width height`, in parts of the upright image's sides. A row of a class and three or
  more points (7, 9, ... numbers) is a polygon or turned box; its box is the smallest that holds all points. In pose
  data sets (`kpt_shape`) the keypoints are left out. Six numbers are a prediction with its confidence, and refused.
- Numbers may leave 0..1 by 0.01 (exporters round); such boxes are clipped like all others. Farther out is an error.
- An image without label file, or with an empty one, shows no object.
- YOLO has no crowds and no areas: the area of a box is width x height, also where a polygon was given.
- The labels of `a/images/b/c.jpg` are `a/labels/b/c.txt` where the folder `a/labels` exists, otherwise `c.txt` beside
  the image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgedet.data.formats.annotations import Annotations, Category, Findings, Instance, RawImage
from edgedet.data.formats.yolo_yaml import read_lines
from edgedet.data.pictures.headers import ImageHeader, read_header
from edgedet.errors import DataError

OUTSIDE = 0.01  # in parts of the image; further out, numbers are no YOLO coordinates
# Text files that stand among labels and are none.
NO_LABELS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "notes.txt", "predefined_classes.txt"}


@dataclass(frozen=True)
class ListedImage:
    """An image of a split, and where it was named."""

    path: Path
    name: str  # relative to the data set
    where: str  # file and line that name it, or the folder that holds it


def read_yolo(
    images: Iterable[ListedImage], names: tuple[str, ...], keypoint_values: int, where: Path, whole_folders: bool
) -> Annotations:
    """Read the labels of images.

    Args:
        images: in the order of the split.
        names: class names by index.
        keypoint_values: numbers behind each box, in pose data sets.
        where: the data set, for messages.
        whole_folders: the images are all of their folders, so that labels without image are worth a warning.
    Returns:
        Images, boxes in pixels of the upright image, and classes with their index as id.
    Raises:
        DataError: an image is missing or broken, a label file can't be read, or has a wrong row (file and line are
            named), or no image has a label file.
    """
    findings = Findings()
    raws: list[RawImage] = []
    instances: list[Instance] = []
    headers: dict[Path, ImageHeader] = {}
    labels: set[Path] = set()
    for image_id, image in enumerate(images, start=1):
        header = _header(image)
        headers[image.path] = header
        raw = RawImage(image_id, image.name, image.path, *header.upright_size, stated=False)
        raws.append(raw)
        label = label_path(image.path)
        if not label.is_file():
            findings.add("label_missing", image.name)
            continue
        labels.add(label)
        instances += _read_label_file(label, raw, len(names), keypoint_values, len(instances) + 1)
    if not raws:
        raise DataError(f"{where}: names no image; expected at least one")
    if not labels:
        raise DataError(
            f"{where}: none of the {len(raws)} images has a label file, first expected {label_path(raws[0].path)}; "
            "put the labels there"
        )
    if whole_folders:
        _count_lonely(labels, findings)
    categories = tuple(Category(index, name, "") for index, name in enumerate(names))
    return Annotations(str(where), tuple(raws), tuple(instances), categories, findings, headers, in_parts=True)


def _header(image: ListedImage) -> ImageHeader:
    try:
        return read_header(image.path)
    except FileNotFoundError as error:
        raise DataError(f"{image.where}: image {image.path} not found; restore it, or take it off the list") from error


def label_path(image: Path) -> Path:
    """Where the labels of an image stand; the file need not exist."""
    parts = image.parts
    if "images" in parts[:-1]:
        at = len(parts) - 2 - parts[-2::-1].index("images")
        if Path(*parts[:at], "labels").is_dir():
            return Path(*parts[:at], "labels", *parts[at + 1 :]).with_suffix(".txt")
    return image.with_suffix(".txt")


def _count_lonely(labels: set[Path], findings: Findings) -> None:
    """Count label files that belong to no image."""
    for folder in sorted({label.parent for label in labels}):
        for path in sorted(folder.glob("*.txt")):
            if path not in labels and path.name.lower() not in NO_LABELS:
                findings.add("label_without_image", str(path))


def _read_label_file(path: Path, image: RawImage, classes: int, keypoint_values: int, first_id: int) -> list[Instance]:
    """Boxes of one image, numbered from `first_id` on."""
    instances: list[Instance] = []
    for line, text in enumerate(read_lines(path), start=1):
        words = text.split()
        if not words:
            continue
        label, (x, y, width, height) = _parse_row(words, f"{path}:{line}", classes, keypoint_values)
        bbox = (x * image.width, y * image.height, width * image.width, height * image.height)
        area = bbox[2] * bbox[3]
        instances.append(Instance(first_id + len(instances), image.image_id, label, bbox, area, crowd=False))
    return instances


def _parse_row(
    words: list[str], where: str, classes: int, keypoint_values: int
) -> tuple[int, tuple[float, float, float, float]]:
    """Class and box (left, top, width, height, in parts of the image) of one row."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [math.nan]
    if not all(math.isfinite(value) for value in values):
        raise DataError(f"{where}: expected numbers, found {' '.join(words)[:80]!r}; correct the row")
    label, numbers = values[0], values[1:]
    if label != int(label) or not 0 <= label < classes:
        raise DataError(
            f"{where}: class {words[0]} is none of the {classes} classes 0..{classes - 1}; correct the row or the names"
        )
    if keypoint_values and len(numbers) == 4 + keypoint_values:
        numbers = numbers[:4]
    far = [value for value in numbers if not -OUTSIDE <= value <= 1 + OUTSIDE]
    if far:
        raise DataError(
            f"{where}: {far[0]:g} is outside 0..1; YOLO's numbers are parts of the image's width and height, "
            "not pixels; correct the row"
        )
    if len(numbers) == 4:
        x, y, width, height = numbers
        return int(label), (x - width / 2, y - height / 2, width, height)
    if len(numbers) >= 6 and len(numbers) % 2 == 0:
        xs, ys = numbers[0::2], numbers[1::2]
        return int(label), (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    found = f"found {len(words)} numbers"
    if len(words) == 6:
        found += ", a prediction with its confidence, which is no ground truth"
    raise DataError(f"{where}: expected a class and 4 numbers of a box, or 6 and more of a polygon; {found}")
