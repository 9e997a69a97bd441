"""edk_softmax_s8: what it refuses, and in place."""

from __future__ import annotations

import ctypes

import chip_run
import numpy as np
import pytest
from c_structs import NULL, OK, SHAPE

from edgedet.numerics.softmax import exponentials, softmax

host_build = chip_run.host_build

pytestmark = pytest.mark.toolchain

SIDES = ("height", "width", "channels", "pixel_stride")


class View(ctypes.Structure):
    _fields_ = [*((name, ctypes.c_int16) for name in SIDES), ("row_stride", ctypes.c_int32)]


class Softmax(ctypes.Structure):
    _fields_ = [("input", View), ("output", View), ("exps", ctypes.c_void_p)]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return host_build.load_library(tmp_path_factory.mktemp("kernels"), "gcc", "edk_softmax_s8.c")


def view(height: int, width: int, channels: int, gap: int = 0) -> View:
    return View(height, width, channels, channels + gap, width * (channels + gap))


def test_softmax_in_place_and_between_gaps(library: ctypes.CDLL) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (2, 3, 7)).astype(np.int8)
    table = exponentials(0.05, 1.0)
    exps = table.astype(np.int32)
    wide = np.full((2, 3, 9), 99, np.int8)
    params = Softmax(view(2, 3, 7), view(2, 3, 7, 2), exps.ctypes.data)
    expected = softmax(x, table)
    assert (
        library.edk_softmax_s8(
            ctypes.byref(params), x.ctypes.data_as(ctypes.c_void_p), wide.ctypes.data_as(ctypes.c_void_p)
        )
        == OK
    )
    np.testing.assert_array_equal(wide[..., :7], expected)
    assert (wide[..., 7:] == 99).all()
    params.output = params.input
    pointer = x.ctypes.data_as(ctypes.c_void_p)
    assert library.edk_softmax_s8(ctypes.byref(params), pointer, pointer) == OK
    np.testing.assert_array_equal(x, expected)


def test_softmax_checks_its_parameters(library: ctypes.CDLL) -> None:
    exps, memory = exponentials(0.05, 1.0).astype(np.int32), np.zeros(8192, np.int8)
    good, pointer = Softmax(view(1, 1, 4), view(1, 1, 4), exps.ctypes.data), memory.ctypes.data_as(ctypes.c_void_p)
    function = library.edk_softmax_s8
    assert function(ctypes.byref(good), pointer, pointer) == OK
    assert function(None, pointer, pointer) == NULL
    assert function(ctypes.byref(good), None, pointer) == NULL
    assert function(ctypes.byref(good), pointer, None) == NULL
    assert function(ctypes.byref(Softmax(view(1, 1, 4), view(1, 1, 4), None)), pointer, pointer) == NULL
    for bad in ((view(1, 1, 4), view(1, 1, 3)), (view(0, 1, 4), view(0, 1, 4)), (view(1, 1, 4096), view(1, 1, 4096))):
        assert function(ctypes.byref(Softmax(*bad, exps.ctypes.data)), pointer, pointer) == SHAPE
