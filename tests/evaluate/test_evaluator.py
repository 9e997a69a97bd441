from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgedet.api.opening import open_model
from edgedet.contracts import Detections, NmsChoice
from edgedet.data.coco.build import load_split
from edgedet.data.coco.split import CocoSplit
from edgedet.data.pictures.preprocess import load_image, resize_to_input
from edgedet.errors import ConfigError, DataError
from edgedet.evaluate.evaluator import evaluate, match_classes, sha256_of
from edgedet.evaluate.figures.coco_ap import coco_ap
from edgedet.evaluate.figures.operating_point import Aim
from edgedet.runtimes.open import open_runtime
from edgedet.runtimes.protocol import Int8Runtime

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def split(toy_data: Path) -> CocoSplit:
    return load_split(toy_data, "valid")


@pytest.fixture
def runtime(toy_model: Path) -> Int8Runtime:
    return open_runtime(toy_model, "sim")


def by_hand(runtime: Int8Runtime, split: CocoSplit) -> dict[int, Detections]:
    """The loop written out; labels looked up by name."""
    found = {}
    for record in split.images:
        pixels, placement = resize_to_input(load_image(record.path), runtime.preprocess)
        d = runtime.decode(runtime.invoke(runtime.prepare(pixels)), 0.001)
        names = [runtime.outputs.class_names[label] for label in d.labels]
        labels = np.array([split.class_names.index(name) for name in names], np.int64)
        found[record.image_id] = Detections(placement.to_image(d.boxes), d.scores, labels)
    return found


def test_evaluate_toy_model_equals_the_loop_by_hand(runtime: Int8Runtime, split: CocoSplit) -> None:
    # The split orders its classes by category id (green, red, blue), the model otherwise: names decide.
    assert split.class_names != runtime.outputs.class_names
    report = evaluate(runtime, split)
    expected = coco_ap(split, by_hand(runtime, split))
    assert report.ap == expected
    assert 0.05 < report.ap.ap < 0.95
    assert all(row.ap > 0 for row in report.ap.per_class)


def test_evaluate_every_chip_runtime_gives_the_same_ap(toy_model: Path, runtime: Int8Runtime, split: CocoSplit) -> None:
    expected = evaluate(runtime, split).ap
    for name, package in (("ref", "ai_edge_litert"), ("tflm", "tflite_micro")):
        if importlib.util.find_spec(package):
            assert evaluate(open_runtime(toy_model, name), split).ap == expected


def test_evaluate_report_says_what_was_measured(toy_model: Path, runtime: Int8Runtime, split: CocoSplit) -> None:
    calls: list[tuple[int, int]] = []
    report = evaluate(
        runtime, split, max_images=4, progress=lambda done, total: calls.append((done, total)), model_path=toy_model
    )
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert report.images == 4
    assert report.model == str(toy_model)
    assert report.model_sha256 == hashlib.sha256(toy_model.read_bytes()).hexdigest() == sha256_of(toy_model)
    assert (report.runtime, report.split, report.input_size) == ("sim", "valid", (96, 64))
    assert (report.score_threshold, report.nms_iou, report.max_detections) == (0.001, 0.65, 100)
    assert min(report.timings.preprocess_ms, report.timings.invoke_ms, report.timings.decode_ms) > 0
    assert report.timings.total_ms > report.timings.invoke_ms
    assert "Python" in report.machine


def test_evaluate_report_to_json_round_trips_the_numbers(runtime: Int8Runtime, split: CocoSplit) -> None:
    report = evaluate(runtime, split)
    value = json.loads(report.to_json())
    assert value["ap"]["ap"] == report.ap.ap
    assert value["ap"]["table"] == report.ap.table
    assert [row["name"] for row in value["ap"]["per_class"]] == list(split.class_names)
    assert value["timings"]["invoke_ms"] == report.timings.invoke_ms
    assert value["arithmetic"] == report.arithmetic
    assert set(value) == {field.name for field in dataclasses.fields(report)}


def test_evaluate_report_states_every_option_of_decoding(toy_model: Path, split: CocoSplit) -> None:
    plain = open_runtime(toy_model, "sim")
    names = plain.outputs.class_names
    value = json.loads(evaluate(plain, split, max_images=2, aim=Aim.parse("recall=0.5")).to_json())
    assert (value["nms_iou"], value["max_detections"], value["class_agnostic"]) == (0.65, 100, False)
    assert value["model_thresholds"] == dict.fromkeys(names, plain.outputs.score_threshold)
    assert (value["score_threshold"], value["operation"]["aim"]) == (0.001, "recall 0.5")
    chosen = NmsChoice(nms_iou=0.5, max_detections=7, class_agnostic=True)
    value = json.loads(evaluate(open_model(toy_model, "sim", nms=chosen), split, max_images=2).to_json())
    assert (value["nms_iou"], value["max_detections"], value["class_agnostic"]) == (0.5, 7, True)


def test_evaluate_report_text_starts_with_the_table(runtime: Int8Runtime, split: CocoSplit) -> None:
    report = evaluate(runtime, split)
    assert report.text().startswith(report.ap.table)
    assert re.search(r"ms per image: preprocess \d+\.\d\d, invoke \d+\.\d\d, decode \d+\.\d\d\n", report.text())
    assert f"runtime: sim: {report.arithmetic}" in report.text()


def test_evaluate_max_images_more_than_there_are_takes_all(runtime: Int8Runtime, split: CocoSplit) -> None:
    assert evaluate(runtime, split, max_images=10_000).images == len(split.images)


