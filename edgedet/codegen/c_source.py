"""Arrays as C99 source text; single values and texts: edgedet/escape.py."""

from __future__ import annotations

import numpy as np

from edgedet.escape import c_float

# C type of the elements of a tensor at an end of a network.
C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float"}
_BYTES_PER_LINE = 16
_HEX = tuple(f"0x{value:02x}," for value in range(256))
_DECIMAL = tuple(f"{value}," for value in range(-128, 128))


def byte_rows(data: bytes) -> str:
    """Initializer of an unsigned byte array.

    Args:
        data: the bytes.
    Returns:
        Lines of 16 hexadecimal bytes, each followed by a comma, no braces; `0x54,0x46,...`.
    """
    return _rows([_HEX[value] for value in data])


def int8_rows(values: np.ndarray) -> str:
    """Initializer of an int8_t array.

    Args:
        values: int8 (any shape), written in row-major order.
    Returns:
        Lines of 16 decimal numbers, each followed by a comma, no braces.
    """
    return _rows([_DECIMAL[value + 128] for value in values.astype(np.int16).ravel().tolist()])


def int_rows(values: np.ndarray) -> str:
    """Initializer of an array of int16_t or int32_t.

    Args:
        values: integers of at most 32 bits (any shape), written in row-major order.
    Returns:
        Lines of 16 decimal numbers, each followed by a comma, no braces.
    """
    # In C, -2147483648 is a long: minus applied to a number that int can't hold.
    return _rows(["-2147483647-1," if value == -(2**31) else f"{value}," for value in values.ravel().tolist()])


def array_rows(values: np.ndarray) -> str:
    """Initializer of an array of one of `C_TYPES`.

    Args:
        values: int8, uint8, int16, int32, or finite float32 (any shape), written in row-major order.
    Returns:
        Lines of 16 numbers, each followed by a comma, no braces.
    """
    if values.dtype == np.int8:
        return int8_rows(values)
    if values.dtype == np.float32:
        return _rows([f"{c_float(value)}," for value in values.ravel().tolist()])
    return int_rows(values)


def _rows(items: list[str]) -> str:
    return "\n".join("    " + "".join(items[i : i + _BYTES_PER_LINE]) for i in range(0, len(items), _BYTES_PER_LINE))
