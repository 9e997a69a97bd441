"""One line for wrong words, `--set` beside a positional argument, and help that fits 100 columns."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedet.commands.main import build_parser, main
from edgedet.terminal import COLUMNS, wrapped


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and those of all its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


@pytest.mark.parametrize("terminal", [80, 300])
def test_every_help_fits(terminal: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(terminal))
    texts = {parser.prog: parser.format_help() for parser in parsers(build_parser())}
    assert len(texts) > 18
    long = [f"{prog}: {line}" for prog, text in texts.items() for line in text.splitlines() if len(line) > COLUMNS]
    assert long == []


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["train", "x", "--ouut", "r"], "--ouut; did you mean --out?"),
        (["inspect", "m.tflite", "--agianst", "c.pt"], "--agianst; did you mean --against?"),
        (["predict", "m.tflite", "--conf=0.3", "a.jpg"], "--conf=0.3; did you mean --score-threshold?"),
        (["train", "--batch_size", "3"], "--batch_size; did you mean --batch?"),
        (["evaluate", "m.tflite", "--val_ann", "a"], "--val_ann; did you mean --val-ann?"),
        (["lint", "m.tflite", "--zzzzzz"], "unrecognized arguments: --zzzzzz; `edgedet lint --help`"),
        (["lint", "m.tflite", "-z"], "unrecognized arguments: -z; `edgedet lint --help`"),
        (["data", "chek"], "did you mean check?"),
        (["evaluate", "m.tflite", "--runtime", "tlfm"], "did you mean tflm?"),
        (["evaluate", "m.tflite", "--runtime", "TFLM"], "did you mean tflm?"),
        (["evaluate", "m.tflite", "--runtime", "litert"], "did you mean ref?"),
        (["evaluate", "m.tflite", "--split", "vaild"], "did you mean valid?"),
        (["data", "show", "d", "--split", "trian"], "did you mean train?"),
        (["deploy", "m.tflite", "--target", "ethosu55-128"], "did you mean ethos-u55-128?"),
        (["deploy", "m.tflite", "--target", "arduino"], "did you mean --project arduino?"),
        (["deploy", "m.tflite", "--project", "zephir"], "did you mean zephyr?"),
        (["lint", "m.tflite", "--target", "ethos_u55_64"], "did you mean ethos-u55-64?"),
    ],
)
def test_wrong_word_names_what_was_meant(argv: list[str], expected: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    error = capfd.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["models", "rtmdet_nano_rel"], "did you mean 'rtmdet_nano_relu'?"),
        (["train", "rtmdet_nano", "--out", "r", "--set", "mosaix=0"], "did you mean 'train.mosaic'?"),
        (["train", "rtmdet_nano", "--out", "r", "--set", "leaning_rate=1"], "did you mean 'train.lr'?"),
        (["train", "rtmdet_nano", "--out", "r", "--set", "model.lr=1"], "did you mean 'train.lr'?"),
        (["quantize", "a.pt", "--out", "q", "--method", "QAT"], "did you mean 'qat'?"),
        (["check", "m.tflite", "--board", "Nicla Visoin"], "did you mean 'nicla_vision'?"),
        (["deploy", "m.tflite", "--board", "nicla-vison", "--out", "d"], "did you mean 'nicla_vision'?"),
        (["quantize", "a.pt", "--out", "q", "--effort", "bst"], "did you mean 'best'?"),
        (["quantize", "a.pt", "--out", "q", "--recipe", "rtmdet_nano_relu_qq"], "did you mean 'rtmdet_nano_relu_q'?"),
    ],
)
def test_wrong_key_or_model_names_what_was_meant(
    argv: list[str], expected: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert expected in capfd.readouterr().err


@pytest.mark.parametrize(
    ("argv", "overrides", "model"),
    [
        (["--set", "lr=1", "rtmdet_nano"], ["lr=1"], "rtmdet_nano"),
        (["--set", "lr=1", "train.mosaic=0", "dir/a.toml"], ["lr=1", "train.mosaic=0"], "dir/a.toml"),
        (["rtmdet_nano", "--set", "lr=1", "--set", "mosaic=0"], ["lr=1", "mosaic=0"], "rtmdet_nano"),
        (["--set=lr=1", "rtmdet_nano"], ["lr=1"], "rtmdet_nano"),
        (["rtmdet_nano", "--set", "lr"], ["lr"], "rtmdet_nano"),
    ],
)
def test_set_takes_one_or_many_and_leaves_the_model(argv: list[str], overrides: list[str], model: str) -> None:
    args = build_parser().parse_args(["train", *argv, "--out", "r"])
    assert (args.overrides, args.model) == (overrides, model)


def test_wrapped_keeps_columns_commands_and_paths() -> None:
    row = "name      " + "value " * 30
    assert all(line.startswith(" " * 10 + "value") for line in wrapped(row)[1:])
    command = "`edgedet contract FILE.tflite --score-threshold 0.9 --out NEW.tflite`"
    assert any(command in line for line in wrapped("Some words before it. " * 4 + command))
    path = "wrote " + "/folder" * 20
    assert wrapped(path) == [path]
    assert all(len(line) <= COLUMNS for line in wrapped("word " * 100))


def test_nms_iou_out_of_range_is_named_as_it_was_typed(
    toy_model: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["predict", str(toy_model), str(toy_data), "--out", str(tmp_path / "p")],
                  ["evaluate", str(toy_model), "--data", str(toy_data)]):  # fmt: skip
        assert main([*words, "--nms-iou", "1.5"]) == 2
        assert capsys.readouterr().err == "error: --nms-iou 1.5: expected a number in (0, 1]; 0.65 is usual\n"
    assert list(tmp_path.glob("p*")) == []


@pytest.mark.parametrize("command", ["check", "show", "convert"])
def test_data_set_as_an_option_where_it_is_none_says_how_it_is_given(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (("--data", "bccd"), ("--data=bccd",)):
        with pytest.raises(SystemExit) as ended:
            build_parser().parse_args(["data", command, *words])
        assert ended.value.code == 2
        assert f"as `edgedet data {command} DIR`" in capsys.readouterr().err
