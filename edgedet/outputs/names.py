"""Names of what lies beside an output while it is made."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

SUFFIX = ".edgedet"
_LONGEST = 48  # characters of a name that is repeated in a hidden one, which may have 255 bytes
_HIDDEN = re.compile(r"\..+\.(?:[a-z0-9_]{8}|old|lock)\.edgedet", re.DOTALL)


def stem_of(path: Path) -> str:
    """The part of hidden names that says to which output they belong."""
    name = path.name
    if len(name) <= _LONGEST:
        return f".{name}"
    return f".{name[:_LONGEST]}-{zlib.crc32(name.encode('utf-8', 'surrogateescape')):08x}"


def lock_path(path: Path) -> Path:
    """The file that is locked while an output is made."""
    return path.with_name(f"{stem_of(path)}.lock{SUFFIX}")


def old_path(path: Path) -> Path:
    """Where an earlier folder waits, on systems that can't exchange two folders at once."""
    return path.with_name(f"{stem_of(path)}.old{SUFFIX}")


def is_hidden_part(name: str) -> bool:
    """True for names that only edgedet gives."""
    return _HIDDEN.fullmatch(name) is not None


def is_workshop(name: str, path: Path | None = None) -> bool:
    """True for the name of a hidden folder in which an output is made (that of `path`, when given)."""
    if not is_hidden_part(name) or name.endswith((f".old{SUFFIX}", f".lock{SUFFIX}")):
        return False
    return path is None or name[: -len(SUFFIX) - 9] == stem_of(path)
