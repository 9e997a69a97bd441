"""Which files of a folder an earlier `predict` wrote: those are replaced, all others are the user's and stay."""

from __future__ import annotations

import json
import os
from collections.abc import Set as AbstractSet
from itertools import count
from pathlib import Path
from typing import Any

from edgedet.errors import ConfigError
from edgedet.fileio import read_bytes

DETECTIONS_FILE = "detections.json"
_OF_PICTURES = ("runtime", "class_names", "images")  # what edgedet's own JSON files hold, of each kind
_OF_VIDEOS = ("video", "frames_per_second", "runtime", "class_names", "frames")


def earlier_pictures(out: Path) -> set[str]:
    """Names of the pictures that an earlier run wrote, by its detections.json.

    Args:
        out: folder of the results; it may be absent.
    Raises:
        ConfigError: its detections.json is not edgedet's, so it may not be replaced.
    """
    path = out / DETECTIONS_FILE
    if not os.path.lexists(path):
        return set()
    value = _own(path, _OF_PICTURES)
    images = value["images"] if value is not None else None
    if not isinstance(images, list) or not all(isinstance(image, dict) and "picture" in image for image in images):
        raise _strange(path)
    names = [image["picture"] for image in images]
    # Only plain names of PNG files: the file may have come from somewhere else.
    return {name for name in names if isinstance(name, str) and name == Path(name).name and name.endswith(".png")}


def require_own_video(out: Path, name: str) -> None:
    """Raises ConfigError when OUT/NAME.mp4 or OUT/NAME.json is there and no earlier run wrote both.

    Args:
        out: folder of the results; it may be absent.
        name: of the two files.
    """
    video, found = out / f"{name}.mp4", out / f"{name}.json"
    if os.path.lexists(found):
        if _own(found, _OF_VIDEOS) is None:
            raise _strange(found)
    elif os.path.lexists(video):
        raise _strange(video)


def video_name(out: Path, stem: str, source: str) -> str:
    """What the files of a video or recording are called: the stem, or stem_2 and so on where another one has the name.

    The files of the same video are replaced. A recording of a camera is never the same, and replaces none.

    Args:
        out: folder of the results; it may be absent.
        stem: of the video, or camera0.
        source: path of the video, or the number of the camera.
    Raises:
        ConfigError: OUT/STEM.mp4 or OUT/STEM.json is there and edgedet did not write it.
    """
    require_own_video(out, stem)
    for number in count(1):
        name = stem if number == 1 else f"{stem}_{number}"
        video, found = out / f"{name}.mp4", out / f"{name}.json"
        if not os.path.lexists(video) and not os.path.lexists(found):
            return name
        earlier = _own(found, _OF_VIDEOS)
        if earlier is not None and not source.isdecimal() and _same_file(earlier["video"], source):
            return name
    raise AssertionError("numbers do not end")


def _same_file(recorded: Any, source: str) -> bool:
    return isinstance(recorded, str) and os.path.realpath(recorded) == os.path.realpath(source)


def strange_names(out: Path, own: AbstractSet[str]) -> set[str]:
    """Names in a folder, in lower case, that are not edgedet's own.

    Args:
        out: folder of the results; it may be absent.
        own: `earlier_pictures`.
    """
    if not out.is_dir():
        return set()
    return {name.lower() for name in os.listdir(out)} - {name.lower() for name in own}


def _own(path: Path, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """What a JSON file of edgedet holds; None: it is none."""
    try:
        value = json.loads(read_bytes(path))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and all(key in value for key in keys) else None


def _strange(path: Path) -> ConfigError:
    return ConfigError(f"{path}: is there already, and edgedet did not write it; it stays as it is: give another `out`")
