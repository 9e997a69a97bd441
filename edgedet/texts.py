"""Text files as people save them: UTF-8, with the mark that Windows' editor puts in front of it or without."""

from __future__ import annotations

from pathlib import Path

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def decode_text(data: bytes) -> str:
    """The text in the bytes of a file.

    Args:
        data: UTF-8; a byte order mark at its start is left out.
    Raises:
        ValueError: it is no UTF-8; in words that fit behind the name of the file and a colon.
    """
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
    return decode_text(path.read_bytes())
