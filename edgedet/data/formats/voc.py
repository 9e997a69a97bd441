"""Pascal VOC: one XML file an image.

Rules:
- Pixels count from 1 and both ends belong to the box (VOC development kit): a box of xmin 1 and xmax 10 is 10 px wide
  and starts at the left border, so left = xmin - 1 and right = xmax. A set in which an xmin or ymin is below 1 can't be
  meant so: all its boxes are then read from 0 and without the end, as some tools write them, and a warning says so.
- `difficult` objects are COCO's crowds: not learned, and neither found nor missed in AP, as in VOC's own evaluation.
- Classes are the names of all objects in the folder, of every split, in alphabetical order: VOC lists them nowhere.
- Images are `<filename>` in JPEGImages or beside the XML file; where there is none, the image named like the XML file.
- A size of 0, which some tools write, and a missing one are taken from the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from edgedet.data.formats.annotations import Annotations, Category, Findings, Instance, RawImage
from edgedet.data.formats.file_names import FileNames, find_in, nearest_name
from edgedet.data.formats.once import once
from edgedet.data.formats.source import ALIASES, Source, folders_of
from edgedet.data.formats.xml_tree import Element, number, read_xml
from edgedet.data.formats.yolo_yaml import read_lines
from edgedet.data.pictures.headers import IMAGE_SUFFIXES, ImageHeader, read_header
from edgedet.errors import DataError

_SIDES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class _Object:
    """One <object>."""

    name: str
    sides: tuple[float, float, float, float]  # xmin, ymin, xmax, ymax as written
    difficult: bool
    where: str  # file:line


@dataclass(frozen=True)
class _File:
    """One XML file."""

    path: Path
    image: str  # <filename>
    size: tuple[int, int]  # px; (0, 0): not stated
    objects: tuple[_Object, ...]


def find_voc(data: Path, split: str) -> Source | None:
    """Find a split of a Pascal VOC data set.

    Args:
        data: folder with Annotations/ (and ImageSets/Main/), or with folders of XML files and images named after
            splits.
        split: train, valid or test.
    Returns:
        Where it is; None when this is no such data set, or it has no such split.
    """
    folder = data / "Annotations"
    if folder.is_dir():
        if not any(folder.glob("*.xml")):
            return None
        lists = data / "ImageSets" / "Main"
        named = {one: _list_of(lists, one) for one in ALIASES}
        if named[split] is not None:
            return Source("Pascal VOC", folder, partial(_read, data, [folder], folder, named[split]))
        if any(named.values()):
            return None
        everything = lists / "trainval.txt"
        chosen = everything if everything.is_file() else None
        return Source("Pascal VOC", folder, partial(_read, data, [folder], folder, chosen), whole=True)
    of_split = {one: [path for path in folders_of(data, one) if any(path.glob("*.xml"))] for one in ALIASES}
    if len(of_split[split]) > 1:
        names = ", ".join(str(path) for path in of_split[split])
        raise DataError(f"{data}: more than one folder fits {split}: {names}; rename those that don't belong to it")
    if of_split[split]:
        folders = [path for paths in of_split.values() for path in paths]
        return Source("Pascal VOC", of_split[split][0], partial(_read, data, folders, of_split[split][0], None))
    if any(of_split.values()) or not data.is_dir() or not any(_is_voc(path) for path in sorted(data.glob("*.xml"))[:1]):
        return None
    return Source("Pascal VOC", data, partial(_read, data, [data], data, None), whole=True)


def _is_voc(path: Path) -> bool:
    """CVAT's annotations.xml has another root."""
    return read_xml(path).tag == "annotation"


def _list_of(lists: Path, split: str) -> Path | None:
    return next((lists / f"{name}.txt" for name in ALIASES[split] if (lists / f"{name}.txt").is_file()), None)


