"""FOMO's heat map in generated C; RTMDet's head is in tests/deploy/targets/test_c99.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fomo_like import heat_map
from generated import assert_self_test_passes
from golden_detections import golden_detections
from PIL import Image

from edgedet.contract.api import contract
from edgedet.contract.request import ContractRequest
from edgedet.deploy.api import deploy
from edgedet.graph.model import load_int8_model
from edgedet.runtimes.open import open_runtime

pytestmark = pytest.mark.toolchain


def test_heat_map_is_decoded_by_edgedet_run(tmp_path: Path) -> None:
    model = heat_map(tmp_path)
    assert load_int8_model(model).c_decoder == "cells"
    report = deploy(model, "c99", tmp_path / "module")
    assert report.has_contract
    assert "interface" not in report.text()
    assert_self_test_passes(report.out)
    found = golden_detections(report.out)
    assert len(found) > 3
    assert len({row[5] for row in found}) > 1
    # The detections of the runtime for the golden input, which the C was just compared with.
    runtime = open_runtime(model)
    text = (report.out / "golden.c").read_text()
    numbers = text.partition("golden_input_0[18432] = {")[2].partition("}")[0]
    codes = np.array([int(v) for v in numbers.split(",") if v.strip()], np.int8).reshape(1, 64, 96, 3)
    expected = runtime.decode(runtime.invoke(codes), 0.4)
    assert [row[:4] for row in found] == expected.boxes.tolist()
    assert [row[4:] for row in found] == [list(pair) for pair in zip(expected.scores, expected.labels, strict=True)]


def test_heat_map_takes_only_its_own_decoder_along(tmp_path: Path) -> None:
    report = deploy(heat_map(tmp_path), "c99", tmp_path / "module")
    names = {path.name for path in report.files}
    assert {"edk_detect_cells.c", "edk_detect_cells.h", "edk_preprocess.c"} <= names
    assert not {"edk_detect.c", "edk_detect_candidate.h", "edk_detect_scratch_bytes.c"} & names


@pytest.mark.parametrize("target", ["c99", "tflm"])
def test_heat_map_contract_header(target: str, tmp_path: Path) -> None:
    report = deploy(heat_map(tmp_path), target, tmp_path / "out")
    text = (report.out / "contract.h").read_text()
    assert '{"map_8", 0, 8, 8, 12, 4, 1, 0.00390625f, -128, -25},' in text  # 103 / 256 is the first above 0.4
    assert "#define EDGEDET_NUM_CLASSES 3" in text
    assert "NMS" not in text


def test_logits_have_no_c_decoder(tmp_path: Path) -> None:
    model = heat_map(tmp_path, softmax=False)
    assert load_int8_model(model).c_decoder == ""
    report = deploy(model, "c99", tmp_path / "module")
    assert not report.has_contract
    assert "the softmax of head fomo must be in the file" in " ".join(report.text().split())
    assert not (report.out / "run.c").exists()


def test_other_heat_maps_have_no_c_decoder(tmp_path: Path) -> None:
    model = load_int8_model(heat_map(tmp_path))
    graph, outputs = model.graph, model.outputs
    for other in (
        replace(model, preprocess=replace(model.preprocess, height=60)),  # 7.5 cells
        replace(model, graph=replace(graph, outputs=(*graph.outputs, 0))),
        replace(model, dtypes=("float32",)),
        replace(model, input_dtype="uint8"),
        replace(model, outputs=replace(outputs, head=replace(outputs.head, channels_first=True))),
        replace(model, outputs=replace(outputs, head=replace(outputs.head, scores="percent"))),
    ):
        assert (model.c_decoder, other.c_decoder, other.has_c_decoder) == ("cells", "", False)


def test_seeed_fomo_finds_the_person_in_c(shared_dir: Path, tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    photo = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    scene = Image.new("RGB", (480, 480), (128, 128, 128))
    scene.paste(photo.resize((150, 176)), (180, 100))
    scene.save(tmp_path / "scene.png")
    model = tmp_path / "fomo.tflite"
    source = shared_dir / "data" / "tflite" / "seeed_fomo_mnv2.tflite"
    said = {"head": "fomo", "classes": ("person",), "mean": (0.0,) * 3, "std": (255.0,) * 3}
    contract(ContractRequest(model=source, out=model, **said))
    report = deploy(model, "c99", tmp_path / "module", image=tmp_path / "scene.png")
    assert_self_test_passes(report.out)
    (found,) = golden_detections(report.out)
    assert found[2] - found[0] == 8
    assert found[3] - found[1] == 8
    assert found[4] > 0.5
    # The person, in px of the 96x96 input.
    assert (180 + 30) / 5 < (found[0] + found[2]) / 2 < (180 + 120) / 5
    assert (100 + 30) / 5 < (found[1] + found[3]) / 2 < (100 + 146) / 5
    manifest = json.loads((report.out / "manifest.json").read_text())
    assert manifest["contract"]["outputs"]["head"]["kind"] == "fomo"
