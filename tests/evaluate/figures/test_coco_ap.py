from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgedet.contracts import Detections
from edgedet.data.bare_images import ground_truth_of
from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit, ImageRecord, most_detections
from edgedet.errors import DataError
from edgedet.evaluate.figures.coco_ap import coco_ap


def detections_of(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> Detections:
    return Detections(boxes.astype(np.float32).reshape(-1, 4), scores.astype(np.float32), labels.astype(np.int64))


EMPTY = detections_of(np.zeros((0, 4)), np.zeros(0), np.zeros(0))


def noisy_detections(split: CocoSplit, seed: int = 0) -> dict[int, Detections]:
    """Ground truth moved about, some of another class, some missing, some twice."""
    rng = np.random.default_rng(seed)
    found = {}
    for record in split.images:
        boxes = np.repeat(record.boxes, 2, axis=0) + rng.normal(0, 2, (2 * len(record.boxes), 4))
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        labels = np.repeat(record.labels, 2)
        labels = np.where(rng.random(len(labels)) < 0.2, rng.integers(0, len(split.class_names), len(labels)), labels)
        keep = rng.random(len(labels)) < 0.7
        scores = np.sort(rng.random(int(keep.sum())))[::-1]
        found[record.image_id] = detections_of(boxes[keep], scores, labels[keep])
    return found


def judged_by_pycocotools(split: CocoSplit, found: dict[int, Detections], folder: Path) -> tuple[str, COCOeval]:
    """The way of pycocotools' own demo: files, loadRes, evaluate, accumulate, summarize."""
    content = split.to_coco_dict()
    for number, annotation in enumerate(content["annotations"], start=1):  # BCCD begins at 0, which is never found
        annotation["id"] = number
    (folder / "truth.json").write_text(json.dumps(content | {"info": {}}))
    rows = [
        {
            "image_id": image_id,
            "category_id": split.category_ids[int(label)],
            "bbox": [float(b[0]), float(b[1]), float(b[2]) - float(b[0]), float(b[3]) - float(b[1])],
            "score": float(score),
        }
        for image_id, d in found.items()
        for b, score, label in zip(d.boxes, d.scores, d.labels, strict=True)
    ]
    (folder / "found.json").write_text(json.dumps(rows))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        judge = COCOeval(truth, truth.loadRes(str(folder / "found.json")), "bbox")
        judge.params.imgIds = sorted(found)
        judge.evaluate()
        judge.accumulate()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        judge.summarize()
    return printed.getvalue(), judge


@pytest.fixture
def split(toy_data: Path) -> CocoSplit:
    return load_split(toy_data, "valid")


def test_coco_ap_noisy_detections_equals_pycocotools(split: CocoSplit, tmp_path: Path) -> None:
    found = noisy_detections(split)
    result = coco_ap(split, found)
    table, judge = judged_by_pycocotools(split, found, tmp_path)
    assert result.table == table
    assert result.stats == tuple(judge.stats)
    assert (result.ap, result.ap50, result.ap75) == result.stats[:3]
    assert (result.ap_small, result.ap_medium, result.ap_large) == result.stats[3:6]
    assert 0.05 < result.ap < 0.95


def test_coco_ap_bccd_equals_pycocotools(bccd_dir: Path, tmp_path: Path) -> None:
    split = load_split(bccd_dir, "valid")
    found = noisy_detections(split)
    assert coco_ap(split, found).table == judged_by_pycocotools(split, found, tmp_path)[0]


def test_coco_ap_subset_of_images_ignores_the_others(split: CocoSplit, tmp_path: Path) -> None:
    found = noisy_detections(split)
    part = {image_id: found[image_id] for image_id in sorted(found)[:2]}
    result = coco_ap(split, part)
    assert result.table == judged_by_pycocotools(split, part, tmp_path)[0]
    assert result.stats != coco_ap(split, found).stats


def test_coco_ap_nothing_found_gives_zeros(split: CocoSplit) -> None:
    result = coco_ap(split, {record.image_id: EMPTY for record in split.images})
    assert result.ap == result.ap50 == 0.0
    assert result.table.count("\n") == 12
    assert {row.ap for row in result.per_class} == {0.0}


def test_coco_ap_perfect_detections_give_one(split: CocoSplit) -> None:
    found = {r.image_id: detections_of(r.boxes, np.ones(len(r.labels)), r.labels) for r in split.images}
    result = coco_ap(split, found)
    assert result.ap == pytest.approx(1.0)
    assert result.ap_large == -1.0  # the toy pictures hold no large object


def test_coco_ap_per_class_equals_pycocotools_per_category(split: CocoSplit, tmp_path: Path) -> None:
    found = noisy_detections(split)
    result = coco_ap(split, found)
    assert [row.name for row in result.per_class] == list(split.class_names)
    _, judge = judged_by_pycocotools(split, found, tmp_path)
    for row, category_id in zip(result.per_class, split.category_ids, strict=True):
        judge.params.catIds = [category_id]
        with contextlib.redirect_stdout(io.StringIO()):
            judge.evaluate()
            judge.accumulate()
            judge.summarize()
        assert (row.ap, row.ap50) == pytest.approx(tuple(judge.stats[:2]), abs=1e-12)  # summation order differs


def test_coco_ap_class_without_ground_truth_reads_minus_one(split: CocoSplit) -> None:
    only = next(r for r in split.images if len(set(r.labels.tolist())) < 3)
    missing = (set(range(3)) - set(only.labels.tolist())).pop()
    result = coco_ap(split, {only.image_id: EMPTY})
    assert result.per_class[missing].ap == -1.0


def test_coco_ap_wrong_arguments_raise(split: CocoSplit) -> None:
    with pytest.raises(DataError, match="found 0 images"):
        coco_ap(split, {})
    with pytest.raises(DataError, match="first id: 12345"):
        coco_ap(split, {12345: EMPTY})
    wrong = detections_of(np.array([0, 0, 1, 1]), np.array([0.5]), np.array([3]))
    with pytest.raises(DataError, match=r"labels 3..3 do not fit the 3 classes"):
        coco_ap(split, {split.images[0].image_id: wrong})


def test_coco_ap_prints_nothing(split: CocoSplit, capfd: pytest.CaptureFixture[str]) -> None:
    coco_ap(split, noisy_detections(split))
    assert capfd.readouterr() == ("", "")


def test_ap_result_to_json_is_jsonable(split: CocoSplit) -> None:
    result = coco_ap(split, noisy_detections(split))
    assert json.loads(json.dumps(result.to_json()))["stats"] == list(result.stats)


def test_coco_ap_more_than_100_detections_count_as_the_contract_says() -> None:
    grid = np.array([(x, y, x + 8, y + 8) for x in range(0, 200, 10) for y in range(0, 70, 10)], np.float32)
    labels = np.zeros(len(grid), np.int64)  # 140 objects
    none, areas = np.zeros(len(grid), bool), np.full(len(grid), 64, np.float32)
    record = ImageRecord(1, Path("a.png"), 200, 100, grid, labels, none, areas)
    truth = ground_truth_of((record,), ("bean",), (1,))
    split = CocoSplit("valid", Path("beans"), (record,), ("bean",), (1,), (), truth)
    assert most_detections(split) == 200
    found = {1: detections_of(grid, np.linspace(0.9, 0.5, len(grid)), labels)}
    assert coco_ap(split, found).ap == pytest.approx(72 / 101)  # recall 100 of 140: 72 of COCO's 101 steps
    result = coco_ap(split, found, most_detections(split))
    assert result.ap == result.ap50 == result.ap_small == pytest.approx(1.0)
    assert result.per_class[0].ap == pytest.approx(1.0)
    assert "area=   all | maxDets=200 ] = 1.000" in result.table.splitlines()[0]
    assert coco_ap(split, found, 5).table == coco_ap(split, found).table


def numbered_anew(
    split: CocoSplit, image: Callable[[int], int], category: Callable[[int], int], first: int
) -> CocoSplit:
    """The same split with other ids; annotations are numbered from `first`."""
    truth = split.to_coco_dict()
    truth["images"] = [{**entry, "id": image(entry["id"])} for entry in truth["images"]]
    truth["categories"] = [{**entry, "id": category(entry["id"])} for entry in truth["categories"]]
    truth["annotations"] = [
        {**a, "id": number, "image_id": image(a["image_id"]), "category_id": category(a["category_id"])}
        for number, a in enumerate(truth["annotations"], start=first)
    ]
    records = tuple(replace(record, image_id=image(record.image_id)) for record in split.images)
    return replace(split, images=records, category_ids=tuple(map(category, split.category_ids)), _ground_truth=truth)


@pytest.mark.parametrize(
    ("image", "category"),
    [
        (lambda i: (i * 0x9E3779B97F4A7C15 + 12345) % 2**64, lambda c: c),  # hashes, on both sides of 2^63
        (lambda i: i, lambda c: c if c % 2 else 2**63 + c),
        (lambda i: 2**63 + i if i % 2 else i, lambda c: 2**64 - 1 - c),
        (lambda i: -(2**63) + i, lambda c: -c),
    ],
)  # fmt: skip
def test_coco_ap_64_bit_ids_give_the_same(
    split: CocoSplit, image: Callable[[int], int], category: Callable[[int], int]
) -> None:
    found = noisy_detections(split)
    plain = coco_ap(split, found)
    other = numbered_anew(split, image, category, 1)
    result = coco_ap(other, {image(image_id): detections for image_id, detections in found.items()})
    assert result.stats == pytest.approx(plain.stats, rel=1e-12)  # means over classes in another order
    assert result.per_class == plain.per_class


def test_coco_ap_annotation_id_0_is_found_and_the_plain_number_told(split: CocoSplit, tmp_path: Path) -> None:
    found = {r.image_id: detections_of(r.boxes, np.ones(len(r.labels)), r.labels) for r in split.images}
    from_zero = numbered_anew(split, lambda i: i, lambda c: c, 0)
    result = coco_ap(from_zero, found)
    assert result.ap == pytest.approx(1.0)
    assert coco_ap(split, found).note == ""
    assert coco_ap(from_zero, found, compare_plain=False) == replace(result, note="")
    # pycocotools' own demo on the file with id 0
    (tmp_path / "truth.json").write_text(json.dumps(from_zero.to_coco_dict() | {"info": {}}))
    rows = [
        {"image_id": r.image_id, "category_id": split.category_ids[label], "bbox": [x, y, x2 - x, y2 - y], "score": 1.0}
        for r in split.images
        for (x, y, x2, y2), label in zip(r.boxes.tolist(), r.labels.tolist(), strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        (tmp_path / "truth.json").write_text(json.dumps(from_zero.to_coco_dict() | {"info": {}}))
        (tmp_path / "found.json").write_text(json.dumps(rows))
        truth = COCO(str(tmp_path / "truth.json"))
        judge = COCOeval(truth, truth.loadRes(str(tmp_path / "found.json")), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert judge.stats[0] < 0.999
    assert f"plain pycocotools prints AP {judge.stats[0]:.3f}, AP50 {judge.stats[1]:.3f}" in result.note
    assert "annotation id 0" in result.note
