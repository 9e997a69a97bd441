"""A data set of any known format, written anew in another one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.data.coco.split import CocoSplit, DataWarning
from edgedet.data.formats.layout import SPLITS
from edgedet.data.formats.once import reading_once
from edgedet.data.paths import DataPaths
from edgedet.data.write import FORMATS, Named, finish, image_folder, write_split
from edgedet.errors import ConfigError, require_one_of
from edgedet.fileio import require_out_folder
from edgedet.outputs.folder import new_folder
from edgedet.outputs.lock import hold_output


@dataclass(frozen=True)
class ConvertReport:
    """What `convert_dataset` wrote."""

    out: Path
    form: str  # coco, yolo or voc
    images: dict[str, int]  # by split
    boxes: dict[str, int]  # that were written
    left_out: int  # crowd boxes, where the format has none
    warnings: tuple[tuple[str, DataWarning], ...]  # (split, put right while reading)

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict: counts by split, and what was put right."""
        warnings = [{"split": split, "text": warning.text} for split, warning in self.warnings]
        counts = {"images": dict(self.images), "boxes": dict(self.boxes), "left_out": self.left_out}
        return {"out": str(self.out), "format": self.form, **counts, "warnings": warnings}

    def text(self) -> str:
        """Lines for people, each with its line end."""
        lines = [f"warning: {split}: {warning.text}\n" for split, warning in self.warnings]
        lines += [f"{split}: {count} images, {self.boxes[split]} boxes\n" for split, count in self.images.items()]
        if self.left_out:
            lines.append(f"note: {self.left_out} crowd boxes were left out: YOLO can't mark them\n")
        return "".join(lines) + f"{self.out}: {self.form}\n"


def convert_dataset(
    data: DataPaths, out: Path, form: str = "coco", progress: Callable[[int, int], None] | None = None
) -> ConvertReport:
    """Write every split of a data set in another format, with copies of its images.

    Files of the same name get `name_2` and so on. Images keep their bytes; boxes refer to the upright image, as readers
    that apply EXIF orientations take them.

    Args:
        data: what to read; chosen, renamed and merged classes and drawn splits are written as they are read.
        out: folder of the new data set; must be absent or empty.
        form: coco (Roboflow's layout), yolo (data.yaml) or voc.
        progress: called with (images done, images in all).
    Returns:
        What was written.
    Raises:
        ConfigError: an unknown format, or `out` holds something.
        DataError: the data set is wrong; nothing is written then.
    """
    require_one_of("`to`", form, FORMATS)
    require_out_folder(out, "`out`")
    with hold_output(out):
        if out.is_dir() and any(out.iterdir()):
            raise ConfigError(f"`out` {out}: is not empty; give a new name")
        with reading_once():
            splits = [split for name in SPLITS if (split := data.load_if_present(name)) is not None]
        if not splits:
            splits = [data.load("train")]  # raises, and says what is missing
        with new_folder(out, "") as folder:
            left_out = _write(folder, splits, form, progress)
    return ConvertReport(
        out=out,
        form=form,
        images={split.name: len(split.images) for split in splits},
        boxes={
            split.name: sum(len(record.labels) for record in split.images) - left_out[split.name] for split in splits
        },
        left_out=sum(left_out.values()),
        warnings=tuple((split.name, warning) for split in splits for warning in split.warnings),
    )


def _write(
    folder: Path, splits: Sequence[CocoSplit], form: str, progress: Callable[[int, int], None] | None
) -> dict[str, int]:
    """Copy the images and write their annotations; gives the number of boxes that were left out of each split."""
    total, done = sum(len(split.images) for split in splits), 0
    taken: set[str] = set()
    left_out: dict[str, int] = {}
    for split in splits:
        if form != "voc":  # whose splits share their folders
            taken = set()
        images = _named(split, taken)
        target = image_folder(folder, form, split.name)
        target.mkdir(parents=True, exist_ok=True)
        for image in images:
            shutil.copyfile(image.record.path, target / image.name)
            done += 1
            if progress:
                progress(done, total)
        left_out[split.name] = write_split(folder, form, split, images)
    finish(folder, form, splits)
    return left_out


def _named(split: CocoSplit, taken: set[str]) -> list[Named]:
    """The images under names whose stems differ, as label files have the stem alone."""
    of_image: dict[int, list[dict[str, object]]] = {record.image_id: [] for record in split.images}
    for annotation in split.to_coco_dict()["annotations"]:
        of_image[annotation["image_id"]].append(annotation)
    images = []
    for record in split.images:
        stem, number = record.path.stem, 1
        while stem.lower() in taken:
            number += 1
            stem = f"{record.path.stem}_{number}"
        taken.add(stem.lower())
        images.append(Named(record, stem + record.path.suffix, tuple(of_image[record.image_id])))
    return images
