"""The JSON side of a COCO file: keys, types and ids; nothing here looks at image files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from edgedet.data.formats.annotations import Annotations, Category, Findings, Instance, RawImage
from edgedet.data.formats.file_names import FileNames
from edgedet.errors import DataError
from edgedet.texts import read_text


def parse_coco(path: Path, image_dir: Path, rename: Callable[[str], str] | None = None) -> Annotations:
    """Read a COCO annotation file.

    Args:
        path: the JSON file.
        image_dir: folder that its file names start from.
        rename: makes a path below `image_dir` of a file_name that an exporter is known to write otherwise.
    Returns:
        Its images, annotations and categories.
    Raises:
        DataError: not JSON, a key is missing or has another type, image or category ids repeat, an annotation refers
            to an unknown category, a file name leaves the image folder, or there are no images.
    """
    document = _read_json(path)
    findings = Findings()
    categories = _parse_categories(document, path)
    images = _parse_images(document, path, image_dir, rename, findings)
    instances = _parse_annotations(document, path, images, categories, findings)
    categories = _without_parent(categories, instances, findings)
    return Annotations(str(path), images, instances, categories, findings)


def _read_json(path: Path) -> dict[str, Any]:
    """The top-level object, with its three lists present."""
    try:
        text = read_text(path)
    except OSError as error:
        raise DataError(f"{path}: can't read the annotation file ({error.strerror}); check the path") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: not valid JSON ({error}); expected a COCO annotation file; export it again"
        ) from error
    if not isinstance(document, dict):
        raise DataError(f"{path}: expected a JSON object at the top, found {type(document).__name__}; is this COCO?")
    for key in ("images", "annotations", "categories"):
        if not isinstance(document.get(key), list):
            found = type(document[key]).__name__ if key in document else f"only the keys {sorted(document)[:8]}"
            raise DataError(f"{path}: expected a list under the key {key!r}, found {found}; is this a COCO file?")
    return document


def _value(entry: Any, key: str, kinds: tuple[type, ...], where: str) -> Any:
    """entry[key], checked to be one of `kinds` (bool is never a number)."""
    if not isinstance(entry, dict):
        raise DataError(f"{where}: expected an object, found {type(entry).__name__}; fix the annotation file")
    if key not in entry:
        raise DataError(f"{where}: key {key!r} is missing, found {sorted(entry)}; fix the annotation file")
    value = entry[key]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise DataError(
            f"{where}: {key!r} has {len(f'{abs(value):x}') * 4} bits, expected a whole number of at most 64; fix the "
            "annotation file"
        )
    if isinstance(value, bool) or not isinstance(value, kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise DataError(f"{where}: {key!r} must be {expected}, found {value!r:.60}; fix the annotation file")
    return value


def _parse_categories(document: dict[str, Any], path: Path) -> tuple[Category, ...]:
    """Categories by ascending id; ids and names are unique."""
    categories: dict[int, Category] = {}
    names: dict[str, int] = {}
    for index, entry in enumerate(document["categories"]):
        where = f"{path}: categories[{index}]"
        category_id, name = _value(entry, "id", (int,), where), _value(entry, "name", (str,), where)
        parent = entry.get("supercategory")
        if category_id in categories:
            raise DataError(f"{where}: category id {category_id} appears twice; ids must be unique")
        if name in names:
            raise DataError(f"{where}: category name {name!r} belongs to id {names[name]} already; rename one of them")
        categories[category_id] = Category(category_id, name, parent if isinstance(parent, str) else "")
        names[name] = category_id
    if not categories:
        raise DataError(f"{path}: no categories; expected at least one; export the annotations again")
    return tuple(categories[key] for key in sorted(categories))


def _without_parent(
    categories: tuple[Category, ...], instances: tuple[Instance, ...], findings: Findings
) -> tuple[Category, ...]:
    """Leave out the parent that Roboflow puts at id 0: nothing is annotated with it, the others name it as parent."""
    first, rest = categories[0], categories[1:]
    is_parent = first.category_id == 0 and bool(rest) and all(other.parent == first.name for other in rest)
    if not is_parent or any(instance.category_id == 0 for instance in instances):
        return categories
    findings.add("category_unused_parent", f"{first.name!r}, id 0")
    return rest


def _parse_images(
    document: dict[str, Any], path: Path, image_dir: Path, rename: Callable[[str], str] | None, findings: Findings
) -> tuple[RawImage, ...]:
    """Images in the order of the file."""
    images: dict[int, RawImage] = {}
    files: set[str] = set()
    on_disk = FileNames(image_dir)
    for index, entry in enumerate(document["images"]):
        where = f"{path}: images[{index}]"
        image_id = _value(entry, "id", (int,), where)
        where = f"{where} (id {image_id})"
        name = _value(entry, "file_name", (str,), where)
        width, height = _value(entry, "width", (int,), where), _value(entry, "height", (int,), where)
        if image_id in images:
            raise DataError(f"{where}: the image id appears twice, first for {images[image_id].file_name}; renumber")
        if width < 1 or height < 1:
            raise DataError(f"{where}: size must be positive, found {width}x{height}; fix the annotation file")
        if rename is not None:
            name = rename(name)
        check_file_name(name, where)
        if name in files:
            findings.add("file_name_duplicate", f"{name}, image id {image_id}")
        files.add(name)
        image_path, differs = on_disk.find(name, where)
        if differs:
            findings.add("file_name_differs", f"{name!a} is {image_path.name!a}")
        images[image_id] = RawImage(image_id, name, image_path, width, height)
    if not images:
        raise DataError(f"{path}: the split is empty (no images); expected at least one image with a box")
    return tuple(images.values())


def check_file_name(name: str, where: str) -> None:
    """An annotation file must not reach outside its image folder, on any operating system."""
    windows = PureWindowsPath(name)
    absolute = PurePosixPath(name).is_absolute() or bool(windows.drive or windows.root)
    if not windows.name or absolute or ".." in windows.parts or "\0" in name:
        raise DataError(
            f"{where}: file_name {name!r} must be a path below the image folder, without '..'; fix the annotation file"
        )


def _parse_annotations(
    document: dict[str, Any],
    path: Path,
    images: tuple[RawImage, ...],
    categories: tuple[Category, ...],
    findings: Findings,
) -> tuple[Instance, ...]:
    """Annotations of known images, with unique ids."""
    image_ids = {image.image_id for image in images}
    category_ids = {category.category_id for category in categories}
    instances: list[Instance] = []
    used: set[int] = set()
    repeated: list[int] = []
    lost: list[int] = []  # image ids that no image has
    for index, entry in enumerate(document["annotations"]):
        instance = _parse_annotation(entry, f"{path}: annotations[{index}]", category_ids, findings)
        if instance.image_id not in image_ids:
            findings.add("annotation_without_image", f"annotation {instance.annotation_id}")
            lost.append(instance.image_id)
            continue
        if instance.annotation_id in used:
            findings.add("annotation_id_duplicate", f"id {instance.annotation_id}")
            repeated.append(len(instances))
        used.add(instance.annotation_id)
        instances.append(instance)
    if document["annotations"] and not instances:
        raise DataError(
            f"{path}: none of the {len(document['annotations'])} annotations belongs to one of the {len(images)} "
            "images; their image_id values come from another file"
        )
    # pycocotools keeps one annotation per id: repeats get ids behind the largest one.
    for offset, position in enumerate(repeated, start=max(used, default=0) + 1):
        instances[position] = replace(instances[position], annotation_id=offset)
    if 0 in used:
        findings.add("annotation_id_zero", "id 0")
    if _one_off(image_ids, lost, {instance.image_id for instance in instances}):
        findings.add(
            "image_ids_shifted", f"image_id {lost[0]}, the images go from {min(image_ids)} to {max(image_ids)}"
        )
    return tuple(instances)


def _one_off(image_ids: set[int], lost: Sequence[int], used: set[int]) -> bool:
    """True when annotations stand just beyond one end of the images' numbers, and none at the other end."""
    first, last = min(image_ids), max(image_ids)
    return (set(lost) == {last + 1} and first not in used) or (set(lost) == {first - 1} and last not in used)


