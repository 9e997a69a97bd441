"""What is wrong with the bytes of a file, in words of our own."""

from __future__ import annotations

import struct

# How the accessors of flatbuffers and NumPy end that follow a wrong offset or length; their texts help nobody.
LOST = (struct.error, IndexError, ValueError, TypeError, OverflowError)


class Damage(Exception):
    """Found while a part is read; the reader adds the file and the part."""


def describe(error: Exception) -> str:
    """What was found where a sound part was expected.

    Args:
        error: `Damage`, or one of `LOST`.
    """
    if isinstance(error, Damage):
        return str(error)
    if isinstance(error, UnicodeDecodeError):
        return "a name that is no UTF-8 text"
    return "an offset or a length that leads out of the file"
