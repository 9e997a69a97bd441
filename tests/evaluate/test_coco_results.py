from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgedet.commands.main import main
from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.errors import DataError
from edgedet.evaluate.coco_results import evaluate_results, read_results
from edgedet.evaluate.evaluator import evaluate
from edgedet.runtimes.open import open_runtime


@pytest.fixture
def split(toy_data: Path) -> CocoSplit:
    return load_split(toy_data, "valid")


@pytest.fixture
def results(split: CocoSplit, toy_model: Path, tmp_path: Path) -> Path:
    """Detections of the toy model by its own loop, in no order; one image is left out."""
    runtime, rows = open_runtime(toy_model), []

    def collect(outputs: tuple, preprocess: object, threshold: float) -> object:
        return runtime.decode(raw_of(outputs), threshold)

    def raw_of(outputs: tuple) -> list[np.ndarray]:
        pairs = zip(outputs, runtime.model.scales, runtime.model.zero_points, strict=True)
        return [np.round(o / np.float32(s) + z).astype(np.int8) for o, s, z in pairs]

    report = evaluate(runtime, split, decode=collect)
    assert report.ap == evaluate(runtime, split).ap
    rng = np.random.default_rng(3)
    for record in split.images[1:]:
        for box, label in zip(record.boxes.tolist(), record.labels.tolist(), strict=True):
            x, y = (v + float(rng.normal(0, 1.5)) for v in box[:2])
            entry = {
                "image_id": record.image_id,
                "category_id": split.category_ids[label],
                "score": float(rng.random()),
            }
            rows.append({**entry, "bbox": [x, y, box[2] - box[0], box[3] - box[1]]})
            if rng.random() < 0.4:
                rows.append({**rows[-1], "category_id": split.category_ids[0], "score": float(rng.random())})
    path = tmp_path / "results.json"
    path.write_text(json.dumps(rows))
    return path


def test_evaluate_results_equals_pycocotools(results: Path, split: CocoSplit, tmp_path: Path) -> None:
    truth_path = tmp_path / "truth.json"
    truth_path.write_text(json.dumps(split.to_coco_dict() | {"info": {}}))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(truth_path))
        judge = COCOeval(truth, truth.loadRes(str(results)), "bbox")
        judge.evaluate()
        judge.accumulate()
    with contextlib.redirect_stdout(io.StringIO()) as table:
        judge.summarize()
    report = evaluate_results(results, split)
    assert report.ap.stats == tuple(judge.stats.tolist())
    assert 0.1 < report.ap.ap < 0.95
    assert report.text().startswith(table.getvalue())
    assert "no model was run" in report.text()
    assert "ms per image" not in report.text()


def test_evaluate_results_first_images_only(results: Path, split: CocoSplit) -> None:
    assert evaluate_results(results, split, max_images=1).ap.ap == 0.0  # the image that was left out
    assert evaluate_results(results, split, max_images=2).images == 2


def test_evaluate_command_takes_detections_in_place_of_a_model(
    results: Path, toy_data: Path, toy_model: Path, split: CocoSplit, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = ["evaluate", "--detections", str(results), "--data", str(toy_data)]
    assert main([*argv, "--json", str(tmp_path / "r.json")]) == 0
    assert capfd.readouterr().out == evaluate_results(results, split).text()
    assert json.loads((tmp_path / "r.json").read_text())["runtime"] == "detections"
    for wrong in ([*argv, str(toy_model)], ["evaluate", "--data", str(toy_data)]):
        with pytest.raises(SystemExit) as stopped:
            main(wrong)
        assert stopped.value.code == 2
        assert "--detections" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("{}", "expected a list of detections"),
        ('[{"image_id": 40}]', "entry 0: expected whole image_id"),
        ('[{"image_id": 40, "category_id": 7, "bbox": [1, 2, 3], "score": 1}]', "bbox of 4 numbers"),
        ('[{"image_id": 40, "category_id": 7, "bbox": [1, 2, 3, NaN], "score": 1}]', "bbox of 4 numbers"),
        ('[{"image_id": true, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 1}]', "whole image_id"),
        ('[{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 1}]', "image_id 1 is not in"),
        ('[{"image_id": 40, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', "category_id 1 is not in"),
    ],
)
def test_read_results_damaged_files_name_the_entry(
    content: str, message: str, split: CocoSplit, tmp_path: Path
) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_results(path, split)
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match="can't be read"):
        read_results(tmp_path / "absent.json", split)


def test_evaluate_results_without_a_detection_says_so(split: CocoSplit, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("[]")
    report = evaluate_results(path, split)
    assert report.ap.ap == 0.0
    assert f"note: {path} holds no detection in these images" in report.text()
