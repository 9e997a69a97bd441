from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_document import codes, document, write_image, write_roboflow
from PIL import Image
from pycocotools.coco import COCO

from edgedet.data.coco.build import load_split
from edgedet.data.pictures.preprocess import load_image
from edgedet.errors import DataError


def test_load_split_roboflow_layout_gives_labels_by_sorted_category_id(tmp_path: Path) -> None:
    split = load_split(write_roboflow(tmp_path, document()), "train")
    assert split.class_names == ("cat", "dog")
    assert split.category_ids == (3, 7)
    assert split.name == "train"
    assert split.warnings == ()
    first, second = split.images
    assert first.image_id == 5
    assert first.path == tmp_path / "train" / "a.jpg"
    assert (first.width, first.height) == (40, 30)
    np.testing.assert_array_equal(first.boxes, np.array([[1, 2, 11, 14.5], [5, 5, 25, 25]], np.float32))
    np.testing.assert_array_equal(first.labels, [1, 0])
    np.testing.assert_array_equal(first.crowd, [False, True])
    np.testing.assert_array_equal(first.areas, [125, 300])
    assert first.boxes.dtype == np.float32
    assert first.labels.dtype == np.int64
    assert second.boxes.shape == (0, 4)
    assert second.labels.shape == (0,)


@pytest.mark.parametrize(
    ("split", "ann", "images"),
    [
        ("train", "instances_train2017.json", "train2017"),
        ("valid", "instances_val2017.json", "val2017"),
        ("valid", "instances_val2014.json", "images/val2014"),
        ("train", "instances_train.json", "train"),
        ("test", "instances_test2017.json", "images/test2017"),
    ],
)
def test_load_split_coco_layout_is_found(tmp_path: Path, split: str, ann: str, images: str) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_image(tmp_path / images / name)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / ann).write_text(json.dumps(document()))
    loaded = load_split(tmp_path, split)
    assert loaded.ann_path.name == ann
    assert loaded.images[0].path == tmp_path / images / "a.jpg"


def test_load_split_explicit_paths_need_no_layout(tmp_path: Path) -> None:
    write_image(tmp_path / "pictures" / "a.jpg")
    write_image(tmp_path / "pictures" / "b.jpg")
    (tmp_path / "mine.json").write_text(json.dumps(document()))
    split = load_split(None, "valid", ann=tmp_path / "mine.json", images=tmp_path / "pictures")
    assert len(split.images) == 2


def test_load_split_roboflow_val_folder_counts_as_valid(tmp_path: Path) -> None:
    assert load_split(write_roboflow(tmp_path, document(), "val"), "valid").name == "valid"


@pytest.mark.parametrize("first_id", [0, 1])
def test_load_split_category_ids_from_0_or_1_give_labels_from_0(tmp_path: Path, first_id: int) -> None:
    content = document()
    content["categories"] = [{"id": first_id, "name": "cat"}, {"id": first_id + 1, "name": "dog"}]
    for annotation, category_id in zip(content["annotations"], (first_id + 1, first_id), strict=True):
        annotation["category_id"] = category_id
    split = load_split(write_roboflow(tmp_path, content), "train")
    np.testing.assert_array_equal(split.images[0].labels, [1, 0])


def roboflow_parent(content: dict[str, Any]) -> None:
    content["categories"] = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 3, "name": "cat", "supercategory": "animals"},
        {"id": 7, "name": "dog", "supercategory": "animals"},
    ]


def test_load_split_unused_parent_category_is_left_out_and_counted(tmp_path: Path) -> None:
    content = document()
    roboflow_parent(content)
    split = load_split(write_roboflow(tmp_path, content), "train")
    assert split.class_names == ("cat", "dog")
    assert codes(split) == {"category_unused_parent": 1}


def test_load_split_annotated_parent_category_is_kept(tmp_path: Path) -> None:
    content = document()
    roboflow_parent(content)
    content["annotations"][0]["category_id"] = 0
    split = load_split(write_roboflow(tmp_path, content), "train")
    assert split.class_names == ("animals", "cat", "dog")
    assert codes(split) == {}


def test_load_split_single_class_with_id_0_is_kept(tmp_path: Path) -> None:
    content = document()
    content["categories"] = [{"id": 0, "name": "cat", "supercategory": "cat"}]
    for annotation in content["annotations"]:
        annotation["category_id"] = 0
    assert load_split(write_roboflow(tmp_path, content), "train").class_names == ("cat",)


