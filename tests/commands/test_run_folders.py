"""The usual way without a single `--out`: each step finds a folder of its own, says where, and gives its JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgedet.commands.main import main


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

    assert f"next: `edgedet quantize {run}/best.pt --data {tiny_coco}`" in lines

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
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "rtmdet_pico_relu6-1", "rtmdet_pico_relu6_int8-1", "rtmdet_pico_relu6_int8-2",
        "rtmdet_pico_relu6_int8_c99-1",
    ]  # fmt: skip


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
