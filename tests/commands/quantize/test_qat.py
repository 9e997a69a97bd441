"""`edgedet quantize --method qat`, `edgedet substitute`, and substitution in front of a quantization."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from edgedet.commands.main import build_parser, main

pytest.importorskip("torch")

from random_weights import random_detector

from edgedet.commands.quantize.qat import qat_request
from edgedet.commands.quantize.quantize import METHODS, QAT_STATE
from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.finetune.qat import QatRequest
from edgedet.finetune.resume import STATE_FILE
from edgedet.net.checkpoint import Checkpoint, save_checkpoint
from edgedet.net.families import build_detector
from edgedet.page.run_files import read_run
from edgedet.quantize.api import QuantizeRequest
from edgedet.quantize.calibration.range_choice import CALIBRATIONS
from edgedet.quantize.fx.int16 import layer_quants
from edgedet.quantize.fx.prepare import prepare_model
from edgedet.quantize.ptq.pipeline import EFFORTS
from edgedet.quantize.ptq.weights import WEIGHT_METHODS

STEM = "backbone.stem.0.conv"


def build_parser_help(command: str) -> str:
    """Help of a command on one line."""
    with pytest.raises(SystemExit), contextlib.redirect_stdout(io.StringIO()) as text:
        main([command, "--help"])
    return " ".join(text.getvalue().split())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = load_model_file("rtmdet_pico_relu6", ("deepen=0.1", "stacked_convs=1", "activation=silu"))
    weights = random_detector(file.model, 2, seed=0).state_dict()
    outputs = OutputSpec(("red", "green"), category_ids=(1, 2))
    path = tmp_path_factory.mktemp("silu") / "silu.pt"
    save_checkpoint(Checkpoint(file.model, file.preprocess.spec((96, 64)), outputs, weights, {}), path)
    return path


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_quantize_qat_writes_the_file_and_prints_both_aps(checkpoint, tiny_coco_once, tmp_path, capfd) -> None:
    few = ("--epochs", 1, "--batch", 4, "--calib-images", 4, "--threads", 1, "--check-runtime", "sim", "--lr", "1e-5")
    start = ("quantize", checkpoint, "--method", "qat", *few, "--data", tiny_coco_once, "--out", tmp_path / "q")
    assert run(*start, "--distill", "--images", tiny_coco_once / "train") == 0
    assert (tmp_path / "q" / "model_int8.tflite").is_file()
    report = json.loads((tmp_path / "q" / "report.json").read_text())
    assert (report["method"], report["distill"], report["lr"], report["batch"]) == ("qat", True, 1e-5, 4)
    out, err = capfd.readouterr()
    assert "fake-quantized, trained" in out
    assert "epoch   1/1" in err
    page = read_run(tmp_path / "q")
    assert (len(page.augmented), page.notes) == (8, ())
    assert run(*start) == 2
    assert "--resume" in capfd.readouterr().err


def test_quantize_after_substitution_quantizes_the_tuned_checkpoint(
    checkpoint, tiny_coco_once, tmp_path, capfd
) -> None:
    out = tmp_path / "q"
    options = ("--effort", "fast", "--calib-images", 4, "--tune-epochs", 1, "--threads", 1, "--activation", "relu")
    assert run("quantize", checkpoint, "--data", tiny_coco_once, "--out", out, *options) == 0
    assert (out / "substituted" / "last.pt").is_file()
    assert "LOGISTIC" not in json.loads((out / "report.json").read_text())["operators"]
    assert "AP without tuning" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--epochs", "3"), "--epochs: only --method qat"),
        (("--distill", "--lr", "1"), "--lr, --distill: only --method qat"),
        (("--ema-decay", "0"), "--ema-decay: only --method qat"),
        (("--resume",), "--resume: only --method qat"),
        (("--method", "qat", "--effort", "best"), "--effort: only --method ptq"),
        (("--method", "qat", "--no-adaround", "--calibration-for", "a=kl"), "--adaround, --calibration-for: only"),
        (("--method", "qat", "--images", "x"), "--images without --distill"),
        (("--method", "foo"), "--method 'foo': expected one of ptq, qat"),
        (("--waterfall-images", "5"), "--waterfall-images 5: only with --waterfall"),
        (("--tune-epochs", "1"), "--tune-epochs 1: fine-tunes a substitution"),
        (("--percentile", "99", "--effort", "fast"), "--percentile 99: only the calibrators percentile and auto"),
        (("--percentile", "99", "--calibration", "mse", "--calibration-for", "a=kl"), "found kl, mse; add"),
        (("--calibration-for", f"{STEM}=kl", "--calibration-for", f"{STEM}=mse"), f"{STEM} has kl already; expected"),
        (("--calibration-for", "nonsense=kl"), "--calibration-for nonsense=kl: the network has no layer"),
        (("--int16", "nonsense"), "--int16 nonsense: the network has no layer"),
    ],
)
def test_quantize_options_of_the_other_method_are_refused(checkpoint, tmp_path, capfd, options, text) -> None:
    assert run("quantize", checkpoint, "--data", tmp_path, "--out", tmp_path / "q", *options) == 2
    out, err = capfd.readouterr()
    assert text in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--int16", f"{STEM}.activate"), f"--int16 {STEM}.activate: the network has no layer"),
        (("--method", "qat", "--int16", "cls_8"), "--int16 cls_8: it enters or leaves the network"),
        (("--method", "qat", "--int16", "auto,x"), "expected `auto` alone"),
        (("--calibration-for", "x=kl"), "--calibration-for x=kl: the scale of this layer's result is prescribed"),
        (("--method", "qat", "--images", "x"), "--images without --distill"),
        (("--method", "qat", "--ema-decay", "2"), "--ema-decay must be in 0..1"),
        (("--effort", "high"), "--effort 'high': expected one of fast, normal, best"),
    ],
)
def test_quantize_after_substitution_checks_options_before_it(checkpoint, tmp_path, capfd, options, text) -> None:
    """There is no data set, so the fine-tuning would say that first."""
    options = ("--activation", "relu", *options)
    assert run("quantize", checkpoint, "--data", tmp_path / "none", "--out", tmp_path / "q", *options) == 2
    assert text in capfd.readouterr().err
    assert not (tmp_path / "q").exists()


def test_quantize_after_substitution_finds_layers_of_the_new_network(checkpoint, tmp_path, capfd) -> None:
    options = ("--activation", "relu", "--int16", STEM, "--calibration-for", f"{STEM}=kl")
    assert run("quantize", checkpoint, "--data", tmp_path / "none", "--out", tmp_path / "q", *options) == 2
    assert "data folder not found" in capfd.readouterr().err  # the names passed


@pytest.mark.long
def test_quantize_qat_resumes_after_an_interrupted_substitution(checkpoint, tiny_coco_once, tmp_path, capfd) -> None:
    out, data = tmp_path / "q", ("--data", tiny_coco_once, "--threads", 1, "--activation", "relu")
    assert run("substitute", checkpoint, *data, "--epochs", 1, "--out", out / "substituted") == 0
    few = ("--epochs", 1, "--batch", 4, "--calib-images", 4, "--check-runtime", "sim", "--lr", "1e-5")
    assert run("quantize", checkpoint, *data, "--tune-epochs", 1, "--method", "qat", *few, "--out", out) == 2
    assert "already holds a run; go on with it by --resume" in capfd.readouterr().err
    assert (
        run("quantize", checkpoint, *data, "--tune-epochs", 1, "--method", "qat", *few, "--out", out, "--resume") == 0
    )
    assert (out / "model_int8.tflite").is_file()


def test_quantize_percentile_is_taken_by_auto_and_by_a_layer(checkpoint, tmp_path, capfd) -> None:
    for options in ((), ("--calibration", "mse", "--calibration-for", f"{STEM}=percentile")):
        start = ("quantize", checkpoint, "--data", tmp_path / "none", "--out", tmp_path / "q", "--percentile", "99")
        assert run(*start, *options) == 2
        assert "data folder not found" in capfd.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ("substitute", "--activation", "silu"),
        ("substitute", "--no-channel-attention"),
        ("substitute", "--no-channel-attention", "--activation", "silu"),
        ("quantize", "--activation", "silu"),
    ],
)
def test_substitution_of_what_is_there_already_is_an_error(checkpoint, tmp_path, capfd, options) -> None:
    command, *rest = options
    assert run(command, checkpoint, "--data", tmp_path / "none", "--out", tmp_path / "s", *rest) == 2
    err = capfd.readouterr().err
    assert f"{checkpoint}: nothing to substitute: rtmdet_pico_relu6 is already silu without channel attention" in err
    assert not (tmp_path / "s").exists()


def test_substitute_nothing_is_an_error(checkpoint, tmp_path, capfd) -> None:
    assert run("substitute", checkpoint, "--data", tmp_path, "--out", tmp_path / "s") == 2
    assert "nothing to substitute" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("argv", "saved", "goes_on"),
    [
        (("train", "rtmdet_pico_relu6"), "last.pt", True),
        (("train", "rtmdet_pico_relu6"), None, False),
        (("substitute", "a.pt", "--activation", "relu"), "last.pt", True),
        (("quantize", "a.pt", "--method", "qat"), STATE_FILE, True),
        (("quantize", "a.pt", "--method", "qat", "--activation", "relu"), "substituted/last.pt", True),
        (("quantize", "a.pt", "--activation", "relu"), "substituted/last.pt", True),
        (("quantize", "a.pt"), STATE_FILE, False),
        (("quantize", "a.pt", "--activation", "relu"), None, False),
        (("evaluate", "a.pt"), None, False),
    ],
)
def test_interrupt_says_how_to_go_on_when_something_was_saved(
    tmp_path, capfd, monkeypatch, argv, saved, goes_on
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    if saved is not None:
        (tmp_path / saved).parent.mkdir(exist_ok=True)
        (tmp_path / saved).write_bytes(b"state")
    out = () if argv[0] == "evaluate" else ("--out", str(tmp_path))
    args = build_parser().parse_args([*argv, *out])
    args.handler = interrupted
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", lambda *_: args)
    assert main([]) == 130
    expected = "; the same command with --resume goes on after the last epoch that was saved" if goes_on else ""
    assert capfd.readouterr().err == f"interrupted{expected}\n"


def test_qat_request_takes_the_recipe_and_options_override_it(tmp_path) -> None:
    start = ("quantize", "a.pt", "--data", str(tmp_path), "--out", str(tmp_path / "q"))

    def request(*options: str) -> QatRequest:
        return qat_request(build_parser().parse_args([*start, *options]))

    plain = request()
    recipe = load_model_file("rtmdet_nano_relu_q").qat
    assert recipe is not None
    taken = request("--recipe", "rtmdet_nano_relu_q")
    assert taken == replace(plain, **asdict(recipe))
    assert taken.batch != plain.batch
    changed = request("--recipe", "rtmdet_nano_relu_q", "--epochs", "9", "--distill", "--images", "photos")
    assert changed == replace(taken, epochs=9, distill=True, images=Path("photos"))


def test_quantize_recipe_implies_qat_and_says_what_is_wrong(tmp_path, capfd) -> None:
    start = ("quantize", tmp_path / "none.pt", "--data", tmp_path, "--out", tmp_path / "q")
    for options, words in (
        (("--recipe", "rtmdet_nano_relu_q"), "none.pt: no such checkpoint"),
        (
            ("--recipe", "rtmdet_nano"),
            "--recipe rtmdet_nano: this model has no [qat] section; give one of rtmdet_nano_",
        ),
        (("--recipe", "rtmdet_nano_relu_w"), "(did you mean 'rtmdet_nano_relu_q'?)"),
        (("--recipe", "rtmdet_nano_relu_q", "--method", "ptq"), "--recipe: only --method qat takes this, found"),
        (("--recipe", "rtmdet_nano_relu_q", "--effort", "best"), "--effort: only --method ptq takes this, found"),
    ):
        assert run(*start, *options) == 2
        assert words in capfd.readouterr().err


def test_quantize_help_shows_the_choices_of_the_package() -> None:
    text = build_parser_help("quantize")
    for choices in (METHODS, EFFORTS, CALIBRATIONS, WEIGHT_METHODS):
        assert f"{{{','.join(choices)}}}" in text
    assert QAT_STATE == STATE_FILE


# One of each backbone and shape of stem; the larger sizes have the layers of the smaller ones.
@pytest.mark.parametrize("model", ["rtmdet_nano", "rtmdet_pico_relu6", "rtmdet_mnv4"])
def test_quantize_help_names_a_layer_of_every_kind_of_model(model: str) -> None:
    file = load_model_file(model)
    prepared = prepare_model(build_detector(file.model, 2).eval(), file.preprocess.spec((96, 64)))
    assert STEM in layer_quants(prepared)
    assert f"{STEM}=kl" in build_parser_help("quantize")


def test_errors_of_the_package_name_the_argument_and_the_command_the_option(checkpoint, tmp_path, capfd) -> None:
    with pytest.raises(ConfigError, match="`effort` 'high': expected one of"):
        QuantizeRequest(checkpoint, DataPaths(tmp_path), tmp_path / "q", effort="high")
    with pytest.raises(ConfigError, match="`images` without `distill`"):
        QatRequest(checkpoint, DataPaths(tmp_path), tmp_path / "q", images=tmp_path)
    for options, words in (
        (("--effort", "high"), "error: --effort 'high': expected one of"),
        (("--method", "qat", "--images", tmp_path), "error: --images without --distill"),
    ):
        assert run("quantize", checkpoint, "--data", tmp_path, "--out", tmp_path / "q", *options) == 2
        err = capfd.readouterr().err
        assert words in err
        assert "`" not in err
