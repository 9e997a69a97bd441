"""Class names: from a file, or from the zip archive that TensorFlow Lite's metadata appends to a model."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from edgedet.errors import ConfigError
from edgedet.texts import read_text

MAX_LABELS_BYTES = 1 << 20
BACKGROUND_NAMES = ("???", "background", "__background__")
_LABEL_FILES = (".txt", ".names", ".labels", ".csv", ".lst")  # endings that no class has


def appended_labels(data: bytes) -> tuple[str, ...]:
    """Names in the first text file of an archive that is appended to a `.tflite`.

    Args:
        data: the whole file.
    Returns:
        One name a line, a leading background name left out; empty when there is no archive or no text file in it.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            texts = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".txt")]
            if not texts or texts[0].file_size > MAX_LABELS_BYTES:
                return ()
            lines = _lines(archive.read(texts[0]).decode("utf-8", "replace"))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError):
        return ()  # no archive, or one that can't be read: names have to be given
    return lines[1:] if lines[:1] and lines[0].lower() in BACKGROUND_NAMES else lines


def parse_classes(text: str) -> tuple[str, ...]:
    """Names from `a,b,c` or from the lines of a file of this name.

    Args:
        text: as the user types it.
    Returns:
        The names, in the order of the labels.
    Raises:
        ConfigError: no names, or the same name twice.
    """
    path = Path(text)
    if path.suffix.lower() in _LABEL_FILES and not path.is_file():
        raise ConfigError(f"classes {text!r}: there is no file of this name; check the path, or give names as a,b,c")
    if "," not in text and path.is_file():
        try:
            names = _lines(read_text(path))
        except ValueError as error:
            raise ConfigError(f"classes {text!r}: the file {error}") from error
    else:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
    told_apart = [name for name in names if name != "???"]  # COCO's label files fill the gaps of its ids with it
    if not names or len(set(told_apart)) != len(told_apart):
        raise ConfigError(f"classes {text!r}: expected different names, as a,b,c or one a line in a file; got {names}")
    return names


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.splitlines() if line.strip())
