"""What `data check` refuses and what training refuses: one table of bad data sets, both answers side by side."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgedet.contracts import PreprocessSpec
from edgedet.data.augment import ImageCache
from edgedet.data.check.content import (
    count_objects,
    describe_left,
    left_over,
    load_for_training,
    require_bright_files,
    require_judgeable,
)
from edgedet.data.check.report import check_dataset
from edgedet.data.paths import DataPaths
from edgedet.errors import DataError
from edgedet.training.loop import TrainRequest, train

SPEC = PreprocessSpec(64, 64)
NAME = "_annotations.coco.json"

Change = Callable[[dict[str, Any]], object]


def edit(root: Path, change: Change, splits: tuple[str, ...] = ("train", "valid")) -> None:
    """Change the annotation file of some splits."""
    for split in splits:
        path = root / split / NAME
        document = json.loads(path.read_text())
        change(document)
        path.write_text(json.dumps(document))


def each(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change every annotation."""
    return lambda document: [change(annotation) for annotation in document["annotations"]]


def bbox(make: Callable[[float, float, float, float], list[float]]) -> Change:
    """Other numbers for every box; images are 96x80 px."""
    return each(lambda annotation: annotation.update(bbox=make(*annotation["bbox"])))


def first(key: str, values: dict[str, Any]) -> Change:
    """Change the first entry of a list."""
    return lambda document: document[key][0].update(copy.deepcopy(values))


def every(step: int, change: Callable[[dict[str, Any]], object]) -> Change:
    """Change some annotations, as when two tools wrote a file."""
    return lambda document: [change(annotation) for annotation in document["annotations"][::step]]


def to_parts(annotation: dict[str, Any]) -> None:
    x, y, w, h = annotation["bbox"]
    annotation.update(bbox=[x / 96, y / 80, w / 96, h / 80])


def away(document: dict[str, Any]) -> None:
    """All boxes but one, as of pictures that are larger."""
    for annotation in document["annotations"][1:]:
        annotation.update(bbox=[side * 4 + 96 * (place < 2) for place, side in enumerate(annotation["bbox"])])


def of_train(change: Change) -> Callable[[Path], None]:
    return lambda root: edit(root, change, ("train",))


def of_valid(change: Change) -> Callable[[Path], None]:
    return lambda root: edit(root, change, ("valid",))


def of_both(change: Change) -> Callable[[Path], None]:
    return lambda root: edit(root, change)


def dark(root: Path) -> None:
    """12 bits of 16 in every picture."""
    rng = np.random.default_rng(0)
    for path in sorted(root.rglob("*.png")):
        Image.fromarray(rng.integers(0, 4096, (80, 96), dtype=np.uint16)).save(path)


def cut(root: Path) -> None:
    """The header of a picture is there, its pixels are not."""
    path = root / "train" / "3.png"
    path.write_bytes(path.read_bytes()[:300])


def other_size(root: Path) -> None:
    Image.new("RGB", (64, 64)).save(root / "valid" / "1.png")


def folder(root: Path) -> None:
    (root / "train" / "2.png").unlink()
    (root / "train" / "2.png").mkdir()


def damage(root: Path, *names: str) -> None:
    """The headers are there, of the pixels the last are not."""
    for name in names:
        (root / name).write_bytes((root / name).read_bytes()[:-40])


