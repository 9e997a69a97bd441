"""Finds a split in a folder of any known format, and draws train and valid where a data set has no splits.

Rule of the draw: SHA-256 of "SEED:NAME" decides, where NAME is the image's path below the data set without what
Roboflow adds to the copies of one picture (`.rf.HASH`). So a picture stays where it is when others are added or
removed, and copies stay together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgedet.data.formats.annotations import Annotations, Findings
from edgedet.data.formats.coco import parse_coco
from edgedet.data.formats.coco_layout import find_coco, images_of
from edgedet.data.formats.cvat import find_cvat
from edgedet.data.formats.once import once
from edgedet.data.formats.source import Source
from edgedet.data.formats.voc import find_voc
from edgedet.data.formats.yolo_layout import find_yolo
from edgedet.errors import ConfigError, DataError

SPLITS = ("train", "valid", "test")
VALID_FRACTION = 0.2  # of a data set that names no splits
_KNOWN = (
    "COCO (train/_annotations.coco.json, annotations/instances_train2017.json, result.json), YOLO (data.yaml, or "
    "classes.txt with images/ and labels/), Pascal VOC (Annotations/*.xml, train/*.xml) or CVAT (annotations.xml)"
)


@dataclass(frozen=True)
class Division:
    """How train and valid are drawn from a data set that has no splits."""

    fraction: float | None = None  # for valid; None: VALID_FRACTION where no split is named, nothing where train is
    seed: int = 0
    off: bool = False  # nothing is drawn: train is everything

    def __post_init__(self) -> None:
        if self.fraction is not None and not 0.0 < self.fraction < 1.0:
            raise ConfigError(f"`val_fraction` {self.fraction:g}: expected a number between 0 and 1")


NO_DIVISION = Division()


def read_files(split: str, ann: Path, images: Path | None) -> Annotations:
    """Read a split from the COCO file that the user named.

    Args:
        split: for messages.
        ann: annotation file.
        images: image folder; None: the one that belongs to the file.
    Raises:
        DataError: a path does not exist, or the file is wrong.
    """
    if not ann.is_file():
        raise DataError(f"{ann}: annotation file of {split} not found; check the path")
    folder = images_of(ann) if images is None else images
    if not folder.is_dir():
        raise DataError(f"{folder}: image folder of {split} not found; check the path")
    return parse_coco(ann, folder)


def read_shared_files(split: str, ann: Path, images: Path | None) -> Annotations:
    """As `read_files`, of a file that both splits are looked for in; parsed once inside `reading_once`."""
    return _shared(ann, split, lambda: read_files(split, ann, images))


def read_folder(data: Path, split: str, division: Division = NO_DIVISION) -> Annotations | None:
    """Find and read a split.

    Args:
        data: folder of a data set, or Ultralytics' YAML file, or CVAT's XML file.
        split: train, valid or test.
        division: how train and valid are drawn where there are no splits.
    Returns:
        What its annotations say; None when the data set has other splits, but not this one.
    Raises:
        DataError: no data set, one of several formats, or what the format's reader finds.
    """
    if split not in SPLITS:
        raise DataError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    if not data.exists():
        raise DataError(f"{data}: data folder not found; check the path")
    source = _find(data, split)
    if source is not None and source.whole:
        if division.off:
            return source.read() if split == "train" else None
        return None if split == "test" else draw(_shared(data, "all", source.read), split, division)
    if division.fraction is not None and not division.off and split != "test":
        train, valid = _find(data, "train"), _find(data, "valid")
        if train is not None and (valid is None or not _shared(data, "valid", valid.read).instances):
            return draw(_shared(data, "train", train.read), split, division)  # there is nothing to validate on
        if valid is not None and split == "valid":
            return _shared(data, "valid", valid.read)
    if source is not None:
        return source.read()
    if not any(_find(data, other) for other in SPLITS if other != split):
        raise DataError(f"{data}: no annotations of {split} found; expected {_KNOWN}; {_what_is_there(data)}")
    return None


def _shared(data: Path, split: str, read: Callable[[], Annotations]) -> Annotations:
    """Annotations that train and valid are both drawn from, or looked at for; parsed once inside `reading_once`."""
    found = once(("annotations", data, split), read)
    findings = Findings()
    findings.extend(found.findings)
    return replace(found, findings=findings)  # each split adds its own


def absent(data: Path, split: str) -> DataError:
    """The error for a data set that lacks a split which is needed."""
    advice = "give the annotation file and the image folder explicitly"
    if split == "valid":
        advice = "draw it from train with `val_fraction`, for example 0.2, or " + advice
    return DataError(f"{data}: no annotations of {split} found, though there are other splits; {advice}")


def _find(data: Path, split: str) -> Source | None:
    """The source of a split, whatever its format."""
    sources = [source for find in (find_coco, find_yolo, find_voc, find_cvat) if (source := find(data, split))]
    if len(sources) > 1:
        found = " and ".join(f"{source.format} ({source.path})" for source in sources)
        raise DataError(
            f"{data}: holds {split} in {len(sources)} formats: {found}; give the YAML or XML file itself, or the COCO "
            "file and image folder explicitly, or move one of them away"
        )
    return sources[0] if sources else None


def _what_is_there(data: Path) -> str:
    if data.is_file():
        return "give the folder of the data set, or a YAML file that describes one"
    there = ", ".join(sorted(path.name for path in data.iterdir())[:8]) or "nothing"
    return f"the folder holds: {there}; or give the annotation file and the image folder explicitly"


def draw(everything: Annotations, split: str, division: Division) -> Annotations:
    """The images that fall into train or valid.

    Args:
        everything: annotations without splits.
        split: train or valid.
        division: share and seed.
    Raises:
        DataError: no image falls into the split.
    """
    fraction = VALID_FRACTION if division.fraction is None else division.fraction
    images = tuple(
        image
        for image in everything.images
        if (_share(image.file_name, division.seed) < fraction) == (split == "valid")
    )
    if not images:
        raise DataError(
            f"{everything.where}: none of its {len(everything.images)} images falls into {split} with a share of "
            f"{fraction:g} for valid and `split_seed` {division.seed}; take another seed or share, or name the splits"
        )
    kept = {image.image_id for image in images}
    everything.findings.add(
        "split_drawn",
        f"{len(images)} of {len(everything.images)} images, {fraction:.0%} for valid, seed {division.seed}",
    )
    instances = tuple(instance for instance in everything.instances if instance.image_id in kept)
    return replace(everything, images=images, instances=instances)


def _share(file_name: str, seed: int) -> float:
    """Where an image falls between 0 and 1."""
    picture = file_name.partition(".rf.")[0]
    digest = hashlib.sha256(f"{seed}:{picture}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
