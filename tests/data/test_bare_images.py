from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.bare_images import load_folder
from edgedet.errors import DataError


def draw(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(path)


def test_load_folder_lists_images_of_sub_folders_in_order(tmp_path: Path) -> None:
    draw(tmp_path / "b.PNG", (20, 30))
    draw(tmp_path / "a" / "z.jpg", (40, 10))
    (tmp_path / "notes.txt").write_text("no image")
    split = load_folder(tmp_path, ("cat", "dog"), (3, 7))
    assert [record.path.name for record in split.images] == ["z.jpg", "b.PNG"]
    assert [(record.width, record.height) for record in split.images] == [(40, 10), (20, 30)]
    assert [record.image_id for record in split.images] == [1, 2]
    assert all(record.boxes.shape == (0, 4) and len(record.labels) == 0 for record in split.images)
    truth = split.to_coco_dict()
    assert truth["annotations"] == []
    assert truth["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]


def test_load_folder_without_ids_numbers_the_classes_from_0(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", (8, 8))
    assert load_folder(tmp_path, ("cat", "dog")).category_ids == (0, 1)


def test_load_folder_nothing_to_load_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        load_folder(tmp_path, ("cat",))
    with pytest.raises(DataError, match="not found"):
        load_folder(tmp_path / "none", ("cat",))
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 cut")
    with pytest.raises(DataError, match=r"broken\.jpg: is a file, expected a folder of images"):
        load_folder(tmp_path / "broken.jpg", ("cat",))
    with pytest.raises(DataError, match=r"broken\.jpg"):
        load_folder(tmp_path, ("cat",))
