"""int8 file -> QDQ ONNX -> int8 file: the same outputs, and the contracts are the file's; also strangers' texts."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from every_model import EVERY_MODEL
from quantize_command import quantized
from random_weights import random_detector

from edgedet.commands.main import main
from edgedet.config import load_model_file
from edgedet.contract.request import ContractRequest
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.paths import DataPaths
from edgedet.data.pictures.drawn_picture import draw_pixels
from edgedet.data.pictures.preprocess import normalize
from edgedet.errors import ConversionError
from edgedet.exchange.export.qdq.check import write_qdq
from edgedet.exchange.onnx_in.load import load_onnx
from edgedet.exchange.onnx_in.own_contract import read_own_contract
from edgedet.exchange.onnx_in.request import OnnxRequest
from edgedet.graph.flatbuffer import write_tflite
from edgedet.graph.model import load_int8_model
from edgedet.net.checkpoint import Checkpoint, save_checkpoint
from edgedet.quantize.api import QuantizeRequest, quantize_model
from edgedet.runtimes.open import open_runtime

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
# Nothing in it is what edgedet or MMDetection assume.
PREPROCESS = PreprocessSpec(64, 32, "BGR", "stretch", 7, "bilinear", (100.0, 110.0, 120.0), (50.0, 60.0, 70.0))
OUTPUTS = OutputSpec(("a", "b", "c", "d"), (8, 16, 32), 0.3, 0.5, 17, (4, 9, 2, 7))


def int8_file(name: str, path: Path) -> Path:
    """A network of models/ with random weights."""
    pixels = np.stack([draw_pixels(32, 64, seed) for seed in range(2)])
    batch = torch.from_numpy(normalize(pixels, PREPROCESS).transpose(0, 3, 1, 2).copy())
    network = random_detector(load_model_file(name).model, 4, 5, 32, 64)
    write_tflite(quantize_model(network, PREPROCESS, OUTPUTS, [batch]).graph, path)
    return path


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(int8 file, its QDQ ONNX)."""
    folder = tmp_path_factory.mktemp("own")
    source = int8_file("rtmdet_pico_relu6", folder / "model_int8.tflite")
    write_qdq(source, folder / "q.onnx")
    return source, folder / "q.onnx"


def with_text(path: Path, target: Path, text: str | None) -> Path:
    """The file with another text in place of its contract."""
    model = onnx.load(str(path))
    del model.metadata_props[:]
    if text is not None:
        onnx.helper.set_model_props(model, {"edgedet": text})
    target.write_bytes(model.SerializeToString())
    return target


def test_int8_file_through_qdq_onnx_gives_the_same_outputs_and_contract(
    exported: tuple[Path, Path], tmp_path: Path, toy_data: Path
) -> None:
    assert_same_again(*exported, toy_data, tmp_path / "again")


@EVERY_MODEL
@pytest.mark.parametrize("name", ["rtmdet_nano_ncadc_relu6", "rtmdet_nano_relu", "rtmdet_nano"])
def test_other_networks_through_qdq_onnx_are_the_same(name: str, tmp_path: Path, toy_data: Path) -> None:
    source = int8_file(name, tmp_path / "model_int8.tflite")
    write_qdq(source, tmp_path / "q.onnx")
    assert_same_again(source, tmp_path / "q.onnx", toy_data, tmp_path / "again")


def assert_same_again(source: Path, path: Path, data: Path, out: Path) -> None:
    assert quantized(path, data, out) == 0
    models = first, second = load_int8_model(source), load_int8_model(out / "model_int8.tflite")
    assert second.preprocess == first.preprocess
    assert second.outputs == first.outputs
    kinds = [Counter((op.kind, op.options) for op in model.graph.operators) for model in models]
    assert kinds[0] == kinds[1]
    runtimes = [open_runtime(model.path, "sim") for model in models]
    rng = np.random.default_rng(3)
    for _ in range(3):
        codes = rng.integers(-128, 128, (1, 32, 64, 3), np.int8)
        results = [runtime.invoke(codes) for runtime in runtimes]
        assert len(results[0]) == 6
        assert all(ours.tobytes() == theirs.tobytes() for ours, theirs in zip(*results, strict=True))


def test_float_onnx_of_a_checkpoint_brings_its_contract(tmp_path: Path, toy_data: Path) -> None:
    config = load_model_file("rtmdet_pico_relu6").model
    network = random_detector(config, 4, 5, 32, 64)
    save_checkpoint(Checkpoint(config, PREPROCESS, OUTPUTS, network.state_dict(), {}), tmp_path / "m.pt")
    path = tmp_path / "m.onnx"
    assert main(["export", str(tmp_path / "m.pt"), "--format", "onnx", "--out", str(path)]) == 0
    assert quantized(path, toy_data, tmp_path / "q", "--calib-images", "6", "--effort", "fast") == 0
    model = load_int8_model(tmp_path / "q" / "model_int8.tflite")
    assert (model.preprocess, model.outputs) == (PREPROCESS, OUTPUTS)


def test_flags_override_the_files_contract(exported: tuple[Path, Path], tmp_path: Path, toy_data: Path) -> None:
    options = ["--class-names", "p,q,r,s", "--mean", "0", "--std", "255", "--channels", "RGB", "--nms-iou", "0.7"]
    assert quantized(exported[1], toy_data, tmp_path / "q", *options) == 0
    model = load_int8_model(tmp_path / "q" / "model_int8.tflite")
    zeros, full = (0.0,) * 3, (255.0,) * 3
    assert model.preprocess == PreprocessSpec(64, 32, "RGB", "stretch", 7, "bilinear", zeros, full)
    assert model.outputs == OutputSpec(("p", "q", "r", "s"), (8, 16, 32), 0.3, 0.7, 17)


