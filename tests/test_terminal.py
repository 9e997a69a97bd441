"""Names of classes and files hold any character; what the output can't show is replaced, and nothing is lost."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from toy_detector import write_toy_data, write_toy_model

from edgedet.fileio import atomic_write_text

REPO = Path(__file__).resolve().parents[1]
ODD = "café “マスク” 😷"


def run(tmp_path: Path, argv: list[str], **environment: str) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PYTHONPATH": str(REPO), **environment}
    command = [sys.executable, "-m", "edgedet", *argv]
    return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose class is odd, and its model."""
    folder = tmp_path_factory.mktemp("odd")
    write_toy_data(folder / "data", images=2)
    write_toy_model(folder / "model.tflite")
    for path in folder.glob("data/*/*.json"):
        document = json.loads(path.read_text())
        document["categories"].append({"id": 77, "name": ODD})
        path.write_text(json.dumps(document))
    return folder


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "cp1252"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
@pytest.mark.parametrize("command", [["data", "check", "data"], ["evaluate", "model.tflite", "--data", "data"]])
def test_output_that_is_not_utf8_shows_replacements(
    data: Path, environment: dict[str, str], command: list[str]
) -> None:
    done = run(data, command, **environment)
    assert done.returncode == 0, done.stderr
    assert b"\\u30de\\u30b9\\u30af" in done.stdout + done.stderr


def test_error_that_names_undecodable_bytes_is_one_line(tmp_path: Path) -> None:
    done = run(tmp_path, ["convert", os.fsdecode(b"caf\xe9.tflite")])
    assert done.returncode == 2
    assert b"caf\\udce9.tflite" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_names_that_steer_a_terminal_are_shown_by_their_code(tmp_path: Path, data: Path) -> None:
    name = "a\x1b[2J\u202eb.png"
    (tmp_path / name).write_bytes(b"no picture")
    found = run(tmp_path, ["predict", str(data / "model.tflite"), name, "--out", "o"])
    shown = found.stderr.decode()
    assert found.returncode == 2
    assert "a\\x1b[2J\\u202eb.png" in shown
    assert not set(shown) & {"\x1b", "\u202e"}


def test_reader_that_went_away_ends_the_command_in_silence(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "edgedet", "operators"]
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(command, cwd=tmp_path, env=env, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_report_files_take_names_of_undecodable_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    for text in (json.dumps({"image": name}), json.dumps({"image": name}, ensure_ascii=False)):
        atomic_write_text(tmp_path / "a.json", text)
        assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"image": name}


def test_working_shows_seconds_at_a_terminal_and_leaves_nothing(tmp_path: Path) -> None:
    """From the outside: a process whose standard error is a terminal, silent for longer than a second."""
    code = "import time; from edgedet.terminal import working\nwith working('reading'): time.sleep(1.3)"
    master, slave = pty.openpty()
    command = [sys.executable, "-c", code]
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        shown = b""
        with suppress(OSError):  # the end of a terminal is an error
            while part := os.read(master, 4096):
                shown += part
        assert process.wait() == 0
        assert process.stdout is not None
        assert process.stdout.read() == b""
    os.close(master)
    assert shown.startswith(b"\rreading: 0 s")
    assert shown.count(b"reading:") >= 3
    assert shown.endswith(b"\r" + b" " * len("reading: 1 s") + b"    \r")
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")  # no terminal
