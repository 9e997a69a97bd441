"""What is left to learn and to judge: asked before any work, by `data check` and by every step that needs boxes.

One place, so that what `data check` refuses and what training refuses can't differ. A split may be loaded whatever is
in it (pictures without boxes calibrate a network well); what a step needs of it is said here:

| function | asked by | refuses |
| --- | --- | --- |
| `examine_for_training` | training, substitution (by `load_for_training`), `data check` | all of the below |
| `require_learnable` | steps that learn from boxes | nothing left but crowds, dropped boxes, boxes too small to see |
| `require_judgeable` | steps whose result is chosen by AP | no object left to find |
| `count_objects` | evaluation | boxes that were all lost; pictures that show nothing are allowed, see `FalseAlarms` |
| `require_sound` | all of these | boxes whose numbers mean something else; dark pictures |
| `require_bright` | calibration | dark pictures |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgedet.contracts import PreprocessSpec
from edgedet.data.check.leak import with_leak
from edgedet.data.check.whole import whole_splits
from edgedet.data.coco.split import CocoSplit, ImageRecord, require_same_classes
from edgedet.data.coco.wide_pictures import weak_pictures
from edgedet.data.formats.once import reading_once
from edgedet.data.paths import DataPaths
from edgedet.data.pictures.headers import read_header
from edgedet.data.pictures.preprocess import fitted_size
from edgedet.errors import DataError, EdgedetError
from edgedet.progress import Progress

Result = TypeVar("Result")

MIN_SIDE_PX = 2.0  # in the network's input: a smaller box is no object any more
_LOST = ("box_empty", "box_negative", "box_outside")  # warnings about boxes that were dropped


@dataclass(frozen=True)
class ClassLeft:
    """What is left of one class in one split."""

    name: str
    objects: int  # boxes that are no crowds
    visible: int  # of these: both sides have at least `MIN_SIDE_PX` in the network's input


def left_over(split: CocoSplit, spec: PreprocessSpec) -> tuple[ClassLeft, ...]:
    """Count what a network can learn, or be judged by.

    Args:
        split: data set.
        spec: preprocessing contract.
    Returns:
        One entry a class, in the order of the split.
    """
    objects = np.zeros(len(split.class_names), np.int64)
    visible = objects.copy()
    for record in split.images:
        boxes = fitted_size(record.width, record.height, spec).to_input(record.boxes[~record.crowd])
        labels = record.labels[~record.crowd]
        seen = ((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE_PX).all(axis=1)
        objects += np.bincount(labels, minlength=len(objects))
        visible += np.bincount(labels[seen], minlength=len(objects))
    return tuple(
        ClassLeft(name, count, big)
        for name, count, big in zip(split.class_names, objects.tolist(), visible.tolist(), strict=True)
    )


def describe_left(split: CocoSplit, spec: PreprocessSpec) -> str:
    """One line: objects of each class, and what does not count.

    Args:
        split: data set.
        spec: preprocessing contract.
    """
    left = left_over(split, spec)
    crowds = sum(int(record.crowd.sum()) for record in split.images)
    small = sum(entry.objects - entry.visible for entry in left)
    aside = [f"{crowds} crowds"] if crowds else []
    aside += [f"{small} below {MIN_SIDE_PX:g} px in the input"] if small else []
    text = ", ".join(f"{entry.name} {entry.visible}" for entry in left)
    return f"{split.name}: objects left: {text}" + (f"; not counted: {', '.join(aside)}" if aside else "")


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Both splits as far as they can be loaded, and everything that training refuses them for."""

    train: CocoSplit | None
    valid: CocoSplit | None
    faults: tuple[EdgedetError, ...]  # in the order in which training would meet them


def examine_for_training(paths: DataPaths, spec: PreprocessSpec, progress: Progress | None = None) -> TrainingData:
    """Read both splits, and look for all that stands in the way of training.

    Args:
        paths: data set.
        spec: preprocessing contract of the network.
        progress: called with (image headers read, in all), for each split.
    Returns:
        Splits and faults. Pixels are not decoded, but for some of 16 bits.
    Raises:
        ConfigError: no data set is given.
    """
    faults: list[EdgedetError] = []

    def attempt(action: Callable[[], Result]) -> Result | None:
        try:
            return action()
        except DataError as error:
            faults.append(error)
            return None

    with reading_once():
        train = attempt(partial(paths.load, "train", progress))
        valid = attempt(partial(paths.load, "valid", progress))
    if train is not None and valid is not None:
        attempt(partial(require_same_classes, train, valid))
    # Where every image is broken, that is what is wrong, and who decodes them says so.
    if train is not None and train.images:
        attempt(partial(require_learnable, train, spec))
    if valid is not None and valid.images:
        attempt(partial(require_judgeable, valid))
    return TrainingData(train, valid, tuple(faults))


