from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgedet.contracts import PreprocessSpec
from edgedet.data.check.report import check_dataset, input_boxes
from edgedet.data.coco.build import load_split
from edgedet.data.paths import DataPaths

SPEC = PreprocessSpec(192, 192)
CATEGORIES = ({"id": 1, "name": "cat"}, {"id": 2, "name": "dog"})


def write_split(root: Path, split: str, boxes: list[list[tuple[int, list[float]]]], **extra: Any) -> None:
    """One 384x192 noise image per list of (category id, xywh)."""
    folder = root / split
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0 if split == "train" else 1)
    images, annotations = [], []
    for index, of_image in enumerate(boxes):
        name = f"{index}.png"
        Image.fromarray(rng.integers(0, 256, (192, 384, 3), dtype=np.uint8)).save(folder / name)
        images.append({"id": index, "file_name": name, "width": 384, "height": 192})
        for category_id, bbox in of_image:
            annotation = {"id": len(annotations) + 1, "image_id": index, "category_id": category_id, "bbox": bbox}
            annotations.append({**annotation, **extra})
    document = {"images": images, "annotations": annotations, "categories": list(CATEGORIES)}
    (folder / "_annotations.coco.json").write_text(json.dumps(document))


def write_both(root: Path) -> None:
    # 384 -> 192 px halves each side: 64x64 px is exactly 32x32 at the input, the first size that is not small.
    write_split(
        root, "train", [[(1, [0, 0, 64, 64]), (1, [0, 0, 63, 64]), (2, [10, 10, 191, 190])], [(2, [0, 0, 15, 60])], []]
    )
    write_split(root, "valid", [[(1, [0, 0, 150, 150])]])


def test_check_dataset_counts_areas_at_the_input_size(tmp_path: Path) -> None:
    write_both(tmp_path)
    report = check_dataset(tmp_path, SPEC)
    train, valid = report.splits
    cat, dog = train.classes
    assert (cat.small, cat.medium, cat.large, cat.tiny, cat.boxes) == (1, 1, 0, 0, 2)
    assert (dog.small, dog.medium, dog.large, dog.tiny, dog.boxes) == (1, 1, 0, 1, 2)  # 95.5 x 95 stays medium
    assert train.images == 3
    assert train.images_without_boxes == 1
    assert train.max_boxes == 3
    assert valid.ap_boxes == {"small": 0, "medium": 0, "large": 1}  # 150^2 in image px
    assert report.ok


def test_check_dataset_larger_input_moves_boxes_to_larger_classes(tmp_path: Path) -> None:
    write_both(tmp_path)
    cat, dog = check_dataset(tmp_path, PreprocessSpec(width=384, height=192)).splits[0].classes
    assert (cat.small, cat.medium, cat.large) == (0, 2, 0)
    assert (dog.small, dog.medium, dog.large, dog.tiny) == (1, 0, 1, 0)


def test_check_dataset_advice_names_what_will_surprise(tmp_path: Path) -> None:
    write_both(tmp_path)
    advice = "\n".join(check_dataset(tmp_path, SPEC).advice)
    assert "no small objects in valid" in advice
    assert "AP_small will read -1" in advice
    assert "AP_medium will read -1" in advice
    assert "AP_large" not in advice
    assert "class 'cat' has only 2 boxes in train" in advice
    assert "class 'dog' has no box in valid" in advice
    assert "1 of 4 training boxes (25 %) has a side below 8 px at 192x192" in advice
    assert "valid has only 1 image: AP" in advice


def test_check_dataset_class_that_the_input_makes_too_small_is_named(tmp_path: Path) -> None:
    """However few its boxes are among all of them: `nothing stands out` would be false."""
    large, tiny = [(1, [0.0, 0.0, 150.0, 150.0])] * 60, [(2, [10.0, 10.0, 12.0, 12.0])] * 3
    write_split(tmp_path, "train", [large + tiny])
    write_split(tmp_path, "valid", [large + tiny])
    advice = "\n".join(check_dataset(tmp_path, SPEC).advice)
    assert "training boxes with a side below 8 px at 192x192: 3 of 3 of class 'dog'" in advice
    assert "--imgsz 384x384 doubles their sides" in advice
    assert "class 'cat'" not in advice


def test_check_dataset_class_without_training_boxes_is_named(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [[(1, [0, 0, 64, 64])]])
    write_split(tmp_path, "valid", [[(2, [0, 0, 64, 64])]])
    assert "class 'dog' has no box in train" in "\n".join(check_dataset(tmp_path, SPEC).advice)


def test_check_dataset_same_image_in_both_splits_is_found(tmp_path: Path) -> None:
    write_both(tmp_path)
    (tmp_path / "valid" / "0.png").write_bytes((tmp_path / "train" / "1.png").read_bytes())
    report = check_dataset(tmp_path, SPEC)
    assert report.duplicates == ((str(tmp_path / "train" / "1.png"), str(tmp_path / "valid" / "0.png")),)
    assert "1 image is in train and in valid, e.g." in report.to_text()


def test_check_dataset_pictures_of_one_colour_are_named(tmp_path: Path) -> None:
    write_both(tmp_path)
    clear = np.dstack([np.random.default_rng(0).integers(0, 256, (192, 384, 3)), np.zeros((192, 384))]).astype(np.uint8)
    Image.fromarray(clear).save(tmp_path / "train" / "1.png")  # wholly transparent
    Image.new("RGB", (384, 192)).save(tmp_path / "train" / "2.png", "JPEG")
    report = check_dataset(tmp_path, SPEC)
    assert report.splits[0].blank == (str(tmp_path / "train" / "1.png"), str(tmp_path / "train" / "2.png"))
    assert "train: 2 images are of one colour" in report.to_text()


