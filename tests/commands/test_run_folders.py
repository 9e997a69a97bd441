"""The usual way without a single `--out`: each step finds a folder of its own, says where, and gives its JSON."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from toy_detector import write_toy_data, write_toy_model

import edgedet
from edgedet.commands.frame.next_step import show_next_on_data
from edgedet.commands.main import build_parser, main
from edgedet.errors import BrokenImagesError
from edgedet.options import data_paths


def random_checkpoint(path: Path) -> Path:
    """Of a small network with the classes of the tiny data set."""
    pytest.importorskip("torch")
    from random_weights import random_detector

    from edgedet.config import load_model_file
    from edgedet.contracts import OutputSpec
    from edgedet.net.checkpoint import Checkpoint, save_checkpoint

    file = load_model_file("rtmdet_pico_relu6", ("deepen=0.1", "stacked_convs=1"))
    outputs = OutputSpec(class_names=("red", "green"), category_ids=(1, 2))
    network = random_detector(file.model, len(outputs.class_names), 0, 64, 64)
    save_checkpoint(Checkpoint(file.model, file.preprocess.spec((64, 64)), outputs, network.state_dict(), {}), path)
    return path


def step(capfd: pytest.CaptureFixture[str], *argv: str) -> tuple[dict[str, Any], list[str]]:
    """JSON of a command that goes well, and what it shows besides."""
    assert main([*argv, "--json", "-"]) == 0
    out, err = capfd.readouterr()
    value: dict[str, Any] = json.loads(out)
    return value, err.splitlines()


def test_steps_without_out_have_folders_of_their_own(
    tiny_coco: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    train = ("train", "rtmdet_pico_relu6", "--data", str(tiny_coco), "--imgsz", "64", "--epochs", "1")
    value, lines = step(capfd, *train)
    run = "runs/rtmdet_pico_relu6-1"
    assert (lines[0], lines[-1]) == (f"train: run {run}", f"run: {run}")
    assert value["best"] == f"{run}/best.pt"
    assert [row["epoch"] for row in value["history"]] == [1]

    assert value["best_ap"] < 0.01  # of one epoch: not worth a quantization
    assert f"next: `edgedet {' '.join(train[:-2])} --epochs auto`" in lines

    quantize = ("quantize", f"{run}/best.pt", "--data", str(tiny_coco), "--effort", "fast")
    value, lines = step(capfd, *quantize)
    assert (lines[0], lines[-1]) == (
        "quantize: run runs/rtmdet_pico_relu6_int8-1",
        "run: runs/rtmdet_pico_relu6_int8-1",
    )
    model = Path(value["model"])
    before = model.read_bytes()
    assert (value["sha256"], value["calib_images"]) == (
        json.loads((model.parent / "report.json").read_text())["sha256"],
        9,
    )
    value, lines = step(capfd, *quantize)
    assert lines[-1] == "run: runs/rtmdet_pico_relu6_int8-2"
    assert model.read_bytes() == before == Path(value["model"]).read_bytes()

    value, lines = step(capfd, "deploy", str(model), "--target", "c99")
    assert (value["out"], lines[-1]) == ("runs/rtmdet_pico_relu6_int8_c99-1", "run: runs/rtmdet_pico_relu6_int8_c99-1")
    measured = ("evaluate", str(model), "--data", str(tiny_coco), "--images", "2")
    value, lines = step(capfd, *measured)
    assert lines[-1] == f"next: `edgedet deploy {model} --target c99`"
    with monkeypatch.context() as strict:  # what finds next to nothing is not to be deployed
        strict.setattr("edgedet.evaluate.figures.reading.NOTHING_AP", 1.01)
        value, lines = step(capfd, *measured)
        assert lines[-1] == f"next: `edgedet contract {model}`"
        measured = ("evaluate", f"{run}/best.pt", "--data", str(tiny_coco), "--images", "2")
        value, lines = step(capfd, *measured)
        assert lines[-1] == f"next: `edgedet data show {tiny_coco} --split valid --out labels.png`"
        assert value["reading"][0]["says"] == "The model finds next to nothing"
        strict.setattr("edgedet.evaluate.figures.reading.NOTHING_AP", 0.0)
        value, lines = step(capfd, *measured)
    assert lines[-1] == f"next: `edgedet quantize {run}/best.pt --data {tiny_coco}`"
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "rtmdet_pico_relu6-1", "rtmdet_pico_relu6_int8-1", "rtmdet_pico_relu6_int8-2",
        "rtmdet_pico_relu6_int8_c99-1",
    ]  # fmt: skip


@pytest.mark.slow
def test_substitute_inspect_and_export_give_json_alone(
    tiny_coco_once: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    random_checkpoint(Path("start.pt"))
    data = ("--data", str(tiny_coco_once))
    value, lines = step(capfd, "substitute", "start.pt", "--activation", "relu", *data, "--epochs", "1")
    tuned = value["checkpoint"]
    assert (value["activation"], value["epochs"], value["reading"]) == ("relu", 1, [])  # an epoch says nothing
    look = f"data show {tiny_coco_once} --out labels.png"  # random weights, which found nothing before either
    assert lines[-2:] == [f"next: `edgedet {look}`", "run: runs/start_relu-1"]
    assert main(look.split()) == 0
    capfd.readouterr()

    value, _ = step(capfd, "quantize", tuned, *data, "--effort", "fast", "--out", "q")
    images = ("--images", "2", "--sensitivity-images", "1")
    value, lines = step(capfd, "inspect", value["model"], "--against", tuned, *data, *images)
    assert value == json.loads(Path("q/inspect.json").read_text())
    assert "wrote q/inspect.json" in lines
    assert lines[-1] == f"next: `edgedet waterfall q/model_int8.tflite --against {tuned} --data {tiny_coco_once}`"
    assert main([*shlex.split(lines[-1].strip("`"))[2:], "--images", "2"]) == 0
    capfd.readouterr()

    value, lines = step(capfd, "export", tuned, "--format", "torchscript", "--out", "float.pt")
    assert Path(value["files"][0]["path"]).is_file()
    assert any("float.pt" in line for line in lines)
    assert main(["export", "--list", "--json", "-"]) == 0
    out, err = capfd.readouterr()
    rows = json.loads(out)
    assert len(rows) > 8
    assert all(row["name"] in err for row in rows)


@pytest.mark.parametrize("command", [("deploy", "MODEL", "--target", "c99"), ("predict", "MODEL", "DATA/valid")])
def test_an_earlier_run_of_another_kind_is_never_written_over(
    command: tuple[str, ...], toy_model: Path, toy_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("jinja2")
    (tmp_path / "best.pt").write_bytes(b"weights")
    argv = [word.replace("MODEL", str(toy_model)).replace("DATA", str(toy_data)) for word in command]
    assert main([*argv, "--out", str(tmp_path)]) == 2
    assert "already holds a run of train (best.pt), which stays as it is" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["best.pt"]


def test_predict_skip_broken_is_no_failure_and_names_them(
    toy_model: Path, toy_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    argv = ["predict", str(toy_model), str(toy_data / "valid" / "picture0.png"), "broken.jpg"]
    assert main(argv) == 2
    assert main([*argv, "--skip-broken"]) == 0
    _, err = capfd.readouterr()
    assert "note: 1 of 2 images can't be read; the others are done:\n  broken.jpg: " in err
    value = json.loads(Path("runs/toy_predict-2/detections.json").read_text())
    assert len(value["images"]) == 1
    assert value["unreadable"][0].startswith("broken.jpg: can't decode")


def test_two_runs_at_once_get_a_folder_each(tmp_path: Path) -> None:
    """The second chooses while the first one has not written anything yet."""
    model = write_toy_model(tmp_path / "toy.tflite")
    pictures = sorted(write_toy_data(tmp_path, 4).rglob("*.png"))[:4]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-m", "edgedet", "predict", str(model)]
    started = [
        subprocess.Popen([*command, str(picture)], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for picture in pictures
    ]
    folders = [process.communicate(timeout=120)[0].splitlines()[-1] for process in started]
    assert [process.returncode for process in started] == [0] * len(started)
    assert len(set(folders)) == len(folders)
    for picture, line in zip(pictures, folders, strict=True):
        assert (tmp_path / line.removeprefix("run: ") / picture.name).is_file()


def test_next_command_reads_the_same_pictures(tiny_coco_once: Path) -> None:
    args = build_parser().parse_args(
        ["train", "rtmdet_pico_relu6", "--data", str(tiny_coco_once), "--val-fraction", "0.12345678",
         "--split-seed", "3", "--classes", "red", "--rename", "green=blue", "--exif", "upright", "--skip-broken"]
    )  # fmt: skip
    with redirect_stdout(StringIO()) as shown:
        assert show_next_on_data(args, "evaluate", "model.tflite")
    line = shlex.split(shown.getvalue().replace("\n", " ").removeprefix("next: ").strip().strip("`"))
    again = build_parser().parse_args(line[1:])
    assert data_paths(again) == data_paths(args)


def test_operating_point_with_a_broken_picture_stops_before_the_work(
    tiny_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = random_checkpoint(tmp_path / "a.pt")
    broken = sorted((tiny_coco / "valid").glob("*.png"))[0]
    broken.write_bytes(broken.read_bytes()[:60])
    out = tmp_path / "q"
    argv = ["quantize", str(checkpoint), "--data", str(tiny_coco), "--operating-point", "f1", "--out", str(out)]
    assert main(argv) == 2
    assert broken.name in capsys.readouterr().err
    assert not out.exists()
    with pytest.raises(BrokenImagesError, match=re.escape(broken.name)):
        edgedet.load(checkpoint).quantize(tiny_coco, out, operating_point="f1")
    assert not out.exists()


def test_quantize_names_all_broken_pictures(
    tiny_coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = sorted((tiny_coco / "train").glob("*.png"))[:2]
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:60])
    checkpoint = random_checkpoint(tmp_path / "a.pt")
    argv = ["quantize", str(checkpoint), "--data", str(tiny_coco), "--out", str(tmp_path / "q")]
    assert main(argv) == 2
    error = capsys.readouterr().err
    assert first.name in error
    assert second.name in error


def test_predict_does_the_others_of_a_list_with_a_missing_path_and_names_it(
    toy_model: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = sorted((toy_data / "valid").glob("*.png"))[:2]
    lines = [str(photos[0]), "gone[1].jpg", str(photos[1]), "absent.jpg"]
    monkeypatch.setattr("sys.stdin", StringIO("\n".join(lines)))
    argv = ["predict", str(toy_model), "--runtime", "sim", "--out"]
    assert main([*argv, "listed", "-"]) == 2
    err = capsys.readouterr().err
    assert "error: 2 of 4 images can't be read; the others are done:\n  gone[1].jpg: " in err
    assert "\n  absent.jpg: image file not found" in err
    value = json.loads(Path("listed/detections.json").read_text())
    assert [image["image"] for image in value["images"]] == [str(photo) for photo in photos]
    assert [text.partition(":")[0] for text in value["unreadable"]] == ["gone[1].jpg", "absent.jpg"]
    assert main([*argv, "none", "absent.jpg", "absent too.jpg"]) == 2
    assert "none of the 2 images can be read: absent.jpg: image file not found" in capsys.readouterr().err
    assert main([*argv, "none", "absent.jpg"]) == 2
    assert "absent.jpg: no such file or folder" in capsys.readouterr().err
    assert not Path("none").exists()


@pytest.mark.parametrize(
    "line",
    ["predict RUN PICTURE --runtime sim", "evaluate RUN --data DATA --runtime sim --images 2", "lint RUN",
     "check RUN --board all", "deploy RUN --target c99", "convert RUN"],
)  # fmt: skip
def test_the_folder_of_a_run_is_taken_for_its_model(
    line: str, toy_model: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/model_int8.tflite").write_bytes(toy_model.read_bytes())
    picture = toy_data / "valid" / "picture0.png"
    words = {"PICTURE": str(picture), "DATA": str(toy_data)}
    given = [words.get(word, word) for word in line.split()]
    assert main([word.replace("RUN", "mine") for word in given]) in (0, 1)  # 1: of check, it does not fit
    of_folder = capfd.readouterr()
    assert main([word.replace("RUN", "mine/model_int8.tflite") for word in given]) in (0, 1)
    of_file = capfd.readouterr()
    assert len(of_folder.out.splitlines()) == len(of_file.out.splitlines()) > 0
    assert "error" not in of_folder.err


def test_quantize_takes_the_folder_of_a_training_run_for_its_checkpoint(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "best.pt").write_bytes(b"PK\x03\x04 cut")
    assert main(["quantize", str(run), "--data", str(tmp_path), "--out", str(tmp_path / "q")]) == 2
    assert "best.pt" in capfd.readouterr().err.splitlines()[-1]


def test_predict_names_the_videos_of_a_folder_that_it_passes_over(
    toy_model: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_bytes((toy_data / "valid" / "picture0.png").read_bytes())
    (photos / "walk.MP4").write_bytes(b"whatever")
    assert main(["predict", str(toy_model), str(photos), "--runtime", "sim", "--out", str(tmp_path / "out")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert (
        f"note: videos in the folders were passed over: 1, first {photos / 'walk.MP4'}; a video goes by itself" in told
    )
