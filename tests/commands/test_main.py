from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import edgedet
from edgedet.commands.main import build_parser, main
from edgedet.errors import ConfigError
from edgedet.options import image_size, positive_int, threshold, whole_number
from edgedet.progress import show_progress
from edgedet.runtimes.names import choose_runtime

REPO = Path(__file__).resolve().parents[2]
COMMANDS = (
    "train", "substitute", "quantize", "inspect", "lint", "convert", "evaluate", "predict", "deploy", "data check",
    "data synth", "contract", "operators", "boards", "check",
)  # fmt: skip


def load_toy() -> ModuleType:
    """The hand-made detector and its pictures, which tests/evaluate uses as well."""
    spec = importlib.util.spec_from_file_location("toy", REPO / "tests" / "toy_detector.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with model.tflite and data/."""
    folder, maker = tmp_path_factory.mktemp("toy"), load_toy()
    maker.write_toy_model(folder / "model.tflite")
    maker.write_toy_data(folder / "data")
    return folder


def fails(capfd: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run a command that must fail well; gives its only line."""
    assert main([str(arg) for arg in argv]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("command", COMMANDS)
def test_main_help_shows_examples_that_parse(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*command.split(), "--help"])
    assert stopped.value.code == 0
    text = capfd.readouterr().out
    examples = [
        shlex.split(line.partition(" < ")[0])[1:]
        for line in text.partition("examples:\n")[2].replace("\\\n", "").splitlines()
        if line.strip()
    ]
    assert examples
    for example in examples:
        assert example[: len(command.split())] == command.split()
        assert callable(build_parser().parse_args(example).handler)


def test_main_version_prints_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capfd.readouterr().out == f"edgedet {edgedet.__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["evaluate"],
        ["evaluate", "m.tflite", "--runtime", "gpu"],
        ["evaluate", "m.tflite", "--images", "0"],
        ["evaluate", "m.tflite", "--score-threshold", "1"],
        ["train", "m", "--out", "r", "--imgsz", "192x"],
        ["train", "m", "--out", "r", "--seed", "-1"],
        ["deploy", "m.tflite", "--out", "d", "--target", "arduino"],
        ["data", "synth", "--images", "5"],
    ],
)
def test_main_wrong_usage_exits_2_and_names_help(argv: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    error = capfd.readouterr().err
    commands = " ".join(["edgedet", *argv[: 2 if argv[:1] == ["data"] else 1]])
    assert error.startswith("error: ")
    assert error.endswith(f"; `{commands} --help` shows the options\n")
    assert error.count("\n") == 1


def test_main_import_and_help_load_neither_numpy_nor_torch() -> None:
    code = (
        "import sys; from edgedet.commands.main import build_parser; build_parser().format_help(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "PIL", "pycocotools", "rich"} & set(done.stdout.split())


@pytest.mark.parametrize("chosen", [None, "3"])
@pytest.mark.parametrize("program", ["edgedet", "edgedet.evaluate", "edgedet.demo"])
def test_main_limits_blas_threads_before_numpy_unless_chosen(toy: Path, program: str, chosen: str | None) -> None:
    """The finder sees the import of NumPy: what the environment says then is what OpenBLAS reads."""
    argv, expected_code = [str(toy / "model.tflite"), "--data", str(toy / "data")], 0
    if program == "edgedet":
        argv.insert(0, "evaluate")
    if program == "edgedet.demo":
        pytest.importorskip("cv2")
        argv, expected_code = ["--images", "0", "--out", str(toy / "demo")], 2  # too few, which it finds with NumPy
    code = (
        "import os, runpy, sys\n"
        "class Look:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numpy':\n"
        "            print('at import', os.environ.get('OPENBLAS_NUM_THREADS'))\n"
        "sys.meta_path.insert(0, Look())\n"
        f"sys.argv[1:] = {argv}\n"
        f"runpy.run_module({program!r}, run_name='__main__')\n"
    )
    env = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    if chosen is not None:
        env["OPENBLAS_NUM_THREADS"] = chosen
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == expected_code, done.stderr
    assert done.stdout.splitlines()[0] == f"at import {chosen or 1}"


def test_image_size_one_or_two_sides() -> None:
    assert image_size("192") == (192, 192)
    assert image_size("192x160") == image_size("192X160") == (192, 160)
    for text in ("", "192x", "x", "1x2x3", "-192", "19.2", "abc"):
        with pytest.raises(argparse.ArgumentTypeError, match="WIDTHxHEIGHT"):
            image_size(text)


def test_option_types_reject_what_is_out_of_range() -> None:
    assert (positive_int("3"), whole_number("0"), threshold("0")) == (3, 0, 0.0)
    for function, texts in (
        (positive_int, ("0", "-1", "x", "1.5")),
        (whole_number, ("-1", "x", str(2**63), "9" * 5000)),
        (threshold, ("1", "nan", "x")),
    ):
        for text in texts:
            with pytest.raises(argparse.ArgumentTypeError, match="expected"):
                function(text)


def test_choose_runtime_defaults_and_wrong_combinations() -> None:
    assert choose_runtime(Path("a.tflite"), None) == "sim"
    assert choose_runtime(Path("a.tflite"), "tflm") == "tflm"
    assert choose_runtime(Path("a.pt"), None) == choose_runtime(Path("a.PTH"), "torch") == "torch"
    with pytest.raises(ConfigError, match=r"a\.pt: a checkpoint runs with `runtime` torch, not ref.*edgedet quantize"):
        choose_runtime(Path("a.pt"), "ref")
    with pytest.raises(ConfigError, match=r"a\.tflite: `runtime` torch runs checkpoints"):
        choose_runtime(Path("a.tflite"), "torch")
    with pytest.raises(ConfigError, match=r"model\.onnx: expected a \.tflite or a checkpoint"):
        choose_runtime(Path("model.onnx"), None)


def test_evaluate_prints_table_and_writes_json(toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "new" / "report.json"
    assert main(["evaluate", str(toy / "model.tflite"), "--data", str(toy / "data"), "--json", str(report)]) == 0
    out, err = capfd.readouterr()
    value = json.loads(report.read_text())
    assert out.startswith(value["ap"]["table"])
    assert value["runtime"] == "sim"
    assert err.splitlines()[-1] == "evaluate: 6/6 images"
    assert [p.name for p in report.parent.iterdir()] == ["report.json"]


def test_evaluate_explicit_paths_and_splits_equal_the_folder(toy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, data = str(toy / "model.tflite"), toy / "data"
    tables = []
    for options in (
        ["--data", data, "--split", "train"],
        [
            "--train-ann",
            data / "train" / "_annotations.coco.json",
            "--train-images",
            data / "train",
            "--split",
            "train",
        ],
        ["--data", data],
        ["--val-ann", data / "valid" / "_annotations.coco.json", "--val-images", data / "valid"],
    ):
        assert main(["evaluate", model, *map(str, options)]) == 0
        tables.append(capfd.readouterr().out.partition("per class")[0])
    assert tables[0] == tables[1] != tables[2] == tables[3]


def test_evaluate_bad_input_gives_one_line_and_code_2(
    toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, data = toy / "model.tflite", toy / "data"
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(model.read_bytes()[:500])
    bare = load_toy().write_toy_model(tmp_path / "bare.tflite", metadata=False)
    two = load_toy().write_toy_model(tmp_path / "two.tflite", classes=2)
    assert "absent.tflite" in fails(capfd, "evaluate", tmp_path / "absent.tflite", "--data", data)
    assert "cut.tflite" in fails(capfd, "evaluate", cut, "--data", data)
    assert "metadata" in fails(capfd, "evaluate", bare, "--data", data)
    others = ("--rename", "red=a", "--rename", "green=b", "--rename", "blue=c")
    assert "the model knows ['red', 'green']" in fails(capfd, "evaluate", two, "--data", data, *others)
    assert "nowhere" in fails(capfd, "evaluate", model, "--data", tmp_path / "nowhere")
    assert "--data, or --val-ann" in fails(capfd, "evaluate", model)
    assert "give --val-ann" in fails(capfd, "evaluate", model, "--data", data, "--val-images", data / "valid")
    assert "checkpoint runs with --runtime torch" in fails(capfd, "evaluate", "a.pt", "--runtime", "sim")
    assert "test" in fails(capfd, "evaluate", model, "--data", data, "--split", "test")


def test_evaluate_json_path_is_a_folder_gives_one_line(
    toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = ["evaluate", str(toy / "model.tflite"), "--data", str(toy / "data"), "--json", str(tmp_path)]
    assert main(argv) == 2
    assert capfd.readouterr().err.splitlines()[-1].startswith("error: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        ("evaluate", "--json"),
        ("predict", "picture.png", "--out"),
        ("lint", "--json"),
        ("convert", "--out"),
        ("deploy", "--out"),
        ("inspect", "--against", "absent.pt", "--out"),
    ],
)
def test_output_that_cannot_be_written_is_noticed_before_the_work(
    toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    """Neither data set, picture nor checkpoint is there, so whoever looks at them first says so."""
    (tmp_path / "afile").write_text("kept")
    out = tmp_path / "afile" / "sub"
    command, *rest = options
    assert f"{rest[-1]} {out}: {tmp_path / 'afile'} is a file" in fails(
        capfd, command, toy / "model.tflite", *rest, out
    )


@pytest.mark.parametrize(
    "options", [("train", "rtmdet_pico_relu6"), ("substitute", "a.pt", "--activation", "relu"), ("quantize", "a.pt"),
                ("quantize", "a.pt", "--method", "qat")]
)  # fmt: skip
def test_run_folder_that_cannot_be_written_is_noticed_before_the_work(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    pytest.importorskip("torch")
    (tmp_path / "afile").write_text("kept")
    assert f"--out {tmp_path / 'afile'}: is a file" in fails(capfd, *options, "--out", tmp_path / "afile")
    out = tmp_path / "afile" / "sub"
    assert f"--out {out}: {tmp_path / 'afile'} is a file" in fails(capfd, *options, "--out", out)


def test_progress_counts_what_the_command_counts(capfd: pytest.CaptureFixture[str]) -> None:
    with show_progress("evaluate") as images, show_progress("inspect", "steps") as steps:
        images(7, 7)
        steps(3, 3)
    assert capfd.readouterr().err == "evaluate: 7/7 images\ninspect: 3/3 steps\n"


def test_checkpoint_in_place_of_an_int8_file_says_how_to_make_one(
    toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for argv in (["deploy", "best.pt"], ["convert", "best.pt"], ["inspect", "best.pt", "--against", "best.pt"]):
        text = fails(capfd, *argv, "--out", tmp_path / "out")
        assert "best.pt: expected an int8 .tflite, found a checkpoint (.pt); make one with `edgedet quantize`" in text


def test_predict_writes_pictures(toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    images = sorted((toy / "data" / "valid").glob("*.png"))
    argv = ["predict", str(toy / "model.tflite"), *map(str, images), "--out", str(tmp_path / "out")]
    assert main([*argv, "--score-threshold", "0.3"]) == 0
    out = capfd.readouterr().out.splitlines()
    assert len(out) == len(images) + 3  # detections.json, next, run
    assert out[0].startswith(f"{images[0]}: ")
    assert (tmp_path / "out" / images[0].name).is_file()
    value = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert sum(len(image["detections"]) for image in value["images"]) > 3
    assert all(found["score"] > 0.3 for image in value["images"] for found in image["detections"])


def test_predict_that_finds_nothing_says_so(toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = sorted((toy / "data" / "valid").glob("*.png"))[0]
    argv = ["predict", str(toy / "model.tflite"), str(image), "--out", str(tmp_path / "out")]
    assert main([*argv, "--score-threshold", "0.99999"]) == 0
    assert "note: no object was found in 1 image;" in capfd.readouterr().out


def test_predict_broken_image_gives_one_line_and_writes_nothing(
    toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    assert "broken.jpg" in fails(capfd, "predict", toy / "model.tflite", broken, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_convert_rewrites_the_same_graph(toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from edgedet.graph.flatbuffer import read_tflite

    out = tmp_path / "again.tflite"
    assert main(["convert", str(toy / "model.tflite"), "--out", str(out)]) == 0
    assert "CONV_2D" in capfd.readouterr().out
    assert read_tflite(out) == read_tflite(toy / "model.tflite")
    assert "absent" in fails(capfd, "convert", tmp_path / "absent.tflite")


def test_data_check_counts_and_reports_broken_images(
    toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(toy / "data"), "--imgsz", "96x64"]) == 0
    assert "96x64" in capfd.readouterr().out
    assert "nowhere" in fails(capfd, "data", "check", tmp_path / "nowhere")
    assert "multiple of 32" in fails(capfd, "data", "check", toy / "data", "--imgsz", "100")
    data = load_toy().write_toy_data(tmp_path / "data", images=3)
    picture = data / "valid" / "picture1.png"
    picture.write_bytes(picture.read_bytes()[:-400])  # the header is whole, the pixels are not
    assert main(["data", "check", str(data)]) == 2
    out, err = capfd.readouterr()
    assert "picture1.png" in out
    assert f"1 of 3 images can't be read: {picture}: " in err.splitlines()[-1]


def test_data_synth_writes_a_data_set_that_checks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cv2")
    assert main(["data", "synth", "--out", str(tmp_path / "synth"), "--images", "4", "--seed", "3"]) == 0
    assert main(["data", "check", str(tmp_path / "synth")]) == 0
    assert "mask" in capfd.readouterr().out


def test_deploy_writes_sources(toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tflite_micro")
    pytest.importorskip("jinja2")
    assert main(["deploy", str(toy / "model.tflite"), "--target", "tflm", "--out", str(tmp_path / "fw")]) == 0
    out = capfd.readouterr().out
    assert "arena:" in out
    assert "CONV_2D 9" in out
    assert "nothing was compiled or run here" in out
    assert (tmp_path / "fw" / "manifest.json").is_file()
    bare = load_toy().write_toy_model(tmp_path / "b.tflite", metadata=False)
    assert main(["deploy", str(bare), "--out", str(tmp_path / "fw2")]) == 0
    assert "no contract.h" in capfd.readouterr().out


def test_train_bad_input_gives_one_line_and_no_folder(
    toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    start = ["train", "rtmdet_pico_relu6", "--data", toy / "data", "--out", tmp_path / "run"]
    assert "lerning_rate" in fails(capfd, *start, "--set", "lerning_rate=1")
    assert "multiple of 32" in fails(capfd, *start, "--imgsz", "100")
    assert "multiple of 32" in fails(capfd, *start, "--imgsz", "96x100")
    assert "take a larger batch or size" in fails(capfd, *start, "--imgsz", "32", "--batch", "1")
    assert "rtmdet_giant" in fails(capfd, "train", "rtmdet_giant", *start[2:])
    assert "nowhere" in fails(capfd, *start[:3], tmp_path / "nowhere", *start[4:])
    assert not (tmp_path / "run").exists()


def test_truncated_checkpoint_gives_one_line(toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    checkpoint = tmp_path / "cut.pt"
    checkpoint.write_bytes(b"PK\x03\x04 and no more")
    assert "cut.pt" in fails(capfd, "evaluate", checkpoint, "--data", toy / "data")
    assert "cut.pt" in fails(capfd, "lint", checkpoint)
    model = toy / "model.tflite"
    assert "cut.pt" in fails(capfd, "inspect", model, "--against", checkpoint, "--data", toy / "data")
    assert not (toy / "inspect.json").exists()
    assert "cut.pt" in fails(capfd, "quantize", checkpoint, "--data", toy / "data", "--out", tmp_path / "q")
    assert not (tmp_path / "q").exists()


@pytest.mark.slow
def test_whole_way_train_quantize_evaluate_predict(
    toy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every command takes what the one before left; accuracy is judged elsewhere."""
    pytest.importorskip("torch")
    data = ["--data", str(toy / "data")]
    run, quantized = tmp_path / "run", tmp_path / "q"
    options = [
        "--imgsz",
        "96x64",
        "--epochs",
        "2",
        "--batch",
        "4",
        "--out",
        str(run),
        "--set",
        "bf16=false",
        "threads=1",
    ]
    assert main(["train", "rtmdet_pico_relu6", *data, *options]) == 0
    checkpoint = run / "last.pt"
    assert main(["evaluate", str(checkpoint), *data]) == 0
    few = ["--calib-images", "4", "--waterfall", "--waterfall-images", "2"]
    assert main(["quantize", str(checkpoint), *data, "--out", str(quantized), *few]) == 0
    assert "AP waterfall (valid, 2 images)" in capfd.readouterr().out
    assert json.loads((quantized / "report.json").read_text())["waterfall"]["images"] == 2
    assert (quantized / "waterfall.svg").is_file()
    model = str(quantized / "model_int8.tflite")
    assert main(["lint", model]) == 0
    assert main(["inspect", model, "--against", str(checkpoint), *data, "--images", "2", "--top", "3"]) == 0
    assert "the 3 most sensitive" in capfd.readouterr().out
    assert all((quantized / f"inspect.{kind}").is_file() for kind in ("csv", "json", "svg"))
    assert main(["evaluate", model, *data]) == 0
    assert "runtime: sim: int8" in capfd.readouterr().out
    image = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 50, 3), dtype=np.uint8)).save(image)
    assert main(["predict", model, str(image), "--out", str(tmp_path / "pictures")]) == 0
    assert (tmp_path / "pictures" / "noise.png").is_file()


