"""Trained detectors from their ONNX file to AP and firmware, cut in front of their decoding and whole."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import onnx
import pytest
import torch
from toy_detector import write_toy_data

from edgedet.commands.main import main
from edgedet.contract.request import ContractRequest
from edgedet.contracts import PreprocessSpec
from edgedet.data.coco.build import load_split
from edgedet.data.paths import DataPaths
from edgedet.deploy.api import deploy
from edgedet.errors import ConfigError, DataError, UnsupportedOpError
from edgedet.evaluate.evaluator import evaluate
from edgedet.exchange.onnx_in.api import quantize_onnx
from edgedet.exchange.onnx_in.request import OnnxRequest
from edgedet.graph.model import load_int8_model
from edgedet.lint.api import lint
from edgedet.quantize.api import QuantizeRequest
from edgedet.quantize.report import QuantizeReport
from edgedet.runtimes.open import open_runtime


def _detectors() -> ModuleType:
    spec = importlib.util.spec_from_file_location("onnx_detectors", Path(__file__).with_name("detectors.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["onnx_detectors"] = module
    spec.loader.exec_module(module)
    return module


detectors = _detectors()
INPUTS = {
    "yolox": PreprocessSpec(96, 64, channel_order="BGR", mean=(0.0,) * 3, std=(1.0,) * 3),
    "yolov8": PreprocessSpec(96, 64),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_data(tmp_path_factory.mktemp("onnx_data"), images=48)


@pytest.fixture(scope="module")
def networks(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("onnx")
    paths = {}
    for name, make in (("yolox", detectors.Yolox), ("yolov8", detectors.Yolov8)):
        torch.manual_seed(0)
        model = make()
        detectors.train(model, data, INPUTS[name])
        paths[name] = detectors.export(model, folder / f"{name}.onnx")
        if name == "yolox":
            model.decoded = True
            paths["yolox decoded"] = detectors.export(model, folder / "yolox_decoded.onnx")
    return paths


def quantized(path: Path, data: Path, out: Path, cut: bool = True, **contract: object) -> QuantizeReport:
    request = QuantizeRequest(path, DataPaths(data), out, calib_images=24)
    return quantize_onnx(OnnxRequest(request, replace(ContractRequest(path), **contract), cut=cut))


def ap(report: QuantizeReport, data: Path) -> float:
    return evaluate(open_runtime(report.model, "sim"), load_split(data, "valid")).ap.ap


def test_quantize_onnx_yolov8_cut_keeps_what_the_whole_loses(
    networks: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    cut = quantized(networks["yolov8"], data, tmp_path / "cut")
    model = load_int8_model(cut.model)
    assert model.outputs.tensor_names == ("cls_8", "box_8", "cls_16", "box_16")
    assert (model.outputs.head.kind, model.outputs.head.bins) == ("yolov8", detectors.BINS)
    assert model.outputs.class_names == detectors.CLASSES
    assert not any(kind in ("SOFTMAX", "TRANSPOSE", "QUANTIZE") for kind, _ in cut.operators)
    whole = quantized(networks["yolov8"], data, tmp_path / "whole", cut=False, head="yolov8", unit="pixels")
    assert ap(cut, data) > 0.1  # trained for seconds; untrained it is below 0.01
    # One scale for pixels of up to 96 and scores of up to 1: a step is a third of a score.
    assert load_int8_model(whole.model).scales[0] > 0.3
    assert ap(whole, data) < 0.9 * ap(cut, data)


@pytest.mark.long
def test_quantize_onnx_yolox_cut_keeps_what_the_whole_loses(
    networks: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    cut = quantized(networks["yolox"], data, tmp_path / "cut")
    again = quantized(networks["yolox decoded"], data, tmp_path / "decoded")
    assert again.sha256 == cut.sha256  # what stands behind the cut does not matter
    assert load_int8_model(cut.model).outputs.head.tensors == ("cls_8", "box_8", "obj_8", "cls_16", "box_16", "obj_16")
    whole = quantized(networks["yolox"], data, tmp_path / "whole", cut=False, head="yolox")
    assert ap(cut, data) > 0.1
    # Boxes and scores share a scale: at 96 px it costs little AP, but a score has a fraction of its 256 steps.
    assert load_int8_model(whole.model).scales[0] > 3 / 256
    finding = next(f for f in lint(whole.model).findings if "scale" in f.code)
    assert finding.where


def test_quantize_onnx_cut_model_deploys(networks: dict[str, Path], data: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    cut = quantized(networks["yolov8"], data, tmp_path / "q")
    report = deploy(cut.model, "c99", tmp_path / "c99")
    assert report.arena_bytes > 0
    assert (tmp_path / "c99").is_dir()


def test_quantize_onnx_command_with_images_and_classes(
    networks: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["quantize", str(networks["yolox"]), "--images", str(data / "train"), "--class-names", "green,red,blue",
               "--effort", "fast", "--calib-images", "16", "--out", str(tmp_path / "q")]  # fmt: skip
    assert main(command) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "head yolox: the network ends in front of its decoding, 6 outputs at strides 8, 16" in text
    assert "mean 0, std 1, BGR, letterbox; mean, std, channels, resize assumed" in text
    assert load_int8_model(tmp_path / "q" / "model_int8.tflite").preprocess == INPUTS["yolox"]


def test_quantize_onnx_named_outputs_end_the_network_there(
    networks: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    graph = onnx.load(str(networks["yolox"])).graph
    names = [node.output[0] for node in graph.node if node.op_type == "Conv"][-6:]
    request = OnnxRequest(
        QuantizeRequest(networks["yolox"], DataPaths(data), tmp_path / "q", calib_images=8, effort="fast"),
        ContractRequest(networks["yolox"], mean=(0.0,), std=(1.0,), channels="BGR"),
        outputs=tuple(names),
    )
    quantize_onnx(request)
    assert len(load_int8_model(tmp_path / "q" / "model_int8.tflite").outputs.tensor_names) == 6


def errors(path: Path, data: Path, **contract: object) -> str:
    out = data.parent / "never"
    with pytest.raises((ConfigError, DataError, UnsupportedOpError)) as caught:
        quantized(path, data, out, **contract)
    assert not out.exists()
    return str(caught.value)


def test_quantize_onnx_what_is_not_said_is_asked_for(networks: dict[str, Path], data: Path) -> None:
    path = networks["yolov8"]
    assert "its head has 3 classes, `class_names` names 2" in errors(path, data, classes=("a", "b"), head=None)
    assert "give `mean` and `std`" in errors(path, data, cut=False)
    assert "does not look like head nanodet" in errors(path, data, head="nanodet", classes=("a",))
    assert "calibrate with the data" in errors(path, data, classes=("a", "b", "c"))


def test_quantize_onnx_decoding_without_int8_form_names_the_way_out(networks: dict[str, Path], data: Path) -> None:
    text = errors(networks["yolox decoded"], data, cut=False, head="yolox")
    assert "operator Exp is not supported" in text
    assert "`outputs`" in text