def _parse_annotation(entry: Any, where: str, category_ids: set[int], findings: Findings) -> Instance:
    """One annotation; its box may still be empty or outside the image."""
    annotation_id = _value(entry, "id", (int,), where)
    where = f"{where} (id {annotation_id})"
    image_id, category_id = _value(entry, "image_id", (int,), where), _value(entry, "category_id", (int,), where)
    if category_id not in category_ids:
        raise DataError(
            f"{where}: category_id {category_id} is unknown, categories holds {sorted(category_ids)[:20]}; "
            "add the category or fix the annotation"
        )
    bbox = _value(entry, "bbox", (list,), where)
    if len(bbox) != 4 or not all(_is_finite(number) for number in bbox):
        raise DataError(f"{where}: 'bbox' must be 4 finite numbers (x, y, width, height), found {bbox!r:.80}")
    x, y, width, height = (float(number) for number in bbox)
    area = entry.get("area")
    if not _is_area(area, width, height):
        # COCO's area is the segment's; of a bare box it is the box's. Absent is fine, nonsense is counted.
        if area is not None and width > 0 and height > 0:
            findings.add("area_replaced", f"annotation {annotation_id}: {area!r:.30}")
        area = width * height
    if entry.get("ignore") in (1, True):
        findings.add("ignore_flag", f"annotation {annotation_id}")
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise DataError(f"{where}: 'iscrowd' must be 0 or 1, found {crowd!r:.30}; fix the annotation file")
    return Instance(annotation_id, image_id, category_id, (x, y, width, height), float(area), bool(crowd))


def _is_area(value: Any, width: float, height: float) -> bool:
    """True when a segment in the box can have this area; in parts of the image, or of another size, it can't."""
    if not _is_finite(value) or value <= 0:
        return False
    if width <= 0 or height <= 0:
        return True
    # Polygons whose pixels are counted with both ends reach over their box by one.
    return bool(min(1.0, width * height / 2) <= value <= (width + 2) * (height + 2))


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    # Whole numbers of hundreds of digits are no float any more.
    return abs(value) < 2**1023 if isinstance(value, int) else math.isfinite(value)
