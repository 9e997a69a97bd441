from __future__ import annotations

import ctypes
from pathlib import Path

import chip_run
import numpy as np
import pytest
from c_structs import ALIGNMENT, NULL, OK, RANGE, SCRATCH, SHAPE

from edgedet.codegen.channel_constants import (
    conv_scratch_bytes,
    depthwise_scratch_bytes,
    fully_connected_scratch_bytes,
)

host_build, cases = chip_run.host_build, chip_run.kernel_cases
more = chip_run.load("more_cases")

pytestmark = pytest.mark.toolchain

VIEW = [("height", "h"), ("width", "h"), ("channels", "h"), ("pixel_stride", "h"), ("row_stride", "i")]


class View(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int16 if kind == "h" else ctypes.c_int32) for name, kind in VIEW]


class Window(ctypes.Structure):
    _fields_ = [
        (f"{name}_{axis}", ctypes.c_int16)
        for name in ("kernel", "stride", "dilation", "pad")
        for axis in ("height", "width")
    ]


class Requant(ctypes.Structure):
    _fields_ = [
        ("multiplier", ctypes.c_void_p),
        ("shift", ctypes.c_void_p),
        *((name, ctypes.c_int16) for name in ("zero_point", "act_min", "act_max", "flags")),
    ]


class Conv(ctypes.Structure):
    """edk_conv_params and edk_depthwise_conv_params."""

    _fields_ = [
        ("input", View),
        ("output", View),
        ("window", Window),
        ("requant", Requant),
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("input_zero_point", ctypes.c_int16),
    ]


class FullyConnected(ctypes.Structure):
    """edk_fully_connected_params."""

    _fields_ = [
        *((name, ctypes.c_int16) for name in ("rows", "depth", "channels")),
        ("requant", Requant),
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    ]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    loaded = host_build.load_library(tmp_path_factory.mktemp("kernels"), "gcc", "*_s8.c")
    for name in ("conv", "depthwise_conv", "fully_connected"):
        getattr(loaded, f"edk_{name}_s8_scratch_bytes").restype = ctypes.c_size_t
        getattr(loaded, f"edk_{name}_s8").argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_size_t]
    return loaded


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> chip_run.Runner:
    return chip_run.build_host(tmp_path_factory.mktemp("runner"), "gcc", host_build.SANITIZERS)


KEEP = np.zeros(4096, np.int32)  # memory behind every pointer of `conv_params`


def conv_params(kernel: tuple[int, int] = (3, 3), channels: int = 4, **window: int) -> Conv:
    """A valid 6x6 convolution of as many channels as it reads."""
    params = Conv(weights=KEEP.ctypes.data, bias=KEEP.ctypes.data)
    for name in ("input", "output"):
        setattr(params, name, View(6, 6, channels, channels, 6 * channels))
    params.window = Window(kernel[0], kernel[1], 1, 1, 1, 1, 1, 1)
    for name, value in window.items():
        setattr(params.window, name, value)
    params.requant = Requant(KEEP.ctypes.data, KEEP.ctypes.data, 0, -128, 127, 0)
    return params


