"""The line `next:`: every proposed command parses and works as it is typed, whatever the paths hold."""

from __future__ import annotations

import argparse
import shlex
import shutil
from pathlib import Path

import pytest

from edgedet.commands.frame.data_of_run import data_words_of_run
from edgedet.commands.frame.next_step import data_words, show_next_again, show_next_on_data_of
from edgedet.commands.main import build_parser, main
from edgedet.options import data_paths
from edgedet.outputs.page_files import DATA
from edgedet.page.record import new_record, save_record


def proposed(capfd: pytest.CaptureFixture[str], *argv: str) -> list[list[str]]:
    """Words of what a command that goes well proposes, each of which parses."""
    capfd.readouterr()
    assert main(list(argv)) in (0, 1)  # 1: of check, it does not fit
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("next: `")]
    words = [shlex.split(line.removeprefix("next: ").strip("`")) for line in lines]
    assert all(line[0] == "edgedet" for line in words)
    for line in words:
        if "--help" not in line:
            assert callable(build_parser().parse_args(line[1:]).handler)
    return [line[1:] for line in words]


@pytest.fixture
def work(tmp_path: Path, toy_model: Path, toy_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, of a name that a shell must have quoted, with a model and a data set."""
    folder = tmp_path / "it's $(mine)"
    folder.mkdir()
    monkeypatch.chdir(folder)
    shutil.copy(toy_model, "my model.tflite")
    shutil.copytree(toy_data, "two words")
    return folder


def test_every_proposed_command_works_as_typed(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("cv2")
    model, data = str(work / "my model.tflite"), str(work / "two words")
    deploy = ["deploy", model, "--target", "c99"]
    assert proposed(capfd, "evaluate", model, "--data", data, "--images", "2") == [deploy]
    assert proposed(capfd, *deploy) == []  # its own line says how it is built
    assert proposed(capfd, "predict", model, f"{data}/valid") == [deploy]
    (again,) = proposed(capfd, "predict", model, f"{data}/valid", "--score-threshold", "0.9999", "--out", "p")
    assert again == ["predict", model, f"{data}/valid", "--score-threshold", "0.05"]
    assert proposed(capfd, *again) == [deploy]
    (check,) = proposed(capfd, "lint", model)
    assert check == ["check", model, "--board", "all"]
    assert proposed(capfd, *check) == []  # which of them, the user knows
    (fits,) = proposed(capfd, "check", model, "--board", "nicla_vision", "--ram", "256k")
    assert fits == ["deploy", model, "--target", "c99", "--board", "nicla_vision", "--ram", "262144"]
    assert main([*fits, "--out", "fits"]) == 0
    for command in ("convert", "contract"):
        assert proposed(capfd, command, model, "--out", "new one.tflite") == [["lint", "new one.tflite"]]
    assert proposed(capfd, "lint", "new one.tflite") == [["check", "new one.tflite", "--board", "all"]]


def test_data_commands_propose_what_works_as_typed(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cv2")
    (check,) = proposed(capfd, "data", "synth", "--out", "new one", "--images", "4")
    assert check == ["data", "check", "new one"]
    (train,) = proposed(capfd, *check, "--imgsz", "96x64", "--resize", "stretch", "--rename", "mask=on, off")
    assert train[:2] == ["train", "rtmdet_nano_ncadc_relu6"]
    asked = build_parser().parse_args(train)
    assert (asked.imgsz, asked.overrides) == ((96, 64), ["resize=stretch"])
    assert data_paths(asked).rename == (("mask", "on, off"),)
    main(["models", train[1], "--set", *asked.overrides, "--imgsz", "96x64"])  # the key is one of the model's
    assert proposed(capfd, "data", "show", "new one", "--out", "a.png", "--images", "1") == [check]
    shown = ("data", "show", "new one", "--out", "b.png", "--images", "1")
    augmented = ("--augmented", "rtmdet_pico_relu6", "--imgsz", "64")
    follows = [["train", "rtmdet_pico_relu6", "--imgsz", "64", "--data", "new one"]]
    assert proposed(capfd, *shown, *augmented) == follows
    for form in ("coco", "yolo", "voc"):
        (check,) = proposed(capfd, "data", "convert", "new one", "--to", form, "--out", f"as {form}")
        assert check == ["data", "check", f"as {form}"]
        assert len(proposed(capfd, *check)) == 1


def test_report_proposes_the_browser(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    for name in ("run 1", "run 2"):
        Path(name).mkdir()
        (Path(name) / "report.json").write_text('{"model_bytes": 5}')
    assert proposed(capfd, "report", "run 1") == [["ui", "run 1"]]
    both = ("report", "run 1", "run 2", "--out", "my page.html")
    assert proposed(capfd, *both) == [[*both, "--open"]]


FILES = ["--train-ann", "a.json", "--train-images", "a", "--val-ann", "b.json", "--val-images", "b c"]


@pytest.mark.parametrize(
    ("given", "following", "words"),
    [
        (["train", "m", *FILES], "quantize", FILES),
        (["quantize", "c.pt", *FILES], "evaluate", FILES[4:]),
        (["quantize", "c.pt", *FILES[:4]], "evaluate", []),  # nothing to measure on
        (["quantize", "c.pt", "--images", "photos"], "evaluate", []),
        (["evaluate", "c.pt", *FILES[4:]], "quantize", []),  # nothing to calibrate on
        (["evaluate", "c.pt", "--data", "d", *FILES[4:]], "quantize", ["--data", "d", *FILES[4:]]),
        (["train", "m", "--data", "d", "--skip-broken"], "show", ["d"]),
        (["data", "check", "d", "e", "--classes", "y z"], "train", ["--data", "d", "--data", "e", "--classes", "y z"]),
        (["data", "check", "--val-ann", "b.json", "--val-images", "b c"], "train", []),
    ],
)  # fmt: skip
def test_data_words_are_what_the_next_command_reads(given: list[str], following: str, words: list[str]) -> None:
    assert data_words(build_parser().parse_args(given), following) == words


def test_again_leaves_out_what_belongs_to_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    typed = "edgedet train m --data 'a b' --epo 3 --json=x.json --out r --set lr=1 mosaic=0 --resume -q --log-file l"
    show_next_again(argparse.Namespace(command_line=typed), ("--epochs",), "--epochs", "auto")
    assert capsys.readouterr().out == "next: `edgedet train m --data 'a b' --set lr=1 mosaic=0 -q --epochs auto`\n"


def test_data_of_a_run_is_what_its_record_says_while_it_is_there(work: Path) -> None:
    from edgedet.api.pages import request_settings

    given = [
        "--data",
        "two words",
        "--rename",
        "red=a",
        "--rename",
        "green=b",
        "--val-fraction",
        "0.25",
        "--split-seed",
        "3",
    ]
    asked = data_paths(build_parser().parse_args(["train", "m", *given, "--classes", "a,b", "--skip-broken"]))
    folder = work / "run"
    (folder / DATA).mkdir(parents=True)
    save_record(new_record("train", "", request_settings(asked), ()), folder / DATA / "run.json")
    again = data_words_of_run(folder, ("train", "valid"))
    assert data_paths(build_parser().parse_args(["train", "m", *again])) == asked
    (work / "two words").rename(work / "elsewhere")
    assert data_words_of_run(folder, ("train", "valid")) == []
    (folder / DATA / "run.json").write_text("[]")
    assert data_words_of_run(folder, ("valid",)) == data_words_of_run(work, ("valid",)) == []


@pytest.mark.parametrize(
    ("ap", "losses", "options", "expected"),
    [
        (0.3, (2.0, 1.0), "--epochs 2", "quantize r/best.pt --data d"),
        (0.004, (2.0, 1.0), "--epochs 2", "train m --data d --epochs auto"),
        (0.004, (2.0, 1.0), "", "data show d --out labels.png"),  # as many epochs as the model takes
        (0.004, (2.0, 1.0), "--epochs auto", "data show d --out labels.png"),
        (0.004, tuple(2.0 * 0.9**n for n in range(12)), "--epochs 12", "train m --data d --epochs auto"),
        (0.004, (2.0,) * 12, "--epochs 12", "data show d --out labels.png"),  # it has levelled off
    ],
)
def test_training_that_finds_next_to_nothing_is_not_to_be_quantized(
    ap: float, losses: tuple[float, ...], options: str, expected: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pytest.importorskip("torch")
    from edgedet.commands.train import _show_next
    from edgedet.training.log import EpochRecord
    from edgedet.training.loop import TrainResult

    monkeypatch.chdir(tmp_path)
    typed = f"train m --data d {options}".strip()
    args = build_parser().parse_args(typed.split())
    args.command_line = f"edgedet {typed}"
    history = tuple(EpochRecord(epoch, loss, loss, 0.0, 0.001, 1.0) for epoch, loss in enumerate(losses, start=1))
    _show_next(args, TrainResult(Path("r/best.pt"), Path("r/last.pt"), ap, ap, history))
    assert capsys.readouterr().out == f"next: `edgedet {expected}`\n"


@pytest.mark.parametrize(
    ("guilty", "ap", "options", "expected"),
    [
        ("", 0.4, (), "deploy M --target c99"),
        ("xnnpack", 0.4, (), "deploy M --target c99"),  # not on the way to the chip
        ("weights", 0.4, (), "quantize c.pt --effort best --data d"),
        ("fake_quant", 0.4, (), "quantize c.pt --calibration auto --data d"),
        ("integer", 0.4, (), "quantize c.pt --method qat --data d"),
        ("tflm", 0.4, (), ""),  # a defect, to be reported
        ("weights", 0.002, (), "data show d --split valid --out labels.png"),
        ("", 0.4, ("--runtime", "serial:/dev/x"), ""),  # the chip gives what the training said
        ("device", 0.4, ("--runtime", "serial:/dev/x"), "deploy M --target c99"),
    ],
)
def test_waterfall_proposes_the_first_remedy_of_the_guilty_step(
    guilty: str, ap: float, options: tuple[str, ...], expected: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    from edgedet.commands.after_measuring import next_after_waterfall
    from edgedet.diagnose.waterfall import Step, Waterfall

    args = build_parser().parse_args(["waterfall", "my model.tflite", "--against", "c.pt", "--data", "d", *options])
    steps = (Step("float", "float", ap, ap, 9), Step("integer", "simulator", ap, ap, 9, "float"))
    next_after_waterfall(args, Waterfall(steps, guilty, 0.005, 0.0, "valid", 9, ()))
    line = expected.replace("M", "'my model.tflite'")
    assert capsys.readouterr().out == (f"next: `edgedet {line}`\n" if line else "")


@pytest.mark.parametrize(
    ("ap", "options", "expected"),
    [
        (None, (), ["evaluate q.tflite --data d", "deploy q.tflite --target c99"]),
        (0.3, ("--int16", "auto"), ["evaluate q.tflite --data d", "deploy q.tflite --target tflm"]),  # C has no int16
        (0.001, (), ["evaluate q.tflite --data d"]),
    ],
)
def test_quantization_proposes_a_deployment_of_what_finds_something(
    ap: float | None, options: tuple[str, ...], expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from edgedet.commands.quantize.quantize import _show_next

    _show_next(
        build_parser().parse_args(["quantize", "c.pt", "--data", "d", *options, "--out", "q"]), Path("q.tflite"), ap
    )
    assert capsys.readouterr().out.splitlines() == [*(f"next: `edgedet {line}`" for line in expected), "run: q"]


def test_files_of_a_split_that_the_next_command_does_not_read_are_left_out(
    toy_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`evaluate` refuses files of the training split."""
    named = {"train_ann": "a.json", "train_images": "a", "val_ann": "b.json", "val_images": "b"}
    for name in named.values():
        (tmp_path / name).mkdir()
    settings = [(name, str(tmp_path / file)) for name, file in named.items()]
    (tmp_path / DATA).mkdir()
    save_record(new_record("quantize", "", settings, ()), tmp_path / DATA / "run.json")
    model = tmp_path / "model_int8.tflite"
    assert show_next_on_data_of(model, "evaluate", model)
    said = capfd.readouterr().out
    assert "--val-ann" in said
    assert "--train" not in said
    assert show_next_on_data_of(model, "quantize", model)
    assert "--train-ann" in capfd.readouterr().out