def test_evaluate_wrong_arguments_raise(runtime: Int8Runtime, split: CocoSplit) -> None:
    with pytest.raises(ConfigError, match="images must be at least 1, got 0"):
        evaluate(runtime, split, max_images=0)
    with pytest.raises(DataError, match="has no images"):
        evaluate(runtime, dataclasses.replace(split, images=()))
    with pytest.raises(ConfigError, match="score_threshold"):
        evaluate(runtime, split, score_threshold=1.0)


def test_match_classes_takes_the_common_ones_and_says_what_is_left_out(split: CocoSplit) -> None:
    same, labels, left_out = match_classes(("blue", "green", "red"), split)
    assert (same, labels.tolist(), left_out) == (split, [2, 0, 1], ())
    fewer, labels, left_out = match_classes(("blue", "grey", "green"), split)
    assert (fewer.class_names, labels.tolist()) == (("green", "blue"), [1, -1, 0])
    assert "no class grey" in left_out[0]
    assert "does not know the class red" in left_out[1]
    red = split.class_names.index("red")
    assert sum(len(r.labels) for r in fewer.images) == sum(int((r.labels != red).sum()) for r in split.images)
    truth = fewer.to_coco_dict()
    assert [c["name"] for c in truth["categories"]] == ["green", "blue"]
    with pytest.raises(DataError, match=r"classes \['green', 'red', 'blue'\], but the model knows \['Red', 'cat'\]"):
        match_classes(("Red", "cat"), split)


def test_evaluate_on_fewer_classes_gives_their_ap(runtime: Int8Runtime, split: CocoSplit) -> None:
    whole, part = evaluate(runtime, split), evaluate(runtime, split.with_classes(("green", "blue")))
    expected = {row.name: row.ap for row in whole.ap.per_class if row.name != "red"}
    assert {row.name: row.ap for row in part.ap.per_class} == expected
    assert part.ap.ap == pytest.approx(np.mean(list(expected.values())))
    assert "note: the data has no class red: AP is over the other classes" in part.text()


def command(python: Path | str, model: Path, data: Path, runtime: str, *more: str) -> list[str]:
    return [str(python), "-m", "edgedet.evaluate", str(model), "--data", str(data), "--runtime", runtime, *more]


def run(args: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), **environment}
    return subprocess.run(args, cwd=cwd, env=clean, capture_output=True, text=True, check=False)


def test_main_module_runs_without_torch_and_prints_the_report(toy_model: Path, toy_data: Path, tmp_path: Path) -> None:
    args = command(sys.executable, toy_model, toy_data, "sim", "--images", "3", "--json", "out/report.json")
    guard = tmp_path / "torch.py"  # first on the path: whoever imports torch fails
    guard.write_text("raise RuntimeError('torch must not be imported')\n")
    done = run(args, tmp_path, PYTHONPATH=f"{tmp_path}:{REPO}")
    assert done.returncode == 0, done.stderr
    assert (
        json.loads((tmp_path / "out/report.json").read_text())["ap"]["table"] == done.stdout[:1000].partition("per ")[0]
    )
    assert done.stderr.splitlines()[-1] == "evaluate: 3/3 images"


def test_main_module_bad_input_gives_one_line_and_code_2(toy_data: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"")
    for model, message in (("absent.tflite", "can't read"), ("model.pt", "edgedet evaluate")):
        runtime = "torch" if model.endswith(".pt") else "sim"
        done = run(command(sys.executable, Path(model), toy_data, runtime), tmp_path, PYTHONPATH=str(REPO))
        assert done.returncode == 2
        assert done.stdout == ""
        assert re.fullmatch(rf"error: .*{message}.*\n", done.stderr)


@pytest.mark.slow
def test_main_module_tflite_runtime_environment_prints_the_same_digits(
    toy_model: Path, toy_data: Path, tmp_path: Path
) -> None:
    """A device host: base installation from the tree, tflite-runtime 2.14 with NumPy 1.26, no torch."""
    if sys.version_info[:2] != (3, 11):
        pytest.skip("tflite-runtime 2.14 has wheels up to Python 3.11; this environment is made with the running one")
    source = tmp_path / "source"  # a build inside the checkout would litter it
    for name in ("edgedet", "kernels", "models", "firmware_export"):
        shutil.copytree(REPO / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(REPO / name, source / name)
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    subprocess.run([*pip, str(source), "tflite-runtime==2.14.0", "numpy==1.26.4"], check=True)
    probe = "import importlib.util as u; print([u.find_spec(m) is None for m in ('torch', 'ai_edge_litert')])"
    assert run([str(python), "-c", probe], tmp_path).stdout.strip() == "[True, True]"

    outputs = {}
    for runtime in ("ref", "sim"):
        there = run(command(python, toy_model, toy_data, runtime), tmp_path)
        here = run(command(sys.executable, toy_model, toy_data, runtime), tmp_path, PYTHONPATH=str(REPO))
        assert (there.returncode, here.returncode) == (0, 0), there.stderr + here.stderr
        outputs[runtime] = [done.stdout.partition("images:")[0] for done in (there, here)]
        assert "Traceback" not in there.stderr
        if runtime == "ref":
            assert "tflite-runtime 2.14.0" in there.stdout
            assert "ai-edge-litert" in here.stdout
    assert len({text for pair in outputs.values() for text in pair}) == 1
    assert "= 0.0" not in outputs["ref"][0].splitlines()[0]  # a real AP, not four zeros that would agree anyway
