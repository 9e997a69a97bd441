"""YOLO data sets; expected boxes are written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.errors import DataError


def picture(path: Path, width: int = 200, height: int = 100, orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    Image.new("RGB", (width, height), (10, 20, 30)).save(path, exif=exif)
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def ultralytics(root: Path, labels: str, yaml: str = "path: .\ntrain: images/train\nval: images/val\n") -> Path:
    for split in ("train", "val"):
        picture(root / "images" / split / "a.jpg")
        write(root / "labels" / split / "a.txt", labels)
    write(root / "data.yaml", yaml + "names: {0: cat, 1: dog}\n")
    return root


def codes(split: CocoSplit) -> dict[str, int]:
    return {warning.code: warning.count for warning in split.warnings}


def test_find_yolo_box_and_polygon_become_pixels(tmp_path: Path) -> None:
    rows = "1 0.5 0.5 0.25 0.5\n\n0 0.1 0.2 0.3 0.2 0.2 0.6\n0.0 0.5 0.5 1 1\n"
    split = DataPaths(ultralytics(tmp_path, rows)).load("train")
    assert (split.class_names, split.category_ids) == (("cat", "dog"), (0, 1))
    (record,) = split.images
    # centre (100, 50), 50 x 50 px; points (20, 20), (60, 20), (40, 60); the whole image, its class written as a float
    np.testing.assert_allclose(
        record.boxes, [[75, 25, 125, 75], [20, 20, 60, 60], [0, 0, 200, 100]], atol=1e-5
    )  # fmt: skip  # 1e-5: float32 of decimal parts
    np.testing.assert_array_equal(record.labels, [1, 0, 0])
    np.testing.assert_allclose(record.areas, [2500, 1600, 20000], rtol=1e-6)
    assert split.warnings == ()
    annotations = split.to_coco_dict()["annotations"]
    assert [a["id"] for a in annotations] == [1, 2, 3]


def test_find_yolo_exif_turned_image_takes_parts_of_the_upright_one(tmp_path: Path) -> None:
    ultralytics(tmp_path, "0 0.5 0.5 0.5 0.5\n")
    picture(tmp_path / "images" / "train" / "a.jpg", 200, 100, orientation=6)
    (record,) = DataPaths(tmp_path).load("train").images
    assert (record.width, record.height) == (100, 200)
    np.testing.assert_array_equal(record.boxes, [[25, 50, 75, 150]])


def test_find_yolo_missing_and_empty_labels_are_negatives(tmp_path: Path) -> None:
    root = ultralytics(tmp_path, "0 0.5 0.5 0.1 0.1\n")
    picture(root / "images" / "train" / "b.jpg")
    picture(root / "images" / "train" / "c.png")
    write(root / "labels" / "train" / "c.txt", "\n")
    write(root / "labels" / "train" / "gone.txt", "0 0.5 0.5 0.1 0.1\n")
    split = DataPaths(root).load("train")
    assert [len(record.labels) for record in split.images] == [1, 0, 0]
    assert codes(split) == {"label_missing": 1, "label_without_image": 1}


def test_find_yolo_overhang_is_clipped_and_counted(tmp_path: Path) -> None:
    split = DataPaths(ultralytics(tmp_path, "0 0.95 0.5 0.2 0.5\n0 1.005 0.5 0.1 0.5\n")).load("train")
    np.testing.assert_allclose(split.images[0].boxes, [[170, 25, 200, 75], [191, 25, 200, 75]], atol=1e-4)
    assert codes(split) == {"box_clipped": 2}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0 120 50 40 40", r"a\.txt:2: 120 is outside 0\.\.1; .* not pixels"),
        ("0 0.5 0.5 0.5 -0.2", r"a\.txt:2: -0\.2 is outside"),
        ("2 0.5 0.5 0.1 0.1", r"a\.txt:2: class 2 is none of the 2 classes 0\.\.1"),
        ("0.5 0.5 0.5 0.1 0.1", r"a\.txt:2: class 0\.5 is none"),
        ("-1 0.5 0.5 0.1 0.1", r"a\.txt:2: class -1 is none"),
        ("0 0.5 0.5 0.1 0.1 0.93", r"a\.txt:2: expected .* found 6 numbers, a prediction with its confidence"),
        ("0 0.5 0.5 0.1", r"a\.txt:2: expected a class and 4 numbers of a box, .* found 4 numbers"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", r"a\.txt:2: expected .* found 8 numbers"),
        ("cat 0.5 0.5 0.1 0.1", r"a\.txt:2: expected numbers, found 'cat 0\.5"),
        ("0 nan 0.5 0.1 0.1", r"a\.txt:2: expected numbers"),
    ],
)
def test_find_yolo_bad_row_names_file_and_line(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        DataPaths(ultralytics(tmp_path, f"0 0.5 0.5 0.1 0.1\n{row}\n")).load("train")


def test_find_yolo_binary_label_file_is_named(tmp_path: Path) -> None:
    root = ultralytics(tmp_path, "")
    (root / "labels" / "train" / "a.txt").write_bytes(b"0 0.5 \xff\xfe")
    with pytest.raises(DataError, match=r"a\.txt: is no UTF-8 text \(byte 6\)"):
        DataPaths(root).load("train")


def test_find_yolo_without_any_label_file_says_where_they_belong(tmp_path: Path) -> None:
    root = ultralytics(tmp_path, "")
    (root / "labels" / "train" / "a.txt").unlink()
    with pytest.raises(DataError, match=r"none of the 1 images has a label file, first expected .*labels/train/a\.txt"):
        DataPaths(root).load("train")


def test_find_yolo_pose_rows_give_their_box(tmp_path: Path) -> None:
    yaml = "kpt_shape: [1, 2]\ntrain: images/train\nval: images/val\n"
    split = DataPaths(ultralytics(tmp_path, "0 0.5 0.5 0.5 0.5 0.9 0.9\n", yaml)).load("train")
    np.testing.assert_array_equal(split.images[0].boxes, [[50, 25, 150, 75]])


def test_find_yolo_roboflow_paths_above_the_file_are_found_beside_it(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        picture(tmp_path / split / "images" / "a.jpg")
        write(tmp_path / split / "labels" / "a.txt", "0 0.5 0.5 0.5 0.5\n")
    write(
        tmp_path / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['x']\n",
    )
    assert len(DataPaths(tmp_path).load("valid").images) == 1
    with pytest.raises(DataError, match=r"data\.yaml: \.\./test/images not found; expected a folder"):
        DataPaths(tmp_path).load("test")


def test_find_yolo_lists_of_images_keep_their_order_and_name_the_line(tmp_path: Path) -> None:
    for name in ("b", "a"):
        picture(tmp_path / "images" / "train" / f"{name}.jpg")
        write(tmp_path / "labels" / "train" / f"{name}.txt", "0 0.5 0.5 0.5 0.5\n")
    # CVAT begins with data/, Windows has backslashes, Ultralytics writes ./
    list_file = write(tmp_path / "train.txt", "data/images/train/b.jpg\nimages\\train\\a.jpg\n\n./images/train/a.jpg\n")
    write(tmp_path / "data.yaml", "path: /somewhere/else\ntrain: train.txt\nnames: [no, yes]\n")
    split = DataPaths(tmp_path).load("train")
    assert [record.path.name for record in split.images] == ["b.jpg", "a.jpg"]
    assert split.class_names == ("no", "yes")  # text, not YAML's booleans
    list_file.write_text("images/train/a.jpg\nimages/train/gone.jpg\n")
    with pytest.raises(DataError, match=r"train\.txt:2: image .*gone\.jpg not found"):
        DataPaths(tmp_path / "data.yaml").load("train")


def test_find_yolo_darknet_of_cvat(tmp_path: Path) -> None:
    picture(tmp_path / "obj_train_data" / "a.jpg")
    write(tmp_path / "obj_train_data" / "a.txt", "1 0.5 0.5 0.5 0.5\n")
    write(tmp_path / "obj.names", "cat\ndog\n")
    write(tmp_path / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    write(tmp_path / "train.txt", "data/obj_train_data/a.jpg\n")
    split = DataPaths(tmp_path).load("train")
    assert split.class_names == ("cat", "dog")
    np.testing.assert_array_equal(split.images[0].labels, [1])


def test_find_yolo_label_studio_is_divided(tmp_path: Path) -> None:
    for index in range(20):
        picture(tmp_path / "images" / f"{index:02d}-a.jpg", 40, 40)
        write(tmp_path / "labels" / f"{index:02d}-a.txt", "0 0.5 0.5 0.5 0.5\n")
    write(tmp_path / "classes.txt", "cell\n")
    write(tmp_path / "notes.json", '{"categories": [{"id": 0, "name": "cell"}]}')
    train, valid = DataPaths(tmp_path).load("train"), DataPaths(tmp_path).load("valid")
    names = {record.path.name for record in train.images}, {record.path.name for record in valid.images}
    assert len(names[0] | names[1]) == 20
    assert not names[0] & names[1]
    assert codes(train) == codes(valid) == {"split_drawn": 1}
    with pytest.raises(DataError, match="no annotations of test found, though there are other splits"):
        DataPaths(tmp_path).load("test")


def test_find_yolo_labels_beside_the_images_in_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        picture(tmp_path / split / "a.jpg")
        write(tmp_path / split / "a.txt", "0 0.5 0.5 0.5 0.5\n")
    write(tmp_path / "classes.txt", "cell\n")
    assert len(DataPaths(tmp_path).load("valid").images) == 1


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("train: images/train\nnames: [a, a]\n", "class name 'a' appears twice"),
        ("train: images/train\nnames: {1: a, 2: b}\n", r"must number its classes from 0 on, found \['1', '2'\]"),
        ("train: images/train\nnames: []\n", "must be a list of class names"),
        ("train: images/train\nnames: [a]\nnc: 2\n", "'nc' is 2, but 'names' lists 1"),
        ("train: {a: b}\nnames: [a]\n", "'train' must be a folder of images"),
        ("train: images/train\nnames: [a\n", r"data\.yaml:3: can't be read as YAML"),
        ("train: &x images/train\nval: *x\nnames: [a]\n", r"data\.yaml:2: uses an alias \(\*x\)"),
        ("train: nowhere\nnames: [a]\n", "nowhere not found; expected a folder or list of images"),
        ("train: images/train\nnames: [a]\nkpt_shape: 17\n", "'kpt_shape' must be"),
    ],
)
def test_find_yolo_bad_yaml_is_named(tmp_path: Path, yaml: str, message: str) -> None:
    root = ultralytics(tmp_path, "")
    write(root / "data.yaml", yaml)
    with pytest.raises(DataError, match=message):
        DataPaths(root).load("train")


def test_read_yaml_runs_nothing_and_fetches_nothing(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    yaml = f"train: images/train\ndownload: |\n  open({str(trap)!r}, 'w')\n"
    root = ultralytics(tmp_path / "set", "0 0.5 0.5 0.5 0.5\n", yaml)
    assert len(DataPaths(root).load("train").images) == 1
    tag = f"train: !!python/object/apply:os.mkdir [{str(trap)!r}]\nnames: [a]\n"
    write(root / "data.yaml", tag)
    with pytest.raises(DataError):
        DataPaths(root).load("train")
    assert not trap.exists()


def test_find_yolo_two_descriptions_ask_for_one(tmp_path: Path) -> None:
    root = ultralytics(tmp_path, "0 0.5 0.5 0.5 0.5\n")
    write(root / "other.yaml", "train: images/val\nnames: [x, y]\n")
    write(root / "hyper.yaml", "lr0: 0.01\n")
    with pytest.raises(DataError, match=r"data\.yaml, other\.yaml each describe a YOLO data set"):
        DataPaths(root).load("train")
    assert DataPaths(root / "other.yaml").load("train").class_names == ("x", "y")