def call(library: ctypes.CDLL, name: str, params: Conv | FullyConnected | None, **changes: int | None) -> int:
    """Call with room for everything; changes: input, output, scratch (addresses) or scratch_bytes."""
    room = {key: np.zeros(65536, np.int32) for key in ("input", "output", "scratch")}
    address: dict[str, int | None] = {key: array.ctypes.data for key, array in room.items()}
    address["scratch_bytes"] = 65536
    address.update(changes)
    pointer = None if params is None else ctypes.addressof(params)
    return getattr(library, f"edk_{name}_s8")(pointer, *address.values())


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (2, 7)])
@pytest.mark.parametrize("channels", [1, 3, 4, 8, 37])
def test_conv_scratch_bytes_equal_the_exporters(library: ctypes.CDLL, kernel: tuple, channels: int) -> None:
    params = conv_params(kernel, channels, stride_width=2, dilation_width=3)
    assert library.edk_conv_s8_scratch_bytes(ctypes.byref(params)) == conv_scratch_bytes(kernel, channels) > 0


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 5), (2, 7), (8, 9), (9, 7), (9, 8), (10, 8), (64, 1), (65, 1)])
@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize("multiplier", [1, 8])
def test_depthwise_scratch_bytes_equal_the_exporters(
    library: ctypes.CDLL, kernel: tuple, dilation: int, multiplier: int
) -> None:
    params = conv_params(kernel, 4, stride_width=2, dilation_width=dilation)
    params.output = View(6, 6, 4 * multiplier, 4 * multiplier, 24 * multiplier)
    found = library.edk_depthwise_conv_s8_scratch_bytes(ctypes.byref(params))
    assert found == depthwise_scratch_bytes(kernel, 2, dilation, 6, multiplier)
    in_planes = multiplier == dilation == 1 and (kernel[0] <= 8 or kernel[0] * kernel[1] <= 64)
    assert (found > 0) == in_planes


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("depth", [1, 8, 37])
def test_fully_connected_scratch_bytes_equal_the_exporters(library: ctypes.CDLL, rows: int, depth: int) -> None:
    found = library.edk_fully_connected_s8_scratch_bytes(ctypes.byref(FullyConnected(rows, depth, 5)))
    assert found == fully_connected_scratch_bytes(rows, depth)
    assert (found > 0) == (rows > 2)


@pytest.mark.parametrize("name", ["conv", "depthwise_conv"])
def test_scratch_bytes_of_impossible_sizes_are_zero(library: ctypes.CDLL, name: str) -> None:
    function = getattr(library, f"edk_{name}_s8_scratch_bytes")
    huge = conv_params((32767, 32767), 32767)
    assert function(None) == 0
    assert function(ctypes.byref(huge)) == 0
    assert function(ctypes.byref(conv_params(stride_width=0))) == 0


@pytest.mark.parametrize("name", ["conv", "depthwise_conv"])
def test_convolution_arguments_give_their_statuses(library: ctypes.CDLL, name: str) -> None:
    needed = getattr(library, f"edk_{name}_s8_scratch_bytes")(ctypes.byref(conv_params()))
    assert call(library, name, conv_params()) == OK
    assert call(library, name, conv_params(), scratch_bytes=needed) == OK
    assert call(library, name, conv_params(), scratch_bytes=needed - 1) == SCRATCH
    assert call(library, name, None) == NULL
    for pointer in ("input", "output", "scratch"):
        assert call(library, name, conv_params(), **{pointer: None}) == NULL
    assert call(library, name, conv_params(), scratch=KEEP.ctypes.data + 2) == ALIGNMENT
    for field in ("weights", "bias"):
        params = conv_params()
        setattr(params, field, None)
        assert call(library, name, params) == NULL


@pytest.mark.parametrize("name", ["conv", "depthwise_conv"])
def test_convolution_parameters_give_their_statuses(library: ctypes.CDLL, name: str) -> None:
    for field in ("kernel_height", "stride_width", "dilation_height"):
        assert call(library, name, conv_params(**{field: 0})) == SHAPE
    assert call(library, name, conv_params(pad_height=-1)) == SHAPE
    for field, value in (("height", 0), ("channels", -3), ("pixel_stride", 3), ("row_stride", 22)):
        for view in ("input", "output"):
            params = conv_params()
            setattr(getattr(params, view), field, value)
            assert call(library, name, params) == SHAPE, f"{view}.{field}"
    for field, value in (("zero_point", 128), ("act_min", -129), ("act_max", -129), ("act_max", 128)):
        params = conv_params()
        setattr(params.requant, field, value)
        assert call(library, name, params) == RANGE, field
    params = conv_params()
    params.input_zero_point = -129
    assert call(library, name, params) == RANGE


