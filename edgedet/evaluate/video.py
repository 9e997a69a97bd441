"""Run a model on a video or a camera: an annotated video, and what was found in every frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedet.errors import DataError, missing_extra
from edgedet.escape import json_text
from edgedet.evaluate.detect import detect
from edgedet.evaluate.earlier import video_name
from edgedet.evaluate.predict import detection_rows, draw_detections, threshold_values
from edgedet.evaluate.window import Window
from edgedet.fileio import write_text
from edgedet.notebook import short_path
from edgedet.outputs.folder import added_files
from edgedet.outputs.lock import hold_output
from edgedet.terminal import quiet_stderr

if TYPE_CHECKING:
    from edgedet.contracts import Detections
    from edgedet.progress import Progress
    from edgedet.runtimes.protocol import Runtime

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_UNOPENED = "OpenCV can't open this video; it is damaged or cut short, or to be converted to MP4 with H.264"
_CAMERA_FPS = 10.0  # written into the file of a camera that names no rate


@dataclass(frozen=True, repr=False)
class VideoReport:
    """What was written."""

    video: Path  # annotated, MPEG-4
    detections: Path  # JSON, frame by frame
    frames: int
    objects: int  # in all frames
    median_ms: float  # from a frame to its detections, without reading, drawing and writing
    missing_frames: int = 0  # that the file states, and that were not there when it was read to its end

    def __repr__(self) -> str:
        missing = f", {self.missing_frames} frames missing" if self.missing_frames else ""
        return f"<VideoReport {short_path(self.video)}: {self.frames} frames, {self.objects} objects{missing}>"


def is_video(source: str) -> bool:
    """True for the path of a video, or the number of a camera."""
    return source.isdecimal() or Path(source).suffix.lower() in VIDEO_SUFFIXES


def predict_video(
    runtime: Runtime,
    source: str,
    out: Path,
    score_threshold: float | None = None,
    max_frames: int | None = None,
    progress: Progress | None = None,
    window: bool = False,
) -> VideoReport:
    """Detect objects in every frame; write OUT/NAME.mp4 with boxes and OUT/NAME.json.

    Both files appear when all frames went through. Ctrl-C ends a camera's recording, and who closes the window, or
    presses q or Esc in it, ends any: what was seen is written. The two files replace those of an earlier run over the
    same video only; NAME is the video's stem, or camera0, or with _2 and so on behind it where another one has that.

    Args:
        runtime: the model in one of its forms.
        source: path of a video, or the number of a camera, "0" for the first.
        out: folder, created when absent.
        score_threshold: 0 <= t < 1; None: the model's.
        max_frames: end after so many; None: the whole video, or until Ctrl-C.
        window: show every frame with its boxes and the milliseconds that it took.
        progress: called after each frame; of a camera without `max_frames` the number of frames is not known: never.
    Returns:
        Paths and counts.
    Raises:
        DataError: no such video or camera, or nothing in it can be decoded.
        ConfigError: there is no display for the window, or edgedet did not write the files that are there.
        ToolchainError: OpenCV is missing.
    """
    camera = source.isdecimal()
    name = video_name(out, f"camera{source}" if camera else _stem(Path(source), out), source)
    found: list[Detections] = []
    times: list[float] = []
    missing = 0
    with (
        hold_output(out),
        _open(source) as video,
        Window(f"edgedet {source}") if window else nullcontext() as shown,
        added_files(out, f"{name}.json") as folder,
    ):
        with _Writer(folder / f"{name}.mp4", video, out) as writer:
            total = max_frames or video.frames
            try:
                for frame in video:
                    start = perf_counter()
                    seen = detect(runtime, frame, score_threshold).in_image
                    times.append(1000 * (perf_counter() - start))
                    drawn = draw_detections(frame, seen, runtime.outputs.class_names)
                    writer.write(drawn)
                    found.append(seen)
                    if progress is not None and total:
                        progress(len(found), max(total, len(found)))
                    if shown is not None and not shown.show(_labelled(drawn, times[-1], len(seen))):
                        break
                    if max_frames is not None and len(found) == max_frames:
                        break
                else:
                    missing = max(0, video.frames - len(found))
            except KeyboardInterrupt:
                if not camera:
                    raise
        if not found:
            raise DataError(f"{source}: holds no frame that OpenCV can decode; convert it to MP4 with H.264")
        write_text(folder / f"{name}.json", _to_json(found, runtime, source, score_threshold, video.rate, missing))
    objects = sum(len(seen) for seen in found)
    return VideoReport(out / f"{name}.mp4", out / f"{name}.json", len(found), objects, median(times), missing)


def _labelled(pixels: np.ndarray, milliseconds: float, objects: int) -> np.ndarray:
    """The frame with its time and number of objects in the corner, dark on white."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    text = f"{milliseconds:.1f} ms, {objects} object{'' if objects == 1 else 's'}"
    left, top, right, bottom = draw.textbbox((4, 4), text)
    draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill="white")
    draw.text((4, 4), text, fill="black")
    return np.asarray(picture)


