from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from random_weights import random_detector, random_pictures

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.paths import DataPaths
from edgedet.errors import CheckpointError, ConfigError, ConversionError, DataError
from edgedet.graph.flatbuffer import read_tflite
from edgedet.graph.metadata import read_contracts
from edgedet.net.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgedet.quantize.api import MANIFEST_FILE, MODEL_FILE, REPORT_FILE, QuantizeRequest, quantize_checkpoint
from edgedet.quantize.calibration.range_choice import METHODS, RangePlan
from edgedet.quantize.ptq.pipeline import PtqOptions

IMAGES = 9


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
    assert [note[:28] for note in report.notes] == ["only 3 calibration images: t"]
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
    assert f"there are {IMAGES}: all used" in report.notes[0]
    assert report.notes[0] in report.text()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"method": "magic"}, "ptq"),
        ({"calib_images": 0}, "at least 1"),
        ({"effort": "heroic"}, "fast, normal, best"),
        ({"calibration": "magic"}, "moving-average"),
        ({"calibration_for": (("a", "magic"),)}, "moving-average"),
        ({"weights": "magic"}, "minmax, mse"),
        ({"percentile": 0.0}, "`percentile`"),
    ],
)
def test_quantize_request_wrong_option_is_an_error(checkpoint, data, tmp_path, changes, text):
    with pytest.raises(ConfigError, match=text):
        request(checkpoint, data, tmp_path, **changes)


def broken_checkpoint(checkpoint: Path, path: Path, size: int) -> Path:
    path.write_bytes(checkpoint.read_bytes()[:size])
    return path


def test_quantize_checkpoint_folder_of_pictures_gives_the_file_of_the_same_pictures_with_labels(
    checkpoint, data, tmp_path
):
    labelled = quantize_checkpoint(request(checkpoint, data, tmp_path / "labelled"))
    bare = request(checkpoint, data, tmp_path / "bare", images=data / "train")
    assert quantize_checkpoint(replace(bare, data=DataPaths())).sha256 == labelled.sha256
    with pytest.raises(DataError, match="nowhere: image folder not found"):
        quantize_checkpoint(replace(bare, images=tmp_path / "nowhere"))


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
    for effort in ("fast", "normal", "best"):
        with pytest.raises(ConversionError, match=r"backbone\.stem\.1\.conv"):
            quantize_checkpoint(request(tmp_path / "dead.pt", data, tmp_path / "q", effort=effort))
        assert not (tmp_path / "q").exists()


def test_quantize_checkpoint_file_has_the_pixels_scale(checkpoint, data, tmp_path):
    graph = read_tflite(quantize_checkpoint(request(checkpoint, data, tmp_path / "q")).model)
    quantization = graph.tensors[graph.inputs[0]].quantization
    assert quantization.scale.tolist() == [np.float32(1 / 255)]
    assert quantization.zero_point.tolist() == [-128]


def test_quantize_checkpoint_report_names_steps_and_ranges(checkpoint, data, tmp_path):
    steps: list[str] = []
    report = quantize_checkpoint(request(checkpoint, data, tmp_path / "q", effort="best"), on_step=steps.append)
    assert steps[-2:] == ["adaptive rounding", "bias correction"]
    content = json.loads(report.report.read_text())
    assert content == report.to_json()
    assert content["effort"] == "best"
    assert content["options"]["adaround"] is True
    assert content["options"]["ranges"]["method"] == "auto"
    assert {r["method"] for r in content["ranges"]} <= set(METHODS)
    assert [s["name"] for s in content["steps"]][-1] == "bias correction"
    assert "adaptive rounding: output error" in report.text()
    assert json.loads(report.manifest.read_text())["options"] == {**content["options"], "threads": 1}


