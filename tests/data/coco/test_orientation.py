from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from coco_document import codes, document, write_image, write_roboflow
from PIL import Image

from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.data.pictures.preprocess import load_image
from edgedet.errors import ConfigError, DataError

SWAPPED, HALF_TURN, SQUARE = 6, 3, 8


def picture(path: Path, orientation: int, width: int = 40, height: int = 30) -> None:
    """Black with a white block at x 2..7, y 4..13 of the stored pixels."""
    stored = np.zeros((height, width, 3), np.uint8)
    stored[4:14, 2:8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored).save(path, exif=exif)


def data_set(root: Path, images: dict[str, tuple[int, str]], split: str = "train", square: bool = False) -> Path:
    """A split of pictures: name -> (orientation, frame of the size that is stated). The block is the only object."""
    content = document()
    content["images"], content["annotations"] = [], []
    for number, (name, (orientation, frame)) in enumerate(images.items(), start=1):
        width, height = (30, 30) if square else (40, 30)
        picture(root / split / name, orientation, width, height)
        if frame == "upright" and orientation >= 5:
            width, height = height, width
        content["images"].append({"id": number, "file_name": name, "width": width, "height": height})
        box = {"id": number, "image_id": number, "category_id": 3, "bbox": [2, 4, 6, 10]}
        content["annotations"].append(box)
    write_roboflow(root, content, split)
    return root


def on_the_block(split: CocoSplit) -> list[bool]:
    """Whether the box of each image is where the block is in the upright pixels."""
    result = []
    for record in split.images:
        image = load_image(record.path)
        assert image.shape[:2] == (record.height, record.width)
        rows, columns = np.nonzero(image[..., 0])
        bounds = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        result.append(bool((record.boxes == [bounds]).all()))
    return result


@pytest.mark.parametrize("orientation", range(2, 9))
def test_load_one_image_with_swapped_sides_shows_the_frame_of_all(tmp_path: Path, orientation: int) -> None:
    data_set(tmp_path, {"a.png": (orientation, "stored"), "b.png": (SWAPPED, "stored"), "c.png": (1, "stored")})
    split = DataPaths(tmp_path).load("train")
    assert on_the_block(split) == [True, True, True]
    assert codes(split) == {"exif_boxes_turned": 2}
    truth = split.to_coco_dict()
    assert [(entry["width"], entry["height"]) for entry in truth["images"]] == [
        (record.width, record.height) for record in split.images
    ]
    for record, annotation in zip(split.images, truth["annotations"], strict=True):
        left, top, right, bottom = record.boxes[0].tolist()
        assert annotation["bbox"] == [left, top, right - left, bottom - top]


@pytest.mark.parametrize("orientation", range(2, 9))
def test_load_flag_decides_where_no_size_shows_it(tmp_path: Path, orientation: int) -> None:
    data_set(tmp_path, {"a.png": (orientation, "stored")}, square=True)
    stored = DataPaths(tmp_path, exif="stored").load("train")
    assert on_the_block(stored) == [True]
    assert codes(stored) == {"exif_boxes_turned": 1}
    upright = DataPaths(tmp_path, exif="upright").load("train")
    np.testing.assert_array_equal(upright.images[0].boxes, [[2, 4, 8, 14]])
    assert codes(upright) == {"exif_rotated": 1}
    assumed = DataPaths(tmp_path).load("train")
    np.testing.assert_array_equal(assumed.images[0].boxes, [[2, 4, 8, 14]])
    assert codes(assumed) == {"exif_assumed": 1}


def test_load_upright_sizes_keep_all_boxes(tmp_path: Path) -> None:
    data_set(tmp_path, {"a.png": (SWAPPED, "upright"), "b.png": (HALF_TURN, "upright")})
    split = DataPaths(tmp_path).load("train")
    assert codes(split) == {"exif_rotated": 2}
    for record in split.images:
        np.testing.assert_array_equal(record.boxes, [[2, 4, 8, 14]])


