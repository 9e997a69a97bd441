"""A data set of any known format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from edgedet.api.public import public
from edgedet.contracts import PreprocessSpec
from edgedet.data.check.report import DataReport, check_dataset
from edgedet.data.coco.orientation import EXIF
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.data.show import ShowRequest, show_dataset
from edgedet.errors import ConfigError
from edgedet.fileio import PathLike, as_path
from edgedet.notebook import short_path
from edgedet.options import SPLITS, split_name
from edgedet.typed import (
    is_number,
    require_given,
    require_numbers,
    require_one,
    require_truth,
    require_whole,
    shown,
)


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A data set; `open_dataset` makes it. Splits are read and checked when they are asked for.

    `data.train`, `data.valid` and `data.test` are its splits: `len(data.valid.images)`, `data.valid.images[0].path`.
    """

    paths: DataPaths  # what the command line calls --data and its companions

    def __post_init__(self) -> None:
        if not isinstance(self.paths, DataPaths):
            raise ConfigError(f"Dataset({shown(self.paths)}): data sets are opened by `edgedet.open_dataset(folder)`")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels."""
        return self._some_split.class_names

    @cached_property
    @public
    def train(self) -> CocoSplit:
        """Training split. Raises DataError or ConfigError when there is none."""
        return self.paths.load("train")

    @cached_property
    @public
    def valid(self) -> CocoSplit:
        """Validation split. Raises DataError or ConfigError when there is none."""
        return self.paths.load("valid")

    @cached_property
    @public
    def test(self) -> CocoSplit:
        """Test split. Raises DataError or ConfigError when there is none."""
        return self.paths.load("test")

    @public
    def split(self, name: str) -> CocoSplit:
        """The split train, valid (or val) or test: `len(split.images)`, `split.images[0].path`, `split.class_names`.

        Raises:
            ConfigError: another name.
            DataError: the data set is wrong, or has no such split.
        """
        chosen: CocoSplit = getattr(self, known_split(name, "name"))
        return chosen

    @cached_property
    def _readable(self) -> Dataset:
        """The same data set, but images that can't be read are left out when it is read."""
        return self if self.paths.skip_broken else Dataset(replace(self.paths, skip_broken=True))

    @public
    def check(self, imgsz: int | tuple[int, int] = 192) -> DataReport:
        """Count objects, name every defect, give advice; `print(data.check())` shows it.

        Args:
            imgsz: side, or (width, height), of the network's input, px: it decides which objects are small.
        Returns:
            The report: `report.ok`, `report.advice`, `report.splits`.
        Raises:
            ConfigError: `imgsz` is no size.
            DataError: there is no data set to read.
        """
        width, height = size_of(imgsz)
        return check_dataset(self.paths, PreprocessSpec(width, height))

    @public
    def show(self, out: PathLike, split: str = "train", images: int = 20, seed: int = 0) -> Path:
        """Draw a page of labelled pictures.

        Args:
            out: file to write, .png or .html.
            split: train, valid or test.
            images: how many, drawn with `seed`; all where there are fewer.
            seed: of that draw.
        Returns:
            The file.
        Raises:
            ConfigError: another ending than .png or .html, or the file can't be written.
            DataError: the data set is wrong, or has no such split.
        """
        path, name = as_path(out, "out"), known_split(split, "split")
        require_given(images=images, seed=seed)
        require_whole(1, images=images)
        require_whole(seed=seed)
        show_dataset(ShowRequest(self.paths, path, name, images, seed))
        return path

    @property
    def _some_split(self) -> CocoSplit:
        if self.paths.folders or self.paths.train_ann is not None:
            return self.train
        return self.valid

    def __repr__(self) -> str:
        folders = self.paths.folders
        first = folders[0] if folders else self.paths.train_ann or self.paths.val_ann
        more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        return f"<Dataset {'of nothing' if first is None else short_path(first)}{more}>"


Data: TypeAlias = PathLike | Dataset | DataPaths | Sequence[PathLike]