# --- Boxes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bbox", "code", "expected"),
    [
        ([-5, -3, 20, 20], "box_clipped", [0, 0, 15, 17]),
        ([30, 20, 20, 20], "box_clipped", [30, 20, 40, 30]),
        ([-5, -5, 100, 100], "box_clipped", [0, 0, 40, 30]),
        ([5, 5, 0, 10], "box_empty", None),
        ([5, 5, 10, -1], "box_negative", None),
        ([50, 5, 10, 10], "box_outside", None),
        ([40, 5, 10, 10], "box_outside", None),
        ([-10, 5, 10, 10], "box_outside", None),
        ([30, 20, 10.005, 10], None, [30, 20, 40, 30]),  # rounding of the exporter: clipped, not counted
    ],
)
def test_load_split_wrong_box_is_put_right_and_counted(
    tmp_path: Path, bbox: list[float], code: str | None, expected: list[float] | None
) -> None:
    content = document()
    content["annotations"][0].update(bbox=bbox, area=abs(bbox[2] * bbox[3]))
    split = load_split(write_roboflow(tmp_path, content), "train")
    assert codes(split) == ({code: 1} if code else {})
    assert len(split.images[0].boxes) == (2 if expected else 1)
    if expected:
        np.testing.assert_allclose(split.images[0].boxes[0], expected)
        width, height = expected[2] - expected[0], expected[3] - expected[1]
        assert split.images[0].areas[0] == pytest.approx(width * height)  # never above the clipped box
    if code:
        assert "annotation 1 of a.jpg" in split.warnings[0].text
        assert code in split.warnings[0].text


@pytest.mark.parametrize(
    "bbox",
    [[1, 2, 3], [1, 2, 3, "4"], [1, 2, 3, None], [1, 2, 3, float("nan")], [1, 2, 3, float("inf")], "1 2 3 4", None],
)
def test_load_split_malformed_box_raises_data_error(tmp_path: Path, bbox: Any) -> None:
    content = document()
    content["annotations"][1]["bbox"] = bbox
    with pytest.raises(DataError, match=r"annotations\[1\] \(id 2\).*'bbox' must be"):
        load_split(write_roboflow(tmp_path, content), "train")


@pytest.mark.parametrize(("area", "warned"), [(0, True), (-4, True), ("x", True), (None, False)])
def test_load_split_useless_area_becomes_the_box_area(tmp_path: Path, area: Any, warned: bool) -> None:
    content = document()
    content["annotations"][0]["area"] = area
    split = load_split(write_roboflow(tmp_path, content), "train")
    assert split.images[0].areas[0] == 125
    assert codes(split) == ({"area_replaced": 1} if warned else {})


def test_load_split_without_boxes_is_loaded(tmp_path: Path) -> None:
    content = document()
    content["annotations"] = []
    split = load_split(write_roboflow(tmp_path, content), "train")
    assert [len(record.labels) for record in split.images] == [0, 0]


# --- Ids ---------------------------------------------------------------------------------------------------------


def test_load_split_duplicate_annotation_ids_are_renumbered_and_counted(tmp_path: Path) -> None:
    content = document()
    content["annotations"][1]["id"] = 1
    split = load_split(write_roboflow(tmp_path, content), "train")
    assert codes(split) == {"annotation_id_duplicate": 1}
    assert [annotation["id"] for annotation in split.to_coco_dict()["annotations"]] == [1, 2]


def test_load_split_annotation_id_0_is_kept_and_counted(tmp_path: Path) -> None:
    content = document()
    content["annotations"][0]["id"] = 0
    split = load_split(write_roboflow(tmp_path, content), "train")
    assert codes(split) == {"annotation_id_zero": 1}
    assert split.to_coco_dict()["annotations"][0]["id"] == 0


def test_load_split_annotation_of_no_image_is_dropped_and_counted(tmp_path: Path) -> None:
    content = document()
    content["annotations"][1]["image_id"] = 1234
    split = load_split(write_roboflow(tmp_path, content), "train")
    assert codes(split) == {"annotation_without_image": 1}
    assert len(split.images[0].boxes) == 1


def test_load_split_duplicate_file_is_counted(tmp_path: Path) -> None:
    content = document()
    content["images"][1]["file_name"] = "a.jpg"
    split = load_split(write_roboflow(tmp_path, content), "train")
    assert codes(split) == {"file_name_duplicate": 1}
    assert len(split.images) == 2


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: c["annotations"].append({**c["annotations"][0], "id": 99}), {"box_duplicate": 1}),
        (lambda c: c["annotations"][0].update(ignore=1), {"ignore_flag": 1}),
        (lambda c: c["annotations"][0].update(ignore=0), {}),
        (lambda c: c["annotations"][0].update(area=0.01), {"area_replaced": 1}),  # in parts of the image
        (lambda c: c["annotations"][0].update(area=1e6), {"area_replaced": 1}),  # of a larger picture
        (lambda c: c["annotations"][0].update(area=12.5), {}),  # of a thin segment
        (lambda c: c["categories"][1].update(name=" CAT"), {"class_names_alike": 1}),
        (lambda c: c["categories"][1].update(name="cat\u200b"), {"class_names_alike": 1}),
    ],
)
def test_load_split_odd_entries_are_counted(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], found: dict[str, int]
) -> None:
    content = document()
    change(content)
    assert codes(load_split(write_roboflow(tmp_path, content), "train")) == found


