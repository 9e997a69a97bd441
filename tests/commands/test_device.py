"""`--device`, `--precision` and `--workers`: what is wrong is one line and exit code 2, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from random_weights import random_detector

from edgedet.commands.main import main
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.net.checkpoint import Checkpoint, save_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = load_model_file("rtmdet_pico_relu6").model
    path = tmp_path_factory.mktemp("checkpoint") / "random.pt"
    weights = random_detector(config, 2, seed=0).state_dict()
    save_checkpoint(Checkpoint(config, PreprocessSpec(96, 64), OutputSpec(("red", "green")), weights, {}), path)
    return path


TRAIN = ("train", "rtmdet_pico_relu6")
SUBSTITUTE = ("substitute", "CKPT", "--activation", "relu")
QAT = ("quantize", "CKPT", "--method", "qat")


@pytest.mark.parametrize("command", [TRAIN, SUBSTITUTE, QAT, (*QAT, "--distill"), (*QAT, "--activation", "relu")])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--device", "gpu"), "--device 'gpu': expected auto, cpu, cuda, cuda:N or mps"),
        (("--device", "cuda"), "--device cuda: torch"),
        (("--device", "cuda:7"), "--device cuda:7: torch"),
        (("--device", "mps"), "--device mps: needs macOS"),
    ],
)
def test_device_that_is_not_there_is_an_error(
    checkpoint: Path, tiny_coco_once: Path, tmp_path: Path, capfd, monkeypatch, command, options, text
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert_refused(command, options, text, checkpoint, tiny_coco_once, tmp_path, capfd)


@pytest.mark.parametrize(
    ("command", "options", "text"),
    [
        (TRAIN, ("--precision", "int8"), "--precision must be one of auto, float32, bfloat16, float16; got 'int8'"),
        (("quantize", "CKPT"), ("--device", "cuda"), "--method ptq calibrates on one thread of the CPU"),
        (("quantize", "CKPT"), ("--workers", "0"), "--workers: only --method qat takes this"),
    ],
)
def test_hardware_options_that_do_not_fit_are_errors(
    checkpoint: Path, tiny_coco_once: Path, tmp_path: Path, capfd, command, options, text
) -> None:
    assert_refused(command, options, text, checkpoint, tiny_coco_once, tmp_path, capfd)


def assert_refused(command, options, text, checkpoint, data, tmp_path, capfd) -> None:
    words = [str(checkpoint) if word == "CKPT" else word for word in command]
    assert main([*words, "--data", str(data), "--out", str(tmp_path / "run"), *options]) == 2
    out, err = capfd.readouterr()
    assert text in err
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_workers_that_are_no_number_are_an_error(tmp_path: Path, capfd) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*TRAIN, "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--workers", "-1"])
    assert "expected a whole number of at least 0, got '-1'" in capfd.readouterr().err


def test_evaluate_device_belongs_to_checkpoints(
    checkpoint: Path, tiny_model: Path, tiny_coco_once: Path, tmp_path: Path, capfd
) -> None:
    data = ("--data", str(tiny_coco_once))
    assert main(["evaluate", str(checkpoint), *data, "--device", "cpu"]) == 0
    assert "runtime: torch: float32, torch" in capfd.readouterr().out
    for arguments, text in (
        (("evaluate", str(checkpoint), *data, "--device", "cuda"), "--device cuda: torch"),
        (("evaluate", str(tiny_model), *data, "--device", "cpu"), "--device cpu: only checkpoints run on a device"),
        (("evaluate", "--detections", "x.json", *data, "--device", "cpu"), "--device cpu runs a checkpoint"),
        (
            (
                "predict",
                str(checkpoint),
                str(tiny_coco_once / "train" / "0.png"),
                "--out",
                str(tmp_path / "p"),
                "--device",
                "x",
            ),
            "--device 'x': expected",
        ),
    ):
        assert main(list(arguments)) == 2
        out, err = capfd.readouterr()
        assert text in err
        assert (out, err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []
