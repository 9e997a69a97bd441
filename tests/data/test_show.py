"""Pages of pictures with boxes."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.paths import DataPaths
from edgedet.data.pictures.draw import class_colour
from edgedet.data.show import ShowRequest, labelled_tiles, show_dataset
from edgedet.errors import ConfigError, DataError


def test_labelled_tiles_have_a_box_where_the_annotation_says(tiny_coco_once: Path) -> None:
    split = DataPaths(tiny_coco_once).load("train")
    tiles = labelled_tiles(split, 100, 0, None)
    assert len(tiles) == len(split.images)
    for tile, record in zip(tiles, split.images, strict=True):
        assert record.path.name in tile.caption
        scale = tile.pixels.shape[1] / record.width
        for box, label in zip(record.boxes, record.labels, strict=True):
            x, y = round((box[0] + box[2]) / 2 * scale), round(box[3] * scale)
            below = tile.pixels[max(0, y - 2) : y + 3, min(x, tile.pixels.shape[1] - 1)]
            assert (below == class_colour(int(label))).all(axis=1).any()


def test_show_dataset_writes_png_and_html(tiny_coco_once: Path, tmp_path: Path) -> None:
    data = DataPaths(tiny_coco_once)
    assert show_dataset(ShowRequest(data, tmp_path / "page.png", images=5)) == 5
    with Image.open(tmp_path / "page.png") as page:
        assert (np.asarray(page) == class_colour(0)).all(axis=2).any()
    first = (tmp_path / "page.png").read_bytes()
    show_dataset(ShowRequest(data, tmp_path / "page.png", images=5))
    assert (tmp_path / "page.png").read_bytes() == first
    show_dataset(ShowRequest(data, tmp_path / "page.html", split="valid", images=2))
    text = (tmp_path / "page.html").read_text()
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert len(pictures) == 2
    with Image.open(io.BytesIO(base64.b64decode(pictures[0]))) as picture:
        assert max(picture.size) == 320


def test_show_dataset_augmented_is_what_training_draws(tiny_coco_once: Path, tmp_path: Path) -> None:
    request = ShowRequest(
        DataPaths(tiny_coco_once), tmp_path / "a.png", images=4, augmented="rtmdet_pico_relu6", imgsz=(96, 64)
    )
    assert show_dataset(request) == 4
    assert (tmp_path / "a.png").is_file()


def test_show_dataset_bad_input_writes_nothing(tiny_coco_once: Path, tmp_path: Path) -> None:
    data = DataPaths(tiny_coco_once)
    with pytest.raises(ConfigError, match=r"`out` .*page\.pdf: expected a name that ends in \.png or \.html"):
        ShowRequest(data, tmp_path / "page.pdf")
    with pytest.raises(ConfigError, match="`imgsz` without `augmented`"):
        ShowRequest(data, tmp_path / "page.png", imgsz=(96, 64))
    with pytest.raises(DataError, match="no annotations of test found"):
        show_dataset(ShowRequest(data, tmp_path / "page.png", split="test"))
    assert list(tmp_path.iterdir()) == []
