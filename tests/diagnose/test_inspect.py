from __future__ import annotations

import csv
import io
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import edgedet
from edgedet.data.coco.split import CocoSplit
from edgedet.data.pictures.preprocess import load_image, normalize, resize_to_input
from edgedet.diagnose.inspect import Inspection, InspectRequest, inspect_model
from edgedet.errors import ConfigError, DataError
from edgedet.graph.flatbuffer import read_tflite
from edgedet.net.checkpoint import load_checkpoint
from edgedet.runtimes.open import open_runtime
from edgedet.terminal import COLUMNS


@pytest.fixture(scope="module")
def inspection(pico: Path, split: CocoSplit, maker: ModuleType) -> Inspection:
    request = InspectRequest(pico / maker.MODEL, pico / maker.CHECKPOINT, split, images=3, sensitivity_images=2)
    return inspect_model(request)


@pytest.mark.slow
def test_inspect_model_outputs_equal_float_and_chip_run_separately(
    inspection: Inspection, pico: Path, split: CocoSplit, maker: ModuleType
) -> None:
    checkpoint, runtime = load_checkpoint(pico / maker.CHECKPOINT), open_runtime(pico / maker.MODEL)
    model = checkpoint.build()
    signal, noise = np.zeros(6), np.zeros(6)
    for record in split.images:
        pixels = resize_to_input(load_image(record.path), checkpoint.preprocess)[0]
        with torch.inference_mode():
            floats = model(torch.from_numpy(normalize(pixels, checkpoint.preprocess)[None]).permute(0, 3, 1, 2))
        codes = runtime.invoke(runtime.prepare(pixels))
        for n, (value, code) in enumerate(zip(floats, codes, strict=True)):
            reference = value.permute(0, 2, 3, 1).double().numpy()
            chip = (code.astype(np.float64) - runtime.model.zero_points[n]) * runtime.model.scales[n]
            signal[n] += (reference**2).sum()
            noise[n] += ((reference - chip) ** 2).sum()
    by_name = {layer.name: layer for layer in inspection.layers}
    for n, name in enumerate(checkpoint.outputs.tensor_names):
        # 0.02 dB: folding changes the last bits of the floats
        assert by_name[name].cumulative_db == pytest.approx(10 * math.log10(signal[n] / noise[n]), abs=0.02)


@pytest.mark.slow
def test_inspect_model_layers_are_the_rounding_operators(inspection: Inspection, pico: Path, maker: ModuleType) -> None:
    graph = read_tflite(pico / maker.MODEL)
    copying = ("PAD", "CONCATENATION", "MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR")
    expected = [graph.tensors[op.outputs[0]].name for op in graph.operators if op.kind not in copying]
    assert [layer.name for layer in inspection.layers] == ["input", *expected]
    assert sorted(layer.rank for layer in inspection.layers) == list(range(1, len(expected) + 2))
    by_rank = sorted(inspection.layers, key=lambda layer: layer.rank)
    assert all(a.sensitivity >= b.sensitivity for a, b in itertools.pairwise(by_rank))
    for layer in inspection.layers:
        assert (layer.weights_db is not None) == layer.kind.endswith("CONV_2D")
        assert layer.sensitivity >= 0
        assert 0 < layer.range_use <= 1
        assert 0 <= layer.clipped < 0.2
        assert layer.alone_db >= layer.cumulative_db - 3
    first = inspection.layers[0]
    assert first.cumulative_db == pytest.approx(first.alone_db, abs=1e-3)  # mean 0, std 255: pixels are codes


@pytest.mark.slow
def test_inspection_text_json_and_csv_say_the_same(inspection: Inspection) -> None:
    lines = inspection.text(top=3).splitlines()
    assert sum(line.lstrip().startswith(("1 ", "2 ", "3 ")) for line in lines) >= 3
    printed = [line for line in lines if line.endswith(tuple(layer.name for layer in inspection.layers))]
    assert len(printed) > 3
    assert all(len(line) <= COLUMNS for line in printed)  # a table that is wrapped can't be read
    content = json.loads(inspection.to_json())
    rows = list(csv.DictReader(io.StringIO(inspection.to_csv())))
    assert len(content["layers"]) == len(rows) == len(inspection.layers)
    for layer, row in zip(content["layers"], rows, strict=True):
        assert row["name"] == layer["name"]
        assert float(row["sensitivity"]) == layer["sensitivity"]
        value = float(row["cumulative_db"])
        assert layer["cumulative_db"] == (value if math.isfinite(value) else None)


def test_inspect_request_out_of_range_raises(split: CocoSplit) -> None:
    for images, sensitivity in ((0, 1), (1, 0), (1, 9)):
        with pytest.raises(ConfigError, match=r"expected .*at least 1"):
            InspectRequest(Path("m"), Path("c"), split, images, sensitivity)


def test_inspect_model_pictures_of_other_classes_are_refused(pico: Path, split: CocoSplit, maker: ModuleType) -> None:
    request = InspectRequest(pico / maker.MODEL, pico / maker.CHECKPOINT, replace(split, class_names=("black", "blue")))
    with pytest.raises(DataError, match=r"classes \['black', 'blue'\], but .* knows \['red', 'green'\]; inspect with"):
        inspect_model(request)


def test_inspect_model_against_another_checkpoint_says_what_it_may_be(
    pico: Path, tmp_path: Path, split: CocoSplit, maker: ModuleType
) -> None:
    maker.write_detector(tmp_path, seed=1)  # the same architecture, other weights
    for checkpoint, warns in ((tmp_path, True), (pico, False)):
        request = InspectRequest(pico / maker.MODEL, checkpoint / maker.CHECKPOINT, split, 1, 1)
        text = inspect_model(request).text()
        assert ("another checkpoint of the same architecture, or a fine-tuned file" in text) == warns


@pytest.mark.long
def test_inspect_model_int16_layers_are_judged_by_their_own_width(
    tmp_path: Path, split: CocoSplit, maker: ModuleType
) -> None:
    wide = "backbone.stage1.0.pointwise_conv.conv"
    for name, layers in (("int8", ()), ("int16", (wide,))):
        (tmp_path / name).mkdir()
        maker.write_detector(tmp_path / name, int16=layers)
    found = [
        {layer.name: layer for layer in inspect_model(request).layers}
        for request in (
            InspectRequest(tmp_path / name / maker.MODEL, tmp_path / name / maker.CHECKPOINT, split, 2, 2)
            for name in ("int8", "int16")
        )
    ]
    assert found[0].keys() == found[1].keys()  # borders are no layers
    assert found[1][wide].alone_db > found[0][wide].alone_db
    assert found[1][wide].sensitivity <= found[0][wide].sensitivity
    assert found[1][wide].zero_point == 0
    assert 0.2 < found[1][wide].range_use <= 1  # of 65535 steps; half of them are below 0


@pytest.mark.slow
@pytest.mark.parametrize("opened", [False, True])
def test_model_inspect_is_inspect_model(
    opened: bool, inspection: Inspection, pico: Path, split: CocoSplit, maker: ModuleType
) -> None:
    against = edgedet.load(pico / maker.CHECKPOINT) if opened else str(pico / maker.CHECKPOINT)
    found = edgedet.load(pico / maker.MODEL).inspect(against, split.ann_path.parents[1], images=3)
    assert [row.name for row in found.layers] == [row.name for row in inspection.layers]
