from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graph_maker import GraphMaker, quantization

from edgedet.commands.main import main
from edgedet.contract.api import contract
from edgedet.contract.request import ContractRequest
from edgedet.contracts import OutputSpec
from edgedet.errors import ConfigError, ConversionError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import parse_tflite, read_tflite, serialize, write_tflite
from edgedet.graph.metadata import read_contracts
from edgedet.head_spec import HeadSpec
from edgedet.runtimes.open import open_runtime


def foreign(
    path: Path,
    outputs: list[tuple[int, ...]],
    size: tuple[int, int] = (64, 64),
    params: tuple[float, int] = (0.05, 0),
    scale: float = 1 / 255,
    zero_point: int = -128,
    depth: int = 3,
    activation: str | None = None,
) -> Path:
    """A network with outputs of these shapes: a convolution each, then RESHAPE and perhaps an activation."""
    m = GraphMaker(0)
    x = m.input((1, *size, depth), scale, zero_point)
    found = []
    for number, shape in enumerate(outputs):
        count = int(np.prod(shape))
        stride = 32 if count % ((size[0] // 32) * (size[1] // 32)) == 0 else size[0]
        cells = -(-size[0] // stride) * -(-size[1] // stride)
        y = m.conv(x, count // cells, (1, 1), (stride, stride), per_channel=False)
        assert count % cells == 0
        y = m.add("RESHAPE", [y, m.constant(list(shape))], shape, params if activation is None else m.params(y),
                  g.ReshapeOptions(shape), name=f"Identity_{number}")  # fmt: skip
        m.tensors[m.operators[-1].inputs[0]] = replace(
            m.tensors[m.operators[-1].inputs[0]], quantization=m.tensors[y].quantization
        )
        if activation is not None:
            options = g.SoftmaxOptions() if activation == "SOFTMAX" else g.NoOptions()
            y = m.add(activation, [y], shape, (1 / 256, -128), options, name=f"Activated_{number}")
        found.append(y)
    write_tflite(m.graph(found), path)
    return path


def head_of(path: Path, **said: object) -> OutputSpec:
    return contract(ContractRequest(model=path, **said)).outputs


ABC = ("a", "b", "c")
V5 = tuple(float(v) for v in range(1, 13))


@pytest.mark.parametrize(
    ("said", "shapes", "params", "strides", "expected"),
    [
        ({"head": "yolox"}, [(1, 8, 8, 8), (1, 4, 4, 8)], (0.05, 0), (8, 16),
         {"kind": "yolox", "coding": "yolox", "tensors": ("map_8", "map_16"), "objectness": True}),
        ({"head": "yolox"}, [(1, 80, 8)], (0.05, 0), (8, 16),
         {"kind": "yolox", "coding": "yolox", "tensors": ("map",), "objectness": True}),
        ({"head": "nanodet"}, [(1, 84, 35)], (0.05, 0), (8, 16, 32),
         {"kind": "nanodet", "coding": "distance", "tensors": ("map",), "bins": 8, "classes_first": True}),
        ({"head": "yolov8"}, [(1, 7, 84)], (0.004, -128), (),
         {"kind": "yolov8", "coding": "xywh", "tensors": ("map",), "scores": "none", "channels_first": True,
          "unit": "normalized", "offset": 0.5}),
        ({"head": "yolov8"}, [(1, 84, 7)], (0.3, -128), (),
         {"kind": "yolov8", "coding": "xywh", "tensors": ("map",), "scores": "none", "offset": 0.5}),
        ({"head": "yolov8"}, [(1, 8, 8, 67), (1, 4, 4, 67), (1, 2, 2, 67)], (0.1, 0), (8, 16, 32),
         {"kind": "yolov8", "coding": "distance", "tensors": ("map_8", "map_16", "map_32"), "bins": 16, "offset": 0.5}),
        ({"head": "yolov5"}, [(1, 84, 8)], (0.004, -128), (),
         {"kind": "yolov5", "coding": "xywh", "tensors": ("map",), "scores": "none", "objectness": True,
          "unit": "normalized"}),
        ({"head": "yolov5"}, [(1, 84, 8)], (1.85, -122), (),
         {"kind": "yolov5", "coding": "xywh", "tensors": ("map",), "scores": "percent", "objectness": True}),
        ({"head": "yolov5", "anchors": V5}, [(1, 4, 4, 24), (1, 8, 8, 24)], (0.05, 0), (8, 16),
         {"kind": "yolov5", "coding": "yolov5", "tensors": ("map_8", "map_16"), "objectness": True, "anchors": V5}),
        ({"head": "yolov5", "anchors": V5, "strides": (16, 32)}, [(1, 4, 4, 18), (1, 2, 2, 18)], (0.05, 0), (16, 32),
         {"kind": "yolov5", "coding": "yolov5", "tensors": ("map_16", "map_32"), "objectness": True, "anchors": V5,
          "scores": "softmax"}),
        ({"head": "ssd", "anchors": V5, "scores": "sigmoid"}, [(1, 3, 4), (1, 3, 3)], (0.05, 0), (),
         {"kind": "ssd", "coding": "ssd", "tensors": ("box", "cls"), "anchors": V5}),
        ({"head": "fomo"}, [(1, 8, 8, 4)], (0.05, 0), (8,),
         {"kind": "fomo", "coding": "cells", "tensors": ("map_8",), "scores": "softmax", "background": True}),
    ],
)  # fmt: skip
def test_contract_finds_the_layout_by_shapes_and_scales(
    said: dict, shapes: list, params: tuple, strides: tuple, expected: dict, tmp_path: Path
) -> None:
    path = foreign(tmp_path / "m.tflite", shapes, params=params)
    spec = head_of(path, classes=ABC, **said)
    assert (spec.strides, spec.head) == (strides, HeadSpec(**expected))


def test_contract_written_file_reads_back_and_detects(tmp_path: Path) -> None:
    path, out = foreign(tmp_path / "m.tflite", [(1, 8, 8, 8), (1, 4, 4, 8)]), tmp_path / "out.tflite"
    report = contract(ContractRequest(model=path, out=out, head="yolox", classes=ABC, score_threshold=0.1))
    graph = read_tflite(out)
    found = read_contracts(graph, "out")
    assert (found.preprocess, found.outputs) == (report.preprocess, report.outputs)
    runtime = open_runtime(out)
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    raw = runtime.invoke(runtime.prepare(pixels))
    assert len(runtime.decode(raw, 0.1)) > 0
    # The network itself is the same, and attaching twice is attaching once.
    assert replace(graph, metadata=()) == read_tflite(path)
    again = contract(ContractRequest(model=out, out=tmp_path / "again.tflite"))
    assert (again.preprocess, again.outputs) == (report.preprocess, report.outputs)
    assert (tmp_path / "again.tflite").read_bytes() == out.read_bytes()


@pytest.mark.parametrize("activation", ["LOGISTIC", "SOFTMAX"])
def test_contract_activation_in_the_graph_is_found(activation: str, tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.tflite", [(1, 8, 8, 4)], activation=activation)
    assert head_of(path, head="fomo", classes=ABC).head.scores == "none"


def test_contract_sigmoids_of_anchor_boxes_in_the_graph_are_found(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.tflite", [(1, 4, 4, 24), (1, 8, 8, 24)], activation="LOGISTIC")
    head = head_of(path, head="yolov5", anchors=V5, classes=ABC).head
    assert (head.box_sigmoid, head.scores) == (True, "none")


@pytest.mark.parametrize(
    ("scale", "zero_point", "mean", "std"),
    [(1 / 255, -128, 0.0, 255.0), (0.00784, 0, 127.5, 127.5), (1.0, -128, 0.0, 1.0), (1.0, 0, 128.0, 1.0)],
)
def test_contract_mean_and_std_from_the_input_scale(
    scale: float, zero_point: int, mean: float, std: float, tmp_path: Path
) -> None:
    path = foreign(tmp_path / "m.tflite", [(1, 3)], scale=scale, zero_point=zero_point)
    found = contract(ContractRequest(model=path, head="none")).preprocess
    assert (found.mean, found.std, found.resize) == ((mean,) * 3, (std,) * 3, "stretch")


def test_contract_imagenet_normalization_is_found_and_grey_is_grey(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.tflite", [(1, 3)], scale=0.01866, zero_point=-14)
    assert contract(ContractRequest(model=path, head="none")).preprocess.mean == (123.675, 116.28, 103.53)
    path = foreign(tmp_path / "g.tflite", [(1, 3)], depth=1)
    found = contract(ContractRequest(model=path, head="none")).preprocess
    assert (found.channel_order, found.mean) == ("GRAY", (0.0,))
    with pytest.raises(ConfigError, match="channels RGB, but the input has 1 channels"):
        contract(ContractRequest(model=path, head="none", channels="RGB"))


def test_contract_odd_input_scale_names_the_choices(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.tflite", [(1, 3)], scale=1 / 127)
    with pytest.raises(ConfigError, match=r"from 0\.000 to 2\.008, .*mean 0 std 255 for 0\.\.1"):
        contract(ContractRequest(model=path, head="none"))
    found = contract(ContractRequest(model=path, head="none", mean=(0.0,), std=(255.0,))).preprocess
    assert found.std == (255.0,) * 3


def test_contract_class_names_come_from_the_appended_label_file(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.tflite", [(1, 8, 8, 4)])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("labels.txt", "background\ncat\ndog\n\nowl\n")
    path.write_bytes(path.read_bytes() + archive.getvalue())
    report = contract(ContractRequest(model=path, head="fomo"))
    assert report.outputs.class_names == ("cat", "dog", "owl")
    assert "3 names found in the appended label file" in report.text()


def test_contract_without_classes_says_how_many_fit(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.tflite", [(1, 8, 8, 8), (1, 4, 4, 8)])
    with pytest.raises(ConfigError, match="the outputs fit 3 or 4 of them"):
        head_of(path, head="yolox")


def test_contract_edits_names_and_thresholds_and_nothing_else(tmp_path: Path, toy_model: Path) -> None:
    out = tmp_path / "out.tflite"
    before = read_contracts(read_tflite(toy_model), "toy")
    said = {"classes": ("x", "y", "z"), "score_threshold": 0.4, "nms_iou": 0.5, "resize": "stretch"}
    contract(ContractRequest(model=toy_model, out=out, **said))
    after = read_contracts(read_tflite(out), "out")
    assert after.outputs == replace(before.outputs, class_names=("x", "y", "z"), score_threshold=0.4, nms_iou=0.5)
    assert after.preprocess == replace(before.preprocess, resize="stretch")
    assert after.output_indices == before.output_indices
    assert replace(read_tflite(out), metadata=()) == replace(read_tflite(toy_model), metadata=())
    with pytest.raises(ConfigError, match="2 names, but the contract has 3 classes"):
        contract(ContractRequest(model=toy_model, classes=("x", "y")))


def test_contract_errors_name_what_is_missing(tmp_path: Path, toy_model: Path) -> None:
    path = foreign(tmp_path / "m.tflite", [(1, 4, 4, 18)])
    with pytest.raises(ConversionError, match=r"edgedet contract .* --head"):
        contract(ContractRequest(model=path))
    with pytest.raises(ConversionError, match="can't read the model"):
        contract(ContractRequest(model=tmp_path / "absent.tflite"))
    with pytest.raises(ConfigError, match="head is not given"):
        contract(ContractRequest(model=path, classes=ABC))
    with pytest.raises(ConfigError, match="need anchors"):
        contract(ContractRequest(model=path, head="yolov5", classes=("a",)))
    with pytest.raises(
        ConfigError, match=r"no layout of head nanodet with 3 classes fits .*Identity_0 \(1, 4, 4, 18\)"
    ):
        contract(ContractRequest(model=path, head="nanodet", classes=ABC))
    with pytest.raises(ConfigError, match="no output has this name; they are Identity_0"):
        contract(ContractRequest(model=path, head="yolox", classes=ABC, outputs=(("map_16", "x"),)))
    two = foreign(tmp_path / "two.tflite", [(1, 3, 4), (1, 3, 3)])
    with pytest.raises(ConfigError, match="give `scores` sigmoid or softmax"):
        contract(ContractRequest(model=two, head="ssd", classes=ABC, anchors=V5))


def test_contract_float_rows_leave_the_unit_open(tmp_path: Path) -> None:
    m = GraphMaker(0)
    y = m.conv(m.input((1, 64, 64, 3)), 7, (1, 1), (8, 8))
    y = m.same("RESHAPE", [y, m.constant([1, 64, 7])], (1, 64, 7), g.ReshapeOptions((1, 64, 7)))
    graph = m.graph([y])
    floats = g.Tensor("floats", (1, 64, 7), "float32")
    tensors = (*graph.tensors, floats)
    operators = (*graph.operators, g.Operator("DEQUANTIZE", (y,), (len(tensors) - 1,)))
    graph = replace(graph, tensors=tensors, operators=operators, outputs=(len(tensors) - 1,))
    write_tflite(graph, tmp_path / "m.tflite")
    spec = head_of(tmp_path / "m.tflite", head="yolov8", classes=ABC)
    assert spec.head.unit == "pixels" or spec.head.unit == "normalized"
    bare = list(graph.tensors)
    bare[y] = replace(bare[y], quantization=quantization(2.0))
    write_tflite(replace(graph, tensors=tuple(bare)), tmp_path / "p.tflite")
    assert head_of(tmp_path / "p.tflite", head="yolov8", classes=ABC).head.unit == "pixels"


def test_contract_of_a_classifier_takes_one_name_a_value(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.tflite"
    for shape in ((1, 3), (1, 1, 1, 3)):
        path = foreign(tmp_path / "m.tflite", [shape])
        found = contract(ContractRequest(model=path, head="none", classes=("a", "b", "c")))
        assert found.outputs.class_names == ("a", "b", "c")
        assert not any("not checked" in note for note in found.notes)
        for names in ("a,b", "a,b,c,d", "a"):
            assert main(["contract", str(path), "--head", "none", "--classes", names, "--out", str(out)]) == 2
            error = capfd.readouterr().err
            assert f"--classes: {names.count(',') + 1} names, but the outputs hold 3 values" in error
        assert contract(ContractRequest(model=path, head="none")).outputs.class_names == ()
    assert not out.exists()
    two = foreign(tmp_path / "two.tflite", [(1, 5), (1, 2)])
    assert contract(ContractRequest(model=two, head="none", classes=("a", "b"))).notes[:1] != ("classes",)
    with pytest.raises(ConfigError, match="hold 5 and 2 values"):
        contract(ContractRequest(model=two, head="none", classes=("a",)))


def test_contract_of_maps_without_a_head_says_that_classes_are_unchecked(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.tflite", [(1, 4, 4, 18)])
    notes = contract(ContractRequest(model=path, head="none", classes=("a", "b"))).notes
    assert any("their number was not checked" in note and "(1, 4, 4, 18)" in note for note in notes)


def test_command_errors_name_the_options_and_write_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, out = foreign(tmp_path / "m.tflite", [(1, 4, 4, 18)]), tmp_path / "out.tflite"
    for argv, words in (
        (["--classes", "a"], "--head rtmdet|yolox"),
        (["--head", "yolov5", "--classes", "a"], "--anchors"),
        (["--head", "yolox"], "--classes"),
        (["--head", "yolox", "--classes", "a,a"], "different names"),
        (["--head", "yolov5", "--classes", "a", "--anchors", "1,x"], "--anchors 1,x: expected numbers"),
        (["--head", "yolov5", "--classes", "a", "--anchors", "1,2,3"], "expected pairs of width and height, found 3"),
        (["--head", "yolox", "--classes", "a", "--outputs", "map"], "--outputs map: expected ROLE=NAME"),
    ):
        assert main(["contract", str(path), *argv, "--out", str(out)]) == 2
        error = capfd.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert not out.exists()


def test_command_reads_classes_and_anchors_from_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, out = foreign(tmp_path / "m.tflite", [(1, 3, 4), (1, 3, 3)]), tmp_path / "out.tflite"
    (tmp_path / "names.txt").write_text("a\nb\nc\n")
    np.save(tmp_path / "anchors.npy", np.array(V5, np.float32).reshape(3, 4))
    argv = ["contract", str(path), "--head", "ssd", "--classes", str(tmp_path / "names.txt"), "--anchors"]
    more = ["--scores", "softmax", "--channels", "bgr", "--category-ids", "1,2,9", "--out", str(out)]
    assert main([*argv, str(tmp_path / "anchors.npy"), *more]) == 0
    text = capfd.readouterr().out
    assert "classes    3: a, b, c" in text
    assert "BGR" in text
    spec = read_contracts(parse_tflite(out.read_bytes(), "out"), "out").outputs
    assert (spec.head.anchors, spec.head.scores, spec.category_ids) == (V5, "softmax", (1, 2, 9))
    assert main(["contract", str(out)]) == 0
    assert "classes    3: a, b, c" in capfd.readouterr().out


def test_serialize_keeps_a_contract_with_many_anchors(tmp_path: Path) -> None:
    path = foreign(tmp_path / "m.tflite", [(1, 1917, 4), (1, 1917, 4)], size=(300, 300))
    said = {"head": "ssd", "anchor_source": "ssd", "scores": "sigmoid", "strides": (16, 32, 64, 128, 256, 512)}
    named = {"outputs": (("box", "Identity_0"), ("cls", "Identity_1"))}
    report = contract(ContractRequest(model=path, classes=ABC, **named, **said))
    assert report.outputs.head.anchors[-2:] == pytest.approx((0.95**0.5, 0.95**0.5))
    other = contract(ContractRequest(model=path, classes=ABC, ssd_scales=(0.1, 0.8), **named, **said))
    assert other.outputs.head.anchors[4:8] == pytest.approx((0.5 / 19, 0.5 / 19, 0.1 / 2**0.5, 0.1 * 2**0.5))
    with pytest.raises(ConfigError, match="the smallest and the largest"):
        contract(ContractRequest(model=path, classes=ABC, ssd_scales=(0.1,), **named, **said))
    assert len(report.outputs.head.anchors) == 4 * (3 * 361 + 6 * (100 + 25 + 9 + 4 + 1))
    assert report.preprocess.width == 300
    assert serialize(read_tflite(path)) == path.read_bytes()


def test_contract_keeps_the_appended_archive_and_channels_first_inputs_run(tmp_path: Path) -> None:
    m = GraphMaker(0)
    x = m.input((1, 3, 32, 64), name="image")
    turned = m.same("TRANSPOSE", [x, m.constant([0, 2, 3, 1])], (1, 32, 64, 3))
    y = m.conv(turned, 3, (8, 8), (8, 8))
    path, out = tmp_path / "m.tflite", tmp_path / "out.tflite"
    write_tflite(m.graph([y]), path)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("labels.txt", "cat\ndog\n")
    path.write_bytes(path.read_bytes() + archive.getvalue())
    report = contract(ContractRequest(model=path, out=out, head="fomo"))
    assert (report.preprocess.width, report.preprocess.height) == (64, 32)
    with zipfile.ZipFile(out) as file:
        assert file.read("labels.txt") == b"cat\ndog\n"
    runtime = open_runtime(out)
    pixels = np.random.default_rng(0).integers(0, 255, (32, 64, 3)).astype(np.uint8)
    x_input = runtime.prepare(pixels)
    assert np.array_equal(x_input[0].transpose(1, 2, 0), (pixels.astype(int) - 128).astype(np.int8))
    assert runtime.invoke(x_input)[0].shape == (1, 4, 8, 3)
    assert not runtime.model.has_c_decoder


def test_contract_of_a_bare_file_shows_its_tensors_and_how_to_go_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = foreign(tmp_path / "bare.tflite", [(1, 7, 84)])
    assert main(["contract", str(path)]) == 2
    error = capfd.readouterr().err
    assert "carries no contracts yet" in error
    assert "'Identity_0' int8 (1, 7, 84)" in error
    assert f"edgedet contract {path} --head" in error


def test_contract_without_out_says_that_nothing_was_written(toy_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = toy_model.read_bytes()
    assert main(["contract", str(toy_model), "--score-threshold", "0.4"]) == 0
    assert "none was written" in capfd.readouterr().out
    assert main(["contract", str(toy_model)]) == 0
    assert "none was written" not in capfd.readouterr().out
    assert toy_model.read_bytes() == before