def load_for_training(
    paths: DataPaths, spec: PreprocessSpec, progress: Progress | None = None
) -> tuple[CocoSplit, CocoSplit]:
    """Read both splits, and make sure that there is something to learn and to judge.

    Args:
        paths: data set.
        spec: preprocessing contract of the network.
        progress: called with (image headers read, in all), for each split.
    Returns:
        Training and validation split, with the same classes.
    Raises:
        ConfigError: no data set is given.
        BrokenImagesError: images can't be decoded; it names all of both splits.
        DataError: a split can't be loaded, the classes differ, or nothing is left; the first of the faults.
    """
    data = examine_for_training(replace(paths, skip_broken=True), spec, progress)
    if data.faults:
        raise data.faults[0]
    assert data.train is not None
    assert data.valid is not None
    train, valid = whole_splits((data.train, data.valid), paths.skip_broken, progress)
    if train.broken or valid.broken:  # what is left may be too little
        require_learnable(train, spec)
        require_judgeable(valid)
    return train, with_leak(train, valid)


def require_sound(split: CocoSplit) -> None:
    """Refuse boxes whose numbers mean something else than x, y, width, height, and dark pictures.

    Raises:
        DataError: with the likely cause.
    """
    for source in split.sources:
        if source.misread:
            lost = [warning.text for warning in split.warnings if warning.code in (*_LOST, "box_clipped")]
            raise DataError("; ".join([f"{source.where}: {split.name}: {source.misread}", *lost]))
    require_bright(split)


def require_bright(split: CocoSplit) -> None:
    """Refuse 16-bit pictures that use little of their range.

    Raises:
        DataError: with advice.
    """
    for source in split.sources:
        if source.dark:
            raise DataError(f"{source.where}: {split.name}: {source.dark}")


def require_bright_files(paths: Sequence[Path]) -> None:
    """The same of pictures that belong to no data set.

    Args:
        paths: image files; only some of those with 16 bits are decoded. Who runs a model on them meets those that can't
            be read, so they are passed over here.
    Raises:
        DataError: with advice.
    """
    wide = []
    for path in paths:
        with suppress(DataError):
            if path.is_file() and read_header(path).wide:
                wide.append(path)
    text = weak_pictures(wide)
    if text:
        raise DataError(f"{wide[0]}: {text}")


def require_learnable(split: CocoSplit, spec: PreprocessSpec) -> None:
    """Make sure that a network of this input size can learn something.

    Args:
        split: training split.
        spec: preprocessing contract.
    Raises:
        DataError: no object is left, with the likely cause.
    """
    require_sound(split)
    left = left_over(split, spec)
    if any(entry.visible for entry in left):
        return
    count = sum(entry.objects for entry in left)
    if count:
        raise DataError(
            f"{split.ann_path}: {split.name}: all {count} boxes have a side below {MIN_SIDE_PX:g} px in an input of "
            f"{spec.width}x{spec.height}, so nothing is left to learn; a larger `imgsz` shows more, or cut the "
            "pictures into parts"
        )
    raise _nothing_left(split, "learn", "label some images, or export them again with their boxes")


def require_judgeable(split: CocoSplit) -> None:
    """Make sure that AP can be measured, for steps that choose or check by it.

    Args:
        split: validation split.
    Raises:
        DataError: no object is left, with the likely cause.
    """
    require_sound(split)
    if objects_of(split.images) == 0:
        raise _nothing_left(
            split,
            "judge by",
            "AP can't be measured without objects: draw a validation split from train with `val_fraction`, for example "
            "0.2, or give another one (false alarms on such pictures are measured by `edgedet evaluate`)",
        )


def count_objects(split: CocoSplit, records: Sequence[ImageRecord]) -> int:
    """Objects that AP would be measured by; 0 means pictures that show none of the classes.

    Args:
        split: data set.
        records: those of its images that are evaluated.
    Raises:
        DataError: there were boxes, but none is left, with the likely cause.
    """
    require_sound(split)
    count = objects_of(records)
    if count == 0 and objects_of(split.images) == 0 and _reasons(split):
        raise _nothing_left(split, "judge by", "mend the boxes")
    return count


def objects_of(records: Sequence[ImageRecord]) -> int:
    """Boxes that are no crowds."""
    return sum(int((~record.crowd).sum()) for record in records)


def _nothing_left(split: CocoSplit, purpose: str, advice: str) -> DataError:
    """The error that says why no box is left."""
    reasons = _reasons(split)
    why = f"none of its boxes counts: {'; '.join(reasons)}" if reasons else "there is no box"
    if reasons and reasons[-1].endswith("iscrowd 1)"):
        advice = (
            "mask exports of some labelling tools mark every object as a crowd: set iscrowd to 0 where it is one object"
        )
    elif reasons:
        advice = "export the boxes again as x, y, width, height in pixels"
    return DataError(
        f"{split.ann_path}: {split.name} has {len(split.images)} images, but nothing to {purpose}: {why}; {advice}"
    )


def _reasons(split: CocoSplit) -> list[str]:
    """Why boxes do not count, crowds last."""
    reasons = [warning.text for warning in split.warnings if warning.code in _LOST]
    crowds = sum(int(record.crowd.sum()) for record in split.images)
    return reasons + ([f"{crowds} are crowds (iscrowd 1)"] if crowds else [])
