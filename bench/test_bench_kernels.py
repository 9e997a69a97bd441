"""Wall-clock of the C kernels on this machine; instructions on a Cortex-M: kernels_on_chip.py."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

_spec = importlib.util.spec_from_file_location(
    "chip_run", Path(__file__).parents[1] / "tests" / "kernels" / "chip_run.py"
)
assert _spec is not None
assert _spec.loader is not None
chip_run = importlib.util.module_from_spec(_spec)
sys.modules["chip_run"] = chip_run
_spec.loader.exec_module(chip_run)
operator_cases = chip_run.load("operator_cases")


class Convolution(ctypes.Structure):
    """edk_conv_params and edk_depthwise_conv_params."""

    _fields_ = [
        *((f"{name}_{field}", ctypes.c_int32 if field == "row" else ctypes.c_int16)
          for name in ("in", "out") for field in ("height", "width", "channels", "pixel", "row")),
        ("window", ctypes.c_int16 * 8),
        ("multiplier", ctypes.c_void_p),
        ("shift", ctypes.c_void_p),
        ("codes", ctypes.c_int16 * 4),
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("input_zero_point", ctypes.c_int16),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return chip_run.host_build.load_library(tmp_path_factory.mktemp("kernels"), "gcc", "*_s8.c")


@pytest.mark.parametrize(
    ("size", "kernel", "channels", "depthwise"),
    [((24, 24, 64), 3, 64, False), ((24, 24, 64), 1, 64, False), ((48, 48, 16), 5, 16, True)],
    ids=["conv3x3", "conv1x1", "depthwise5x5"],
)
def test_bench_convolution(benchmark, library, size, kernel, channels, depthwise) -> None:
    rng = np.random.default_rng(0)
    relu = {"limits": (-128, 127), "out_zero_point": -128, "zero_point": -128}
    case = operator_cases.conv(rng, size, (kernel, kernel), channels, depthwise=depthwise, **relu)
    image, weights, bias, multiplier, shift = (np.ascontiguousarray(array) for array in case.arrays)
    numbers = case.integers
    params = Convolution(
        *numbers[:10],
        (ctypes.c_int16 * 8)(*numbers[10:18]),
        multiplier.ctypes.data,
        shift.ctypes.data,
        (ctypes.c_int16 * 4)(*numbers[18:22]),
        weights.ctypes.data,
        bias.ctypes.data,
        numbers[22],
    )
    out, scratch = np.zeros(case.expected.size, np.int8), np.zeros(1 << 16, np.int32)
    function = getattr(library, f"edk_{case.operator}_s8")
    function.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t]
    arguments = (ctypes.addressof(params), image.ctypes.data, out.ctypes.data, scratch.ctypes.data, scratch.nbytes)
    assert function(*arguments) == 0
    assert np.array_equal(out, case.expected)
    benchmark(function, *arguments)
    benchmark.extra_info["macs"] = case.macs
