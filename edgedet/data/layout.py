"""Where a data set keeps the annotation file and the images of a split."""

from __future__ import annotations

import re
from pathlib import Path

from edgedet.errors import DataError

SPLITS = ("train", "valid", "test")
ROBOFLOW_FILE = "_annotations.coco.json"
_ALIASES = {"train": ("train",), "valid": ("valid", "val"), "test": ("test",)}
_LAYOUTS = (
    "{split}/_annotations.coco.json with the images beside it, or annotations/instances_{alias}<year>.json with "
    "{alias}<year>/ or images/{alias}<year>/"
)


def find_split_files(
    data_dir: Path | None, split: str, ann: Path | None = None, images: Path | None = None
) -> tuple[Path, Path]:
    """Find the annotation file and the image folder of a split.

    Args:
        data_dir: root of the data set in Roboflow's or COCO's layout; not needed when `ann` is given.
        split: train, valid or test ("val" folders and files count as valid).
        ann: annotation file, instead of searching.
        images: image folder, instead of searching.
    Returns:
        (annotation file, image folder), both existing.
    Raises:
        DataError: nothing found, more than one candidate, or a path does not exist.
    """
    if split not in SPLITS:
        raise DataError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    if ann is None:
        if data_dir is None:
            raise DataError(f"{split}: give a data folder, or an annotation file and an image folder")
        ann = _find_annotations(data_dir, split)
    if not ann.is_file():
        raise DataError(f"{ann}: annotation file of {split} not found; check the path")
    if images is None:
        images = _find_images(ann)
    if not images.is_dir():
        raise DataError(f"{images}: image folder of {split} not found; check the path")
    return ann, images


def _find_annotations(data_dir: Path, split: str) -> Path:
    """The only annotation file of the split below data_dir."""
    if not data_dir.is_dir():
        raise DataError(f"{data_dir}: data folder not found; check the path")
    aliases = _ALIASES[split]
    found = [data_dir / alias / ROBOFLOW_FILE for alias in aliases if (data_dir / alias / ROBOFLOW_FILE).is_file()]
    pattern = re.compile(rf"instances_({'|'.join(aliases)})(\d{{4}})?\.json")
    folder = data_dir / "annotations"
    if folder.is_dir():
        found += sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.is_file())
    if not found:
        expected = _LAYOUTS.format(split=split, alias=aliases[-1])
        there = ", ".join(sorted(path.name for path in data_dir.iterdir())[:8]) or "nothing"
        raise DataError(
            f"{data_dir}: no annotations of {split} found; expected {expected}; the folder holds: {there}; "
            "or give the annotation file and the image folder explicitly"
        )
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(data_dir)) for path in found)
        raise DataError(
            f"{data_dir}: {len(found)} annotation files fit {split} ({names}); give the one to use explicitly"
        )
    return found[0]


def _find_images(ann: Path) -> Path:
    """The image folder that belongs to an annotation file."""
    if not ann.name.startswith("instances_"):
        return ann.parent
    name = ann.stem.removeprefix("instances_")
    root = ann.parent.parent
    candidates = (root / name, root / "images" / name)
    found = [path for path in candidates if path.is_dir()]
    if len(found) != 1:
        tried = " and ".join(str(path) for path in candidates)
        raise DataError(
            f"{ann}: expected its images in exactly one of {tried}; found {len(found)} of them; "
            "give the image folder explicitly"
        )
    return found[0]
