"""CVAT's own XML, CVAT's COCO and Label Studio's COCO."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.paths import DataPaths
from edgedet.errors import DataError

LABELS = "".join(f"<label><name>{name}</name></label>" for name in ("dog", "cat"))
META = f"<meta><task><labels>{LABELS}</labels></task></meta>"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 80)).save(path)


def cvat(root: Path, *images: tuple[str, str, str]) -> Path:
    """(name, subset, shapes) of each image."""
    root.mkdir(parents=True, exist_ok=True)
    parts = [
        f'<image id="{index}" name="{name}" subset="{subset}" width="100" height="80">\n{shapes}</image>'
        for index, (name, subset, shapes) in enumerate(images)
    ]
    text = f"<annotations><version>1.1</version>{META}\n" + "\n".join(parts) + "\n</annotations>"
    (root / "annotations.xml").write_text(text)
    return root


BOX = '<box label="cat" occluded="0" xtl="10.5" ytl="20" xbr="30" ybr="60.25" z_order="0"></box>'


def test_find_cvat_shapes_give_boxes(tmp_path: Path) -> None:
    turned = '<box label="dog" xtl="40" ytl="30" xbr="60" ybr="40" rotation="90.0"/>'
    polygon = '<polygon label="dog" points="1.0,2.0;5.0,2.5;3.0,9.0"/>'
    ellipse = '<ellipse label="cat" cx="50" cy="40" rx="10" ry="5"/>'
    mask = '<mask label="cat" rle="1,2" left="7" top="8" width="9" height="10"/>'
    others = '<points label="dog" points="1,1"/><polyline label="dog" points="1,1;2,2"/><tag label="cat"/>'
    root = cvat(
        tmp_path, ("sub/a.jpg", "Train", BOX + turned + polygon + ellipse + mask + others), ("b.jpg", "Validation", BOX)
    )
    picture(root / "images" / "Train" / "sub" / "a.jpg")
    picture(root / "images" / "Validation" / "b.jpg")
    train = DataPaths(root).load("train")
    assert train.class_names == ("dog", "cat")
    np.testing.assert_allclose(
        train.images[0].boxes,
        # the turned box: 20 x 10 about (50, 35) becomes 10 x 20
        [[10.5, 20, 30, 60.25], [45, 25, 55, 45], [1, 2, 5, 9], [40, 35, 60, 45], [7, 8, 16, 18]],
        atol=1e-5,  # cos(90 degrees) is not exactly 0
    )
    np.testing.assert_array_equal(train.images[0].labels, [1, 0, 0, 1, 1])
    assert [(w.code, w.count) for w in train.warnings] == [("shape_without_box", 3)]
    assert len(DataPaths(root / "annotations.xml").load("valid").images) == 1


def test_find_cvat_default_subset_is_divided(tmp_path: Path) -> None:
    root = cvat(tmp_path, *((f"{n}.jpg", "default", BOX) for n in range(12)))
    for n in range(12):
        picture(root / "images" / "default" / f"{n}.jpg")
    assert sum(len(DataPaths(root).load(split).images) for split in ("train", "valid")) == 12


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ('<box label="cow" xtl="1" ytl="1" xbr="2" ybr="2"/>', r"annotations\.xml:3: label 'cow' is none of"),
        ('<box label="cat" xtl="1" ytl="1" xbr="2"/>', r"annotations\.xml:3: <box> has no attribute 'ybr'"),
        ('<box label="cat" xtl="a" ytl="1" xbr="2" ybr="2"/>', r":3: xtl must be a number, found 'a'"),
        ('<polygon label="cat" points="1;2"/>', r":3: points must be x,y;x,y"),
    ],
)
def test_find_cvat_bad_shape_is_named_with_its_line(tmp_path: Path, shapes: str, message: str) -> None:
    root = cvat(tmp_path, ("a.jpg", "Train", shapes))
    with pytest.raises(DataError, match=message):
        DataPaths(root).load("train")


def test_find_cvat_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations.xml").write_text('<annotations><track id="0" label="cat"/></annotations>')
    with pytest.raises(DataError, match="is CVAT for video"):
        DataPaths(tmp_path).load("train")


def coco(names: list[str]) -> str:
    images = [{"id": i, "file_name": name, "width": 100, "height": 80} for i, name in enumerate(names)]
    boxes = [{"id": i, "image_id": i, "category_id": 0, "bbox": [1, 2, 30, 40]} for i in range(len(names))]
    return json.dumps({"images": images, "annotations": boxes, "categories": [{"id": 0, "name": "cat"}]})


def test_find_coco_of_cvat_with_named_and_default_subsets(tmp_path: Path) -> None:
    for subset in ("Train", "Validation"):
        picture(tmp_path / "named" / "images" / subset / "a.jpg")
        path = tmp_path / "named" / "annotations" / f"instances_{subset}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(coco(["a.jpg"]))
    assert len(DataPaths(tmp_path / "named").load("valid").images) == 1
    names = [f"{n}.jpg" for n in range(12)]
    for name in names:
        picture(tmp_path / "whole" / "images" / name)
    (tmp_path / "whole" / "annotations").mkdir()
    (tmp_path / "whole" / "annotations" / "instances_default.json").write_text(coco(names))
    assert sum(len(DataPaths(tmp_path / "whole").load(split).images) for split in ("train", "valid")) == 12


def test_find_coco_of_label_studio_finds_images_under_its_odd_paths(tmp_path: Path) -> None:
    odd = [
        "images\\ab-0.jpg",
        "images\\1/ab-1.jpg",
        "..\\..\\label-studio\\media\\upload\\4\\ab-2.jpg",
        "/data/upload/1/ab-3.jpg",
        "/data/local-files/?d=photos%20new/ab-4.jpg",
        "images/ab-5.jpg",
    ]
    for n in range(6):
        picture(tmp_path / "images" / f"ab-{n}.jpg")
    (tmp_path / "result.json").write_text(coco(odd))
    splits = [DataPaths(tmp_path, val_fraction=0.5).load(split) for split in ("train", "valid")]
    assert sorted(r.path.name for s in splits for r in s.images) == [f"ab-{n}.jpg" for n in range(6)]


def test_load_two_formats_in_one_folder_asks_which(tmp_path: Path) -> None:
    root = cvat(tmp_path, ("a.jpg", "Train", BOX))
    (root / "train").mkdir()
    picture(root / "train" / "a.jpg")
    (root / "train" / "_annotations.coco.json").write_text(coco(["a.jpg"]))
    with pytest.raises(DataError, match=r"holds train in 2 formats: COCO \(.*\) and CVAT \(.*\); give the YAML"):
        DataPaths(root).load("train")


def test_find_cvat_image_written_in_another_way_is_found_and_a_missing_one_names_the_nearest(tmp_path: Path) -> None:
    root = cvat(tmp_path, ("my%20photos\\Cafe\u0301.jpg", "Train", BOX))
    picture(root / "images" / "Train" / "my photos" / "Caf\u00e9.jpg")
    split = DataPaths(root).load("train")
    assert split.images[0].path == root / "images" / "Train" / "my photos" / "Caf\u00e9.jpg"
    assert [warning.code for warning in split.warnings] == ["file_name_differs"]
    root = cvat(tmp_path / "other", ("photo_0012.jpg", "Train", BOX))
    picture(root / "images" / "photo_0012.jpeg")
    with pytest.raises(DataError, match=r"photo_0012.jpg \(that folder has 'photo_0012.jpeg'\); restore the files"):
        DataPaths(root).load("train")
