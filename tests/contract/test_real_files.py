"""Detectors of other makers find the person in a photograph after one command."""

from __future__ import annotations

import json
from pathlib import Path

import head_references as ref
import numpy as np
import pytest
from PIL import Image

from edgedet.commands.main import main
from edgedet.contract.candidates import COCO_ANCHORS
from edgedet.runtimes.open import open_runtime


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A person, 512x600 px: a sample picture of matplotlib, which pycocotools needs."""
    matplotlib = pytest.importorskip("matplotlib")
    return Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")


def attach(shared_dir: Path, name: str, out: Path, *options: str) -> Path:
    path = out / name
    assert main(["contract", str(shared_dir / "data" / "tflite" / name), *options, "--out", str(path)]) == 0
    return path


def predicted(model: Path, picture: Image.Image, out: Path) -> list[dict]:
    """Detections of `edgedet predict`, in the chip's arithmetic."""
    picture.save(out / "picture.png")
    argv = ["predict", str(model), str(out / "picture.png"), "--score-threshold", "0.3"]
    assert main([*argv, "--out", str(out / "found")]) == 0
    return json.loads((out / "found" / "detections.json").read_text())["images"][0]["detections"]


def test_mcunet_finds_the_person_and_equals_the_reference_decoder(
    shared_dir: Path, photo: Image.Image, tmp_path: Path
) -> None:
    options = ("--head", "yolov3", "--anchors", "coco", "--classes", "person", "--mean", "127.5", "--std", "127.5")
    model = attach(shared_dir, "mit_mcunet_detection.tflite", tmp_path, *options, "--resize", "stretch")
    best = predicted(model, photo, tmp_path)[0]
    assert best["score"] > 0.6
    assert ref.iou(best["box_xyxy_px"], [20.0, 50.0, 512.0, 600.0]) > 0.8  # where the person is

    runtime = open_runtime(model)
    pixels = np.asarray(photo.resize((160, 128), Image.Resampling.BOX))
    x = runtime.prepare(pixels)
    np.testing.assert_allclose(x[0], pixels.astype(np.float64) / 127.5 - 1, rtol=0, atol=1e-6)
    raw = runtime.invoke(x)
    candidates = []
    for level, (values, stride) in enumerate(zip(raw, (8, 16, 32), strict=True)):
        for row, column, a in np.ndindex(*values.shape[1:3], 3):
            cx, cy, w, h, objectness, person = values[0, row, column, 6 * a : 6 * a + 6].astype(np.float64).tolist()
            width, height = COCO_ANCHORS[6 * level + 2 * a : 6 * level + 2 * a + 2]
            centre = (ref.sigmoid(cx) + column) * stride, (ref.sigmoid(cy) + row) * stride
            box = ref.corners(*centre, np.exp(w) * width, np.exp(h) * height)
            candidates.append((ref.sigmoid(objectness) * ref.sigmoid(person), 0, box))
    ref.assert_same(runtime.decode(raw, 0.01), ref.finish(candidates, (160, 128), 0.01, 0.65, 100))


def test_fomo_finds_the_centre_of_the_person(shared_dir: Path, photo: Image.Image, tmp_path: Path) -> None:
    options = ("--head", "fomo", "--classes", "person", "--mean", "0", "--std", "255")
    model = attach(shared_dir, "seeed_fomo_mnv2.tflite", tmp_path, *options)
    runtime = open_runtime(model)
    assert (runtime.outputs.strides, runtime.outputs.head.scores) == ((8,), "none")
    for x, y in ((20, 20), (180, 100)):
        scene = Image.new("RGB", (480, 480), (128, 128, 128))
        scene.paste(photo.resize((150, 176)), (x, y))
        (found,) = predicted(model, scene, tmp_path)
        left, top, right, bottom = found["box_xyxy_px"]
        assert (right - left, bottom - top) == pytest.approx((40, 40))  # a cell, 8 of 96 px
        assert x + 30 < (left + right) / 2 < x + 120
        assert y + 30 < (top + bottom) / 2 < y + 146
        assert found["score"] > 0.5