# name -> (what is done to a good data set, what both answers say)
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "crowds only": (of_both(each(lambda a: a.update(iscrowd=1))), r"nothing to learn: .* 18 are crowds"),
    "valid crowds only": (of_valid(each(lambda a: a.update(iscrowd=1))), r"nothing to judge by: .* 8 are crowds"),
    "0..1": (of_both(bbox(lambda x, y, w, h: [x / 96, y / 80, w / 96, h / 80])), "normalized by width and height"),
    "valid 0..1": (of_valid(bbox(lambda x, y, w, h: [x / 96, y / 80, w / 96, h / 80])), "8 of 8 boxes lie in 0..1"),
    "corners": (of_both(bbox(lambda x, y, w, h: [x, y, x + w, y + h])), r"taken for corners \(x1, y1, x2, y2\)"),
    "thousandths": (of_both(bbox(lambda x, y, w, h: [x / 0.096, y / 0.08, w / 0.096, h / 0.08])), "for thousandths of"),
    "negative height": (of_both(bbox(lambda x, y, w, h: [x, y + h, w, -h])), "negative widths and heights"),
    "iscrowd of text": (of_both(each(lambda a: a.update(iscrowd="1"))), "'iscrowd' must be 0 or 1, found '1'"),
    "a folder in place of an image": (folder, "1 of 9 images can't be read"),
    "path out of the data set": (of_train(first("images", {"file_name": "../valid/1.png"})), "without '..'"),
    "negative": (of_both(bbox(lambda x, y, w, h: [x + w, y + h, -w, -h])), "negative widths.*box_negative: 18 boxes"),
    "no width": (of_both(bbox(lambda x, y, w, h: [x, y, 0, h])), "nothing to learn: .*box_empty: 18 boxes"),
    "outside": (of_both(bbox(lambda x, y, w, h: [x + 500, y, w, h])), "nothing to learn: .*box_outside: 18 boxes"),
    "too small": (of_both(bbox(lambda x, y, w, h: [x, y, 1.5, 1.5])), "all 18 boxes have a side below 2 px"),
    "no boxes": (of_both(lambda d: d["annotations"].clear()), "nothing to learn: there is no box"),
    "valid without boxes": (of_valid(lambda d: d["annotations"].clear()), "valid has 4 images.*`val_fraction`"),
    "other classes": (of_valid(first("categories", {"name": "blue"})), "list different categories"),
    "unknown class": (of_train(first("annotations", {"category_id": 99})), "category_id 99 is unknown"),
    "infinite": (of_train(first("annotations", {"bbox": [0, 0, float("inf"), 1]})), "must be 4 finite numbers"),
    "400 digits in a box": (of_train(first("annotations", {"bbox": [0, 0, 10**400, 1]})), "must be 4 finite numbers"),
    "400 digits in an id": (of_train(first("annotations", {"id": 10**400})), "'id' has 1332 bits, expected"),
    "id of text": (of_train(first("images", {"id": "7"})), "'id' must be int"),
    "twice the same image id": (of_train(first("images", {"id": 1})), "the image id appears twice"),
    "images of another file": (of_train(each(lambda a: a.update(image_id=7777))), "none of the 18 annotations belongs"),
    "missing image": (lambda root: (root / "train" / "2.png").unlink(), "1 of 9 images not found, first .*2.png"),
    "broken header": (lambda root: (root / "train" / "2.png").write_bytes(b"no"), "1 of 9 images can't be read"),
    "cut pixels, twice": (lambda root: damage(root, "train/1.png", "train/2.png"), r"2 of 9 images .*1\.png.*2\.png"),
    "broken header and cut pixels": (
        lambda root: (damage(root, "valid/1.png"), (root / "train" / "2.png").write_bytes(b"no")),
        r"2 of 13 images .*2\.png.*1\.png",
    ),
    "other size": (other_size, "1 of 4 images have another size than stated"),
    "dark 16 bits": (dark, "pictures have 16 bits, of which about 12 are used"),
    "every third 0..1": (of_both(every(3, to_parts)), "6 of 18 boxes lie in 0..1, the others do not"),
    "most beside": (of_both(away), "17 of 18 boxes lie wholly outside their images, up to"),
    "a line end in a class": (of_both(first("categories", {"name": "red\n"})), r"'red.n' of class \d+ holds the end"),
    "all broken": (lambda root: [p.write_bytes(b"no") for p in root.glob("valid/*.png")], "4 of 4 images can't"),
    "no JSON": (lambda root: (root / "valid" / NAME).write_text("{"), "not valid JSON"),
    "no valid split": (lambda root: shutil.rmtree(root / "valid"), "no annotations of valid found.*`val_fraction`"),
}  # fmt: skip


def refused_by_training(data: DataPaths, out: Path) -> str:
    """What training ends with; empty when it runs."""
    model, settings = "rtmdet_pico_relu6", ("batch=3", "threads=1", "mosaic=0", "close_mosaic=0")
    request = TrainRequest(model, data, out, imgsz=(64, 64), epochs=1, overrides=settings, quiet=True)
    try:
        train(request)
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", BAD)
def test_bad_data_set_is_refused_by_check_and_training_alike(tiny_coco: Path, tmp_path: Path, name: str) -> None:
    spoil, message = BAD[name]
    spoil(tiny_coco)
    checked = check_dataset(tiny_coco, SPEC)
    trained = refused_by_training(DataPaths(tiny_coco), tmp_path / "run")
    assert not checked.ok
    assert trained
    assert trained in checked.to_text() + checked.error

    assert re.search(message, trained, re.DOTALL), trained
    assert not (tmp_path / "run" / "best.pt").exists()


