"""`edgedet.open_dataset`."""

from __future__ import annotations

from pathlib import Path

import pytest

import edgedet
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError


def test_splits_are_those_of_the_paths(tiny_coco_once: Path) -> None:
    data = edgedet.open_dataset(str(tiny_coco_once))
    assert data.class_names == ("red", "green")
    assert (len(data.train.images), len(data.valid.images)) == (9, 4)
    assert data.split("val") is data.valid
    assert repr(data) == f"<Dataset {tiny_coco_once}>"
    with pytest.raises(ConfigError, match=r"`name` 'vaild': expected one of train, valid, test \(did you mean 'valid'"):
        data.split("vaild")


def test_selection_reaches_the_paths(tiny_coco_once: Path) -> None:
    data = edgedet.open_dataset([tiny_coco_once], rename={"green": "leaf"}, classes=["leaf"])
    assert data.paths == DataPaths((tiny_coco_once,), classes=("leaf",), rename=(("green", "leaf"),))
    assert data.class_names == ("leaf",)


def test_explicit_files(tiny_coco_once: Path) -> None:
    folder = tiny_coco_once / "valid"
    data = edgedet.open_dataset(val_ann=str(folder / "_annotations.coco.json"), val_images=str(folder))
    assert len(data.valid.images) == 4
    assert data.class_names == ("red", "green")


def test_check_and_show(tiny_coco_once: Path, tmp_path: Path) -> None:
    data = edgedet.open_dataset(tiny_coco_once)
    assert "advice:" in str(data.check(imgsz=(96, 64)))
    assert data.show(str(tmp_path / "page.png"), images=2).is_file()


def test_absent_folder_and_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such data set; check the path"):
        edgedet.open_dataset(tmp_path / "absent")
    with pytest.raises(ConfigError, match="which data set"):
        edgedet.open_dataset()
