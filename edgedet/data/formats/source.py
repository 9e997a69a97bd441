"""Where a split was found in a folder, and how to read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgedet.data.formats.annotations import Annotations

# Names under which a split goes, in lower case. CVAT's users name subsets Train and Validation.
ALIASES = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Source:
    """One annotated split, or a whole data set without splits."""

    format: str  # COCO, YOLO, Pascal VOC, CVAT
    path: Path  # annotation file, or the folder that holds them
    read: Callable[[], Annotations]
    whole: bool = False  # the data set names no splits: train and valid are drawn from it


def is_split(name: str, split: str) -> bool:
    """True when a folder, key or subset of this name holds the split; upper and lower case are the same."""
    return name.lower() in ALIASES[split]


def folders_of(folder: Path, split: str) -> list[Path]:
    """Sub-folders of `folder` that are named after a split, sorted."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if is_split(path.name, split) and path.is_dir())


def has_split_folder(folder: Path) -> bool:
    """True when `folder` has a sub-folder that is named after any split."""
    return any(folders_of(folder, split) for split in ALIASES)