def test_depthwise_conv_channels_that_are_no_multiple_give_shape(library: ctypes.CDLL) -> None:
    params = conv_params()
    params.output = View(6, 6, 6, 6, 36)
    assert call(library, "depthwise_conv", params) == SHAPE


@pytest.mark.parametrize("change", [{"dilation_width": 2}, {"kernel_height": 9, "kernel_width": 8, "pad_height": 4}])
def test_depthwise_conv_without_scratch_gives_its_statuses(library: ctypes.CDLL, change: dict[str, int]) -> None:
    assert call(library, "depthwise_conv", conv_params(**change), scratch=None, scratch_bytes=0) == OK
    for pointer in ("input", "output"):
        assert call(library, "depthwise_conv", conv_params(**change), **{pointer: None}) == NULL
    assert call(library, "depthwise_conv", conv_params(**{**change, "stride_height": 0}), scratch=None) == SHAPE


def fully_connected_params(rows: int = 1) -> FullyConnected:
    """Valid, 16 values to 5."""
    requant = Requant(KEEP.ctypes.data, KEEP.ctypes.data, 0, -128, 127, 0)
    return FullyConnected(rows, 16, 5, requant, KEEP.ctypes.data, KEEP.ctypes.data)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_fully_connected_arguments_give_their_statuses(library: ctypes.CDLL, rows: int) -> None:
    name, direct = "fully_connected", rows <= 2
    assert call(library, name, fully_connected_params(rows)) == OK
    assert call(library, name, fully_connected_params(rows), scratch=None) == (OK if direct else NULL)
    assert call(library, name, fully_connected_params(rows), scratch_bytes=0) == (OK if direct else SCRATCH)
    assert call(library, name, None) == NULL
    for pointer in ("input", "output"):
        assert call(library, name, fully_connected_params(rows), **{pointer: None}) == NULL
    for field, value, status in (
        *(("weights", None, NULL), ("bias", None, NULL)),
        *((side, size, SHAPE) for side in ("rows", "depth", "channels") for size in (0, -1)),
    ):
        params = fully_connected_params(rows)
        setattr(params, field, value)
        assert call(library, name, params) == status, field
    for field, value, status in (
        *(("multiplier", None, NULL), ("shift", None, NULL)),
        *(("zero_point", 128, RANGE), ("act_min", -129, RANGE), ("act_max", 128, RANGE)),
    ):
        params = fully_connected_params(rows)
        setattr(params.requant, field, value)
        assert call(library, name, params) == status, field


def broken_more(rng: np.random.Generator, image: cases.Layout) -> list[tuple[cases.Case, dict[int, int], int]]:
    """Changes of the cases of more_cases.py."""
    window, requant = cases.Window((2, 2), (2, 2)), cases.Requant(np.full(6, 0.001))
    conv = more.transpose_conv_case(rng, image, cases.Layout(8, 10, 6), window, requant, 3)
    bilinear = more.bilinear_case(rng, image, cases.Layout(4, 5, 6))
    bilinear.arrays[1][2] = (3, 3, 7)
    pairs = [more.pair_case(rng, name, (image, image, image)) for name in ("maximum", "prelu")]
    reductions = [more.reduce_case(rng, name, (2, 3, 4)) for name in ("reduce_max", "arg_min")]
    return [
        *((case, {0: 0}, SHAPE) for case in (conv, bilinear, *pairs, *reductions)),
        *((case, {11: 0}, SHAPE) for case in pairs),  # out.channel
        *((case, {5: 2}, SHAPE) for case in pairs),  # in1.channel
        *((case, {1: 0}, SHAPE) for case in reductions),
        *((pairs[1], {position: value}, RANGE) for position, value in ((13, 15), (15, -32), (16, 128), (17, -129))),
        (conv, {14: 2}, SHAPE),  # dilation
        (conv, {16: -1}, SHAPE),  # pad_top
        (conv, {18: 128}, RANGE),
        (conv, {22: -129}, RANGE),
        (bilinear, {2: 5}, SHAPE),
        (bilinear, {0: 3}, RANGE),  # row 3 is in the table
    ]