@pytest.mark.parametrize(("step", "numbers"), [(1, (1, 2)), (-1, (2, 1))])
def test_load_split_image_ids_one_off_are_named(tmp_path: Path, step: int, numbers: tuple[int, int]) -> None:
    content = document()
    for image, number in zip(content["images"], numbers, strict=True):
        image["id"] = number
    for annotation, number in zip(content["annotations"], numbers, strict=False):
        annotation["image_id"] = number + step
    split = load_split(write_roboflow(tmp_path, content), "train")
    assert codes(split)["image_ids_shifted"] == 1
    assert codes(split)["annotation_without_image"] == 1


def _set(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        target: Any = content
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return change


def _delete(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        target: Any = content
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _set("annotations", 1, "category_id", value=4),
            r"annotations\[1\] \(id 2\): category_id 4 is unknown.*\[3, 7\]",
        ),
        (_set("images", 1, "id", value=5), r"images\[1\] \(id 5\): the image id appears twice"),
        (_set("categories", 1, "id", value=3), "category id 3 appears twice"),
        (_set("categories", 1, "name", value="cat"), "category name 'cat' belongs to id 3 already"),
        (_set("images", value=[]), "the split is empty"),
        (_set("categories", value=[]), "no categories"),
        (_delete("images"), "expected a list under the key 'images'"),
        (_delete("annotations"), "expected a list under the key 'annotations'"),
        (_set("categories", value={}), "expected a list under the key 'categories', found dict"),
        (_delete("images", 0, "file_name"), r"images\[0\] \(id 5\): key 'file_name' is missing"),
        (_delete("images", 0, "width"), "key 'width' is missing"),
        (_delete("annotations", 0, "bbox"), r"annotations\[0\] \(id 1\): key 'bbox' is missing"),
        (_delete("annotations", 0, "id"), r"annotations\[0\]: key 'id' is missing"),
        (_set("images", 0, "id", value="five"), "'id' must be int, found 'five'"),
        (_set("images", 0, "id", value=True), "'id' must be int, found True"),
        (_set("images", 0, "width", value=0), "size must be positive"),
        (_set("images", 0, value=3), r"images\[0\]: expected an object, found int"),
        (_set("annotations", 0, "iscrowd", value=2), "'iscrowd' must be 0 or 1"),
        (_set("images", 0, "file_name", value="../a.jpg"), r"below the image folder"),
        (_set("images", 0, "file_name", value="x/../../a.jpg"), r"below the image folder"),
        (_set("images", 0, "file_name", value="..\\a.jpg"), r"below the image folder"),
        (_set("images", 0, "file_name", value="/etc/passwd"), r"below the image folder"),
        (_set("images", 0, "file_name", value="C:\\a.jpg"), r"below the image folder"),
        (_set("images", 0, "file_name", value="a\0.jpg"), r"below the image folder"),
        (_set("images", 0, "file_name", value=""), r"below the image folder"),
        (_set("images", 0, "file_name", value="gone.jpg"), r"1 of 2 images not found, first .*gone\.jpg"),
        (_set("images", 0, "width", value=41), r"1 of 2 images have another size.*a\.jpg is 40x30, stated 41x30"),
        (
            _set("annotations", value=[{"id": 1, "image_id": 77, "category_id": 3, "bbox": [1, 1, 2, 2]}]),
            "none of the 1",
        ),
    ],
)
def test_load_split_wrong_file_raises_data_error(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    content = document()
    change(content)
    with pytest.raises(DataError, match=message) as caught:
        load_split(write_roboflow(tmp_path, content), "train")
    assert "_annotations.coco.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", '{"images": [', "[]", "null", "\x00"])
def test_load_split_malformed_json_raises_data_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"_annotations\.coco\.json"):
        load_split(write_roboflow(tmp_path, text), "train")


def test_load_split_json_that_is_not_text_raises_data_error(tmp_path: Path) -> None:
    write_roboflow(tmp_path, document())
    for content, problem in ((b"\xff\xfe\x00\x81", "is UTF-16 text"), (b"{\x00\x81", "is no UTF-8 text")):
        (tmp_path / "train" / "_annotations.coco.json").write_bytes(content)
        with pytest.raises(DataError, match=problem):
            load_split(tmp_path, "train")


def test_load_split_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    write_roboflow(tmp_path, "\ufeff" + json.dumps(document()))
    assert len(load_split(tmp_path, "train").images) == 2


# --- Files -------------------------------------------------------------------------------------------------------


