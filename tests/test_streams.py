"""Standard streams that are closed, full or gone: the work is done, and what is lost is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_detector import write_toy_data, write_toy_model

from edgedet.commands.main import main
from edgedet.streams import LastingStream

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streams")
    write_toy_data(folder / "data", images=2)
    write_toy_model(folder / "model.tflite")
    return folder


def shell(toy: Path, line: str) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PYTHONPATH": str(REPO), "PY": sys.executable}
    return subprocess.run(["bash", "-c", line], cwd=toy, env=env, capture_output=True, check=False)


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_show_nothing_and_the_work_is_done(toy: Path, closed: str) -> None:
    done = shell(toy, f"$PY -m edgedet evaluate model.tflite --data data --json closed.json {closed}")
    assert done.returncode == 0, done.stderr
    assert "ap" in json.loads((toy / "closed.json").read_text())
    (toy / "closed.json").unlink()


def test_full_standard_error_ends_no_work(toy: Path) -> None:
    done = shell(toy, "$PY -m edgedet evaluate model.tflite --data data --json full.json 2>/dev/full")
    assert done.returncode == 0
    assert b"AP" in done.stdout
    assert (toy / "full.json").exists()


@pytest.mark.parametrize("command", ["settings", "--help"])
def test_full_standard_output_is_one_line_and_code_2(toy: Path, command: str) -> None:
    done = shell(toy, f"$PY -m edgedet {command} >/dev/full")
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "error: standard output: can't be written (No space left on device): the disk is full; free some space, then "
        "repeat the command"
    ]


def test_folder_that_was_removed_is_named(toy: Path) -> None:
    done = shell(toy, "mkdir gone; cd gone; rmdir ../gone; $PY -m edgedet predict ../model.tflite ../a.png --out o")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("error: the current folder is gone")


def test_lasting_stream_keeps_the_first_error_and_goes_on() -> None:
    with open("/dev/full", "w") as full:
        stream = LastingStream(full)
        assert stream.write("a\n") == 2
        assert stream.failed is None  # still in the buffer
        stream.flush()
        stream.writelines(["b\n"])
        assert stream.failed is not None
        assert stream.failed.strerror == "No space left on device"
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--json", "data/valid/_annotations.coco.json"], "belongs to what the command reads"),
        (["--json", "other.json"], "is a COCO annotation file"),
        (["--log-file", "model.tflite"], "is another file, no log of edgedet"),
        (["--log-file", "other.json"], "is another file, no log of edgedet"),
    ],
)
def test_outputs_never_replace_what_is_read(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    monkeypatch.chdir(toy)
    path = Path(options[1])
    (toy / "other.json").write_bytes((toy / "data" / "valid" / "_annotations.coco.json").read_bytes())
    before = path.read_bytes()
    assert main(["evaluate", "model.tflite", "--data", "data", *options]) == 2
    assert words in capfd.readouterr().err.splitlines()[-1]
    assert path.read_bytes() == before


def test_results_and_logs_of_an_earlier_run_are_taken(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy)
    for _ in range(2):
        assert main(["evaluate", "model.tflite", "--data", "data", "--json", "r.json", "--log-file", "l.txt"]) == 0
        assert main(["data", "check", "data", "--json", "data/r.json"]) == 0  # lies there, but is none of the labels
    assert (toy / "l.txt").read_text().count("in ") >= 2