def test_main_missing_package_names_the_extra(toy: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'torch':\n"
        "            raise ModuleNotFoundError('No module named torch', name='torch')\n"
        "sys.meta_path.insert(0, Hide())\n"
        "from edgedet.commands.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    argv = [sys.executable, "-c", code, "evaluate", str(tmp_path / "a.pt"), "--data", str(toy / "data")]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('error: torch is not installed, but this step needs it: pip install "edgedet[train]"')


def test_main_interrupt_returns_130(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted(path: Path) -> np.ndarray:
        raise KeyboardInterrupt

    monkeypatch.setattr("edgedet.evaluate.detect.load_image", interrupted)
    assert main(["evaluate", str(toy / "model.tflite"), "--data", str(toy / "data")]) == 130
    assert capfd.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("evaluate", "--detections", "d.json", "--runtime", "ref"), "--runtime: for a model, but --detections"),
        (("evaluate", "--detections", "d.json", "--per-operator"), "--per-operator: for a model, but --detections"),
        (("evaluate", "--detections", "d.json", "--score-threshold", "0"), "--score-threshold: for a model, but"),
        (("evaluate", "model.tflite", "--per-operator"), "found the default runtime"),
        (("evaluate", "model.tflite", "--per-operator", "--runtime", "c99"), "counts instructions, found c99"),
        (("evaluate", "model.tflite", "--train-ann", "a.json"), "--train-ann: not of the split valid"),
        (
            ("evaluate", "model.tflite", "--split", "test", "--val-ann", "a", "--val-images", "b"),
            "--val-ann, --val-images",
        ),
        (
            ("inspect", "model.tflite", "--against", "a.pt", "--train-images", "a"),
            "--train-images: not of the split valid",
        ),
        (("operators", "--markdown", "ADD"), "--markdown prints the whole table, found ADD"),
    ],
)
def test_option_without_effect_in_this_mode_is_an_error(
    argv: tuple[str, ...], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert words in fails(capfd, *argv)
