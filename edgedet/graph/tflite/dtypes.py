"""Types of tensors: names, numbers of the schema, sizes."""

from __future__ import annotations

import math

import numpy as np

from edgedet.graph.graph import Tensor

# Number in the schema's TensorType by position. Those that NumPy has keep their NumPy name.
_NAMES = (
    "float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64",
    "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16", "int2", "uint4",
    "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip
_BITS = {"int4": 4, "uint4": 4, "int2": 2, "bfloat16": 16, "float8_e4m3fn": 8, "float8_e5m2": 8}  # not in NumPy
_WITHOUT_SIZE = ("string", "resource", "variant")
_UNKNOWN = "type "


def dtype_name(number: int) -> str:
    """Name of a type of the schema; "type n" for one that is newer than edgedet."""
    return _NAMES[number] if 0 <= number < len(_NAMES) else f"{_UNKNOWN}{number}"


def dtype_number(name: str) -> int:
    """Number of a type in the schema.

    Raises:
        ValueError: no such type.
    """
    return int(name.removeprefix(_UNKNOWN)) if name.startswith(_UNKNOWN) else _NAMES.index(name)


def numpy_dtype(name: str) -> np.dtype | None:
    """NumPy's type; None where it has none, and data are bytes."""
    if name in _WITHOUT_SIZE or name in _BITS or name not in _NAMES:
        return None
    return np.dtype(name)


def tensor_bits(tensor: Tensor) -> int:
    """Bits of one element; 0 for types without a size of their own (strings, resources)."""
    numpy = numpy_dtype(tensor.dtype)
    return _BITS.get(tensor.dtype, 0) if numpy is None else 8 * numpy.itemsize


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of all elements in memory; an axis of unknown length counts as one, types without a size as nothing."""
    return (math.prod(abs(side) for side in tensor.shape) * tensor_bits(tensor) + 7) // 8