def test_quantize_request_single_options_override_the_effort(checkpoint, data, tmp_path):
    changed = request(
        checkpoint, data, tmp_path, effort="best", calibration="kl", adaround=False, weights="minmax", seed=5,
        calibration_for=(("neck.out_convs.0.conv", "mse"),),
    ).options  # fmt: skip
    assert changed.ranges == RangePlan("kl", (("neck.out_convs.0.conv", "mse"),))
    assert (changed.adaround, changed.weights, changed.seed) == (False, "minmax", 5)
    assert changed.equalize
    assert changed.bias_correction
    assert request(checkpoint, data, tmp_path, effort="fast").options == PtqOptions()


def test_quantize_checkpoint_layer_of_calibration_for_must_exist(checkpoint, data, tmp_path):
    bad = request(checkpoint, data, tmp_path / "q", calibration_for=(("neck.outconvs", "mse"),))
    with pytest.raises(ConfigError, match=r"no layer 'neck.outconvs'; similar names: .*neck\.out_convs"):
        quantize_checkpoint(bad)
    assert not (tmp_path / "q").exists()


def copy_of(data: Path, target: Path) -> dict:
    """A copy of the data set; gives its annotations."""
    shutil.copytree(data, target)
    return json.loads((target / "train" / "_annotations.coco.json").read_text())


@pytest.mark.parametrize("effort", ["fast", "best"])
def test_quantize_checkpoint_constant_images_are_named_and_nothing_is_written(checkpoint, data, tmp_path, effort):
    copy_of(data, tmp_path / "d")
    for path in (tmp_path / "d" / "train").glob("*.png"):
        Image.new("RGB", (120, 80), (7, 90, 200)).save(path)
    with pytest.raises(DataError, match=r"\.png: shows a single colour, as do all 3"):
        quantize_checkpoint(request(checkpoint, tmp_path / "d", tmp_path / "q", effort=effort))
    assert not (tmp_path / "q").exists()


def test_quantize_checkpoint_one_good_image_among_constant_ones_is_enough(checkpoint, data, tmp_path):
    copy_of(data, tmp_path / "d")
    for path in sorted((tmp_path / "d" / "train").glob("*.png"))[1:]:
        Image.new("RGB", (120, 80), (7, 90, 200)).save(path)
    bad = request(checkpoint, tmp_path / "d", tmp_path / "q", effort="fast", calib_images=IMAGES)
    assert quantize_checkpoint(bad).model.exists()


