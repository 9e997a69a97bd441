"""`export` from end to end for the formats of the light extras, and everything that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from edgedet.commands.main import main
from edgedet.data.pictures.preprocess import load_pixels, normalize
from edgedet.errors import CheckpointError, ConfigError, ConversionError, DataError, ToolchainError
from edgedet.exchange.export import formats, onnx_float
from edgedet.exchange.export.api import ExportRequest, export
from edgedet.exchange.export.formats import FORMATS, find_format, list_formats
from edgedet.exchange.export.hailo import model_script
from edgedet.exchange.export.onnx_file import run_onnx
from edgedet.net.checkpoint import load_checkpoint

onnx = pytest.importorskip("onnx")
NAMES = ["cls_8", "box_8", "cls_16", "box_16", "cls_32", "box_32"]


def torch_outputs(checkpoint: Path, x: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        return [output.numpy() for output in load_checkpoint(checkpoint).build()(torch.from_numpy(x))]


def assert_close(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for ours, theirs in zip(expected, found, strict=True):
        # float32 sums of 100 convolutions in another order.
        assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(ours).max()


@pytest.mark.parametrize("opset", [None, 11])
def test_onnx_computes_what_torch_computes(checkpoint: Path, picture: Path, tmp_path: Path, opset: int | None) -> None:
    out = tmp_path / "new" / "m.onnx"
    report = export(ExportRequest(checkpoint, "onnx", out, picture, opset=opset))
    assert report.files == ((out, out.stat().st_size),)
    assert str(picture) in report.text()
    model = onnx.load(out)
    assert [entry.version for entry in model.opset_import] == [opset or 17]
    assert [o.name for o in model.graph.output] == NAMES
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert (model.graph.input[0].name, shape) == ("input", [1, 3, 32, 64])
    assert {n.op_type for n in model.graph.node} <= {"Conv", "Clip", "Concat", "Add", "MaxPool", "Resize", "Constant"}
    x = np.random.default_rng(1).normal(0, 1, (1, 3, 32, 64)).astype(np.float32)
    assert_close(run_onnx(out.read_bytes(), x), torch_outputs(checkpoint, x))
    contract = json.loads({p.key: p.value for p in model.metadata_props}["edgedet"])
    assert contract["outputs"]["class_names"] == ["a", "b", "c"]
    assert contract["outputs"]["strides"] == [8, 16, 32]
    assert contract["preprocess"]["std"] == [255.0, 255.0, 255.0]
    assert contract["tensors"] == {name: name for name in NAMES}


def test_imgsz_makes_a_network_of_another_size(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.onnx"
    export(ExportRequest(checkpoint, "onnx", out, imgsz=(96, 64), opset=20))
    model = onnx.load(out)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 64, 96]
    contract = json.loads({p.key: p.value for p in model.metadata_props}["edgedet"])
    assert (contract["preprocess"]["width"], contract["preprocess"]["height"]) == (96, 64)


def test_torchscript_loads_without_edgedet(checkpoint: Path, picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.pt"
    export(ExportRequest(checkpoint, "torchscript", out, picture))
    extra = {"edgedet.json": ""}
    loaded = torch.jit.load(str(out), _extra_files=extra)
    spec = load_checkpoint(checkpoint).preprocess
    x = np.ascontiguousarray(normalize(load_pixels(picture, spec), spec).transpose(2, 0, 1)[None])
    assert_close([o.detach().numpy() for o in loaded(torch.from_numpy(x))], torch_outputs(checkpoint, x))
    assert json.loads(extra["edgedet.json"])["outputs"]["class_names"] == ["a", "b", "c"]


def test_hailo_folder_has_network_script_and_the_word_proprietary(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "hailo"
    report = export(ExportRequest(checkpoint, "hailo", out))
    assert sorted(path.name for path in out.iterdir()) == ["README.txt", "model.alls", "model.onnx"]
    assert (
        out / "model.alls"
    ).read_text() == "normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])\n"
    assert "proprietary" in report.text()
    assert "uint8 (N, 32, 64, 3), RGB, letterbox, not normalized" in (out / "README.txt").read_text()


def test_model_script_of_grey_pictures_has_one_value() -> None:
    from edgedet.contracts import PreprocessSpec

    spec = PreprocessSpec(64, 64, channel_order="GRAY", mean=(127.5,), std=(120.0,))
    assert model_script(spec) == "normalization1 = normalization([127.5], [120.0])\n"


def test_a_file_that_computes_something_else_is_not_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_float, "FLOAT32", 0.0)  # not one bit may differ, and some do
    with pytest.raises(
        ConversionError, match=r"output cls_8 differs by .*e-0[5-9] of its largest value.*nothing was kept"
    ):
        export(ExportRequest(checkpoint, "onnx", tmp_path / "a" / "m.onnx"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wanted", [f.name for f in FORMATS if f.modules])
def test_missing_library_is_named_with_its_extra(
    wanted: str, checkpoint: Path, toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = find_format(wanted)
    gone = chosen.modules[-1]
    found = formats.importlib.util.find_spec
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None if name == gone else object())
    assert found is not formats.importlib.util.find_spec
    model = checkpoint if chosen.source == "checkpoint" else toy_model
    extra = "train" if gone == "torch" else chosen.extra
    with pytest.raises(ToolchainError, match=rf'{gone} is not installed.*pip install "edgedet\[{extra}\]"'):
        export(ExportRequest(model, wanted, tmp_path / f"m{chosen.suffix}"))
    assert f"{wanted:<14}" in list_formats()
    assert f'pip install "edgedet[{chosen.extra}]"' in list_formats()


def run(capfd: pytest.CaptureFixture[str], *argv: object) -> str:
    """stderr of a command that must end with code 2 and one line."""
    assert main(["export", *map(str, argv)]) == 2
    err = capfd.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_bad_input_gives_one_line_code_2_and_leaves_nothing(
    checkpoint: Path, toy_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "out"
    place.mkdir()
    out = place / "m.onnx"
    assert "did you mean onnx-qdq?" in run(capfd, toy_model, "--format", "onnx_qdq", "--out", out)
    assert "did you mean openvino?" in run(capfd, checkpoint, "--format", "OpenVino", "--out", out)
    err = run(capfd, toy_model, "--format", "onnx", "--out", out)
    assert "format onnx is made from a checkpoint, found int8 .tflite (.tflite)" in err
    err = run(capfd, checkpoint, "--format", "onnx-qdq", "--out", out)
    assert "made from an int8 .tflite, found checkpoint (.pt); make one with `edgedet quantize`" in err
    assert "expected" in run(capfd, tmp_path / "absent.pt", "--format", "onnx", "--out", out)
    assert "format onnx is a file .onnx" in run(capfd, checkpoint, "--format", "onnx", "--out", place / "m.tflite")
    assert "--opset 9: format onnx takes 11 to 20" in run(
        capfd, checkpoint, "--format", "onnx", "--out", out, "--opset", 9
    )
    err = run(capfd, checkpoint, "--format", "torchscript", "--out", place / "m.pt", "--opset", 17)
    assert "--opset: format torchscript has none" in err
    assert "multiple of 32" in run(capfd, checkpoint, "--format", "onnx", "--out", out, "--imgsz", 100)
    err = run(capfd, toy_model, "--format", "onnx-qdq", "--out", out, "--imgsz", 96)
    assert "--imgsz: the size of" in err
    assert "only format sscma" in run(capfd, checkpoint, "--format", "onnx", "--out", out, "--centre-priors")
    assert "photo.jpg" in run(capfd, checkpoint, "--format", "onnx", "--out", out, "--image", tmp_path / "photo.jpg")
    assert "needs MODEL, --format, --out" in run(capfd)
    assert "needs --out" in run(capfd, checkpoint, "--format", "onnx")
    assert list(place.iterdir()) == []
    out.write_text("mine")
    assert "exists already" in run(capfd, checkpoint, "--format", "onnx", "--out", out)
    (place / "m.bin").write_text("mine")
    if not find_format("openvino").missing:
        assert "m.bin exists already" in run(capfd, checkpoint, "--format", "openvino", "--out", place / "m.xml")
    assert out.read_text() == "mine"
    err = run(capfd, checkpoint, "--format", "onnx", "--out", "/proc/nowhere/m.onnx")
    assert "nothing can be written in /proc" in err
    assert "is a file, expected a folder" in run(capfd, checkpoint, "--format", "onnx", "--out", out / "m.onnx")


def test_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    foreign, truncated = tmp_path / "foreign.pt", tmp_path / "truncated.pt"
    torch.save({"state_dict": {}}, foreign)
    truncated.write_bytes(b"PK\x03\x04 and no more")
    for path in (foreign, truncated):
        with pytest.raises(CheckpointError, match=path.name):
            export(ExportRequest(path, "onnx", tmp_path / "m.onnx"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foreign.pt", "truncated.pt"]


def test_image_that_is_none_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"not a picture")
    with pytest.raises(DataError, match=r"no\.png"):
        export(ExportRequest(checkpoint, "torchscript", tmp_path / "m.pt", tmp_path / "no.png"))
    assert [path.name for path in tmp_path.iterdir()] == ["no.png"]


def test_tflite_without_contracts_is_refused_with_the_command(toy_data: Path, tmp_path: Path) -> None:
    from toy_detector import write_toy_model

    bare = write_toy_model(tmp_path / "bare.tflite", metadata=False)
    for wanted, name in (("onnx-qdq", "m.onnx"), ("sscma", "m.tflite")):
        with pytest.raises(ConversionError, match=r"edgedet contract .*bare\.tflite"):
            export(ExportRequest(bare, wanted, tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["bare.tflite"]


def test_list_needs_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--list"]) == 0
    text = capsys.readouterr().out
    rows = [line for line in text.splitlines() if not line.startswith(" ")]  # long ones go on further in
    assert [row.split()[0] for row in rows] == ["format", *(f.name for f in FORMATS)]


def test_find_format_unknown_without_a_near_name_lists_all() -> None:
    with pytest.raises(ConfigError, match=r"`format` 'xyz': expected one of onnx, onnx-qdq, .*sscma$"):
        find_format("xyz")
