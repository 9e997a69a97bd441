from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError


def test_data_paths_file_in_place_of_the_folder_says_what_takes_files(tiny_coco_once: Path) -> None:
    file = tiny_coco_once / "train" / "_annotations.coco.json"
    with pytest.raises(ConfigError, match=rf"{file}: is a file, expected the folder of a data set; .* `train_ann`"):
        DataPaths(file)
    assert len(DataPaths(train_ann=file).load("train").images) == 9


def test_data_paths_explicit_files_win_over_the_folder(tiny_coco_once: Path) -> None:
    paths = DataPaths(tiny_coco_once, val_ann=tiny_coco_once / "train" / "_annotations.coco.json")
    assert len(paths.load("valid").images) == 9
    assert len(DataPaths(tiny_coco_once).load("valid").images) == 4


def test_data_paths_without_data_name_the_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give `data`, or `train_ann` and `train_images`"):
        DataPaths().load("train")
    with pytest.raises(ConfigError, match="without an annotation file; give `val_ann` and `val_images`"):
        DataPaths(val_images=tmp_path).load("valid")
