from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from PIL import Image

from edgedet.commands.main import main
from edgedet.errors import ConfigError, OutputError
from edgedet.fileio import (
    atomic_path,
    atomic_write_bytes,
    atomic_write_text,
    require_out_file,
    require_out_folder,
)
from edgedet.outputs.lock import hold_output


def test_atomic_write_creates_the_folder_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.bin"
    atomic_write_bytes(path, b"one")
    atomic_write_text(path, "zwei ü")
    assert path.read_text(encoding="utf-8") == "zwei ü"
    assert list(path.parent.iterdir()) == [path]


def test_atomic_path_error_keeps_the_old_file_and_removes_the_new(tmp_path: Path) -> None:
    path = tmp_path / "c.bin"
    path.write_bytes(b"old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_require_out_folder_accepts_what_can_be_written_and_leaves_nothing(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "there", tmp_path / "new", tmp_path / "new" / "deeper", Path("relative"), Path()):
        require_out_folder(path, "--out")
        require_out_file(path / "report.json", "--json")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert list((tmp_path / "there").iterdir()) == []


def test_require_out_folder_names_the_file_in_its_way(tmp_path: Path) -> None:
    file, link = tmp_path / "afile", tmp_path / "link"
    file.write_text("kept")
    link.symlink_to(tmp_path / "nowhere")
    for path, kind in ((file, "a file"), (link, "a link that leads nowhere")):
        with pytest.raises(ConfigError, match=rf"--out {path}: is {kind}, expected a folder or a new name"):
            require_out_folder(path, "--out")
    with pytest.raises(ConfigError, match=rf"--out {file}/a/b: {file} is a file, expected a folder there"):
        require_out_folder(file / "a" / "b", "--out")
    with pytest.raises(ConfigError, match=rf"--json {file}/r.json: {file} is a file"):
        require_out_file(file / "r.json", "--json")
    with pytest.raises(ConfigError, match=r"--json .* is a folder, expected the name of a file"):
        require_out_file(tmp_path, "--json")
    assert file.read_text() == "kept"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc, where even root can't write")
def test_require_out_folder_where_nobody_can_write() -> None:
    for check, path in ((require_out_folder, "/proc/x"), (require_out_file, "/proc/x/y.json")):
        with pytest.raises(ConfigError, match=rf"--out {path}: nothing can be written in /proc \(.+\); give another"):
            check(Path(path), "--out")


def test_atomic_path_removes_what_a_killed_run_left_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.pt.abcd1234.edgedet", ".b.pt.abcd1234.edgedet", ".a.pt.mine", ".a.pt.abcd1234"):
        (tmp_path / name).mkdir()
    atomic_write_text(tmp_path / "a.pt", "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".a.pt.abcd1234",
        ".a.pt.mine",
        ".b.pt.abcd1234.edgedet",
        "a.pt",
    ]


def test_atomic_path_leaves_the_hidden_folder_of_a_living_run_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with atomic_path(path) as first:
        first.write_text("first")
        atomic_write_text(path, "second")
        assert first.is_file()
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_out_file_pipes_sockets_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    pipe, address = tmp_path / "pipe", tmp_path / "socket"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(address))
    for path, kind in ((pipe, "a pipe"), (address, "a socket"), (Path("/dev/null"), "a device")):
        with pytest.raises(ConfigError, match=rf"--json {path}: is {kind}"):
            require_out_file(path, "--json")
        with pytest.raises(ConfigError, match=rf"--out {path}: is {kind}"):
            require_out_folder(path, "--out")
        with pytest.raises(OutputError, match=rf"{path}: is {kind}"):
            atomic_write_text(path, "no")
    assert Path("/dev/null").is_char_device()


def test_require_out_folder_refuses_the_root() -> None:
    with pytest.raises(ConfigError, match="`out` /: is the root of all files"):
        require_out_folder(Path("/"), "`out`")
    with pytest.raises(ConfigError, match="`out` /: is the root of all files"), hold_output(Path("/")):
        pass


@pytest.mark.parametrize(
    "command",
    [
        ["lint", "p.tflite"],
        ["evaluate", "p.tflite", "--data", "voc"],
        ["deploy", "p.tflite", "--out", "o"],
        ["contract", "p.tflite"],
        ["evaluate", "--detections", "p.json", "--data", "coco"],
        ["data", "check", "voc"],
    ],
)
def test_pipes_in_place_of_inputs_are_refused_without_waiting(
    tiny_coco_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd, command: list[str]
) -> None:
    (tmp_path / "coco").symlink_to(tiny_coco_once)
    (tmp_path / "voc").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "voc" / "a.png")
    for name in ("p.tflite", "p.json", "voc/a.xml"):
        os.mkfifo(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("waits for somebody who writes"))
    signal.alarm(20)
    try:
        assert main(command) == 2
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert "(is a pipe, expected a file)" in capfd.readouterr().err.splitlines()[-1]