def _stem(source: Path, out: Path) -> str:
    """Of the files to write: the video's, unless they would lie beside it and take its place, or that of others."""
    return source.stem if source.resolve().parent != out.resolve() else f"{source.stem}_boxes"


class _Video:
    """Frames of a capture, uint8 (H, W, 3), RGB."""

    def __init__(self, capture: Any, cv2: Any, camera: bool) -> None:
        self._capture, self._cv2 = capture, cv2
        self.rate = float(capture.get(cv2.CAP_PROP_FPS)) or _CAMERA_FPS
        self.frames = 0 if camera else max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.size = (int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))

    def __iter__(self) -> Iterator[Any]:
        while True:
            there, frame = self._capture.read()
            if not there:
                return
            yield self._cv2.cvtColor(frame, self._cv2.COLOR_BGR2RGB)


class _Writer:
    """A video file.

    Args:
        path: to write to.
        video: whose size and rate it takes.
        out: folder that errors name.
    """

    def __init__(self, path: Path, video: _Video, out: Path) -> None:
        import cv2

        self._cv2 = cv2
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), video.rate, video.size)
        if not self._writer.isOpened():
            size = f"{video.size[0]}x{video.size[1]}"
            raise DataError(f"{out / path.name}: OpenCV can't write a video of {size} here")

    def __enter__(self) -> _Writer:
        return self

    def write(self, pixels: Any) -> None:
        self._writer.write(self._cv2.cvtColor(pixels, self._cv2.COLOR_RGB2BGR))

    def __exit__(self, *error: object) -> None:
        self._writer.release()


@contextmanager
def _open(source: str) -> Iterator[_Video]:
    try:
        import cv2
    except ImportError as error:
        raise missing_extra("cv2", "train") from error
    camera = source.isdecimal()
    if not camera and not Path(source).is_file():
        raise DataError(f"{source}: no such video; check the path")
    with quiet_stderr():  # OpenCV and FFmpeg have their say before the error that follows
        capture = cv2.VideoCapture(int(source)) if camera else cv2.VideoCapture(source)
    try:
        if not capture.isOpened():
            what = f"camera {source}: can't be opened; is one connected, and free?"
            raise DataError(what if camera else f"{source}: {_UNOPENED}")
        yield _Video(capture, cv2, camera)
    finally:
        capture.release()


def _to_json(
    found: list[Detections], runtime: Runtime, source: str, threshold: float | None, rate: float, missing: int
) -> str:
    names = runtime.outputs.class_names
    frames = [detection_rows(seen, names) for seen in found]
    head = {"video": source, "frames_per_second": rate, "missing_frames": missing, "runtime": runtime.name}
    return json_text({**head, **threshold_values(runtime, threshold), "class_names": list(names), "frames": frames}, 1)
