"""Results of a device as they come, in a file: a run over a slow line that was interrupted goes on where it was."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edgedet.device.protocol import DETECTION_BYTES
from edgedet.errors import ConfigError
from edgedet.outputs.failures import naming_output

_FORMAT = "edgedet device results 2"
_MOST_BYTES = 1 << 32  # of a file that is read
_MARK, _HEAD_BYTES = b"edgedet device results", 1024


@dataclass(frozen=True)
class Kept:
    """What the device once made of an input."""

    outputs: bytes
    detections: bytes  # DETECTION_BYTES each
    ms: tuple[float, float, float] | None


class Journal:
    """A file of results, one a line, each with its sum; bound to a model, and every line to the bytes of an input."""

    def __init__(self, path: Path, model_sha256: str, firmware: str, output_bytes: int) -> None:
        """Read what an earlier run left, and go on behind it; results of another model or firmware are dropped.

        Raises:
            ConfigError: the file is not edgedet's.
            OutputError: it can't be written.
        """
        self.path = path
        self._output_bytes = output_bytes
        self._header = {"format": _FORMAT, "model_sha256": model_sha256, "firmware": firmware}
        lines = self._read()
        if not lines:
            self._refuse_strange()
        self.earlier = {key: kept for key, kept in map(self._parse, lines) if kept is not None}
        with naming_output(path):
            self._file: BinaryIO = path.open("r+b" if lines else "wb")
            if lines:  # what is damaged stands at the end
                self._file.truncate(sum(map(len, (_line(self._header), *lines))))
                self._file.seek(0, 2)
            else:
                self._file.write(_line(self._header))
            self._file.flush()

    def get(self, data: bytes) -> Kept | None:
        """What an earlier run got for this input."""
        return self.earlier.get(hashlib.sha256(data).hexdigest())

    def add(self, data: bytes, kept: Kept) -> None:
        """Keep a result; it is in the file when this returns."""
        value = {
            "input_sha256": hashlib.sha256(data).hexdigest(),
            "outputs": base64.b64encode(kept.outputs).decode("ascii"),
            "detections": base64.b64encode(kept.detections).decode("ascii"),
            "ms": kept.ms,
        }
        with naming_output(self.path):
            self._file.write(_line(value))
            self._file.flush()

    def close(self, remove: bool) -> None:
        """Done with it. remove: the run came to its end, and nothing is left to go on with."""
        self._file.close()
        if remove:
            self.path.unlink(missing_ok=True)

    def _refuse_strange(self) -> None:
        """A file of that name that edgedet did not write is not replaced."""
        with naming_output(self.path):
            if not self.path.is_file() or not self.path.stat().st_size:
                return
            with self.path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
        if _MARK not in head:
            raise ConfigError(f"{self.path}: results would be kept there, but it is another file; move it away")

    def _read(self) -> list[bytes]:
        """Whole lines behind the header, up to the first that is damaged."""
        try:
            if not self.path.is_file() or self.path.stat().st_size > _MOST_BYTES:
                return []
            header, *lines = self.path.read_bytes().splitlines(keepends=True)
        except (OSError, ValueError):
            return []
        if _value(header) != self._header:
            return []
        sound = []
        for line in lines:
            if self._parse(line)[1] is None:  # cut off when the run was killed
                break
            sound.append(line)
        return sound

    def _parse(self, line: bytes) -> tuple[str, Kept | None]:
        value = _value(line)
        if not isinstance(value, dict) or set(value) != {"input_sha256", "outputs", "detections", "ms"}:
            return "", None
        key, text, found, ms = value["input_sha256"], value["outputs"], value["detections"], value["ms"]
        if not isinstance(key, str) or not isinstance(text, str) or not isinstance(found, str):
            return "", None
        try:
            outputs, detections = (base64.b64decode(one, validate=True) for one in (text, found))
            times = None if ms is None else _times(ms)
        except (ValueError, OverflowError):
            return "", None
        whole = len(outputs) == self._output_bytes and len(detections) % DETECTION_BYTES == 0
        return key, Kept(outputs, detections, times) if whole else None


def _times(value: Any) -> tuple[float, float, float]:
    """Raises ValueError for anything but three finite numbers."""
    if not isinstance(value, list) or len(value) != 3 or not all(isinstance(x, float | int) for x in value):
        raise ValueError("three numbers expected")
    first, second, third = map(float, value)
    if not all(map(math.isfinite, (first, second, third))):
        raise ValueError("finite numbers expected")
    return first, second, third


def _line(value: dict[str, Any]) -> bytes:
    text = json.dumps(value).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _value(line: bytes) -> Any:
    """What a line holds; None when it is damaged."""
    crc32, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or crc32 != b"%08x" % zlib.crc32(text):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
