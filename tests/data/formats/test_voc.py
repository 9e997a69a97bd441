"""Pascal VOC data sets; expected boxes are written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.paths import DataPaths
from edgedet.errors import DataError

CAT = ("cat", 1, 1, 10, 20, 0)  # name, xmin, ymin, xmax, ymax, difficult


def annotation(name: str, objects: list[tuple[object, ...]], size: str = "") -> str:
    size = size or "<size><width>40</width><height>30</height><depth>3</depth></size>"
    parts = [
        f"<object><name>{cls}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"
        for cls, x1, y1, x2, y2, difficult in objects
    ]
    return f"<annotation>\n<filename>{name}</filename>{size}\n" + "\n".join(parts) + "\n</annotation>"


def devkit(root: Path, files: dict[str, str], lists: dict[str, str]) -> Path:
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for name, text in files.items():
        (root / "Annotations" / f"{name}.xml").write_text(text)
        Image.new("RGB", (40, 30)).save(root / "JPEGImages" / f"{name}.jpg")
    for name, text in lists.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text)
    return root


def test_find_voc_pixels_count_from_1_with_both_ends(tmp_path: Path) -> None:
    files = {
        "b": annotation("b.jpg", [CAT, ("dog", 40, 30, 40, 30, 0)]),
        "a": annotation("a.jpg", [("cat", 11, 11, 20, 20, 1)]),
    }
    root = devkit(tmp_path / "VOC2012", files, {"train": "b\n", "val": "a  1\n"})
    train, valid = DataPaths(root).load("train"), DataPaths(root).load("valid")
    assert train.class_names == valid.class_names == ("cat", "dog")  # of both splits
    np.testing.assert_array_equal(train.images[0].boxes, [[0, 0, 10, 20], [39, 29, 40, 30]])
    np.testing.assert_array_equal(train.images[0].areas, [200, 1])
    np.testing.assert_array_equal(valid.images[0].boxes, [[10, 10, 20, 20]])
    np.testing.assert_array_equal(valid.images[0].crowd, [True])  # difficult
    assert train.warnings == valid.warnings == ()


def test_find_voc_zero_in_any_split_reads_all_boxes_from_0(tmp_path: Path) -> None:
    files = {"a": annotation("a.jpg", [CAT]), "b": annotation("b.jpg", [("cat", 0, 5, 10, 20, 0)])}
    split = DataPaths(devkit(tmp_path / "set", files, {"train": "a\n", "val": "b\n"})).load("train")
    np.testing.assert_array_equal(split.images[0].boxes, [[1, 1, 10, 20]])
    assert [warning.code for warning in split.warnings] == ["voc_from_zero"]


def test_find_voc_folders_of_roboflow_have_images_beside_the_xml(tmp_path: Path) -> None:
    for split, name in (("train", "cat"), ("valid", "dog")):
        (tmp_path / split).mkdir()
        Image.new("RGB", (40, 30)).save(tmp_path / split / "a.jpg")
        (tmp_path / split / "a.xml").write_text(annotation("a.jpg", [(name, 1, 1, 10, 20, 0)]))
    valid = DataPaths(tmp_path).load("valid")
    assert valid.class_names == ("cat", "dog")
    np.testing.assert_array_equal(valid.images[0].labels, [1])


def test_find_voc_stale_filename_and_zero_size_are_taken_from_the_image(tmp_path: Path) -> None:
    text = annotation(r"C:\photos\old.png", [CAT], "<size><width>0</width><height>0</height></size>")
    split = DataPaths(devkit(tmp_path / "set", {"a": text}, {"train": "a\n"})).load("train")
    assert (split.images[0].path.name, split.images[0].width, split.images[0].height) == ("a.jpg", 40, 30)


def test_find_voc_without_lists_is_divided(tmp_path: Path) -> None:
    root = devkit(tmp_path / "set", {f"i{n}": annotation(f"i{n}.jpg", [CAT]) for n in range(20)}, {})
    counts = [len(DataPaths(root, val_fraction=0.5).load(split).images) for split in ("train", "valid")]
    assert sum(counts) == 20
    assert min(counts) > 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", r"a\.xml:1: not valid XML"),
        ("<annotation>\n<object><name>x</name></object></annotation>", r"a\.xml:2: <object> has no <bndbox>"),
        ("<annotation>\n\n<object></object></annotation>", r"a\.xml:3: <object> has no <name>"),
        (annotation("a.jpg", [("x", "one", 1, 2, 2, 0)]), r"a\.xml:3: <xmin> must be a number, found 'one'"),
        (annotation("a.jpg", [("x", "1e999", 1, 2, 2, 0)]), r"<xmin> must be a number"),
        (annotation("a.jpg", [CAT], "<size><width>80</width><height>60</height></size>"), "another size than stated"),
        ("<html></html>", "expected <annotation> of Pascal VOC, found <html>"),
        (
            '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><annotation>&b;</annotation>',
            r"a\.xml:1: declares a document type",
        ),
        ("<a>" * 100, "elements nest more than 64 deep"),
    ],
)
def test_find_voc_bad_file_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        DataPaths(devkit(tmp_path / "set", {"a": text}, {"train": "a\n"})).load("train")


def test_find_voc_list_that_names_nothing_there_is_named(tmp_path: Path) -> None:
    root = devkit(tmp_path / "set", {"a": annotation("a.jpg", [CAT])}, {"train": "a\ngone\n"})
    with pytest.raises(DataError, match=r"train\.txt:2: there is no gone\.xml"):
        DataPaths(root).load("train")
    (root / "JPEGImages" / "a.jpg").unlink()
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"a\.xml: image 'a\.jpg' not found in .*JPEGImages"):
        DataPaths(root).load("train")


def test_find_voc_image_written_in_another_way_is_found_and_a_missing_one_names_the_nearest(tmp_path: Path) -> None:
    root = devkit(tmp_path / "set", {"a": annotation("Cafe\u0301%201.jpg", [CAT])}, {"train": "a\n"})
    image = root / "JPEGImages" / "a.jpg"
    image.rename(image.with_name("Caf\u00e9 1.jpg"))
    split = DataPaths(root).load("train")
    assert split.images[0].path.name == "Caf\u00e9 1.jpg"
    assert [warning.code for warning in split.warnings] == ["file_name_differs"]
    image.with_name("Caf\u00e9 1.jpg").rename(image.with_name("Cafe\u0301%202.jpg"))
    with pytest.raises(DataError, match=r"not found in .*\(that folder has 'Cafe\\u0301%202.jpg'\); restore it"):
        DataPaths(root).load("train")