def test_another_number_of_classes_is_one_error(
    exported: tuple[Path, Path], tmp_path: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantized(exported[1], toy_data, tmp_path / "q", "--class-names", "p,q") == 2
    assert "its contract has 4 classes, --class-names names 2: p, q" in capsys.readouterr().err
    assert not (tmp_path / "q").exists()


ALL = {"mean": (0.0,), "std": (1.0,), "channels": "RGB", "resize": "stretch", "head": "rtmdet"}


def asked(path: Path, **contract: Any) -> OnnxRequest:
    request = QuantizeRequest(path, DataPaths(path.parent), path.parent / "out")
    return OnnxRequest(request, ContractRequest(path, **contract))


def changed(path: Path, *keys: str, value: Any) -> str:
    """The contract of a file with one value replaced."""
    text = next(entry.value for entry in onnx.load(str(path)).metadata_props if entry.key == "edgedet")
    content = json.loads(text)
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        (("version",), 99, "version 99"),
        (("preprocess",), [["width"]], "is wrong"),
        (("preprocess", "mean"), ["a", "b", "c"], "mean: expected float"),
        (("preprocess", "std"), [1.0, float("nan"), 1.0], "std"),
        (("preprocess", "pad_value"), 1.5, "pad_value: expected int"),
        (("preprocess", "width"), 32, "it says 32x32 px in 3 channels, the input has 64x32 px in 3"),
        (("tensors", "cls_8"), "box_16", r"cls_8 should be the output box_16, found \(1, 4, 2, 4\)"),
        (("outputs", "class_names"), ["a"], "4 category_ids for 1 class_names"),
        (("outputs", "class_names"), [1, 2, 3, 4], "class_names: expected str"),
        (("outputs", "max_detections"), "many", "max_detections"),
        (("outputs", "head"), {"kind": "none", "tensors": [{}]}, "is wrong"),
        (("tensors", "cls_8"), "elsewhere", "cls_8 should be the output elsewhere"),
        (("tensors", "cls_8"), {"a": 1}, "expected the name of a tensor"),
        (("tensors",), 5, "is wrong"),
    ],
)
def test_strangers_contract_is_left_aside_with_its_reason_by_who_says_all(
    keys: tuple[str, ...], value: object, reason: str, exported: tuple[Path, Path], tmp_path: Path
) -> None:
    network = load_onnx(with_text(exported[1], tmp_path / "x.onnx", changed(exported[1], *keys, value=value)))
    shapes = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in network.model.graph.output}
    own, notes = read_own_contract(network, shapes, asked(network.path, **ALL))
    assert own is None
    (note,) = notes
    assert note.startswith("the contract in the file's metadata is not used: ")
    assert re.search(reason, note), note
    with pytest.raises(ConversionError, match=reason):
        read_own_contract(network, shapes, asked(network.path))


@pytest.mark.parametrize("text", ["", "{", "null", "7", "[" * 100_000, '"\\ud800"', "{'a': open('/etc/passwd')}"])
def test_text_that_is_no_contract_is_left_aside(text: str, exported: tuple[Path, Path], tmp_path: Path) -> None:
    network = load_onnx(with_text(exported[1], tmp_path / "x.onnx", text))
    own, notes = read_own_contract(network, {}, asked(network.path, **ALL))
    assert own is None
    assert len(notes) == 1


@pytest.mark.parametrize("name", ALL)
def test_text_that_is_no_contract_is_an_error_where_something_would_be_guessed(
    name: str, exported: tuple[Path, Path], tmp_path: Path
) -> None:
    network = load_onnx(with_text(exported[1], tmp_path / "x.onnx", "{"))
    rest = {key: value for key, value in ALL.items() if key != name}
    with pytest.raises(ConversionError, match=f"x.onnx: edgedet wrote a contract .* not JSON.*: `{name}` are missing"):
        read_own_contract(network, {}, asked(network.path, **rest))


def test_file_with_a_damaged_contract_is_not_guessed_at(
    exported: tuple[Path, Path], tmp_path: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_text(exported[1], tmp_path / "x.onnx", "{")
    classes = ("--class-names", "a,b,c,d")
    assert quantized(path, toy_data, tmp_path / "q", *classes) == 2
    assert "can't be used" in capsys.readouterr().err
    assert not (tmp_path / "q").exists()
    said = ("--head", "rtmdet", "--mean", "1", "--std", "2", "--channels", "RGB", "--resize", "stretch")
    assert quantized(path, toy_data, tmp_path / "q", *classes, *said) == 0
    assert "the contract in the file's metadata is not used" in " ".join(capsys.readouterr().out.split())


def test_file_without_a_contract_is_read_as_other_makers(
    exported: tuple[Path, Path], tmp_path: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_text(exported[1], tmp_path / "x.onnx", None)
    assert quantized(path, toy_data, tmp_path / "q") == 2
    assert "nobody names its classes (its head has 4)" in capsys.readouterr().err
    assert quantized(path, toy_data, tmp_path / "q", "--class-names", "a,b,c,d") == 0
    assert "the contract in the file's metadata is not used" not in " ".join(capsys.readouterr().out.split())
