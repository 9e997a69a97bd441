"""The demo's own code, on a checkpoint that was not trained: figures, files, messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("tflite_micro")

from random_weights import random_detector

from edgedet import demo
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.net.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgedet.resources import resource_dir


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = load_model_file("rtmdet_pico_relu6").model
    path = tmp_path_factory.mktemp("demo") / "random.pt"
    weights = random_detector(model, 2, 0).state_dict()
    outputs = OutputSpec(class_names=("mask", "no_mask"))
    save_checkpoint(Checkpoint(model, PreprocessSpec(width=64, height=64), outputs, weights, {}), path)
    return path


@pytest.mark.slow
def test_main_random_checkpoint_writes_what_it_says(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert demo.main(["--out", str(out), "--images", "10", "--checkpoint", str(checkpoint)]) == 0
    text = capsys.readouterr().out
    commands = [line.split()[2] for line in text.splitlines() if line.startswith("$ edgedet ")]
    assert commands == ["data", "quantize", "evaluate", "evaluate", "predict", "deploy"]
    manifest = json.loads((out / "firmware" / "manifest.json").read_text(encoding="utf-8"))
    model = out / "quantized" / "model_int8.tflite"
    for figure in (manifest["arena"]["total_bytes"], model.stat().st_size, checkpoint.stat().st_size):
        assert f"{figure:,}" in text.split("$ edgedet deploy")[1]
    assert len(list((out / "pictures").glob("*.png"))) == 2
    assert text.count("Average Precision") == 12


def test_main_missing_checkpoint_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--out", str(tmp_path / "o"), "--images", "2", "--checkpoint", str(tmp_path / "no.pt")]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    assert "no.pt" in message


@pytest.mark.skipif(not (resource_dir("models") / demo.CHECKPOINT).exists(), reason="the checkpoint is not there yet")
def test_checkpoint_of_the_demo_fits_the_synthetic_classes() -> None:
    path = resource_dir("models") / demo.CHECKPOINT
    assert load_checkpoint(path).outputs.class_names == ("mask", "no_mask")
    assert path.stat().st_size < 5_000_000
