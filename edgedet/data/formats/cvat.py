"""CVAT's own XML, "CVAT for images 1.1": annotations.xml beside images/.

Rules:
- Coordinates are pixels from 0, ends not included. A turned box or ellipse gives the smallest upright box that holds
  it, a polygon that of its points, a mask its own.
- Points, polylines, cuboids, skeletons and tags are no boxes: they are left out and counted.
- `subset` of an image (Train, Validation, Test) is its split. Other subsets, such as `default`, belong to none.
- Classes are the task's labels in their order; labels of other shapes stay in the list.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from edgedet.data.formats.annotations import Annotations, Category, Findings, Instance, RawImage
from edgedet.data.formats.coco import check_file_name
from edgedet.data.formats.file_names import FileNames, find_in
from edgedet.data.formats.once import once
from edgedet.data.formats.source import ALIASES, Source, is_split
from edgedet.data.formats.xml_tree import Element, number, read_xml
from edgedet.errors import DataError

FILE = "annotations.xml"
_NO_BOXES = {"points", "polyline", "cuboid", "skeleton", "tag"}
_SHAPES = {"box", "polygon", "ellipse", "mask"}


def find_cvat(data: Path, split: str) -> Source | None:
    """Find a split in CVAT's XML.

    Args:
        data: folder of annotations.xml, or the file.
        split: train, valid or test.
    Returns:
        Where it is; None when there is no such file, or no image of this split in it.
    """
    path = data / FILE if data.is_dir() else data
    if path.suffix.lower() != ".xml" or not path.is_file():
        return None
    root = once(("XML", path), partial(read_xml, path))
    if root.tag != "annotations":
        return None
    if root.one("track") is not None:
        raise DataError(
            f"{path}: is CVAT for video, whose tracks have no images; export the task as CVAT for images 1.1"
        )
    images = root.all("image")
    subsets = {image.attributes.get("subset", "") for image in images}
    if any(is_split(subset, one) for subset in subsets for one in ALIASES):
        images = [image for image in images if is_split(image.attributes.get("subset", ""), split)]
        return Source("CVAT", path, partial(_read, path, root, images)) if images else None
    return Source("CVAT", path, partial(_read, path, root, images), whole=True)


def _read(path: Path, root: Element, images: list[Element]) -> Annotations:
    names = _labels(root)
    label_of = {name: label for label, name in enumerate(names)}
    if not names:
        raise DataError(f"{path}: lists no labels in <meta>; export the task again")
    findings = Findings()
    raws: list[RawImage] = []
    instances: list[Instance] = []
    on_disk = cache(lambda folder: FileNames(path.parent / folder))  # each is listed at most once
    for image_id, image in enumerate(images, start=1):
        raws.append(_image(path, image, image_id, on_disk, findings))
        for shape in image.children:
            if shape.tag in _NO_BOXES:
                findings.add("shape_without_box", f"<{shape.tag}>, {shape.where}")
            if shape.tag not in _SHAPES:
                continue
            label = shape.attribute("label")
            if label not in label_of:
                raise DataError(f"{shape.where}: label {label!r} is none of the task's labels {names[:20]}; correct it")
            bbox = _bbox(shape)
            area = max(bbox[2], 0.0) * max(bbox[3], 0.0)
            instances.append(Instance(len(instances) + 1, image_id, label_of[label], bbox, area, crowd=False))
    if not raws:
        raise DataError(f"{path}: has no <image>; expected CVAT for images 1.1")
    categories = tuple(Category(label, name, "") for label, name in enumerate(names))
    return Annotations(str(path), tuple(raws), tuple(instances), categories, findings)


def _labels(root: Element) -> list[str]:
    """Names of the task's, project's or job's labels, each once."""
    names: dict[str, None] = {}
    for meta in root.all("meta"):
        for owner in meta.children:
            labels = owner.one("labels")
            for label in [] if labels is None else labels.all("label"):
                if label.word("name") and not label.word("parent"):  # parts of a skeleton name their parent
                    names[label.word("name")] = None
    return list(names)


def _image(
    path: Path, image: Element, image_id: int, on_disk: Callable[[Path], FileNames], findings: Findings
) -> RawImage:
    name = image.attribute("name").replace("\\", "/")
    check_file_name(name, image.where)
    width, height = (int(number(image.attribute(side), side, image.where)) for side in ("width", "height"))
    if width < 1 or height < 1:
        raise DataError(f"{image.where}: size must be positive, found {width}x{height}; export the task again")
    subset = image.attributes.get("subset", "")
    check_file_name(subset or "default", image.where)
    folders = [on_disk(Path("images", subset)), on_disk(Path("images")), on_disk(Path(subset)), on_disk(Path())]
    found, differs = find_in(folders, name, image.where) or (path.parent / "images" / name, False)
    if differs:
        findings.add("file_name_differs", f"{name!a} is {found.name!a}")
    return RawImage(image_id, name, found, width, height)


def _bbox(shape: Element) -> tuple[float, float, float, float]:
    """xywh, px."""

    def value(name: str) -> float:
        return number(shape.attribute(name), name, shape.where)

    if shape.tag == "mask":
        return value("left"), value("top"), value("width"), value("height")
    angle = math.radians(number(shape.attributes.get("rotation", "0"), "rotation", shape.where))
    if shape.tag == "ellipse":
        cx, cy, rx, ry = value("cx"), value("cy"), value("rx"), value("ry")
        half_width = math.hypot(rx * math.cos(angle), ry * math.sin(angle))
        half_height = math.hypot(rx * math.sin(angle), ry * math.cos(angle))
        return cx - half_width, cy - half_height, 2 * half_width, 2 * half_height
    if shape.tag == "polygon":
        points = [point.split(",") for point in shape.attribute("points").split(";") if point.strip()]
        if not points or any(len(point) != 2 for point in points):
            raise DataError(f"{shape.where}: points must be x,y;x,y;..., found {shape.attribute('points')[:40]!r}")
        xs, ys = ([number(point[axis], "points", shape.where) for point in points] for axis in (0, 1))
        return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    left, top, right, bottom = value("xtl"), value("ytl"), value("xbr"), value("ybr")
    if angle == 0:
        return left, top, right - left, bottom - top
    cx, cy, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    turned_width = abs(width * math.cos(angle)) + abs(height * math.sin(angle))
    turned_height = abs(width * math.sin(angle)) + abs(height * math.cos(angle))
    return cx - turned_width / 2, cy - turned_height / 2, turned_width, turned_height