def test_load_another_split_of_the_data_set_shows_the_frame(tmp_path: Path) -> None:
    data_set(tmp_path, {"a.png": (SWAPPED, "stored")})
    data_set(tmp_path, {"b.png": (HALF_TURN, "stored")}, "valid")
    assert on_the_block(DataPaths(tmp_path).load("valid")) == [True]
    files = DataPaths(
        train_ann=tmp_path / "train" / "_annotations.coco.json", val_ann=tmp_path / "valid" / "_annotations.coco.json"
    )
    assert on_the_block(files.load("valid")) == [True]


def test_load_contradicting_sizes_ask_for_the_flag(tmp_path: Path) -> None:
    images = {"a.png": (SWAPPED, "stored"), "b.png": (SWAPPED, "upright"), "c.png": (HALF_TURN, "stored")}
    data_set(tmp_path, images)
    with pytest.raises(
        DataError, match=r"1 rotated images .* \(e\.g\. a\.png\), 1 .* \(e\.g\. b\.png\).*say by `exif`"
    ):
        DataPaths(tmp_path).load("train")
    # Sizes that show their frame keep it; the flag is for the half turn.
    assert on_the_block(DataPaths(tmp_path, exif="stored").load("train")) == [True, False, True]
    np.testing.assert_array_equal(DataPaths(tmp_path, exif="stored").load("train").images[1].boxes, [[2, 4, 8, 14]])
    assert on_the_block(DataPaths(tmp_path, exif="upright").load("train")) == [True, False, False]


@pytest.mark.parametrize(("exif", "frame"), [("upright", "stored"), ("stored", "upright")])
def test_load_flag_against_all_sizes_raises_config_error(tmp_path: Path, exif: str, frame: str) -> None:
    data_set(tmp_path, {"a.png": (SWAPPED, frame)})
    with pytest.raises(ConfigError, match=f"`exif` {exif}, but the sizes .* refer to the {frame} pixels"):
        DataPaths(tmp_path, exif=exif).load("train")


def test_load_merged_data_sets_have_a_frame_each(tmp_path: Path) -> None:
    stored = data_set(tmp_path / "one", {"a.png": (SWAPPED, "stored"), "b.png": (HALF_TURN, "stored")})
    upright = data_set(tmp_path / "two", {"a.png": (SWAPPED, "upright"), "b.png": (HALF_TURN, "upright")})
    split = DataPaths((stored, upright)).load("train")
    assert on_the_block(split) == [True, True, False, False]
    assert codes(split) == {"exif_boxes_turned": 2, "exif_rotated": 2}


def test_load_yolo_boxes_of_stored_pixels_are_turned_by_the_flag(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / name / "train").mkdir(parents=True)
    picture(tmp_path / "images" / "train" / "a.png", SWAPPED)
    row = f"0 {5 / 40} {9 / 30} {6 / 40} {10 / 30}\n"  # the block in parts of the stored 40x30
    (tmp_path / "labels" / "train" / "a.txt").write_text(row)
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images/train\nval: images/train\nnames: [block]\n")
    assert codes(DataPaths(tmp_path).load("train")) == {"exif_assumed": 1}
    split = DataPaths(tmp_path, exif="stored").load("train")
    np.testing.assert_allclose(split.images[0].boxes, [[16, 2, 26, 8]], atol=1e-4)  # float32 of parts of 1


def test_data_paths_unknown_frame_raises_config_error() -> None:
    with pytest.raises(ConfigError, match="`exif` must be one of auto, upright, stored"):
        DataPaths(Path("."), exif="sideways")


def test_load_damaged_exif_is_counted_and_not_printed(tmp_path: Path) -> None:
    write_roboflow(tmp_path, document())
    damaged = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x03\0\x01\0\0\0\x06\0"
    Image.new("RGB", (40, 30)).save(tmp_path / "train" / "a.jpg", exif=damaged)
    write_image(tmp_path / "train" / "b.jpg")
    split = DataPaths(tmp_path).load("train")
    assert codes(split) == {"image_odd": 1}
    assert "Corrupt EXIF" in split.warnings[0].example
    code = "import sys; from pathlib import Path; from edgedet.data.pictures.preprocess import load_image; "
    code += "load_image(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path / "train" / "a.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
