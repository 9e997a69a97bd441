"""Which images and class names belong to a split of a YOLO data set."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from edgedet.data.formats.annotations import Annotations
from edgedet.data.formats.source import Source, folders_of, has_split_folder
from edgedet.data.formats.yolo import ListedImage, read_yolo
from edgedet.data.formats.yolo_yaml import (
    YAML_SUFFIXES,
    YoloSet,
    candidates_of,
    read_darknet,
    read_lines,
    read_names,
    read_yaml,
)
from edgedet.data.pictures.headers import IMAGE_SUFFIXES
from edgedet.errors import DataError

CLASSES_FILES = ("classes.txt", "labels/classes.txt", "obj.names")


def find_yolo(data: Path, split: str) -> Source | None:
    """Find a split of a YOLO data set.

    Args:
        data: folder, or its YAML file.
        split: train, valid or test.
    Returns:
        Where it is; None when this is no YOLO data set, or it has no such split.
    Raises:
        DataError: more than one file describes the data set, or it names a folder that is missing.
    """
    described = _described(data)
    if described is not None:
        entries = described.splits.get(split)
        if entries is None:
            return None
        images = partial(_listed, described, entries)
        return _source(described, images, whole_folders=all(Path(entry).suffix != ".txt" for entry in entries))
    if not data.is_dir():
        return None
    names = next((data / name for name in CLASSES_FILES if (data / name).is_file()), None)
    if names is None:
        return None
    return _find_by_folders(data, YoloSet(names, read_names(names), {}), split)


def _described(data: Path) -> YoloSet | None:
    """What a YAML file or obj.data says; None without one."""
    if data.is_file():
        if data.suffix.lower() not in YAML_SUFFIXES:
            return None
        found = read_yaml(data)
        if found is None:
            raise DataError(f"{data}: expected the keys 'names' and 'train' or 'val' of a YOLO data set")
        return found
    if not data.is_dir():
        return None
    files = sorted(path for path in data.iterdir() if path.suffix.lower() in YAML_SUFFIXES and path.is_file())
    sets = [found for path in files if (found := read_yaml(path)) is not None]
    if (data / "obj.data").is_file():
        sets.append(read_darknet(data / "obj.data"))
    if len(sets) > 1:
        names = ", ".join(found.path.name for found in sets)
        raise DataError(
            f"{data}: {names} each describe a YOLO data set; give one of these files in place of the folder"
        )
    return sets[0] if sets else None


def _source(
    described: YoloSet, images: partial[Iterator[ListedImage]], whole_folders: bool, whole: bool = False
) -> Source:
    def read() -> Annotations:
        return read_yolo(images(), described.names, described.keypoint_values, described.path, whole_folders)

    return Source("YOLO", described.path, read, whole)


def _listed(described: YoloSet, entries: tuple[str, ...]) -> Iterator[ListedImage]:
    """Images of folders and list files, each once."""
    seen: set[Path] = set()
    bases = _bases(described)
    for entry in entries:
        candidates = candidates_of(entry, *bases)
        found = next((path for path in candidates if path.exists()), None)
        if found is None:
            raise DataError(
                f"{described.path}: {entry} not found; expected a folder or list of images at "
                f"{' or '.join(str(path) for path in candidates[:3])}"
            )
        images = _in_folder(found, described.path.parent) if found.is_dir() else _in_list(found, bases)
        for image in images:
            if image.path not in seen:
                seen.add(image.path)
                yield image


def _bases(described: YoloSet) -> list[Path]:
    """Folders that the file's paths may start from: its `path`, where that exists here, and its own folder."""
    own = described.path.parent
    if not described.root:
        return [own]
    roots = [path for path in candidates_of(described.root, own) if path.is_dir()]
    return [*roots[:1], own]


def _in_folder(folder: Path, root: Path) -> Iterator[ListedImage]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            yield ListedImage(path, _name(path, root), str(folder))


def _in_list(file: Path, bases: list[Path]) -> Iterator[ListedImage]:
    for line, text in enumerate(read_lines(file), start=1):
        if not text.strip():
            continue
        candidates = candidates_of(text, file.parent, *bases)
        path = next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
        yield ListedImage(path, _name(path, bases[-1]), f"{file}:{line}")


def _name(path: Path, root: Path) -> str:
    """Relative to the data set where the image lies in it, so that the name is the same on every computer."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _find_by_folders(data: Path, described: YoloSet, split: str) -> Source | None:
    """Splits by the names of folders: DIR/train, DIR/images/train; else everything below DIR/images or DIR."""
    images = data / "images"
    if has_split_folder(data) or has_split_folder(images):
        found = folders_of(data, split) + folders_of(images, split)
        if not found:
            return None
        if len(found) > 1:
            names = ", ".join(str(path) for path in found)
            raise DataError(f"{data}: {len(found)} folders fit {split} ({names}); rename those that don't belong to it")
        return _source(described, partial(_in_folder, found[0], data), whole_folders=True)
    everything = images if images.is_dir() else data
    return _source(described, partial(_in_folder, everything, data), whole_folders=True, whole=True)