def broken() -> list[tuple[cases.Case, int]]:
    """Calls that must fail and write nothing, with the status."""
    rng = np.random.default_rng(0)
    image = cases.Layout(4, 5, 6)
    params = ((0.1, 3), (0.2, -5), (0.3, 7))
    add = cases.elementwise_case(rng, "add", params, (image, image, image))
    sub = cases.elementwise_case(rng, "sub", params, (image, image, image))
    mul = cases.elementwise_case(rng, "mul", params, (image, image, image))
    pools = [
        cases.pool_case(rng, kind, image, cases.Layout(2, 2, 6), cases.Window((2, 2), (2, 2)))
        for kind in ("max_pool", "average_pool")
    ]
    mean = cases.mean_case(rng, 1, 20, 6, (0.1, 0.1))
    resize = cases.resize_case(rng, image, cases.Layout(8, 10, 6))
    pad = cases.pad_case(rng, image, cases.Layout(6, 7, 6), (1, 1, 0), 0)
    copy = cases.copy_case(rng, image, image)
    lut = cases.lut_case(rng, image, image, cases.codes(rng, 256))
    quantize = cases.requantize_case(rng, image, (0.1, 0), (0.2, 0))
    transpose = cases.transpose_case(rng, (4, 5), (1, 0))
    gather = cases.gather_case(rng, 2, 3, 4, [2, 0])
    fully = cases.fully_connected_case(rng, 2, 9, 3)
    changes: list[tuple[cases.Case, dict[int, int], int]] = [
        *((case, {0: 0}, SHAPE) for case in (add, sub, mul, *pools, mean, resize, pad, copy, lut, quantize, transpose)),
        *((case, {11: 0}, SHAPE) for case in (add, sub, mul)),  # out.channel
        *((case, {5: 2}, SHAPE) for case in (add, sub, mul)),  # in1.channel
        *((case, {13: 1}, RANGE) for case in (add, sub)),  # shift1
        *((case, {18: 128}, RANGE) for case in (add, sub)),  # zero_point1
        (mul, {13: 15}, RANGE),
        (mul, {14: -129}, RANGE),
        *((case, {14: 2}, SHAPE) for case in pools),  # dilation
        *((case, {16: 2}, SHAPE) for case in pools),  # a window above the input
        *((case, {5: 9}, SHAPE) for case in pools),  # a window below the input
        *((case, {18: 128}, RANGE) for case in pools),
        (mean, {1: 2**23 + 1}, SHAPE),
        (mean, {5: -129}, RANGE),
        (resize, {2: 5}, SHAPE),
        (resize, {0: 3}, RANGE),  # the last row of the table is 3
        (pad, {10: 3}, SHAPE),
        (pad, {13: 200}, RANGE),
        (copy, {1: 4}, SHAPE),
        (lut, {6: 4}, SHAPE),
        (quantize, {11: -32}, RANGE),
        (cases.concat_case(rng, 3, [2, 4]), {0: 0}, SHAPE),
        (gather, {1: 0}, SHAPE),
        (gather, {3: 0}, SHAPE),
        (gather, {3: 2}, RANGE),
        (fully, {0: 0}, SHAPE),
        (fully, {4: -129}, RANGE),
    ]
    changes += broken_more(rng, image)
    return [(cases.with_integers(case, f"{case.name} {change}", change), status) for case, change, status in changes]


def test_operators_with_broken_parameters_fail_and_write_nothing(runner: chip_run.Runner, tmp_path: Path) -> None:
    wanted = broken()
    results = runner.run([case for case, _ in wanted], tmp_path)
    for (case, status), result in zip(wanted, results, strict=True):
        assert result.status == status, case.name
        assert np.array_equal(result.output, case.expected), case.name
