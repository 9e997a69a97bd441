"""Names of runs, and that none is put on top of another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

import edgedet
from edgedet.api.runs import file_of, next_run, refuse_other_run, reserved_run, run_name
from edgedet.errors import ConfigError
from edgedet.outputs.lock import hold_output


def test_next_run_skips_what_is_there_and_what_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert next_run("a") == Path("runs/a-1")
    assert not Path("runs").exists()
    Path("runs/a-1").mkdir(parents=True)
    Path("runs/a-2").symlink_to("nowhere")
    with hold_output(Path("runs/a-3")):
        assert next_run("a") == Path("runs/a-4")
    assert next_run("a") == Path("runs/a-3")


@pytest.mark.parametrize(
    ("model", "what", "name"),
    [
        ("runs/bccd/best.pt", "int8", "bccd_int8"),
        ("runs/bccd-12/best.pt", "int8", "bccd_int8"),
        ("runs/yolo26/model_int8.tflite", "c99", "yolo26_c99"),
        ("faces.tflite", "c99", "faces_c99"),
        ("best.pt", "", "model"),
    ],
)
def test_run_name_is_that_of_the_run_or_file(model: str, what: str, name: str) -> None:
    assert run_name(Path(model), what) == name


@pytest.mark.parametrize(
    ("file", "kind", "resume", "refused"),
    [
        ("last.pt", "train", False, "go on with it by `resume`"),
        ("last.pt", "train", True, ""),
        ("best.pt", "quantize", False, "a run of train"),
        ("model_int8.tflite", "quantize", False, "a run of quantize"),
        ("model_int8.tflite", "train", True, "a run of quantize"),
        ("model_int8.tflite", "deploy", False, "a run of quantize"),
        ("manifest.json", "deploy", False, ""),
        ("detections.json", "predict", False, ""),
        ("detections.json", "evaluate", False, "a run of predict"),
        ("notes.txt", "quantize", False, ""),
    ],
)
def test_refuse_other_run_keeps_runs_apart(tmp_path: Path, file: str, kind: str, resume: bool, refused: str) -> None:
    (tmp_path / file).write_bytes(b"")
    if refused:
        with pytest.raises(ConfigError, match=refused):
            refuse_other_run(tmp_path, kind, resume)
    else:
        refuse_other_run(tmp_path, kind, resume)


def test_reserved_runs_of_threads_are_different_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All hold their folder at once, and none has written anything yet."""
    monkeypatch.chdir(tmp_path)
    everyone = Barrier(6, timeout=60)

    def reserve(number: int) -> Path:
        with reserved_run("a") as folder:
            everyone.wait()
            return folder

    with ThreadPoolExecutor(6) as pool:
        folders = list(pool.map(reserve, range(6)))
    assert len(set(folders)) == 6
    assert list(tmp_path.iterdir()) == [] or list(Path("runs").iterdir()) == []


def test_reserved_run_of_several_processes_needs_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="they need one folder; give it as `out`"), reserved_run("a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_python_and_command_line_reserve_the_same_way(
    toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a first one holds the folder that is free, deploy takes the next."""
    monkeypatch.chdir(tmp_path)
    with reserved_run("toy_c99") as first:
        report = edgedet.load(toy_model).deploy("c99")
    assert (first, report.out) == (Path("runs/toy_c99-1"), Path("runs/toy_c99-2"))
    assert [path.name for path in Path("runs").iterdir()] == ["toy_c99-2"]


def test_folder_that_is_no_run_leads_to_the_file_that_is_meant(toy_model: Path, tmp_path: Path) -> None:
    deployed = tmp_path / "detector"
    edgedet.load(toy_model).deploy("c99", out=deployed)
    with pytest.raises(ConfigError, match=rf"it is a deployment.*made from, {toy_model.name}, SHA-256 [0-9a-f]{{16}}"):
        file_of(deployed)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "best.pt").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"it holds runs: give one of them, .*mine$"):
        file_of(tmp_path / "runs")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.JPG").write_bytes(b"")
    with pytest.raises(ConfigError, match="it is a folder of images: the model comes first"):
        file_of(tmp_path / "photos")
