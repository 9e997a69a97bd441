"""Which data set is meant: folders of any known layout, or explicit COCO files, and what is taken of it."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgedet.data.coco.build import build_split, other_splits, upright_source
from edgedet.data.coco.classes import keep_classes, merge, rename_classes
from edgedet.data.coco.orientation import EXIF, with_headers
from edgedet.data.coco.split import CocoSplit
from edgedet.data.formats.annotations import Annotations
from edgedet.data.formats.layout import Division, absent, draw, read_files, read_folder, read_shared_files
from edgedet.errors import ConfigError, DataError, require_one_of
from edgedet.notebook import Brief
from edgedet.progress import Progress

_FILE_SUFFIXES = (".yaml", ".yml", ".xml")  # files that describe a data set


@dataclass(frozen=True, repr=False)
class DataPaths(Brief):
    """What the options `--data`, `--train-ann`, `--classes` and their companions say."""

    data: Path | Sequence[Path] | None = None  # folders (or YAML, CVAT XML); classes of the same name are one
    train_ann: Path | None = None  # COCO JSON of the training split
    train_images: Path | None = None  # its folder of images
    val_ann: Path | None = None  # COCO JSON of the validation split
    val_images: Path | None = None
    classes: tuple[str, ...] = ()  # keep only these; empty: all
    rename: tuple[tuple[str, str], ...] = ()  # (old, new) names of classes, before `classes`
    val_fraction: float | None = None  # for valid, where it is to be drawn from train; see `Division`
    split_seed: int = 0  # of that draw
    exif: str = "auto"  # upright | stored: what boxes of rotated images refer to where nothing shows it
    skip_broken: bool = False  # leave out images that can't be decoded, and name them; else they are an error

    def __post_init__(self) -> None:
        for folder in self.folders:
            if folder.is_file() and folder.suffix.lower() not in _FILE_SUFFIXES:
                raise ConfigError(
                    f"{folder}: is a file, expected the folder of a data set; for a COCO JSON give `train_ann` and "
                    "`train_images`, `val_ann` and `val_images`"
                )
        for what, values in (("`classes`", self.classes), ("`rename`", [old for old, _ in self.rename])):
            repeated = [name for name in values if list(values).count(name) > 1]
            if repeated:
                raise ConfigError(f"{what}: {repeated[0]!r} is given twice; give it once")
        require_one_of("`exif`", self.exif, EXIF)
        _ = self.division  # raises

    @property
    def folders(self) -> tuple[Path, ...]:
        """All folders."""
        if self.data is None:
            return ()
        return (self.data,) if isinstance(self.data, Path) else tuple(self.data)

    @property
    def division(self) -> Division:
        """How train and valid are drawn where a data set has no splits."""
        return Division(self.val_fraction, self.split_seed)

    def load(self, split: str, progress: Progress | None = None) -> CocoSplit:
        """Read one split; explicit files win over the folders.

        Args:
            split: train, valid or test.
            progress: called with (image headers read, in all).
        Returns:
            The checked split. Whether it has what a step needs is for `edgedet.data.check.content` to say.
        Raises:
            ConfigError: neither a folder nor files are given for this split, or only an image folder.
            DataError: no data set is found, or something in it is wrong.
        """
        with _without_collector():
            parts = self._read(split)
            if not parts:
                raise absent(self.folders[0], split)
            return self._build(split, parts, progress)

    def load_if_present(self, split: str) -> CocoSplit | None:
        """As `load`; None when there are other splits, but not this one."""
        if not self.folders and split not in self._explicit():
            return None
        with _without_collector():
            parts = self._read(split)
            return self._build(split, parts) if parts else None

    def _explicit(self) -> list[str]:
        """Splits that are given by their file."""
        return [split for split, ann in (("train", self.train_ann), ("valid", self.val_ann)) if ann is not None]

    def _build(
        self, split: str, parts: list[tuple[Path | None, Annotations]], progress: Progress | None = None
    ) -> CocoSplit:
        upright = []
        for folder, part in parts:
            others = partial(self._others, split) if folder is None else partial(self._others_of, folder, split)
            upright.append(upright_source(part, self.exif, others, progress, self.skip_broken))
        parsed = merge(rename_classes(upright, self.rename))
        return build_split(split, keep_classes(parsed, self.classes) if self.classes else parsed, upright)

    def _others(self, split: str) -> Iterator[Annotations]:
        """The other split that is given by its file, with headers."""
        other, ann, images = ("valid", self.val_ann, self.val_images)
        if split == "valid":
            other, ann, images = "train", self.train_ann, self.train_images
        if ann is not None:
            yield with_headers(read_files(other, ann, images), skip_broken=True)

    def _others_of(self, folder: Path, split: str) -> Iterator[Annotations]:
        return other_splits(folder, split, self._division_of(split))

    def require_named(self, split: str) -> None:
        """Make sure, before anything is read, that a split is named and what it names is there.

        Raises:
            ConfigError: neither a folder nor files are given for it, or only an image folder.
            DataError: a folder or file is not there.
        """
        if split != "test" and self._drawn_from_file():
            return
        ann, images = {
            "train": (self.train_ann, self.train_images),
            "valid": (self.val_ann, self.val_images),
        }.get(split, (None, None))
        names = {"train": "`train_ann` and `train_images`", "valid": "`val_ann` and `val_images`"}.get(split)
        if ann is None and images is not None:
            raise ConfigError(f"split {split}: image folder {images} without an annotation file; give {names}")
        if ann is None and not self.folders:
            explicit = f", or {names}" if names else ""
            raise ConfigError(f"split {split}: no data set given; give `data`{explicit}")
        for folder in self.folders if ann is None else ():
            if not folder.exists():
                raise DataError(f"{folder}: data folder not found; check the path")

    def _read(self, split: str) -> list[tuple[Path | None, Annotations]]:
        """What the annotations of each folder say, or (None) the explicit file; empty when no folder has this split."""
        ann, images = {
            "train": (self.train_ann, self.train_images),
            "valid": (self.val_ann, self.val_images),
        }.get(split, (None, None))
        if split != "test" and self._drawn_from_file():
            assert self.train_ann is not None
            return [(None, draw(read_shared_files("train", self.train_ann, self.train_images), split, self.division))]
        self.require_named(split)
        if ann is not None:
            read = read_files if self.val_fraction is None else read_shared_files
            return [(None, read(split, ann, images))]
        found = [(folder, read_folder(folder, split, self._division_of(split))) for folder in self.folders]
        parts: list[tuple[Path | None, Annotations]] = [(folder, part) for folder, part in found if part is not None]
        for folder, part in found:
            if part is None and parts:
                parts[0][1].findings.add("split_absent", f"{folder} has no {split}")
        return parts

    def _drawn_from_file(self) -> bool:
        """True when a validation split was asked for, and only the file of the training split has boxes."""
        if self.val_fraction is None or self.train_ann is None or (self.folders and self.val_ann is None):
            return False
        return self.val_ann is None or not read_shared_files("valid", self.val_ann, self.val_images).instances

    def _division_of(self, split: str) -> Division:
        """No draw where the other split is given explicitly: train is then everything."""
        return replace(self.division, off=split == "train" and self.val_ann is not None)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Don't look for cycles of objects inside: there are none, and among millions of boxes a search takes seconds."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
