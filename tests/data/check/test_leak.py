"""Pictures that are in train and valid."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgedet.contracts import PreprocessSpec
from edgedet.data.check.content import load_for_training
from edgedet.data.check.leak import shared_pictures
from edgedet.data.paths import DataPaths


def test_load_for_training_warns_of_pictures_in_both_splits(tiny_coco: Path) -> None:
    for number in (1, 3):
        shutil.copy(tiny_coco / "train" / f"{number}.png", tiny_coco / "valid" / f"{number}.png")
    _, valid = load_for_training(DataPaths(tiny_coco), PreprocessSpec(64, 64))
    (warning,) = valid.warnings
    assert (warning.code, warning.count) == ("images_in_train", 2)
    assert warning.example == f"{tiny_coco / 'train' / '1.png'} = {tiny_coco / 'valid' / '1.png'}"


def test_shared_pictures_of_the_same_files_are_found_without_reading_them(tiny_coco: Path) -> None:
    train = DataPaths(tiny_coco).load("train")
    assert len(shared_pictures(train, train)) == len(train.images)
    assert shared_pictures(train, DataPaths(tiny_coco).load("valid")) == ()
