"""What `edgedet models` says; that it is what comes out of the whole chain: tests/test_every_model.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from every_model import EVERY_MODEL
from test_imports import run_python

from edgedet import catalog
from edgedet.catalog import CLASSES, ModelSizes, all_model_sizes, model_sizes, sizes_table
from edgedet.commands.main import main
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.deploy.api import deploy
from edgedet.deploy.preflight import check
from edgedet.errors import ConfigError
from edgedet.graph.flatbuffer import write_tflite
from edgedet.hardware.board import load_board
from edgedet.hardware.measured import measured
from edgedet.quantize.skeleton import skeleton_graph
from edgedet.resources import resource_dir


@pytest.fixture(scope="module")
def pico() -> ModelSizes:
    return model_sizes("rtmdet_pico_relu6")


def test_model_sizes_pico_are_those_of_its_trained_file(pico: ModelSizes) -> None:
    # docs/chip.md, rtmdet_pico_relu6 trained at 160x160, 3 classes.
    assert pico.arena_bytes == 102_736
    assert (pico.width, pico.height, pico.channels, pico.classes) == (160, 160, 3, 3)
    assert pico.macs == 28_776_800
    assert pico.parameters == 342_017


def test_model_sizes_follow_size_channels_and_classes(pico: ModelSizes) -> None:
    other = model_sizes("rtmdet_pico_relu6", (96, 64), classes=7, overrides=("channels=1",))
    assert (other.width, other.height, other.channels, other.classes) == (96, 64, 1, 7)
    # The stem reads one channel instead of three, and each of three maps gets four more classes from 32 channels.
    stem = 4 * 3 * 3
    assert other.parameters == pico.parameters - 2 * stem + 3 * 4 * (32 + 1)
    assert other.arena_bytes < pico.arena_bytes / 2
    assert other.macs < pico.macs / 4


def test_model_sizes_own_file_equals_the_shipped_one(pico: ModelSizes) -> None:
    own = model_sizes(str(resource_dir("models") / "rtmdet_pico_relu6.toml"))
    assert own.to_json() == pico.to_json()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("rtmdet_pico",), r"no model 'rtmdet_pico' \(did you mean 'rtmdet_pico_relu6'\?\)"),
        (("rtmdet_pico_relu6", (100, 96)), "100"),
        (("rtmdet_pico_relu6", None, 0), "`classes` 0: expected at least 1"),
    ],
)
def test_model_sizes_bad_arguments_are_named(arguments: tuple, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        model_sizes(*arguments)


def test_models_prints_a_table_in_order_of_macs(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    names = ("rtmdet_nano_half", "rtmdet_pico_relu6")
    monkeypatch.setattr(catalog, "available_models", lambda: names)  # all of them take half a minute
    assert main(["models", "--imgsz", "64"]) == 0
    # Long rows go on in the next line, further in.
    head, first, second, *_ = re.sub(r"\n +", " ", capsys.readouterr().out).splitlines()
    assert head.split() == [
        "model",
        "input",
        "parameters",
        "M",
        "MACs",
        "RAM,",
        "bytes",
        "flash,",
        "bytes",
        "made",
        "for",
    ]
    assert first.startswith("rtmdet_pico_relu6 ")
    assert second.startswith("rtmdet_nano_half ")
    assert first.endswith(" a bare Cortex-M: fewest operations, smallest arena")
    assert f" {model_sizes(names[1], (64, 64)).arena_bytes:,} " in first


def test_models_json_holds_numbers_and_the_whole_file(pico: ModelSizes, monkeypatch, capsys) -> None:
    assert main(["models", "rtmdet_pico_relu6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps(pico.to_json()))
    assert found["arena_bytes"] == pico.arena_bytes
    assert found["model"]["widen"] == 0.125
    assert found["train"]["epochs"] == 100
    monkeypatch.setattr(catalog, "available_models", lambda: ("rtmdet_pico_relu6",))
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [found]


def test_models_one_model_shows_everything(capsys) -> None:
    assert main(["models", "rtmdet_nano_relu_q", "--imgsz", "64"]) == 0
    out = capsys.readouterr().out
    for words in (
        "with its QAT recipe",
        "64x64 px, 3 channels, 3 classes",
        "activation relu,",
        "qat:        epochs 5,",
    ):
        assert words in out
    assert max(len(line) for line in out.splitlines()[5:]) < 120


def test_shared_head_bytes_are_the_copies_of_its_convolutions() -> None:
    shared = model_sizes("rtmdet_nano_half", (64, 64))
    # Two strides more than one, two branches, two 3x3 convolutions of 32 -> 32 channels.
    assert shared.shared_head_bytes == 2 * 2 * 2 * 9 * 32 * 32
    assert f"up to {shared.shared_head_bytes:,} less" in shared.text()
    separate = model_sizes("rtmdet_nano_half", (64, 64), overrides=("share_head=false",))
    assert separate.shared_head_bytes == 0
    assert separate.flash_bytes == shared.flash_bytes
    assert separate.parameters == shared.parameters + shared.shared_head_bytes


def test_models_wrong_options_are_one_line(capsys) -> None:
    for options, words in (
        (("rtmdet_nan",), "did you mean 'rtmdet_nano'?"),
        (("rtmdet_nano", "--imgsz", "100"), "100"),
        (("rtmdet_nano", "--set", "chanels=1"), "'chanels' is unknown"),
    ):
        assert main(["models", *options]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert words in err
        assert err.count("\n") == 1


def test_sizes_table_of_nothing_is_its_head() -> None:
    assert sizes_table(()).count("\n") == 1


def test_model_sizes_leaves_torchs_compiler_out() -> None:
    # It takes two seconds to import, longer than the sizes of a model.
    code = "from edgedet.catalog import model_sizes; model_sizes('rtmdet_nano_half', (64, 64)); "
    assert run_python(code + "import sys; print('torch._dynamo' in sys.modules)") == "False"


@EVERY_MODEL
def test_all_model_sizes_counts_and_sorts() -> None:
    calls: list[tuple[int, int]] = []
    rows = all_model_sizes((64, 64), progress=lambda done, total: calls.append((done, total)))
    assert [row.macs for row in rows] == sorted(row.macs for row in rows)
    assert calls == [(number, len(rows)) for number in range(1, len(rows) + 1)]


def test_constants_in_flash_are_one_number_everywhere(tmp_path: Path) -> None:
    """Weights, words and the indices of resizes: catalog, manifest, report and what a board needs."""
    path = tmp_path / "pico.tflite"
    file = load_model_file("rtmdet_pico_relu6")
    outputs = OutputSpec(tuple(f"class_{index}" for index in range(CLASSES)))
    write_tflite(skeleton_graph(file.model, file.preprocess.spec((96, 96)), outputs), path)
    report = deploy(path, "c99", tmp_path / "out")
    header = (tmp_path / "out" / "model_data.h").read_text(encoding="utf-8")
    sizes = re.findall(r"#define EDGEDET_(WEIGHTS_BYTES|WORDS_COUNT|INDICES_COUNT) (\d+)u", header)
    count = {name: int(size) for name, size in sizes}
    written = count["WEIGHTS_BYTES"] + 4 * count["WORDS_COUNT"] + 2 * count["INDICES_COUNT"]
    assert count["INDICES_COUNT"] > 0
    assert report.constant_bytes == written
    assert json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["weights_bytes"] == written
    assert model_sizes("rtmdet_pico_relu6", (96, 96)).flash_bytes == written
    assert check(path, [load_board("nano_33_ble")]).checks[0].part("weights").need.bytes == written
    shipped = [row for row in measured().models if (row.name, row.width) == ("rtmdet_pico_relu6", 96)]
    assert [row.constant_bytes for row in shipped] == [written]  # what `check` proposes