def _read(data: Path, folders: list[Path], folder: Path, listed: Path | None) -> Annotations:
    """One split; the other splits' files are read for the class names, too."""
    files = once(("VOC", *folders), lambda: [_parse(path) for one in folders for path in sorted(one.glob("*.xml"))])
    mine = [file for file in files if file.path.parent == folder]
    if listed is not None:
        mine = _chosen(mine, listed)
    names = sorted({found.name for file in files for found in file.objects})
    if not names:
        raise DataError(f"{folder}: {len(files)} XML files without an object; expected at least one")
    labels = {name: label for label, name in enumerate(names)}
    findings = Findings()
    from_zero = any(min(found.sides[:2]) < 1 for file in files for found in file.objects)
    raws: list[RawImage] = []
    instances: list[Instance] = []
    headers: dict[Path, ImageHeader] = {}
    on_disk = cache(lambda place: FileNames(data / place))  # each is listed at most once
    for image_id, file in enumerate(mine, start=1):
        raw = _image(data, file, image_id, headers, on_disk, findings)
        raws.append(raw)
        for found in file.objects:
            if from_zero:
                findings.add("voc_from_zero", found.where)
            bbox = _bbox(found.sides, from_zero)
            area = max(bbox[2], 0.0) * max(bbox[3], 0.0)
            number_ = len(instances) + 1
            instances.append(Instance(number_, image_id, labels[found.name], bbox, area, found.difficult))
    categories = tuple(Category(label, name, "") for label, name in enumerate(names))
    where = str(folder if listed is None else listed)
    return Annotations(where, tuple(raws), tuple(instances), categories, findings, headers)


def _chosen(files: Iterable[_File], listed: Path) -> list[_File]:
    """The files that a list of ImageSets/Main names, in its order."""
    by_name = {file.path.stem: file for file in files}
    chosen: dict[str, _File] = {}
    for line, text in enumerate(read_lines(listed), start=1):
        if not text.strip():
            continue
        name = text.split()[0]
        if name not in by_name:
            raise DataError(f"{listed}:{line}: there is no {name}.xml; restore it, or take it off the list")
        chosen[name] = by_name[name]
    if not chosen:
        raise DataError(f"{listed}: names no image; expected one a line")
    return list(chosen.values())


def _parse(path: Path) -> _File:
    root = read_xml(path)
    if root.tag != "annotation":
        raise DataError(f"{root.where}: expected <annotation> of Pascal VOC, found <{root.tag}>; move the file away")
    size = root.one("size")
    sides = (0, 0) if size is None else (_side(size, "width"), _side(size, "height"))
    objects = tuple(_object(element) for element in root.all("object"))
    return _File(path, root.word("filename"), sides if min(sides) > 0 else (0, 0), objects)


def _side(size: Element, tag: str) -> int:
    return int(number(size.word(tag, "0"), f"<{tag}>", size.where))


def _object(element: Element) -> _Object:
    name = element.child("name").text.strip()
    if not name:
        raise DataError(f"{element.where}: <object> has an empty <name>; give it a class")
    box = element.child("bndbox")
    xmin, ymin, xmax, ymax = (number(box.child(tag).text, f"<{tag}>", box.where) for tag in _SIDES)
    return _Object(name, (xmin, ymin, xmax, ymax), element.word("difficult", "0") == "1", element.where)


def _bbox(sides: tuple[float, float, float, float], from_zero: bool) -> tuple[float, float, float, float]:
    """xywh, px from 0."""
    xmin, ymin, xmax, ymax = sides
    first = 0.0 if from_zero else 1.0
    return xmin - first, ymin - first, xmax - xmin + first, ymax - ymin + first


def _image(
    data: Path,
    file: _File,
    image_id: int,
    headers: dict[Path, ImageHeader],
    on_disk: Callable[[Path], FileNames],
    findings: Findings,
) -> RawImage:
    path, differs = _image_path(file, on_disk)
    if differs:
        findings.add("file_name_differs", f"{file.image!a} is {path.name!a}")
    width, height = file.size
    stated = width > 0
    if not stated:
        headers[path] = read_header(path)
        width, height = headers[path].upright_size
    name = path.relative_to(data).as_posix() if path.is_relative_to(data) else path.name
    return RawImage(image_id, name, path, width, height, stated)


def _image_path(file: _File, on_disk: Callable[[Path], FileNames]) -> tuple[Path, bool]:
    """The image of an XML file, and whether its name is written in another way; DataError when there is none."""
    folders = [on_disk(folder) for folder in (Path("JPEGImages"), Path("images"), file.path.parent)]
    stated = file.image.replace("\\", "/").rpartition("/")[2]
    names = [stated] if stated else []
    names += [file.path.stem + suffix for suffix in IMAGE_SUFFIXES]
    names += [file.path.stem + suffix.upper() for suffix in IMAGE_SUFFIXES]
    found = next(filter(None, (find_in(folders, name, str(file.path)) for name in names)), None)
    if found is None:
        there = [folder.root for folder in folders if folder.root.is_dir()]
        near = "".join(nearest_name(folder / names[0]) for folder in there)
        raise DataError(
            f"{file.path}: image {stated or file.path.stem!r} not found in "
            f"{' or '.join(str(folder) for folder in there)}{near}; restore it, or remove the XML file"
        )
    return found
