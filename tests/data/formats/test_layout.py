"""How train and valid are drawn where a data set has no splits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError, DataError


def whole(root: Path, names: list[str]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (40, 30)).save(root / name)
    document = {
        "images": [{"id": i, "file_name": name, "width": 40, "height": 30} for i, name in enumerate(names, 1)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 9, 9]} for i in range(1, len(names) + 1)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (root / "_annotations.coco.json").write_text(json.dumps(document))
    return root


def names_of(paths: DataPaths, split: str) -> set[str]:
    return {record.path.name for record in paths.load(split).images}


def test_draw_follows_the_stated_rule_and_its_seed(tmp_path: Path) -> None:
    names = [f"{n}.png" for n in range(60)]
    root = whole(tmp_path / "set", names)

    def expected(seed: int, fraction: float) -> set[str]:
        shares = {n: int(hashlib.sha256(f"{seed}:{n}".encode()).hexdigest()[:16], 16) / 2**64 for n in names}
        return {name for name, share in shares.items() if share < fraction}

    assert names_of(DataPaths(root), "valid") == expected(0, 0.2)
    assert names_of(DataPaths(root), "train") == set(names) - expected(0, 0.2)
    assert names_of(DataPaths(root, val_fraction=0.4, split_seed=7), "valid") == expected(7, 0.4)


def test_draw_leaves_images_where_they_are_when_others_come(tmp_path: Path) -> None:
    few = whole(tmp_path / "few", [f"{n}.png" for n in range(30)])
    more = whole(tmp_path / "more", [f"{n}.png" for n in range(60)])
    for split in ("train", "valid"):
        assert names_of(DataPaths(few), split) <= names_of(DataPaths(more), split)


def test_draw_keeps_roboflow_copies_of_a_picture_together(tmp_path: Path) -> None:
    names = [f"{n}_jpg.rf.{copy:032x}.png" for n in range(20) for copy in range(3)]
    paths = DataPaths(whole(tmp_path / "set", names), val_fraction=0.5)
    for split in ("train", "valid"):
        pictures = [name.partition(".rf.")[0] for name in names_of(paths, split)]
        assert all(pictures.count(picture) == 3 for picture in pictures)


def test_draw_is_off_for_named_splits_unless_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "set"
    whole(root / "train", [f"{n}.png" for n in range(20)])
    assert len(names_of(DataPaths(root), "train")) == 20
    with pytest.raises(DataError, match=r"no annotations of valid found, .* `val_fraction`"):
        DataPaths(root).load("valid")
    asked = DataPaths(root, val_fraction=0.3)
    assert len(names_of(asked, "train")) + len(names_of(asked, "valid")) == 20
    whole(root / "valid", ["x.png"])
    assert len(names_of(asked, "train")) == 20  # its own validation split wins


def test_draw_is_off_when_the_validation_file_is_given(tmp_path: Path) -> None:
    root = whole(tmp_path / "set", [f"{n}.png" for n in range(20)])
    other = whole(tmp_path / "other", ["x.png"]) / "_annotations.coco.json"
    paths = DataPaths(root, val_ann=other)
    assert len(names_of(paths, "train")) == 20
    assert names_of(paths, "valid") == {"x.png"}


def test_draw_that_leaves_a_split_empty_says_what_to_do(tmp_path: Path) -> None:
    root = whole(tmp_path / "set", ["a.png"])
    share = int(hashlib.sha256(b"0:a.png").hexdigest()[:16], 16) / 2**64
    empty = "train" if share < 0.5 else "valid"
    with pytest.raises(DataError, match=rf"none of its 1 images falls into {empty} .* take another seed or share"):
        DataPaths(root, val_fraction=0.5).load(empty)
    with pytest.raises(ConfigError, match=r"`val_fraction` 1\.5: expected a number between 0 and 1"):
        DataPaths(tmp_path, val_fraction=1.5)