@public
def open_dataset(
    data: PathLike | Sequence[PathLike] | None = None,
    *,
    train_ann: PathLike | None = None,
    train_images: PathLike | None = None,
    val_ann: PathLike | None = None,
    val_images: PathLike | None = None,
    classes: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    val_fraction: float | None = None,
    split_seed: int = 0,
    exif: str = "auto",
    skip_broken: bool = False,
) -> Dataset:
    """Open a data set of any known format: COCO, YOLO, Pascal VOC, CVAT, as Roboflow and Label Studio export them, too.

    Args:
        data: its folder (or data.yaml, annotations.xml), or several whose classes of the same name become one.
        train_ann: COCO JSON of the training split, where `data` is not laid out as anything known; with `train_images`.
        train_images: folder of its images.
        val_ann: the same of the validation split.
        val_images: folder of its images.
        classes: keep only these; empty: all.
        rename: old name -> new name of classes; those that get the same name become one.
        val_fraction: part of train to validate on where there is no validation split; None: 0.2 where no split is
            named.
        split_seed: of that draw.
        exif: what boxes of rotated photos refer to: upright or stored pixels; auto: as the sizes show.
        skip_broken: leave out images that can't be decoded, and name them; else they are an error.
    Returns:
        The data set; its splits are read when they are asked for.
    Raises:
        ConfigError: nothing is named, or a name is given twice.
    """
    require_given(split_seed=split_seed)
    require_numbers(val_fraction=val_fraction)
    require_whole(split_seed=split_seed)
    require_one("exif", exif, EXIF)
    require_truth(skip_broken=skip_broken)
    if not isinstance(classes, list | tuple) or not all(isinstance(name, str) for name in classes):
        raise ConfigError(f"`classes` {shown(classes)}: expected a list of names, such as ['mask']")
    names = [] if rename is None else list(rename.items()) if isinstance(rename, Mapping) else None
    if names is None or not all(isinstance(name, str) for pair in names for name in pair):
        raise ConfigError(f"`rename` {shown(rename)}: expected a dict, old name to new name")
    if data is None:
        folders: tuple[PathLike, ...] = ()
    else:
        folders = tuple(data) if isinstance(data, Sequence) and not isinstance(data, str | bytes) else (data,)
    if not folders and train_ann is None and val_ann is None:
        raise ConfigError("which data set? give its folder as `data`, or `train_ann` and `train_images`")
    found = [as_path(folder, "data") for folder in folders]
    for folder in found:
        if not folder.exists():
            raise ConfigError(f"{folder}: no such data set; check the path (the current folder is {Path.cwd()})")
    files = {"train_ann": train_ann, "train_images": train_images, "val_ann": val_ann, "val_images": val_images}
    given = {name: None if value is None else as_path(value, name) for name, value in files.items()}
    return Dataset(
        DataPaths(
            tuple(found) or None,
            given["train_ann"],
            given["train_images"],
            given["val_ann"],
            given["val_images"],
            classes=tuple(classes),
            rename=tuple(names),
            val_fraction=val_fraction,
            split_seed=split_seed,
            exif=exif,
            skip_broken=skip_broken,
        )
    )


def every_readable(dataset: Dataset, name: str) -> CocoSplit:
    """As `Dataset.split`, but its `broken` names the images that can't be read: who decodes all names all at once."""
    return dataset._readable.split(name)


def as_dataset(data: Data, skip_broken: bool = False) -> Dataset:
    """What a function takes as `data`: a data set that is open already, or what `open_dataset` opens.

    Args:
        data: as given. None is no data set.
        skip_broken: leave broken images out, also where the data set would not.
    Raises:
        ConfigError: something else, no such folder, or `skip_broken` is no truth value.
    """
    require_truth(skip_broken=skip_broken)
    if data is None:
        as_path(data, "data")  # raises
    if isinstance(data, Dataset):
        dataset = data
    else:
        dataset = Dataset(data) if isinstance(data, DataPaths) else open_dataset(data)
    return Dataset(replace(dataset.paths, skip_broken=True)) if skip_broken else dataset


def known_split(name: str, argument: str) -> str:
    """train, valid or test; val is another word for valid. Raises ConfigError, which names the argument, for others."""
    known = split_name(name) if isinstance(name, str) else name
    require_one(argument, known, SPLITS)
    return known


def size_of(imgsz: int | tuple[int, int]) -> tuple[int, int]:
    """(width, height) of a side or a pair, px."""
    sides = imgsz if isinstance(imgsz, tuple | list) else (imgsz, imgsz)
    if len(sides) != 2 or not all(is_number(side) and isinstance(side, int) and side > 0 for side in sides):
        raise ConfigError(f"`imgsz` {shown(imgsz)}: expected a whole number of px, or (width, height)")
    return sides[0], sides[1]
