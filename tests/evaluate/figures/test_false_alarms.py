from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.coco.build import load_split
from edgedet.errors import DataError
from edgedet.evaluate.coco_results import evaluate_results
from edgedet.evaluate.detect import detect
from edgedet.evaluate.evaluator import evaluate
from edgedet.evaluate.predict import predict
from edgedet.runtimes.open import open_runtime


@pytest.fixture
def negatives(toy_data: Path, tmp_path: Path) -> Path:
    """The toy pictures, as if none of their objects were wanted."""
    folder = tmp_path / "negatives" / "valid"
    folder.mkdir(parents=True)
    document = json.loads((toy_data / "valid" / "_annotations.coco.json").read_text())
    for image in document["images"]:
        (folder / image["file_name"]).write_bytes((toy_data / "valid" / image["file_name"]).read_bytes())
    (folder / "_annotations.coco.json").write_text(json.dumps({**document, "annotations": []}))
    return tmp_path / "negatives"


def test_evaluate_negatives_counts_what_the_contract_reports(toy_model: Path, negatives: Path) -> None:
    runtime, split = open_runtime(toy_model), load_split(negatives, "valid")
    report = evaluate(runtime, split)
    threshold = runtime.outputs.score_threshold
    found = [detect(runtime, record.path, threshold).in_input for record in split.images]
    alarms = report.false_alarms
    assert alarms is not None
    assert alarms.total == sum(len(detections) for detections in found) > 0
    assert alarms.images_with_any == sum(1 for detections in found if len(detections))
    assert alarms.per_image == alarms.total / len(split.images)
    assert sum(count for _, count in alarms.per_class) == alarms.total
    assert report.score_threshold == alarms.score_threshold == threshold
    assert report.ap.ap == -1.0
    assert f"false alarms per image: {alarms.per_image:.3f} at score > {threshold:g}" in report.text()
    assert "Average Precision" not in report.text()
    assert json.loads(report.to_json())["false_alarms"]["total"] == alarms.total


def test_evaluate_negatives_keeps_a_higher_threshold(toy_model: Path, negatives: Path) -> None:
    report = evaluate(open_runtime(toy_model), load_split(negatives, "valid"), score_threshold=0.95)
    assert report.false_alarms is not None
    assert report.false_alarms.score_threshold == 0.95


def test_evaluate_first_images_without_objects_are_negatives(toy_model: Path, toy_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "valid"
    folder.mkdir()
    document = json.loads((toy_data / "valid" / "_annotations.coco.json").read_text())
    first = document["images"][0]["id"]
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] != first]
    for image in document["images"]:
        (folder / image["file_name"]).write_bytes((toy_data / "valid" / image["file_name"]).read_bytes())
    (folder / "_annotations.coco.json").write_text(json.dumps(document))
    split = load_split(tmp_path, "valid")
    assert evaluate(open_runtime(toy_model), split, max_images=1).false_alarms is not None
    assert evaluate(open_runtime(toy_model), split).false_alarms is None


def test_evaluate_results_on_negatives_counts_all_of_the_file(negatives: Path, tmp_path: Path) -> None:
    split = load_split(negatives, "valid")
    row = {"image_id": split.images[0].image_id, "category_id": split.category_ids[0], "bbox": [1, 1, 5, 5]}
    path = tmp_path / "found.json"
    path.write_text(json.dumps([{**row, "score": 0.9}, {**row, "score": 0.1}]))
    alarms = evaluate_results(path, split).false_alarms
    assert alarms is not None
    assert (alarms.total, alarms.images_with_any) == (2, 1)


def test_evaluate_crowds_only_raises_data_error(toy_model: Path, toy_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "valid"
    folder.mkdir()
    document = json.loads((toy_data / "valid" / "_annotations.coco.json").read_text())
    for annotation in document["annotations"]:
        annotation["iscrowd"] = 1
    for image in document["images"]:
        (folder / image["file_name"]).write_bytes((toy_data / "valid" / image["file_name"]).read_bytes())
    (folder / "_annotations.coco.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"nothing to judge by: .* are crowds \(iscrowd 1\)"):
        evaluate(open_runtime(toy_model), load_split(tmp_path, "valid"))


def test_predict_dark_16_bit_pictures_raise_data_error(toy_model: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64), 4000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: 1 pictures have 16 bits"):
        predict(open_runtime(toy_model), [tmp_path / "a.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