def test_check_dataset_many_classes_without_boxes_are_one_sentence(tmp_path: Path) -> None:
    write_both(tmp_path)
    for path in tmp_path.rglob("*.json"):
        document = json.loads(path.read_text())
        document["categories"] += [{"id": 10 + number, "name": f"c{number}"} for number in range(80)]
        path.write_text(json.dumps(document))
    advice = check_dataset(tmp_path, SPEC).advice
    assert any(
        text.startswith("each of 80 classes ('c0', 'c1', 'c2' and 77 more) has no box in train") for text in advice
    )
    assert sum("'c" in text for text in advice) <= 3


def test_check_dataset_image_that_does_not_decode_is_listed(tmp_path: Path) -> None:
    write_both(tmp_path)
    path = tmp_path / "train" / "2.png"
    path.write_bytes(path.read_bytes()[:5000])  # the header is fine
    report = check_dataset(tmp_path, SPEC)
    assert not report.ok
    assert len(report.splits[0].broken) == 1
    assert "2.png" in report.splits[0].broken[0]
    assert "1 image doesn't decode: replace or remove it" in report.to_text()


def test_check_dataset_lists_broken_headers_and_pixels_together(tmp_path: Path) -> None:
    write_both(tmp_path)
    cut, spoiled, other = tmp_path / "train" / "1.png", tmp_path / "train" / "2.png", tmp_path / "valid" / "0.png"
    cut.write_bytes(cut.read_bytes()[:5000])
    spoiled.write_bytes(b"no")
    other.write_bytes(other.read_bytes()[:5000])
    report = check_dataset(tmp_path, SPEC)
    assert [split.images for split in report.splits] == [3, 1]
    assert "3 of 4 images can't be read" in report.error
    assert all(f"{path}: " in report.error for path in (cut, spoiled, other))
    assert report.error.endswith("by `skip_broken` of train, substitute, quantize, evaluate, inspect or waterfall")
    assert "nothing stands out" not in report.to_text()


def test_check_dataset_unusual_images_are_counted(tmp_path: Path) -> None:
    write_both(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("L", (384, 192), 9).save(tmp_path / "train" / "0.png", exif=exif)
    Image.new("RGBA", (384, 192)).save(tmp_path / "train" / "1.png")
    Image.new("I;16", (384, 192)).save(tmp_path / "train" / "2.png")
    report = check_dataset(tmp_path, SPEC)
    assert report.splits[0].image_kinds == {"grey": 1, "exif-rotated": 1, "alpha": 1, "16-bit": 1}
    assert "1 16-bit, 1 alpha, 1 exif-rotated, 1 grey" in report.to_text()


def test_check_dataset_crowd_boxes_are_counted_but_not_for_ap(tmp_path: Path) -> None:
    write_split(tmp_path, "train", [[(1, [0, 0, 64, 64])]])
    write_split(tmp_path, "valid", [[(1, [0, 0, 20, 20])]], iscrowd=1)
    report = check_dataset(tmp_path, SPEC)
    assert report.splits[1].crowd_boxes == 1
    assert report.splits[1].ap_boxes["small"] == 0


def test_check_dataset_other_categories_are_refused(tmp_path: Path) -> None:
    write_both(tmp_path)
    path = tmp_path / "valid" / "_annotations.coco.json"
    document = json.loads(path.read_text())
    document["categories"].append({"id": 3, "name": "cow"})
    path.write_text(json.dumps(document))
    report = check_dataset(tmp_path, SPEC)
    assert not report.ok
    assert "list different categories" in report.error


def test_check_dataset_explicit_paths_need_no_folder(tmp_path: Path) -> None:
    write_both(tmp_path)
    paths = DataPaths(
        train_ann=tmp_path / "train" / "_annotations.coco.json",
        val_ann=tmp_path / "valid" / "_annotations.coco.json",
        val_images=tmp_path / "valid",
    )
    report = check_dataset(paths, SPEC)
    assert [split.images for split in report.splits] == [3, 1]


def test_check_dataset_progress_counts_every_image(tmp_path: Path) -> None:
    write_both(tmp_path)
    seen: list[tuple[int, int]] = []
    check_dataset(tmp_path, SPEC, progress=lambda done, total: seen.append((done, total)))
    headers = [(1, 3), (2, 3), (3, 3), (1, 1)]
    assert seen == [*headers, (1, 4), (2, 4), (3, 4), (4, 4)]


def test_to_json_is_json_and_to_text_is_a_table(tmp_path: Path) -> None:
    write_both(tmp_path)
    report = check_dataset(tmp_path, SPEC)
    value = json.loads(json.dumps(report.to_json()))
    assert value["splits"][0]["classes"][0]["medium"] == 1
    assert value["input_width"] == 192
    lines = report.to_text().splitlines()
    assert any(line.split() == ["cat", "2", "1", "1", "0", "0"] for line in lines)
    assert any(line.split() == ["all", "4", "2", "2", "0", "1"] for line in lines)


def test_input_boxes_letterbox_follows_the_placement(tmp_path: Path) -> None:
    write_both(tmp_path)
    record = load_split(tmp_path, "valid").images[0]
    np.testing.assert_allclose(input_boxes(record, SPEC), [[0, 0, 75, 75]])
    stretched = PreprocessSpec(width=192, height=192, resize="stretch")
    np.testing.assert_allclose(input_boxes(record, stretched), [[0, 0, 75, 150]])


def test_check_dataset_bccd_reads_both_splits(bccd_dir: Path) -> None:
    report = check_dataset(bccd_dir, SPEC)
    assert [split.images for split in report.splits] == [205, 87]
    assert report.ok
    assert not report.duplicates
    assert sum(counts.boxes for counts in report.splits[0].classes) == 2804
