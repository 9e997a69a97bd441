"""Videos, written and read again with OpenCV."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")

import cv2

from edgedet.commands.main import main
from edgedet.errors import ConfigError, DataError
from edgedet.evaluate.detect import detect
from edgedet.evaluate.video import is_video, predict_video
from edgedet.runtimes.open import open_runtime
from edgedet.runtimes.protocol import Int8Runtime


@pytest.fixture(scope="module")
def runtime(toy_model: Path) -> Int8Runtime:
    return open_runtime(toy_model, "sim")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Five frames of a red square that moves; Motion JPEG in AVI is part of every OpenCV."""
    path = tmp_path / "street.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (96, 64))
    for number in range(5):
        frame = np.zeros((64, 96, 3), np.uint8)
        frame[16:40, 8 + 8 * number : 32 + 8 * number, 2] = 255  # BGR
        writer.write(frame)
    writer.release()
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    capture, frames = cv2.VideoCapture(str(path)), []
    while True:
        there, frame = capture.read()
        if not there:
            return frames
        frames.append(frame[:, :, ::-1].copy())


def test_predict_video_finds_in_each_frame_what_detect_finds(runtime: Int8Runtime, video: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    report = predict_video(runtime, str(video), tmp_path / "out", progress=lambda *call: calls.append(call))
    assert report.frames == 5
    assert calls == [(n, 5) for n in range(1, 6)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["street.json", "street.mp4"]
    value = json.loads(report.detections.read_text())
    assert value["frames_per_second"] == 12.0
    expected = [detect(runtime, frame, 0.25).in_image for frame in frames_of(video)]
    found = [[row["box_xyxy_px"] for row in frame] for frame in value["frames"]]
    assert found == [one.boxes.tolist() for one in expected]
    assert report.objects == sum(len(one) for one in expected) > 0
    drawn = frames_of(report.video)
    assert len(drawn) == 5
    assert drawn[0].shape == (64, 96, 3)


def test_predict_video_ends_after_max_frames(runtime: Int8Runtime, video: Path, tmp_path: Path) -> None:
    report = predict_video(runtime, str(video), tmp_path / "out", max_frames=2)
    assert report.frames == 2
    assert len(frames_of(report.video)) == 2


def test_predict_video_replaces_its_own_files_only(runtime: Int8Runtime, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predict_video(runtime, str(video), out, max_frames=1).frames == 1
    assert predict_video(runtime, str(video), out, max_frames=2).frames == 2
    assert sorted(path.name for path in out.iterdir()) == ["street.json", "street.mp4"]
    (out / "street.json").unlink()
    before = (out / "street.mp4").read_bytes()
    with pytest.raises(ConfigError, match=r"street\.mp4: is there already, and edgedet did not write it"):
        predict_video(runtime, str(video), out)
    assert (out / "street.mp4").read_bytes() == before


def test_predict_video_keeps_another_video_of_the_same_name(runtime: Int8Runtime, video: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other" / "street.mkv"
    other.parent.mkdir()
    other.write_bytes(video.read_bytes())
    first = predict_video(runtime, str(video), out, max_frames=1)
    kept = {path: path.read_bytes() for path in out.iterdir()}
    second = predict_video(runtime, str(other), out, max_frames=2)
    assert (first.video.name, second.video.name, second.detections.name) == (
        "street.mp4", "street_2.mp4", "street_2.json",
    )  # fmt: skip
    assert {path: path.read_bytes() for path in kept} == kept
    assert predict_video(runtime, str(other), out, max_frames=3).video == second.video  # again, in its place
    assert predict_video(runtime, str(video), out, max_frames=3).video == first.video
    assert [len(json.loads((out / name).read_text())["frames"]) for name in ("street.json", "street_2.json")] == [3, 3]


def test_predict_video_keeps_every_recording_of_a_camera(
    runtime: Int8Runtime, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no camera here: the video is opened in its place."""
    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: real(str(video) if source == 0 else source))
    out = tmp_path / "out"
    names = [predict_video(runtime, "0", out, max_frames=frames).video.name for frames in (1, 2, 3)]
    assert names == ["camera0.mp4", "camera0_2.mp4", "camera0_3.mp4"]
    assert [len(frames_of(out / name)) for name in names] == [1, 2, 3]


def test_a_video_that_is_cut_short_is_told(
    runtime: Int8Runtime, toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole.avi", tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (96, 64))
    for seed in range(30):
        writer.write(np.random.default_rng(seed).integers(0, 255, (64, 96, 3)).astype(np.uint8))
    writer.release()
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert predict_video(runtime, str(whole), tmp_path / "a").missing_frames == 0
    report = predict_video(runtime, str(cut), tmp_path / "b")
    assert 10 <= report.frames <= 16
    assert report.missing_frames == 30 - report.frames
    assert json.loads(report.detections.read_text())["missing_frames"] == report.missing_frames
    assert predict_video(runtime, str(cut), tmp_path / "c", max_frames=3).missing_frames == 0
    assert main(["predict", str(toy_model), str(cut), "--runtime", "sim", "--out", str(tmp_path / "d")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"the file states 30 frames, {report.frames} could be decoded" in told


@pytest.mark.parametrize(
    ("source", "message"),
    [("absent.mp4", "no such video"), ("broken.mp4", "can't open this video"), ("97", "camera 97: can't be opened")],
)
def test_predict_video_that_cant_be_opened_leaves_nothing(
    runtime: Int8Runtime, tmp_path: Path, source: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=message):
        predict_video(runtime, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_is_video_goes_by_suffix_or_number() -> None:
    assert [is_video(text) for text in ("a.MP4", "0", "a.jpg", "photos", "-")] == [True, True, False, False, False]
