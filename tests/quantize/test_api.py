from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.config import load_model_file
from edgedet.convert.flatbuffer import read_tflite
from edgedet.convert.metadata import read_contracts
from edgedet.data.paths import DataPaths
from edgedet.errors import CheckpointError, ConfigError, ConversionError, DataError
from edgedet.net.random_weights import random_detector, random_pictures
from edgedet.quantize.api import MANIFEST_FILE, MODEL_FILE, REPORT_FILE, QuantizeRequest, quantize_checkpoint
from edgedet.structs import OutputSpec
from edgedet.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

IMAGES = 5


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "train").mkdir()
    coco: dict[str, list] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    for i, picture in enumerate(random_pictures(IMAGES, 120, 80, seed=0)):
        Image.fromarray(picture).save(root / "train" / f"{i}.png")
        coco["images"].append({"id": i, "file_name": f"{i}.png", "width": 120, "height": 80})
        coco["annotations"].append(
            {"id": i + 1, "image_id": i, "category_id": 1, "bbox": [10, 10, 30, 20], "area": 600, "iscrowd": 0}
        )
    (root / "train" / "_annotations.coco.json").write_text(json.dumps(coco))
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    file = load_model_file("rtmdet_pico_relu6", ("deepen=0.33",))
    model = random_detector(file.model, 1, seed=0)
    path = tmp_path_factory.mktemp("run") / "best.pt"
    save_checkpoint(
        Checkpoint(file.model, file.preprocess.spec((96, 64)), OutputSpec(("cell",)), model.state_dict(), {}), path
    )
    return path


def request(checkpoint: Path, data: Path, out: Path, **changes) -> QuantizeRequest:
    return replace(QuantizeRequest(checkpoint, DataPaths(data), out, calib_images=3), **changes)


def test_quantize_checkpoint_writes_model_manifest_and_report(checkpoint, data, tmp_path):
    seen: list[tuple[int, int]] = []
    report = quantize_checkpoint(request(checkpoint, data, tmp_path / "q"), lambda *done: seen.append(done))
    assert seen == [(3, 3)]
    assert sorted(p.name for p in (tmp_path / "q").iterdir()) == sorted([MODEL_FILE, MANIFEST_FILE, REPORT_FILE])
    contracts = read_contracts(read_tflite(report.model), "model")
    loaded = load_checkpoint(checkpoint)
    assert (contracts.preprocess, contracts.outputs) == (loaded.preprocess, loaded.outputs)
    assert len(json.loads(report.manifest.read_text())["images"]) == 3
    content = json.loads(report.report.read_text())
    assert content == report.to_json()
    assert content["model_bytes"] == report.model.stat().st_size
    assert report.notes == ()
    text = report.text()
    assert text.endswith("\n")
    assert str(report.model) in text
    assert "CONV_2D" in text


def test_quantize_checkpoint_same_seed_gives_the_same_bytes(checkpoint, data, tmp_path):
    files = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        report = quantize_checkpoint(request(checkpoint, data, tmp_path / name, seed=seed))
        files[name] = (report.model.read_bytes(), report.manifest.read_bytes())
    assert files["a"] == files["b"]
    assert files["a"][1] != files["c"][1]


def test_quantize_checkpoint_too_few_images_uses_all_and_says_so(checkpoint, data, tmp_path):
    report = quantize_checkpoint(request(checkpoint, data, tmp_path / "q", calib_images=50))
    assert (report.calib_images_asked, report.calib_images) == (50, IMAGES)
    assert "the training split has 5" in report.notes[0]
    assert report.notes[0] in report.text()


@pytest.mark.parametrize(("changes", "text"), [({"method": "magic"}, "ptq"), ({"calib_images": 0}, "at least 1")])
def test_quantize_request_wrong_option_is_an_error(checkpoint, data, tmp_path, changes, text):
    with pytest.raises(ConfigError, match=text):
        request(checkpoint, data, tmp_path, **changes)


def broken_checkpoint(checkpoint: Path, path: Path, size: int) -> Path:
    path.write_bytes(checkpoint.read_bytes()[:size])
    return path


def test_quantize_checkpoint_bad_input_writes_nothing(checkpoint, data, tmp_path):
    out = tmp_path / "q"
    cut = broken_checkpoint(checkpoint, tmp_path / "cut.pt", 5000)
    for error, bad in (
        (CheckpointError, request(cut, data, out)),
        (CheckpointError, request(tmp_path / "none.pt", data, out)),
        (DataError, request(checkpoint, tmp_path / "nowhere", out)),
        (ConfigError, replace(request(checkpoint, data, out), data=DataPaths())),
        (ConfigError, request(checkpoint, data, cut)),
    ):
        with pytest.raises(error):
            quantize_checkpoint(bad)
        assert not out.exists()


def test_quantize_checkpoint_dead_layer_is_named_and_nothing_is_written(checkpoint, data, tmp_path):
    loaded = load_checkpoint(checkpoint)
    weights = dict(loaded.weights)
    weights["backbone.stem.1.bn.bias"] = weights["backbone.stem.1.bn.bias"] * 0 - 1000
    save_checkpoint(replace(loaded, weights=weights), tmp_path / "dead.pt")
    with pytest.raises(ConversionError, match=r"backbone\.stem\.1\.conv"):
        quantize_checkpoint(request(tmp_path / "dead.pt", data, tmp_path / "q"))
    assert not (tmp_path / "q").exists()


def test_quantize_checkpoint_file_has_the_pixels_scale(checkpoint, data, tmp_path):
    graph = read_tflite(quantize_checkpoint(request(checkpoint, data, tmp_path / "q")).model)
    quantization = graph.tensors[graph.inputs[0]].quantization
    assert quantization.scale.tolist() == [np.float32(1 / 255)]
    assert quantization.zero_point.tolist() == [-128]
