"""A zip archive behind the flatbuffer: the label files of TFLite Metadata.

The archive's own offsets count from the start of the file, or (joined with `cat`) from its own start; in a graph always
from its own start.
"""

from __future__ import annotations

import struct

_END = b"PK\x05\x06"  # end of central directory
_ENTRY = b"PK\x01\x02"  # in the central directory
_FILE = b"PK\x03\x04"  # local header
_END_BYTES, _ENTRY_BYTES = 22, 46
_MAX_COMMENT = 0xFFFF


def split_appended(data: bytes) -> bytes:
    """The archive at the end of a file.

    Args:
        data: the whole file.
    Returns:
        The archive with offsets from its start; empty when there is none.
    """
    end = data.rfind(_END, max(0, len(data) - _END_BYTES - _MAX_COMMENT))
    if end < 0 or len(data) - end < _END_BYTES:
        return b""
    entries, directory_bytes, directory, comment = struct.unpack_from("<HIIH", data, end + 10)
    first = end - directory_bytes
    if end + _END_BYTES + comment != len(data) or not entries or first < 0:
        return b""
    places = _entry_places(data, first, end, entries)
    if not places:
        return b""
    shift = first - directory  # 0, or where an archive that was made alone now starts
    start = min(struct.unpack_from("<I", data, place + 42)[0] for place in places) + shift
    if not 8 <= start < first or data[start : start + 4] != _FILE:
        return b""
    return _moved(data[start:], shift - start)


def append(data: bytes, archive: bytes) -> bytes:
    """A flatbuffer with an archive behind it; offsets then count from the start of the file."""
    return data + _moved(archive, len(data)) if archive else data


def archive_names(archive: bytes) -> list[str]:
    """Names of the files in an archive."""
    end = archive.rfind(_END)
    entries, directory_bytes = struct.unpack_from("<HI", archive, end + 10)
    places = _entry_places(archive, end - directory_bytes, end, entries)
    lengths = [struct.unpack_from("<H", archive, place + 28)[0] for place in places]
    names = [archive[p + _ENTRY_BYTES : p + _ENTRY_BYTES + n] for p, n in zip(places, lengths, strict=True)]
    return [name.decode("utf-8", "replace") for name in names]


def _entry_places(data: bytes, first: int, end: int, entries: int) -> list[int]:
    """Where each entry of the central directory lies; none when the directory does not hold together."""
    places, place = [], first
    for _ in range(entries):
        if place + _ENTRY_BYTES > end or data[place : place + 4] != _ENTRY:
            return []
        places.append(place)
        place += _ENTRY_BYTES + sum(struct.unpack_from("<HHH", data, place + 28))
    return places if place == end else []


def _moved(archive: bytes, shift: int) -> bytes:
    """The same archive with `shift` added to every offset of its directory."""
    moved = bytearray(archive)
    end = archive.rfind(_END)
    entries, directory_bytes, directory = struct.unpack_from("<HII", archive, end + 10)
    struct.pack_into("<I", moved, end + 16, (directory + shift) % 2**32)
    for place in _entry_places(archive, end - directory_bytes, end, entries):
        offset = struct.unpack_from("<I", archive, place + 42)[0]
        struct.pack_into("<I", moved, place + 42, (offset + shift) % 2**32)
    return bytes(moved)
