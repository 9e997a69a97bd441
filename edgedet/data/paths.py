"""Where a data set lies: one folder with a known layout, or explicit annotation files and image folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgedet.data.coco import CocoSplit, load_split
from edgedet.errors import ConfigError


@dataclass(frozen=True)
class DataPaths:
    """What the options `--data`, `--train-ann`, `--train-images`, `--val-ann` and `--val-images` say."""

    data: Path | None = None  # folder in Roboflow's or COCO's layout
    train_ann: Path | None = None  # COCO JSON of the training split
    train_images: Path | None = None  # its folder of images
    val_ann: Path | None = None  # COCO JSON of the validation split
    val_images: Path | None = None

    def __post_init__(self) -> None:
        if self.data is not None and self.data.is_file():
            raise ConfigError(
                f"{self.data}: is a file, expected the folder of a data set; for a COCO JSON give `train_ann` and "
                "`train_images`, `val_ann` and `val_images`"
            )

    def load(self, split: str) -> CocoSplit:
        """Read one split; explicit files win over the folder.

        Args:
            split: train, valid or test.
        Returns:
            The checked split.
        Raises:
            ConfigError: neither a folder nor files are given for this split, or only an image folder.
            DataError: what `load_split` finds.
        """
        ann, images = {
            "train": (self.train_ann, self.train_images),
            "valid": (self.val_ann, self.val_images),
        }.get(split, (None, None))
        names = {"train": "`train_ann` and `train_images`", "valid": "`val_ann` and `val_images`"}.get(split)
        explicit = f", or {names}" if names else ""
        if ann is None and images is not None:
            raise ConfigError(f"split {split}: image folder {images} without an annotation file; give {names}")
        if ann is None and self.data is None:
            raise ConfigError(f"split {split}: no data set given; give `data`{explicit}")
        return load_split(self.data, split, ann=ann, images=images)
