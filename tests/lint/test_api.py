from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from edgedet.commands.main import main
from edgedet.errors import ConfigError, ConversionError
from edgedet.graph.flatbuffer import serialize, write_tflite
from edgedet.lint.api import lint


def test_lint_tflite_file_and_strict_exit_code(
    tmp_path: Path, maker: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    path, m = tmp_path / "model.tflite", maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3), zero_point=0), 4)
    write_tflite(m.graph([m.pool("MAX_POOL_2D", x, 9, 1)]), path)
    report = lint(path)
    assert {f.code for f in report.findings} == {"input-zero-point", "large-pool", "no-contract"}
    assert main(["lint", str(path), "--json", str(tmp_path / "out.json")]) == 0
    out, _, following = capsys.readouterr().out.partition("next: ")
    assert following == f"`edgedet check {path} --board all`\n"
    assert out.split() == report.text().split()  # long lines are wrapped
    assert out.endswith("model.tflite: 0 error, 3 warning, 0 info\n")
    assert json.loads((tmp_path / "out.json").read_text())["format"] == "tflite"
    assert main(["lint", str(path), "--strict"]) == 1


def test_lint_errors_come_first(tmp_path: Path, maker: ModuleType) -> None:
    path, m = tmp_path / "model.tflite", maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3), zero_point=0), 4)
    write_tflite(m.graph([m.concat([x, m.conv(x, 4)])]), path)
    severities = [f.severity for f in lint(path).findings]
    assert severities == ["error", "warning", "warning"]


def test_lint_foreign_file_of_the_shared_data(shared_dir: Path) -> None:
    report = lint(shared_dir / "data" / "example_15_ops_int8.tflite")
    assert {f.code for f in report.findings} == {"no-contract", "silu"}


def test_lint_float_tflite_of_another_maker() -> None:
    tflm = pytest.importorskip("tflite_micro")
    (path,) = Path(tflm.__file__).parents[1].rglob("sine_float.tflite")
    assert {f.code for f in lint(path).findings} == {"float-model"}


def test_lint_unreadable_files_raise(tmp_path: Path, maker: ModuleType) -> None:
    m = maker.GraphMaker(0)
    data = serialize(m.graph([m.conv(m.input((1, 32, 32, 3)), 4)]))
    for name, content in (("cut.tflite", data[: len(data) // 2]), ("no.tflite", b"something"), ("e.tflite", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConversionError, match=name):
            lint(tmp_path / name)
    with pytest.raises(ConversionError, match=r"absent\.tflite: can't be read"):
        lint(tmp_path / "absent.tflite")
    with pytest.raises(ConfigError, match=r"a\.bin: expected a \.tflite, \.onnx or a checkpoint"):
        lint(tmp_path / "a.bin")


def test_lint_of_a_detector_with_borrowed_scales(tmp_path: Path, maker: ModuleType) -> None:
    path = tmp_path / "m.tflite"
    write_tflite(maker.rtmdet_like(64), path)
    # rtmdet_like gives tensors the scale of others when the biases behind them are already made
    assert {f.code for f in lint(path).findings} == {"large-pool", "no-contract", "bias-scale"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rtmdet_nano", {"silu", "channel-attention", "symmetric-padding"}),
        ("rtmdet_pico_relu6", set()),
    ],
)
def test_lint_checkpoint_shows_what_its_file_will_have(name: str, expected: set[str], tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from edgedet.config import load_model_file
    from edgedet.contracts import OutputSpec
    from edgedet.net.checkpoint import Checkpoint, save_checkpoint
    from edgedet.net.families import build_detector

    file = load_model_file(name)
    torch.manual_seed(0)
    outputs = OutputSpec(("red", "green"))
    checkpoint = Checkpoint(
        file.model, file.preprocess.spec((64, 64)), outputs, build_detector(file.model, 2).state_dict(), {}
    )
    save_checkpoint(checkpoint, tmp_path / "c.pt")
    report = lint(tmp_path / "c.pt")
    assert {f.code for f in report.findings} == expected
    assert report.format == "checkpoint"
