"""`edgedet quantize --method qat`, `edgedet substitute`, and substitution in front of a quantization."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgedet.cli import main

pytest.importorskip("torch")

from edgedet.config import load_model_file
from edgedet.net.random_weights import random_detector
from edgedet.structs import OutputSpec
from edgedet.train.checkpoint import Checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = load_model_file("rtmdet_pico_relu6", ("deepen=0.1", "stacked_convs=1", "activation=silu"))
    weights = random_detector(file.model, 2, seed=0).state_dict()
    outputs = OutputSpec(("red", "green"), category_ids=(1, 2))
    path = tmp_path_factory.mktemp("silu") / "silu.pt"
    save_checkpoint(Checkpoint(file.model, file.preprocess.spec((96, 64)), outputs, weights, {}), path)
    return path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_quantize_qat_writes_the_file_and_prints_both_aps(checkpoint, tiny_coco_once, tmp_path, capfd) -> None:
    few = ("--epochs", 1, "--batch", 4, "--calib-images", 4, "--threads", 1, "--check-runtime", "sim", "--lr", "1e-5")
    start = ("quantize", checkpoint, "--method", "qat", *few, "--data", tiny_coco_once, "--out", tmp_path / "q")
    assert run(*start, "--distill", "--images", tiny_coco_once / "train") == 0
    assert (tmp_path / "q" / "model_int8.tflite").is_file()
    report = json.loads((tmp_path / "q" / "report.json").read_text())
    assert (report["method"], report["distill"], report["lr"], report["batch"]) == ("qat", True, 1e-5, 4)
    out, err = capfd.readouterr()
    assert "fake-quantized, trained" in out
    assert "epoch   1/1" in err
    assert run(*start) == 2
    assert "--resume" in capfd.readouterr().err


def test_quantize_after_substitution_quantizes_the_tuned_checkpoint(
    checkpoint, tiny_coco_once, tmp_path, capfd
) -> None:
    out = tmp_path / "q"
    options = ("--effort", "fast", "--calib-images", 4, "--tune-epochs", 1, "--threads", 1, "--activation", "relu")
    assert run("quantize", checkpoint, "--data", tiny_coco_once, "--out", out, *options) == 0
    assert (out / "substituted" / "last.pt").is_file()
    assert "LOGISTIC" not in json.loads((out / "report.json").read_text())["operators"]
    assert "AP without tuning" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--epochs", "3"), "--epochs: only --method qat"),
        (("--distill", "--lr", "1"), "--lr, --distill: only --method qat"),
        (("--ema-decay", "0"), "--ema-decay: only --method qat"),
        (("--resume",), "--resume: only --method qat"),
        (("--method", "qat", "--effort", "best"), "--effort: only --method ptq"),
        (("--method", "qat", "--no-adaround", "--calibration-for", "a=kl"), "--adaround, --calibration-for: only"),
        (("--method", "qat", "--images", "x"), "--images without --distill"),
    ],
)
def test_quantize_options_of_the_other_method_are_refused(checkpoint, tmp_path, capfd, options, text) -> None:
    assert run("quantize", checkpoint, "--data", tmp_path, "--out", tmp_path / "q", *options) == 2
    out, err = capfd.readouterr()
    assert text in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "q").exists()


def test_substitute_nothing_is_an_error(checkpoint, tmp_path, capfd) -> None:
    assert run("substitute", checkpoint, "--data", tmp_path, "--out", tmp_path / "s") == 2
    assert "nothing to substitute" in capfd.readouterr().err
