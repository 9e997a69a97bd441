"""Text files as people save them: UTF-8, with the mark that Windows' editor puts in front of it or without."""

from __future__ import annotations

from pathlib import Path

from edgedet.fileio import read_bytes

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def other_kind(start: bytes) -> str:
    """What a file is that was saved in place of another one, with advice, for `found`; empty when nothing is known.

    Args:
        start: its first bytes, at least 64 where it has so many.
    """
    if not start:
        return "an empty file; copy or download it again"
    if not start.strip(b"\0"):
        return "zeros, as lost blocks of a disk or a download that was cut off; get it again"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS; `git lfs pull` fetches the file itself"
    if start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, as servers send it instead of a file; download it again"
    if start[4:8] == b"ftyp":
        name = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"avif": "AVIF"}.get(start[8:12], "")
        return f"a picture in {name}, as phones save them; convert it to JPEG" if name else "a video"
    if start[:12] == b"\0\0\0\x0cjP  \r\n\x87\n":
        return "a picture in JPEG 2000; convert it to PNG"
    return ""


def decode_text(data: bytes) -> str:
    """The text in the bytes of a file.

    Args:
        data: UTF-8; a byte order mark at its start is left out.
    Raises:
        ValueError: it is no UTF-8; in words that fit behind the name of the file and a colon.
    """
    if data and (kind := other_kind(data[:64])):
        raise ValueError(f"expected a text file, found {kind}")
    if data.startswith(_UTF_16):
        raise ValueError("is UTF-16 text, which some editors call Unicode; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is no UTF-8 text (byte {error.start}); save it as UTF-8") from error


def counted(count: int, word: str, several: str = "") -> str:
    """A number with its word: 1 image, 2 images; `several`: where that is not the word with an s."""
    return f"{count} {word if count == 1 else several or f'{word}s'}"


def read_text(path: Path) -> str:
    """The text of a file that a user wrote; lines end as they do there.

    Raises:
        ValueError: as `decode_text`.
        OSError: it can't be read.
    """
    return decode_text(read_bytes(path))
