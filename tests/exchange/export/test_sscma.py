"""The file for SSCMA-Micro: the same codes in its layout, refused where the firmware would misread it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_detector import write_toy_model

from edgedet.commands.main import main
from edgedet.data.paths import DataPaths
from edgedet.errors import UnsupportedOpError
from edgedet.evaluate.evaluator import evaluate
from edgedet.exchange.export.api import ExportRequest, export
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.graph.metadata import contract_metadata
from edgedet.graph.model import load_int8_model
from edgedet.runtimes.open import open_runtime

ORDER = ["cls_8", "cls_16", "cls_32", "box_8", "box_16", "box_32"]
SIDE = 96


@pytest.fixture(scope="module")
def square(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("sscma") / "model_int8.tflite", width=SIDE, height=SIDE)


def ap_of(path: Path, data: Path) -> tuple[object, ...]:
    result = evaluate(open_runtime(path), DataPaths(data).load("valid")).ap
    return result.stats, result.table


def test_layout_is_that_of_the_firmware(square: Path, tmp_path: Path) -> None:
    out = tmp_path / "sscma.tflite"
    report = export(ExportRequest(square, "sscma", out))
    assert "all codes of the six outputs equal" in report.text()
    assert "half a stride" in report.text()
    graph = read_tflite(out)
    tensors = [graph.tensors[index] for index in graph.outputs]
    assert [tensor.name for tensor in tensors] == ORDER
    assert [tensor.shape for tensor in tensors] == [(1, (SIDE // s) ** 2, c) for c in (3, 4) for s in (8, 16, 32)]
    assert {tensor.dtype for tensor in tensors} == {"int8"}
    # The firmware gives pixel - 128 whatever the file says.
    (source,) = (graph.tensors[index] for index in graph.inputs)
    assert (source.shape, float(source.quantization.zero_point[0])) == ((1, SIDE, SIDE, 3), -128)


@pytest.mark.parametrize("keep_contract", [True, False])
def test_read_back_by_layout_sscma_the_ap_is_the_same(
    square: Path, toy_data: Path, tmp_path: Path, keep_contract: bool
) -> None:
    out, back = tmp_path / "sscma.tflite", tmp_path / "back.tflite"
    export(ExportRequest(square, "sscma", out))
    if not keep_contract:  # as a file that SSCMA wrote
        write_tflite(replace(read_tflite(out), metadata=()), out)
    assert main(["contract", str(out), "--layout", "sscma", "--classes", "red,green,blue", "--out", str(back)]) == 0
    expected = ap_of(square, toy_data)
    assert expected[0][0] > 0.05
    assert ap_of(back, toy_data) == expected
    if keep_contract:
        assert ap_of(out, toy_data) == expected


def test_centre_priors_move_the_distances_and_keep_the_boxes(square: Path, toy_data: Path, tmp_path: Path) -> None:
    plain, moved = tmp_path / "plain.tflite", tmp_path / "moved.tflite"
    export(ExportRequest(square, "sscma", plain))
    report = export(ExportRequest(square, "sscma", moved, centre_priors=True))
    assert "half a stride" not in report.text()
    assert load_int8_model(moved).outputs.head.offset == 0.5
    ours, theirs = ap_of(square, toy_data)[0][0], ap_of(moved, toy_data)[0][0]
    assert abs(ours - theirs) < 0.02  # box steps are a little wider: the range grows by one cell
    # What the firmware makes of the plain file: the same codes, counted from the centres of the cells.
    misread = tmp_path / "misread.tflite"
    graph, model = read_tflite(plain), load_int8_model(plain)
    spec = replace(model.outputs, head=replace(model.outputs.head, offset=0.5))
    names = {name: name for name in spec.tensor_names}
    write_tflite(replace(graph, metadata=(contract_metadata(model.preprocess, spec, names),)), misread)
    assert ap_of(misread, toy_data)[0][0] < theirs - 0.02


def test_centre_priors_by_hand(square: Path, tmp_path: Path) -> None:
    out = tmp_path / "moved.tflite"
    export(ExportRequest(square, "sscma", out, centre_priors=True))
    before, after = load_int8_model(square), load_int8_model(out)
    for role in ("box_8", "box_16", "box_32"):
        at = before.outputs.tensor_names.index(role)
        low = (-128 - before.zero_points[at]) * before.scales[at]
        high = (127 - before.zero_points[at]) * before.scales[at]
        new_low = (-128 - after.zero_points[at]) * after.scales[at]
        new_high = (127 - after.zero_points[at]) * after.scales[at]
        # Half a cell more at both ends, up to half a step from the rounding of the zero point.
        assert new_low == pytest.approx(low - 0.5, abs=after.scales[at])
        assert new_high == pytest.approx(high + 0.5, abs=after.scales[at])


def refused(path: Path, tmp_path: Path) -> str:
    with pytest.raises(UnsupportedOpError, match="SSCMA-Micro does not take this file") as caught:
        export(ExportRequest(path, "sscma", tmp_path / "out.tflite"))
    assert not (tmp_path / "out.tflite").exists()
    return str(caught.value)


def test_four_classes_are_refused(tmp_path: Path) -> None:
    four = write_toy_model(tmp_path / "four.tflite", width=SIDE, height=SIDE, classes=4)
    assert "with 4 classes the firmware can't tell class tensors from box tensors" in refused(four, tmp_path)


def test_input_that_is_not_square_is_refused(toy_model: Path, tmp_path: Path) -> None:
    assert "must be square with a side divisible by 32, found 96x64" in refused(toy_model, tmp_path)


def with_preprocess(source: Path, out: Path, **changes: object) -> Path:
    model = load_int8_model(source)
    entry = contract_metadata(replace(model.preprocess, **changes), model.outputs)
    write_tflite(replace(model.graph, metadata=(entry,)), out)
    return out


def test_other_normalization_or_channel_order_is_refused(square: Path, tmp_path: Path) -> None:
    bgr = with_preprocess(square, tmp_path / "bgr.tflite", channel_order="BGR")
    assert "the network takes BGR" in refused(bgr, tmp_path)
    mean = with_preprocess(square, tmp_path / "mean.tflite", mean=(100.0, 100.0, 100.0))
    assert "normalization gives other codes" in refused(mean, tmp_path)


def test_file_in_the_layout_already_keeps_its_operators(square: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.tflite", tmp_path / "twice.tflite"
    export(ExportRequest(square, "sscma", once))
    export(ExportRequest(once, "sscma", twice))
    assert once.read_bytes() == twice.read_bytes()


def test_grey_network_of_the_right_normalization_is_taken(tmp_path: Path, grey_model: Path) -> None:
    assert "must be square" in refused(grey_model, tmp_path)


def test_codes_of_both_files_are_equal(square: Path, tmp_path: Path) -> None:
    out = tmp_path / "sscma.tflite"
    export(ExportRequest(square, "sscma", out))
    ours, theirs = open_runtime(square), open_runtime(out)
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    for a, b in zip(ours.invoke(ours.prepare(pixels)), theirs.invoke(theirs.prepare(pixels)), strict=True):
        assert a.tobytes() == b.tobytes()