def test_load_split_broken_image_raises_data_error_with_its_name(tmp_path: Path) -> None:
    write_roboflow(tmp_path, document())
    (tmp_path / "train" / "b.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 of 2 images can't be read: .*b\.jpg"):
        load_split(tmp_path, "train")


def test_load_split_missing_folder_raises_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data folder not found"):
        load_split(tmp_path / "nowhere", "train")


def test_load_split_nothing_found_says_what_is_expected_and_there(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    with pytest.raises(
        DataError,
        match=r"no annotations of valid found; expected COCO .*YOLO .*Pascal VOC .*CVAT .*the folder holds: labels",
    ):
        load_split(tmp_path, "valid")


def test_load_split_two_candidates_raises_data_error(tmp_path: Path) -> None:
    write_roboflow(tmp_path, document())
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").write_text("{}")
    with pytest.raises(DataError, match="2 annotation files fit train"):
        load_split(tmp_path, "train")


def test_load_split_coco_layout_without_image_folder_raises_data_error(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(document()))
    with pytest.raises(DataError, match=r"expected its images in exactly one of .*train2017"):
        load_split(tmp_path, "train")


@pytest.mark.parametrize("missing", ["ann", "images"])
def test_load_split_explicit_path_missing_raises_data_error(tmp_path: Path, missing: str) -> None:
    write_roboflow(tmp_path, document())
    paths = {"ann": tmp_path / "train" / "_annotations.coco.json", "images": tmp_path / "train"}
    paths[missing] = tmp_path / "nowhere"
    with pytest.raises(DataError, match=r"nowhere: .*not found"):
        load_split(None, "train", ann=paths["ann"], images=paths["images"])


def test_load_split_no_folder_and_no_file_raises_data_error() -> None:
    with pytest.raises(DataError, match="give a data folder"):
        load_split(None, "train")


def test_load_split_unknown_split_raises_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train, valid, test"):
        load_split(tmp_path, "dev")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16"])
def test_load_split_unusual_modes_are_accepted(tmp_path: Path, mode: str) -> None:
    content = document()
    content["images"][0]["file_name"] = "a.png"
    write_roboflow(tmp_path, content)
    Image.new(mode, (40, 30)).save(tmp_path / "train" / "a.png")
    assert load_image(load_split(tmp_path, "train").images[0].path).shape == (30, 40, 3)


# --- Ground truth ------------------------------------------------------------------------------------------------


def test_to_coco_dict_of_clean_file_equals_the_file(tmp_path: Path) -> None:
    content = document()
    cleaned = load_split(write_roboflow(tmp_path, content), "train").to_coco_dict()
    for key in ("images", "annotations"):
        assert cleaned[key] == content[key]
    assert [(c["id"], c["name"]) for c in cleaned["categories"]] == [(3, "cat"), (7, "dog")]


def test_to_coco_dict_holds_the_boxes_of_the_records(tmp_path: Path) -> None:
    content = document()
    content["annotations"] += [
        {"id": 3, "image_id": 9, "category_id": 3, "bbox": [-5, 0, 10, 10], "area": 100, "iscrowd": 0},
        {"id": 4, "image_id": 9, "category_id": 3, "bbox": [5, 5, 0, 0], "area": 0, "iscrowd": 0},
    ]
    split = load_split(write_roboflow(tmp_path, content), "train")
    cleaned = split.to_coco_dict()
    for record in split.images:
        mine = [annotation for annotation in cleaned["annotations"] if annotation["image_id"] == record.image_id]
        boxes = np.array([annotation["bbox"] for annotation in mine]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(record.boxes, boxes)
        assert [split.category_ids[label] for label in record.labels] == [a["category_id"] for a in mine]
        np.testing.assert_array_equal(record.areas, [a["area"] for a in mine])


def test_to_coco_dict_is_a_copy(tmp_path: Path) -> None:
    split = load_split(write_roboflow(tmp_path, document()), "train")
    split.to_coco_dict()["annotations"][0]["bbox"][0] = -1
    assert split.to_coco_dict()["annotations"][0]["bbox"][0] == 1


def test_to_coco_dict_is_accepted_by_pycocotools(tmp_path: Path) -> None:
    coco = COCO()
    coco.dataset = load_split(write_roboflow(tmp_path, document()), "train").to_coco_dict()
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    assert sorted(coco.getCatIds()) == [3, 7]
    assert len(coco.getAnnIds(imgIds=[5])) == 2


def test_load_split_bccd_agrees_with_pycocotools(bccd_dir: Path) -> None:
    split = load_split(bccd_dir, "valid")
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(split.ann_path))
    assert [record.image_id for record in split.images] == coco.getImgIds()
    assert sum(len(record.labels) for record in split.images) == len(coco.getAnnIds())
    assert codes(split) == {"annotation_id_zero": 1}


# --- Both splits -------------------------------------------------------------------------------------------------
