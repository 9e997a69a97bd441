"""Kernels of int16 activations: what they refuse, and that they leave the rest of a wider tensor alone.

tests/codegen/emit/test_int16.py has their results.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import chip_run
import numpy as np
import pytest
from c_structs import NULL, OK, RANGE, SHAPE

host_build = chip_run.host_build

pytestmark = pytest.mark.toolchain

HOLE = 12345


def fields(kind: type, *names: str) -> list[tuple[str, type]]:
    return [(name, kind) for name in names]


I8, I16, I32, POINTER = ctypes.c_int8, ctypes.c_int16, ctypes.c_int32, ctypes.c_void_p


class View(ctypes.Structure):
    _fields_ = fields(I16, "height", "width", "channels", "pixel_stride") + fields(I32, "row_stride")


class Steps(ctypes.Structure):
    _fields_ = fields(I32, "row") + fields(I16, "pixel", "channel")


class Window(ctypes.Structure):
    _fields_ = fields(I16, "kh", "kw", "sh", "sw", "dh", "dw", "top", "left")


class Requant(ctypes.Structure):
    _fields_ = fields(POINTER, "multiplier", "shift") + fields(I16, "act_min", "act_max")


class Conv(ctypes.Structure):
    _fields_ = [
        *(("input", View), ("output", View), ("window", Window), ("requant", Requant)),
        *fields(POINTER, "weights", "bias"),
    ]


class Add(ctypes.Structure):
    _fields_ = [
        *fields(I16, "height", "width", "channels"),
        *(("in1", Steps), ("in2", Steps), ("output", Steps)),
        *fields(I32, "multiplier1", "multiplier2", "out_multiplier"),
        *fields(I8, "shift1", "shift2", "out_shift"),
        *fields(I16, "zero_point1", "zero_point2", "out_zero_point", "act_min", "act_max"),
    ]


class Mul(ctypes.Structure):
    _fields_ = [
        *fields(I16, "height", "width", "channels"),
        *(("in1", Steps), ("in2", Steps), ("output", Steps)),
        *(("multiplier", I32), ("shift", I8)),
        *fields(I16, "zero_point1", "zero_point2", "out_zero_point", "act_min", "act_max"),
    ]


class MinMax(ctypes.Structure):
    _fields_ = [
        *fields(I16, "height", "width", "channels"),
        *(("in1", Steps), ("in2", Steps), ("output", Steps)),
        ("minimum", I16),
    ]


class Pool(ctypes.Structure):
    _fields_ = [("input", View), ("output", View), ("window", Window), *fields(I16, "act_min", "act_max")]


class Mean(ctypes.Structure):
    _fields_ = [
        *fields(I32, "outer", "count", "inner", "multiplier"),
        *(("shift", I8), ("zero_point", I16), ("out_zero_point", I16)),
    ]


class Logistic(ctypes.Structure):
    _fields_ = [("input", View), ("output", View), ("multiplier", I32), ("shift", I8), ("table", POINTER)]


class Widen(ctypes.Structure):
    _fields_ = [("input", View), ("output", View), ("table", POINTER)]


_TWO_INPUTS = (Add, Mul, MinMax)
WORDS = np.full(256, 2**14, np.int32)  # multipliers, biases, and a table
BYTES = np.zeros(64, np.int8)  # shifts and weights
CODES = np.arange(256, dtype=np.int16)


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def view(pixel_stride: int = 3, channels: int = 3) -> View:
    return View(2, 4, channels, pixel_stride, 4 * pixel_stride)


def steps(pixel: int = 3) -> Steps:
    return Steps(4 * pixel, pixel, 1)


ONE = (1, 1, 1, 1, 1, 1, 0, 0)  # a window of one pixel


def conv() -> Conv:
    requant = Requant(address(WORDS), address(BYTES), -32768, 32767)
    return Conv(view(), view(5), Window(*ONE), requant, address(BYTES), address(WORDS))


def add() -> Add:
    return Add(2, 4, 3, steps(), steps(), steps(5), 2**30, 2**30, 2**30, -1, -1, -14, 0, 0, 0, -32768, 32767)


def mul() -> Mul:
    return Mul(2, 4, 3, steps(), steps(), steps(5), 2**30, -14, 0, 0, 0, -32768, 32767)


def minmax() -> MinMax:
    return MinMax(2, 4, 3, steps(), steps(), steps(5), 1)


def pool() -> Pool:
    return Pool(view(), view(5), Window(*ONE), -32768, 32767)


def mean() -> Mean:
    return Mean(1, 8, 3, 2**30, -2, 0, 0)


def logistic() -> Logistic:
    return Logistic(view(), view(5), 2**15, 10, address(WORDS))


def widen() -> Widen:
    return Widen(view(), view(5), address(CODES))


MAKERS = {
    "conv_s16": conv,
    "depthwise_conv_s16": conv,
    "add_s16": add,
    "sub_s16": add,
    "mul_s16": mul,
    "minmax_s16": minmax,
    "max_pool_s16": pool,
    "average_pool_s16": pool,
    "mean_s16": mean,
    "logistic_s16": logistic,
    "widen_s8": widen,
}


@dataclass(frozen=True)
class Change:
    """A parameter that makes a kernel refuse."""

    field: str
    value: object
    status: int


_EMPTY, _OTHER = View(0, 4, 3, 3, 12), View(2, 4, 3, 2, 12)
_WINDOWS = [
    Change("window", Window(0, *ONE[1:]), SHAPE),
    Change("input", _EMPTY, SHAPE),
    Change("output", _OTHER, SHAPE),
]
_LIMITS = Requant(address(WORDS), address(BYTES), 5, 4)
_CONV = [
    *_WINDOWS,
    *(Change(name, None, NULL) for name in ("weights", "bias")),
    *(Change("requant", Requant(*pair, 0, 1), NULL) for pair in ((None, address(BYTES)), (address(WORDS), None))),
    Change("requant", _LIMITS, RANGE),
    Change("window", Window(2000, 2000, 1, 1, 1, 1, 0, 0), SHAPE),
]
_PAIR = [
    *(Change(name, 0, SHAPE) for name in ("height", "width", "channels")),
    *(Change(name, Steps(12, 3, 2), SHAPE) for name in ("in1", "in2", "output")),
]
_BINARY = [
    *_PAIR,
    *(Change(name, 1, RANGE) for name in ("zero_point1", "zero_point2", "out_zero_point")),
    Change("act_max", -32768, OK),
    Change("act_min", 32767, OK),
]
_ADD = [*_BINARY, *(Change(n, value, RANGE) for n in ("shift1", "shift2", "out_shift") for value in (1, -32))]
_POOL = [
    *_WINDOWS,
    Change("window", Window(3, 3, 1, 1, 2, 1, 0, 0), SHAPE),
    Change("window", Window(1, 1, 3, 3, 1, 1, 0, 0), SHAPE),  # a window beside the input
    Change("window", Window(1, 1, 1, 1, 1, 1, 1, 0), SHAPE),
    Change("output", View(2, 4, 2, 5, 20), SHAPE),
]
_MEAN = [
    *(Change(name, 0, SHAPE) for name in ("outer", "count", "inner")),
    Change("count", 2**16, SHAPE),
    *(Change(name, 1, RANGE) for name in ("zero_point", "out_zero_point")),
    *(Change("shift", value, RANGE) for value in (-32, 32)),
    Change("multiplier", -1, RANGE),
]
_LOGISTIC = [
    *(Change("input", value, SHAPE) for value in (_EMPTY, view(3, 2))),
    Change("table", None, NULL),
    *(Change("multiplier", value, RANGE) for value in (-1, 65535)),
    *(Change("shift", value, RANGE) for value in (-1, 32)),
]
CHANGES = {
    "conv_s16": _CONV,
    "depthwise_conv_s16": [*_CONV, Change("output", View(2, 4, 4, 5, 20), SHAPE)],
    "add_s16": _ADD,
    "sub_s16": _ADD,
    "mul_s16": [*_BINARY, *(Change("shift", value, RANGE) for value in (15, -32))],
    "minmax_s16": _PAIR,
    "max_pool_s16": _POOL,
    "average_pool_s16": [*_POOL, Change("window", Window(256, 256, 1, 1, 1, 1, 255, 255), SHAPE)],
    "mean_s16": _MEAN,
    "logistic_s16": _LOGISTIC,
    "widen_s8": [Change("input", _EMPTY, SHAPE), Change("output", view(5, 2), SHAPE), Change("table", None, NULL)],
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return host_build.load_library(tmp_path_factory.mktemp("kernels"), "gcc", "*_s16.c", "edk_widen_s8.c")


def call(library: ctypes.CDLL, name: str, params: ctypes.Structure, out: np.ndarray, missing: int = -1) -> int:
    """Status of a kernel; missing: pointer that is null, 0 for the parameters."""
    count = 2 if isinstance(params, _TWO_INPUTS) else 1
    x = np.arange(64, dtype=np.int8 if name == "widen_s8" else np.int16)
    pointers = [ctypes.byref(params), *[x.ctypes.data_as(POINTER)] * count, out.ctypes.data_as(POINTER)]
    if missing >= 0:
        pointers[missing] = None
    return getattr(library, f"edk_{name}")(*pointers)  # type: ignore[no-any-return]


def outputs() -> np.ndarray:
    return np.full((8, 5), HOLE, np.int16)


@pytest.mark.parametrize("name", MAKERS)
def test_kernel_writes_only_its_channels(library: ctypes.CDLL, name: str) -> None:
    out = outputs()
    assert call(library, name, MAKERS[name](), out) == OK
    if name == "mean_s16":
        assert (out.ravel()[:3] != HOLE).all()
        assert (out.ravel()[3:] == HOLE).all()
        return
    assert (out[:, :3] != HOLE).all()
    assert (out[:, 3:] == HOLE).all()


@pytest.mark.parametrize("name", MAKERS)
def test_kernel_refuses_null(library: ctypes.CDLL, name: str) -> None:
    params, out = MAKERS[name](), outputs()
    for missing in range(4 if isinstance(params, _TWO_INPUTS) else 3):
        assert call(library, name, params, out, missing) == NULL
    assert (out == HOLE).all()


@pytest.mark.parametrize(("name", "change"), [(name, change) for name, group in CHANGES.items() for change in group])
def test_kernel_refuses_wrong_parameters_and_writes_nothing(library: ctypes.CDLL, name: str, change: Change) -> None:
    params, out = MAKERS[name](), outputs()
    setattr(params, change.field, change.value)
    assert call(library, name, params, out) == change.status
    if change.status != OK:
        assert (out == HOLE).all()