GOOD: dict[str, Callable[[Path], object]] = {
    "as it is": lambda root: None,
    "one class without a box": of_both(lambda d: d["categories"].append({"id": 9, "name": "rare"})),
    "some images without boxes": of_both(
        lambda d: d.update(annotations=[a for a in d["annotations"] if a["image_id"] < 3])
    ),
    "a crowd": of_both(first("annotations", {"iscrowd": 1})),
    "a box outside": of_both(first("annotations", {"bbox": [500, 0, 9, 9]})),
    "negative ids": of_both(
        lambda d: (
            [entry.update(id=-entry["id"]) for entry in d["images"]],
            [entry.update(image_id=-entry["image_id"]) for entry in d["annotations"]],
        )
    ),
    "every annotation id 0": of_both(each(lambda a: a.update(id=0))),
    "areas that are no numbers": of_both(each(lambda a: a.update(area=float("nan")))),
    "a class without a name": of_both(first("categories", {"name": ""})),
    "names alike": of_both(first("categories", {"name": "RED"})),
    "the same pictures twice": lambda root: (
        shutil.rmtree(root / "valid"),
        shutil.copytree(root / "train", root / "valid"),
    ),
    "files in upper case": lambda root: [p.rename(p.with_suffix(".PNG")) for p in root.rglob("*.png")],
    "64-bit ids": of_both(
        lambda d: (
            [entry.update(id=entry["id"] + 2**63) for entry in d["images"]]
            and [entry.update(image_id=entry["image_id"] + 2**63) for entry in d["annotations"]]
        )
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_unusual_data_set_is_taken_by_check_and_training_alike(tiny_coco: Path, name: str) -> None:
    GOOD[name](tiny_coco)
    assert check_dataset(tiny_coco, SPEC).error == ""
    load_for_training(DataPaths(tiny_coco), SPEC)  # with which training begins


def test_cut_off_image_is_refused_by_check_and_training_alike(tiny_coco: Path) -> None:
    cut(tiny_coco)
    with pytest.raises(DataError) as caught:  # the way of every training picture
        ImageCache(DataPaths(tiny_coco).load("train"), SPEC, largest_scale=2.0).pixels(3)
    assert "3.png: can't decode the image" in str(caught.value)
    assert str(caught.value) in check_dataset(tiny_coco, SPEC).error


def test_check_dataset_lists_every_refusal(tiny_coco: Path) -> None:
    edit(tiny_coco, each(lambda a: a.update(iscrowd=1)))
    edit(tiny_coco, first("categories", {"name": "blue"}), ("valid",))
    report = check_dataset(tiny_coco, SPEC)
    assert len(report.refusals) == 3
    assert report.error.endswith("(2 more, see above)")
    assert all(text in report.to_text() for text in report.refusals)


def test_load_valid_without_boxes_is_drawn_from_train_by_fraction(tiny_coco: Path) -> None:
    edit(tiny_coco, lambda d: d["annotations"].clear(), ("valid",))
    files = DataPaths(train_ann=tiny_coco / "train" / NAME, val_ann=tiny_coco / "valid" / NAME, val_fraction=0.4)
    for paths in (DataPaths(tiny_coco, val_fraction=0.4), files):
        train_split, valid = paths.load("train"), paths.load("valid")
        assert len(train_split.images) + len(valid.images) == 9
        assert not {r.path for r in train_split.images} & {r.path for r in valid.images}
        require_judgeable(valid)


def test_left_over_counts_objects_that_can_be_seen(tiny_coco: Path) -> None:
    edit(tiny_coco, first("annotations", {"iscrowd": 1}))
    edit(tiny_coco, lambda d: d["annotations"][1].update(bbox=[0, 0, 2, 40]))  # 96 -> 64 px: 1.33 px wide
    split = DataPaths(tiny_coco).load("train")
    left = left_over(split, SPEC)
    assert sum(entry.objects for entry in left) == 17
    assert sum(entry.visible for entry in left) == 16
    assert "not counted: 1 crowds, 1 below 2 px in the input" in describe_left(split, SPEC)


def test_count_objects_lost_boxes_are_no_negatives(tiny_coco: Path) -> None:
    edit(tiny_coco, lambda d: d["annotations"].clear(), ("valid",))
    valid = DataPaths(tiny_coco).load("valid")
    assert count_objects(valid, valid.images) == 0
    edit(tiny_coco, bbox(lambda x, y, w, h: [x, y, w, 0]), ("train",))
    lost = DataPaths(tiny_coco).load("train")
    with pytest.raises(DataError, match=r"nothing to judge by: .*box_empty: 18"):
        count_objects(lost, lost.images)


def test_require_bright_files_only_dark_16_bit_pictures_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 4000, np.uint16)).save(tmp_path / "dark.png")
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(tmp_path / "bright.png")
    Image.new("L", (8, 8), 5).save(tmp_path / "night.png")
    require_bright_files([tmp_path / "bright.png", tmp_path / "dark.png", tmp_path / "night.png"])
    require_bright_files([tmp_path / "night.png", tmp_path / "absent.png"])
    with pytest.raises(DataError, match=r"dark.png: 1 pictures have 16 bits"):
        require_bright_files([tmp_path / "dark.png"])
