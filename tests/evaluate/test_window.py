"""The window of frames, on an X server without a screen, with a keyboard that a program types on."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

import edgedet
from edgedet.commands.main import main
from edgedet.errors import ConfigError
from edgedet.evaluate.window import Window, has_display

FRAMES = 400  # more than are shown before the key is pressed


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """An X server of our own; gives its name."""
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        if os.environ.get("CI"):
            pytest.fail("Xvfb and xdotool are missing; .ci/run installs them")
        pytest.skip("needs Xvfb and xdotool")
    pytest.importorskip("tkinter")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"
        server.terminate()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "street.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (96, 64))
    for number in range(FRAMES):
        frame = np.zeros((64, 96, 3), np.uint8)
        frame[16:40, 8:32, 2] = 255 - number % 100
        writer.write(frame)
    writer.release()
    return path


def press(key: str, display: str, title: str) -> threading.Thread:
    """Type a key into the window of this title, once it is there."""

    def type_it() -> None:
        environment = {**os.environ, "DISPLAY": display}
        for _ in range(200):
            found = subprocess.run(
                ["xdotool", "search", "--name", title], env=environment, capture_output=True, text=True, check=False
            )
            if found.stdout.strip():
                window = found.stdout.split()[0]
                subprocess.run(["xdotool", "windowfocus", window, "key", key], env=environment, check=False)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=type_it)
    thread.start()
    return thread


@pytest.mark.parametrize("key", ["q", "Escape"])
def test_a_key_ends_the_recording_and_keeps_what_was_seen(
    key: str, display: str, toy_model: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", display)
    assert has_display()
    typing = press(key, display, "edgedet")
    report = edgedet.load(toy_model, runtime="sim").predict_video(video, tmp_path / "out", window=True)
    typing.join()
    assert 0 < report.frames < FRAMES
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["street.json", "street.mp4"]


def test_window_shows_the_pixels(display: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DISPLAY", display)
    pixels = np.full((48, 64, 3), (10, 200, 30), np.uint8)
    with Window("pixels") as window:
        assert window.show(pixels)
        picture = window._picture
        assert (picture.width(), picture.height()) == (64, 48)
        assert window._root.tk.call(str(picture), "get", 5, 5) == (10, 200, 30)


def test_without_a_display_one_line_says_so_and_nothing_is_written(
    toy_model: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    out = tmp_path / "out"
    assert main(["predict", str(toy_model), str(video), "--show", "--out", str(out), "--runtime", "sim"]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "no window can be opened" in errors[0]
    assert "--no-show" in errors[0]
    assert not out.exists()
    with pytest.raises(ConfigError, match="no window can be opened"):
        Window("none")


def test_show_is_refused_for_pictures(toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(toy_model), "a.jpg", "--show", "--out", str(tmp_path / "out")]) == 2
    assert "--show: only of a video or camera, found a.jpg" in capsys.readouterr().err


def test_a_camera_goes_on_without_a_window_that_nobody_asked_for(
    toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No X server answers, and there is no camera 97: the latter is the error, without OpenCV's own lines."""
    monkeypatch.setenv("DISPLAY", ":9797")
    argv = ["predict", str(toy_model), "97", "--out", str(tmp_path / "out"), "--runtime", "sim"]
    assert main(argv) == 2
    out, err = capfd.readouterr()
    assert "note: no window can be opened (" in out
    assert "the camera is recorded without one" in " ".join(out.split())
    assert [line for line in err.splitlines() if line] == [
        "error: camera 97: can't be opened; is one connected, and free?"
    ]
    assert main([*argv, "--show"]) == 2
    out, err = capfd.readouterr()
    assert err.splitlines()[-1].startswith("error: --show: no window can be opened: ")
    assert "--no-show" in err
