"""Several data sets at once, renamed and chosen classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.contracts import PreprocessSpec
from edgedet.data.check.report import check_dataset
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError, DataError


def coco(root: Path, categories: dict[int, str], labels: list[int], split: str = "train") -> Path:
    """One image with a box of each label."""
    folder = root / split
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "a.jpg")
    document = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}],
        "annotations": [
            {"id": 70 + n, "image_id": 7, "category_id": label, "bbox": [n, 1, 10, 10]}
            for n, label in enumerate(labels)
        ],
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
    }
    (folder / "_annotations.coco.json").write_text(json.dumps(document))
    return root


def yolo(root: Path, names: list[str], labels: list[int]) -> Path:
    """One image with a box of each label, for training and validation."""
    for split in ("train", "valid"):
        (root / split).mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(root / split / "b.png")
        rows = [f"{label} 0.5 0.5 0.5 0.5" for label in labels]
        (root / split / "b.txt").write_text("\n".join(rows))
    (root / "data.yaml").write_text(f"train: train\nval: valid\nnames: {json.dumps(names)}\n")
    return root


def test_load_merges_folders_of_two_formats_by_class_name(tmp_path: Path) -> None:
    first = coco(tmp_path / "a", {3: "cat", 8: "dog"}, [8, 3])
    second = yolo(tmp_path / "b", ["bird", "dog"], [0, 1, 1])
    split = DataPaths((first, second)).load("train")
    assert split.class_names == ("cat", "dog", "bird")
    assert split.category_ids == (3, 8, 9)
    assert [record.image_id for record in split.images] == [1, 2]
    np.testing.assert_array_equal(split.images[0].labels, [1, 0])
    np.testing.assert_array_equal(split.images[1].labels, [2, 1, 1])
    truth = split.to_coco_dict()
    assert [a["id"] for a in truth["annotations"]] == [1, 2, 3, 4, 5]
    assert [a["category_id"] for a in truth["annotations"]] == [8, 3, 9, 8, 8]
    assert str(split.ann_path) == f"{first}/train/_annotations.coco.json + {second}/data.yaml"


def test_load_folder_without_the_split_adds_nothing_and_says_so(tmp_path: Path) -> None:
    first = coco(tmp_path / "a", {0: "dog", 1: "bird"}, [0, 1])
    second = yolo(tmp_path / "b", ["dog", "bird"], [0])
    split = DataPaths((first, second)).load("valid")
    assert len(split.images) == 1
    assert [(w.code, w.count) for w in split.warnings] == [("split_absent", 1)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no annotations of valid found; expected COCO"):
        DataPaths((second, tmp_path / "empty")).load("valid")


def test_load_classes_keep_the_order_of_the_data_and_leave_negatives(tmp_path: Path) -> None:
    root = coco(tmp_path, {1: "cat", 2: "dog", 5: "bird"}, [2, 5])
    coco(tmp_path, {1: "cat", 2: "dog", 5: "bird"}, [1], "valid")
    paths = DataPaths(root, classes=("bird", "cat"))
    split = paths.load("train")
    assert (split.class_names, split.category_ids) == (("cat", "bird"), (1, 5))
    np.testing.assert_array_equal(split.images[0].labels, [1])
    assert "dog" in split.warnings[0].text
    report = check_dataset(paths, PreprocessSpec(96, 64))
    assert [counts.name for counts in report.splits[0].classes] == ["cat", "bird"]
    with pytest.raises(DataError, match=r"no class 'cow' to keep by `classes`; classes are \['cat', 'dog', 'bird'\]"):
        DataPaths(root, classes=("cow",)).load("train")
    with pytest.raises(ConfigError, match="`classes`: 'cat' is given twice"):
        DataPaths(root, classes=("cat", "cat"))


def test_load_rename_joins_classes_across_folders(tmp_path: Path) -> None:
    first = coco(tmp_path / "a", {1: "tabby", 2: "siamese", 3: "dog"}, [1, 2, 3])
    second = yolo(tmp_path / "b", ["Cat"], [0])
    rename = (("tabby", "cat"), ("siamese", "cat"), ("Cat", "cat"))
    split = DataPaths((first, second), rename=rename).load("train")
    assert (split.class_names, split.category_ids) == (("cat", "dog"), (1, 3))
    np.testing.assert_array_equal(split.images[0].labels, [0, 0, 1])
    np.testing.assert_array_equal(split.images[1].labels, [0])
    with pytest.raises(DataError, match="no class 'cow' to rename; classes are"):
        DataPaths(first, rename=(("cow", "ox"),)).load("train")
