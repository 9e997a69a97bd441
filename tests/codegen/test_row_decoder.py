"""Heads with rows of boxes in generated C, from a foreign file to its self-test; tests/kernels has more cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fomo_like import heat_map
from generated import assert_self_test_passes
from golden_detections import golden_detections
from row_heads import HEADS, SIZE, row_case, row_model
from tiny_detector import tiny_graph

from edgedet.codegen.row_decoder import row_decoder
from edgedet.commands.main import main
from edgedet.contract.api import contract
from edgedet.contract.request import ContractRequest
from edgedet.deploy.api import deploy
from edgedet.errors import ConfigError, ConversionError
from edgedet.graph.flatbuffer import write_tflite
from edgedet.graph.model import load_int8_model
from edgedet.runtimes.open import open_runtime


def rtmdet_model(folder: Path) -> Path:
    write_tflite(tiny_graph(), folder / "tiny.tflite")
    return folder / "tiny.tflite"


ONE_OF_A_KIND = ("yolox", "nanodet", "yolov8", "yolov5", "yolov3", "ssd_softmax")


@pytest.mark.toolchain
@pytest.mark.parametrize("name", ONE_OF_A_KIND)
def test_head_is_decoded_by_edgedet_run(name: str, tmp_path: Path) -> None:
    model = row_model(name, tmp_path)
    assert load_int8_model(model).c_decoder == "rows"
    assert "in C       yes" in contract(ContractRequest(model=model)).text()
    report = deploy(model, "c99", tmp_path / "module")
    assert report.has_contract
    assert f"decoder:   head {HEADS[name].kind}, edk_detect_rows()" in report.text()
    # Sanitizers take most of the time; tests/kernels runs every head with them.
    assert_self_test_passes(report.out, "-O0 -Wall -Wextra -Wconversion -Wshadow -Wpedantic -Werror")
    found = golden_detections(report.out)
    assert len(found) > 3
    runtime = open_runtime(model)
    text = (report.out / "golden.c").read_text()
    numbers = text.partition("golden_input_0[18432] = {")[2].partition("}")[0]
    codes = np.array([int(v) for v in numbers.split(",") if v.strip()], np.int8).reshape(1, *SIZE[::-1], 3)
    expected = runtime.decode(runtime.invoke(codes), 0.3)
    assert [row[:4] for row in found] == expected.boxes.tolist()
    assert [row[4:] for row in found] == [list(pair) for pair in zip(expected.scores, expected.labels, strict=True)]


def test_module_holds_only_its_own_decoder(tmp_path: Path) -> None:
    report = deploy(row_model("yolox", tmp_path), "c99", tmp_path / "module")
    names = {path.name for path in report.files}
    assert {"edk_detect_rows.c", "edk_detect_suppress.h", "edk_detect_scratch_bytes.c", "edk_preprocess.c"} <= names
    assert not {"edk_detect.c", "edk_detect_cells.c"} & names


@pytest.mark.parametrize("target", ["c99", "tflm"])
def test_contract_header_names_tensors_and_coding(target: str, tmp_path: Path) -> None:
    report = deploy(row_model("nanodet", tmp_path), target, tmp_path / "out")
    text = (report.out / "contract.h").read_text()
    assert "int8, of head nanodet" in text
    assert "coded as `distance`, scores as `sigmoid`" in text
    assert text.count('{"box_16", 3, 768, 0.') == 1  # 24 cells of 4 times 8 bins


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"input_dtype": "uint8"}, "must be int8, found uint8"),
        ({"dtypes": ("int8",) * 5 + ("float32",)}, "must be int8, found float32"),
        ({"head": {"kind": "none", "coding": "none", "tensors": ("output_0",)}}, "coding none are not decoded"),
        ({"head": {"bins": 8}}, "8 bins of coding yolox"),
        ({"head": {"scores": "percent", "background": True}}, "there is a background class"),
    ],
)
def test_what_c_does_not_decode_has_a_reason(changes: dict, expected: str, tmp_path: Path) -> None:
    model = load_int8_model(row_model("yolox", tmp_path))
    if "head" in changes:
        changes = {"outputs": replace(model.outputs, head=replace(model.outputs.head, **changes["head"]))}
    other = replace(model, **changes)
    assert (model.c_decoder, other.c_decoder) == ("rows", "")
    assert expected in other.why_no_c_decoder


def test_row_decoder_tensors_out_of_order_are_an_error() -> None:
    case = row_case("yolox_map", 0)
    turned = replace(case.spec, head=replace(case.spec.head, tensors=("map_16", "map_8")))
    with pytest.raises(ConversionError, match="not in the order of strides"):
        row_decoder(turned, [a.shape for a in case.outputs[::-1]], case.scales, case.zero_points, case.size)


def test_row_decoder_scale_without_finite_values_is_an_error() -> None:
    case = row_case("yolov5_percent", 0)
    with np.errstate(over="ignore"), pytest.raises(ConversionError, match=r"output map: scale .* is so large"):
        row_decoder(case.spec, [a.shape for a in case.outputs], [1e37], [0], case.size)


@pytest.mark.toolchain
@pytest.mark.parametrize("make", [lambda folder: row_model("yolox", folder), heat_map, rtmdet_model])
def test_runtime_c99_decodes_in_c_at_any_threshold(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    host, python = open_runtime(path, "c99"), open_runtime(path)
    assert host.decoder is not None
    assert "Python" not in host.arithmetic
    spec = python.preprocess
    pixels = np.random.default_rng(2).integers(0, 256, (spec.height, spec.width, 3)).astype(np.uint8)
    x = python.prepare(pixels)
    for threshold in (0.001, 0.3, 0.001, 0.6):
        found, expected = host.decode(host.invoke(x), threshold), python.decode(python.invoke(x), threshold)
        assert np.array_equal(found.boxes, expected.boxes)
        assert np.array_equal(found.scores, expected.scores)
        assert np.array_equal(found.labels, expected.labels)
    assert len(host.decode(host.invoke(x), 0.001)) > 3


@pytest.mark.toolchain
def test_real_yolov3_finds_the_person_in_c(shared_dir: Path, tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"  # the person fills the picture
    source, model = tmp_path / "int8.tflite", tmp_path / "model.tflite"
    argv = ["convert", str(shared_dir / "data" / "tflite" / "mit_mcunet_detection.tflite"), "--int8"]
    assert main([*argv, "--out", str(source)]) == 0
    argv = ["contract", str(source), "--head", "yolov3", "--anchors", "coco", "--classes", "person"]
    assert main([*argv, "--mean", "127.5", "--std", "127.5", "--resize", "stretch", "--out", str(model)]) == 0
    report = deploy(model, "c99", tmp_path / "module", image=photo)
    assert "decoder:   head yolov3, edk_detect_rows()" in report.text()
    assert_self_test_passes(report.out)
    best = golden_detections(report.out)[0]
    assert best[4] > 0.6
    assert best[2] - best[0] > 150  # of the 160 columns of the input


def test_anchors_that_no_float_holds_are_refused_by_the_contract() -> None:
    head = row_case("yolov5", 0).spec.head
    with pytest.raises(ConfigError, match="anchors must be in"):
        replace(head, anchors=(1e300, *head.anchors[1:]))
