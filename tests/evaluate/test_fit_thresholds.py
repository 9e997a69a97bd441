"""Thresholds fitted on the training split hold on pictures that neither the network nor the fit has seen."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edgedet.api.opening import open_model
from edgedet.api.steps.thresholds import prepare_fit, refit_thresholds
from edgedet.commands.main import main
from edgedet.data.paths import DataPaths
from edgedet.evaluate.figures.expected import Expected
from edgedet.evaluate.figures.operating_point import Aim, OperatingPoint
from edgedet.evaluate.fit_thresholds import Fit, HeldOut, Refit, fit_thresholds, measure_thresholds
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.model import load_int8_model
from edgedet.runtimes.open import open_runtime

SEED, IMAGES, VALID = 77, 72, 36  # of the drawn data set; the network was trained on another seed


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("cv2")
    from edgedet.data.synth.dataset import make_synthetic

    out = tmp_path_factory.mktemp("synth") / "data"
    return make_synthetic(out, images=IMAGES, seed=SEED, valid_fraction=VALID / IMAGES)


@pytest.fixture(scope="module")
def checkpoint(repo_dir: Path) -> Path:
    pytest.importorskip("torch")
    return repo_dir / "models" / "rtmdet_pico_relu6_synth.pt"


@pytest.fixture(scope="module")
def quantized(checkpoint: Path, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "q"
    assert main(["quantize", str(checkpoint), "--data", str(drawn), "--out", str(out), "--effort", "fast"]) == 0
    return out / "model_int8.tflite"


@pytest.mark.parametrize(
    "aim",
    ["f1", pytest.param("precision=0.5", marks=pytest.mark.slow), pytest.param("recall=0.5", marks=pytest.mark.long)],
)
@pytest.mark.parametrize("form", ["float", "int8"])
def test_thresholds_of_train_hold_on_valid_within_the_intervals(
    aim: str, form: str, checkpoint: Path, quantized: Path, drawn: Path
) -> None:
    """What valid gives lies within the 95 % interval that is stated of it before it is looked at."""
    data = DataPaths(drawn)
    runtime = open_model(checkpoint if form == "float" else quantized, None)
    fit = fit_thresholds(runtime, data.load("train"), Aim.parse(aim), valid=data.load("valid"))
    assert not fit.kept
    assert fit.held_out is not None
    held = measure_thresholds(runtime, runtime.outputs.with_thresholds(fit.thresholds), data.load("valid"))
    assert fit.held_out.points == held
    low, high = fit.held_out.expected.of(fit.aim)
    assert low <= getattr(held[-1], aim.partition("=")[0]) <= high
    assert fit.holds
    assert fit.held_out.expected.images == VALID


def test_thresholds_of_a_network_that_knows_its_pictures_by_heart_do_not_hold() -> None:
    """Its figures on others are below what those of the fit let expect, and the sentence says so."""
    seen = OperatingPoint("all", 0.3, 100, 80, 20, (0.7, 0.9))
    others = OperatingPoint("all", 0.3, 100, 50, 60, (0.4, 0.6))
    held = HeldOut("valid", (others,), Expected(36, (0.6, 0.8), (0.0, 1.0), (0.0, 1.0)))
    fit = Fit(Aim("f1"), "train", 36, (0.3,), (), (seen,), (seen,), held)
    assert fit.holds is False
    said = Refit(("a",), (0.25,), None, fit).text()
    assert "int8: the thresholds do NOT hold: F1 0.476 on valid, 0.600..0.800 expected of 36 other pictures." in said
    assert "edgedet evaluate FILE --data DIR --split valid" in said


def test_class_that_keeps_its_threshold_says_why() -> None:
    points = tuple(OperatingPoint(name, 0.3, objects, 0, 0, None) for name, objects in (("a", 0), ("b", 5), ("c", 9)))
    fit = Fit(Aim("f1"), "train", 3, (0.3, 0.3, 0.4), ("a", "b"), (*points, replace(points[0], name="all")), points)
    assert [fit.why_kept(name) for name in "abc"] == ["kept: no objects here", "kept: no detection is right", ""]
    assert replace(fit, aim=Aim.parse("recall=0.9")).why_kept("b") == "kept: no threshold reaches it"


@pytest.mark.parametrize("text", ["f1", "precision=0.3", "precision=0.75", "recall=0.25", "recall=0.5", "recall=1"])
def test_fitted_thresholds_reach_their_aim_exactly_where_they_were_fitted(
    text: str, toy_model: Path, toy_data: Path
) -> None:
    runtime, split, aim = open_runtime(toy_model, "sim"), DataPaths(toy_data).load("valid"), Aim.parse(text)
    fit = fit_thresholds(runtime, split, aim)
    again = measure_thresholds(runtime, runtime.outputs.with_thresholds(fit.thresholds), split)
    assert again == fit.after  # the contract gives back what was fitted
    now = measure_thresholds(runtime, runtime.outputs, split)
    for point, before in zip(fit.after[:-1], now[:-1], strict=True):
        if point.name in fit.kept:
            assert point == before
        elif aim.kind == "f1":
            assert point.f1 >= before.f1
        else:
            assert Fraction(
                point.hits, max(1, point.objects if aim.kind == "recall" else point.hits + point.false_alarms)
            ) >= Fraction(text.partition("=")[2])


def test_quantize_writes_the_fitted_thresholds_into_the_contract(
    quantized: Path, checkpoint: Path, drawn: Path, tmp_path: Path
) -> None:
    for name in ("model_int8.tflite", "report.json"):
        (tmp_path / name).write_bytes((quantized.parent / name).read_bytes())
    model = tmp_path / "model_int8.tflite"
    before = load_int8_model(model)
    refit = refit_thresholds(model, checkpoint, prepare_fit(DataPaths(drawn), Aim.parse("f1")))
    after = load_int8_model(model)
    assert after.outputs == before.outputs.with_thresholds(refit.int8_fit.thresholds)
    assert len(after.outputs.class_thresholds) == 2
    plain = replace(after.graph, metadata=before.graph.metadata)
    assert serialize(plain) == quantized.read_bytes()  # nothing else has changed
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert report["operating_point"]["int8"] == list(refit.int8_fit.thresholds)
    moved = f"{refit.int8_fit.thresholds[0] - refit.float_fit.thresholds[0]:+.4f}"
    assert moved in refit.text()
    now = measure_thresholds(open_runtime(model, "sim"), after.outputs, DataPaths(drawn).load("train"))
    assert now == refit.int8_fit.after
    held = report["operating_point"]["held_out"]
    assert (held["split"], held["images"], held["int8"]["holds"], held["float"]["holds"]) == (
        "valid",
        VALID,
        True,
        True,
    )
    assert report["operating_point"]["verdicts"] == list(refit.verdicts)
    assert all(f"  {form}: the thresholds hold: F1 " in refit.text() for form in ("float", "int8"))


def test_operating_point_without_labels_is_refused_before_any_work(
    checkpoint: Path, drawn: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = ["quantize", str(checkpoint), "--images", str(drawn / "train"), "--out", str(tmp_path / "q")]
    assert main([*argv, "--operating-point", "f1"]) == 2
    assert "--operating-point: thresholds are fitted on the labelled training split" in capfd.readouterr().err
    assert main([*argv, "--data", str(drawn), "--operating-point", "f2"]) == 2
    assert "expected f1, precision=P or recall=R" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