def test_quantize_checkpoint_needs_one_class_in_common(checkpoint, data, tmp_path):
    coco = copy_of(data, tmp_path / "d")
    same = quantize_checkpoint(request(checkpoint, tmp_path / "d", tmp_path / "q", effort="fast"))
    coco["categories"].append({"id": 2, "name": "platelet"})
    ann = tmp_path / "d" / "train" / "_annotations.coco.json"
    ann.write_text(json.dumps(coco))
    more = quantize_checkpoint(request(checkpoint, tmp_path / "d", tmp_path / "more", effort="fast"))
    assert more.sha256 == same.sha256
    coco["categories"][0]["name"] = "Cell"
    ann.write_text(json.dumps(coco))
    with pytest.raises(
        DataError, match=r"_annotations\.coco\.json: classes \[.*\], but .*best\.pt knows \['cell'\]; calibrate"
    ):
        quantize_checkpoint(request(checkpoint, tmp_path / "d", tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_quantize_checkpoint_nan_weight_is_named(checkpoint, data, tmp_path):
    loaded = load_checkpoint(checkpoint)
    weights = {name: value.clone() for name, value in loaded.weights.items()}
    weights["neck.out_convs.0.depthwise_conv.conv.weight"][0] = np.nan
    save_checkpoint(replace(loaded, weights=weights), tmp_path / "nan.pt")
    with pytest.raises(CheckpointError, match=r"neck\.out_convs\.0\.depthwise_conv\.conv\.weight holds NaN"):
        quantize_checkpoint(request(tmp_path / "nan.pt", data, tmp_path / "q"))
    assert not (tmp_path / "q").exists()


def test_quantize_checkpoint_int16_layer_is_in_file_and_report(checkpoint, data, tmp_path):
    layer = "backbone.stage1.0.pointwise_conv.conv"
    report = quantize_checkpoint(request(checkpoint, data, tmp_path / "q", effort="fast", int16=(layer,)))
    graph = read_tflite(report.model)
    tensor = next(t for t in graph.tensors if t.name == layer)
    assert tensor.dtype == "int16"
    assert dict(report.operators)["QUANTIZE"] > 0
    assert report.int16 == (layer,)
    assert f"int16:       {layer}\n" in report.text()
    used = next(r for r in report.ranges if r.name == layer)
    assert (used.low, used.high) == (used.lowest, used.highest)
    assert [step.name for step in report.steps] == ["ranges and weights", f"int16 results of {layer}"]
    content = json.loads(report.report.read_text())
    assert content["int16"] == [layer]
    assert json.loads(report.manifest.read_text())["options"]["int16"] == [layer]


@pytest.mark.slow
def test_quantize_checkpoint_int16_auto_lowers_the_error_or_says_no(checkpoint, data, tmp_path):
    report = quantize_checkpoint(request(checkpoint, data, tmp_path / "q", effort="fast", int16=("auto",)))
    if report.int16:
        before, after = report.steps
        assert after.kept
        assert after.error < before.error
    else:
        assert any("`int16` auto: no layer is worth it" in note for note in report.notes)


@pytest.mark.parametrize("layer", ["neck.outconvs", "bbox_head.rtm_cls.0", "x"])
def test_quantize_checkpoint_impossible_int16_layer_writes_nothing(checkpoint, data, tmp_path, layer):
    with pytest.raises(ConfigError, match=f"`int16` {layer}: "):
        quantize_checkpoint(request(checkpoint, data, tmp_path / "q", int16=(layer,)))
    assert not (tmp_path / "q").exists()


def test_quantize_checkpoint_of_a_handful_of_images_must_be_asked_for(checkpoint, data, tmp_path):
    few = tmp_path / "few"
    coco = copy_of(data, few)
    coco["images"] = coco["images"][:5]
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] < 5]
    (few / "train" / "_annotations.coco.json").write_text(json.dumps(coco))
    with pytest.raises(DataError, match=r"split train has 5 images, too few .*at least 8.*`calib_images` 5"):
        quantize_checkpoint(request(checkpoint, few, tmp_path / "q", calib_images=128))
    assert not (tmp_path / "q").exists()
    report = quantize_checkpoint(request(checkpoint, few, tmp_path / "q", calib_images=5))
    assert any("5 calibration images" in note for note in report.notes)


@pytest.mark.long
def test_quantize_checkpoint_named_int16_that_does_not_help_says_so(checkpoint, data, tmp_path):
    layers = ("backbone.stem.0.conv", "backbone.stem.1.conv", "backbone.stem.2.conv")
    reports = [
        quantize_checkpoint(request(checkpoint, data, tmp_path / name, effort="fast", int16=(name,))) for name in layers
    ]
    for report in reports:
        before, after = report.steps
        noted = any("int16 made the error of the outputs larger" in note for note in report.notes)
        assert noted == (after.error > before.error)


def test_quantize_checkpoint_user_s_calibrator_holds_for_int16(checkpoint, data, tmp_path):
    layer = "backbone.stem.1.conv"
    made = request(checkpoint, data, tmp_path / "q", effort="fast", int16=(layer,), calibration_for=((layer, "mse"),))
    used = next(r for r in quantize_checkpoint(made).ranges if r.name == layer)
    assert used.method == "mse"


def test_quantize_checkpoint_thread_count_of_the_process_does_not_matter(checkpoint, data, tmp_path):
    hashes = []
    before = torch.get_num_threads()
    for count in (1, 2):
        torch.set_num_threads(count)
        hashes.append(quantize_checkpoint(request(checkpoint, data, tmp_path / str(count))).sha256)
        assert torch.get_num_threads() == count
    torch.set_num_threads(before)
    assert hashes[0] == hashes[1]
