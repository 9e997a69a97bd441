"""Kernels of the ends of a network: what they refuse, and that they leave the rest of a wider tensor alone."""

from __future__ import annotations

import ctypes

import chip_run
import numpy as np
import pytest
from c_structs import NULL, OK, RANGE, SHAPE

host_build = chip_run.host_build

pytestmark = pytest.mark.toolchain

INT8, UINT8, INT16, FLOAT32 = range(4)


class View(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int16) for name in ("height", "width", "channels", "pixel_stride")),
        ("row_stride", ctypes.c_int32),
    ]


class Quantize(ctypes.Structure):
    _fields_ = [
        *(("input", View), ("output", View), ("type", ctypes.c_int)),
        *(("scale", ctypes.c_float), ("zero_point", ctypes.c_int32)),
    ]


class Requantize(ctypes.Structure):
    _fields_ = [
        *(("input", View), ("output", View), ("in_type", ctypes.c_int), ("out_type", ctypes.c_int)),
        *(("multiplier", ctypes.c_int32), ("shift", ctypes.c_int8)),
        *(("zero_point", ctypes.c_int32), ("out_zero_point", ctypes.c_int32)),
    ]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return host_build.load_library(tmp_path_factory.mktemp("kernels"), "gcc", "*quantize_f32.c", "edk_requantize_any.c")


def view(pixel_stride: int = 3) -> View:
    return View(2, 4, 3, pixel_stride, 4 * pixel_stride)


def call(function: object, params: ctypes.Structure, x: np.ndarray | None, out: np.ndarray | None) -> int:
    pointers = [None if array is None else array.ctypes.data_as(ctypes.c_void_p) for array in (x, out)]
    return function(ctypes.byref(params), *pointers)  # type: ignore[operator]


def test_quantize_writes_only_its_channels(library: ctypes.CDLL) -> None:
    x = np.linspace(-2, 2, 24).astype(np.float32)
    out = np.full((8, 5), 99, np.int8)
    assert call(library.edk_quantize_f32, Quantize(view(), view(5), INT8, 0.1, 3), x, out) == OK
    np.testing.assert_array_equal(out[:, :3].ravel(), np.round(x / 0.1).astype(int) + 3)
    assert (out[:, 3:] == 99).all()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, OK),
        ({"type": INT16}, OK),
        ({"type": UINT8}, RANGE),
        ({"type": FLOAT32}, RANGE),
        ({"zero_point": 128}, RANGE),
        ({"zero_point": -129}, RANGE),
        ({"scale": 0.0}, RANGE),
        ({"scale": float("nan")}, RANGE),
        ({"output": View(2, 3, 3, 3, 9)}, SHAPE),
        ({"input": View(0, 4, 3, 3, 12)}, SHAPE),
    ],
)
def test_quantize_checks_its_parameters(library: ctypes.CDLL, change: dict[str, object], status: int) -> None:
    params = Quantize(view(), view(), INT8, 0.1, 3)
    for name, value in change.items():
        setattr(params, name, value)
    out = np.full(48, 99, np.int8)
    assert call(library.edk_quantize_f32, params, np.zeros(24, np.float32), out) == status
    assert (status == OK) == bool((out != 99).any())


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, OK),
        ({"type": UINT8}, OK),
        ({"type": FLOAT32}, RANGE),
        ({"zero_point": 128}, RANGE),
        ({"type": UINT8, "zero_point": -1}, RANGE),
        ({"output": View(2, 3, 3, 3, 9)}, SHAPE),
    ],
)
def test_dequantize_checks_its_parameters(library: ctypes.CDLL, change: dict[str, object], status: int) -> None:
    params = Quantize(view(), view(), INT8, 0.1, 3)
    for name, value in change.items():
        setattr(params, name, value)
    out = np.full(24, 99, np.float32)
    assert call(library.edk_dequantize_f32, params, np.zeros(24, np.int8), out) == status
    assert (status == OK) == bool((out != 99).any())


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, OK),
        ({"in_type": UINT8}, RANGE),
        ({"out_type": FLOAT32}, RANGE),
        ({"shift": 15}, RANGE),
        ({"shift": -32}, RANGE),
        ({"out_zero_point": 128}, RANGE),
        ({"output": View(2, 3, 3, 3, 9)}, SHAPE),
    ],
)
def test_requantize_checks_its_parameters(library: ctypes.CDLL, change: dict[str, object], status: int) -> None:
    params = Requantize(view(), view(), INT16, INT8, 1 << 30, 0, 0, 5)
    for name, value in change.items():
        setattr(params, name, value)
    out = np.full(24, 99, np.int8)
    assert call(library.edk_requantize_any, params, np.zeros(24, np.int16), out) == status
    assert (status == OK) == bool((out != 99).any())


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("edk_quantize_f32", Quantize(view(), view(), INT8, 0.1, 3)),
        ("edk_dequantize_f32", Quantize(view(), view(), INT8, 0.1, 3)),
        ("edk_requantize_any", Requantize(view(), view(), INT16, INT8, 1 << 30, 0, 0, 5)),
    ],
)
def test_null_pointers_are_refused(library: ctypes.CDLL, name: str, params: ctypes.Structure) -> None:
    memory, function = np.zeros(24, np.float32), getattr(library, name)
    assert call(function, params, None, memory) == NULL
    assert call(function, params, memory, None) == NULL
    assert function(None, *[memory.ctypes.data_as(ctypes.c_void_p)] * 2) == NULL
