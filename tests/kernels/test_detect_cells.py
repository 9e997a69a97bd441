from __future__ import annotations

import ctypes
from dataclasses import dataclass

import host_build
import numpy as np
import pytest
from c_structs import ALIGNMENT, NULL, OK, RANGE, SCRATCH, SHAPE, GuardedRoom

from edgedet.contracts import Detections, OutputSpec
from edgedet.head_spec import HeadSpec
from edgedet.numerics.decode import DecodeOptions, dequantize_output
from edgedet.numerics.heads.fomo import decode_cells, quantized_score_threshold

pytestmark = pytest.mark.toolchain


class CParams(ctypes.Structure):
    _fields_ = [
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("stride", ctypes.c_int32),
        ("num_classes", ctypes.c_int32),
        ("scale", ctypes.c_float),
        ("zero_point", ctypes.c_int16),
        ("q_threshold", ctypes.c_int16),
        ("background", ctypes.c_int16),
        ("class_thresholds", ctypes.c_void_p),
    ]


@dataclass(frozen=True, eq=False)
class Case:
    """A heat map and how to decode it."""

    map: np.ndarray  # int8 (height, width, channels)
    scale: float = 1 / 256
    zero_point: int = -128
    background: bool = True
    score_threshold: float = 0.3
    max_detections: int = 100
    stride: int = 8
    class_thresholds: tuple[float, ...] = ()

    @property
    def classes(self) -> int:
        return self.map.shape[2] - int(self.background)

    def numpy(self) -> Detections:
        names = tuple(f"class{i}" for i in range(self.classes))
        head = HeadSpec("fomo", "cells", (f"map_{self.stride}",), "none", background=self.background)
        spec = OutputSpec(names, (self.stride,), self.score_threshold, head=head)
        size = (self.map.shape[1] * self.stride, self.map.shape[0] * self.stride)
        real = dequantize_output(self.map[None], self.scale, self.zero_point)
        options = DecodeOptions(self.score_threshold, 0.65, self.max_detections, 1000, self.class_thresholds)
        return decode_cells([real], spec, size, options)


class Kernel:
    """edk_detect_cells with guard bytes around everything that it writes."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        library.edk_detect_cells_scratch_bytes.restype = ctypes.c_size_t
        library.edk_detect_cells.argtypes = [
            *[ctypes.c_void_p] * 3,
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_int32,
            ctypes.c_void_p,
        ]

    def run(self, case: Case, *, missing_bytes: int = 0, offset: int = 0, **changes: float) -> tuple[int, np.ndarray]:
        """Status and detections; changes overwrite fields of the parameters."""
        height, width, _ = case.map.shape
        threshold = quantized_score_threshold(case.score_threshold, case.scale, case.zero_point)
        codes = [quantized_score_threshold(t, case.scale, case.zero_point) for t in case.class_thresholds]
        classes = np.array(codes, np.int16)
        params = CParams(
            height, width, case.stride, case.classes, case.scale, case.zero_point, threshold, int(case.background),
            classes.ctypes.data if codes else None,
        )  # fmt: skip
        for name, value in changes.items():
            setattr(params, name, value)
        needed = self.library.edk_detect_cells_scratch_bytes(height, width)
        assert needed == 4 * height * width
        room = GuardedRoom(needed, case.max_detections)
        values = np.ascontiguousarray(case.map)
        status = self.library.edk_detect_cells(
            ctypes.byref(params),
            values.ctypes.data,
            room.scratch.ctypes.data + offset,
            needed - missing_bytes,
            room.found.ctypes.data,
            case.max_detections,
            ctypes.byref(room.count),
        )
        assert status == OK or room.scratch_untouched
        return status, room.detections(status, offset)


# gcc and clang with fused multiply-add.
@pytest.fixture(scope="module", params=["gcc", "clang"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    program = host_build.compiler(request.param)
    return Kernel(host_build.load_library(tmp_path_factory.mktemp("cells"), program, "edk_detect_cells*.c"))


def assert_equals_numpy(kernel: Kernel, case: Case) -> int:
    expected = case.numpy()
    status, found = kernel.run(case)
    assert status == OK
    np.testing.assert_array_equal(found["box"], expected.boxes)
    np.testing.assert_array_equal(found["score"], expected.scores)
    np.testing.assert_array_equal(found["label"], expected.labels)
    return len(found)


def random_map(seed: int, height: int, width: int, channels: int, low: int = -100, high: int = 100) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (height, width, channels)).astype(np.int8)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (6, 8), (12, 12), (31, 17)])
@pytest.mark.parametrize("channels", [2, 3, 6])
def test_cells_random_maps_equal_numpy(kernel: Kernel, height: int, width: int, channels: int) -> None:
    found = 0
    for seed in range(8):
        for threshold in (0.1, 0.5, 0.8):  # one large object; many small ones
            found += assert_equals_numpy(
                kernel, Case(random_map(seed, height, width, channels), score_threshold=threshold)
            )
    assert found > 0


@pytest.mark.parametrize("background", [True, False])
def test_cells_thresholds_of_classes_equal_numpy(kernel: Kernel, background: bool) -> None:
    thresholds = (0.6, 0.2, 0.9) if background else (0.6, 0.2, 0.9, 0.3)
    found = 0
    for seed in range(10):
        case = Case(random_map(seed, 9, 13, 4), background=background, score_threshold=0.2, class_thresholds=thresholds)
        found += assert_equals_numpy(kernel, case)
        assert found != assert_equals_numpy(kernel, Case(case.map, background=background, score_threshold=0.2))
    assert found > 30


def test_cells_any_scale_zero_point_and_stride_equal_numpy(kernel: Kernel) -> None:
    rng, found = np.random.default_rng(1), 0
    for seed in range(60):
        scale, zero_point = float(np.float32(10.0 ** rng.uniform(-3.0, 0.5))), int(rng.integers(-128, 128))
        threshold = float(rng.uniform(0.001, 0.7))
        case = Case(random_map(seed, 9, 13, 3), scale, zero_point, score_threshold=threshold, stride=5 + seed % 12)
        found += assert_equals_numpy(kernel, case)
    assert found > 100


def test_cells_few_values_have_ties_in_class_and_score(kernel: Kernel) -> None:
    for seed in range(10):
        case = Case(random_map(seed, 10, 11, 4, 0, 3) * np.int8(20))
        assert assert_equals_numpy(kernel, case) > 3
        for most in (1, 2, 5):
            case = Case(case.map, max_detections=most)
            assert assert_equals_numpy(kernel, case) <= most


def test_cells_without_background_equal_numpy(kernel: Kernel) -> None:
    assert sum(assert_equals_numpy(kernel, Case(random_map(s, 7, 7, 2), background=False)) for s in range(5)) > 5
    assert assert_equals_numpy(kernel, Case(random_map(0, 5, 5, 1), background=False, score_threshold=0.7)) > 0


@pytest.mark.parametrize("shape", ["bridged", "comb", "rings", "full"])
def test_cells_objects_that_wind_are_one(kernel: Kernel, shape: str) -> None:
    side = 33
    owned = np.zeros((side, side), bool)
    if shape == "comb":  # teeth that meet only in the last row
        owned[:, ::2], owned[-1] = True, True
    elif shape == "full":
        owned[:] = True
    else:
        for ring in range(0, side // 2, 2):
            owned[ring : side - ring, ring : side - ring] = True
            owned[ring + 1 : side - ring - 1, ring + 1 : side - ring - 1] = False
        if shape == "bridged":  # bridges between the rings
            for ring in range(1, side // 2, 2):
                owned[ring, side // 2] = True
    values = random_map(3, side, side, 2, 0, 120)
    values[..., 0] = np.where(owned, -128, 127)
    assert assert_equals_numpy(kernel, Case(values)) == (8 if shape == "rings" else 1)


def test_cells_nothing_above_the_threshold_is_empty(kernel: Kernel) -> None:
    assert assert_equals_numpy(kernel, Case(np.full((4, 5, 3), 127, np.int8), score_threshold=0.999)) == 0
    background = np.full((4, 5, 3), 100, np.int8)  # wins a tie: the lowest channel
    assert assert_equals_numpy(kernel, Case(background)) == 0


def test_cells_wrong_numbers_give_their_status_and_write_nothing(kernel: Kernel) -> None:
    case = Case(random_map(0, 6, 8, 3))
    for changes, expected in (
        ({"height": 0}, SHAPE),
        ({"width": 65536}, SHAPE),
        ({"stride": 0}, SHAPE),
        ({"stride": 65535}, SHAPE),
        ({"num_classes": 2**31 - 1}, SHAPE),
        ({"num_classes": 0}, RANGE),
        ({"scale": 0.0}, RANGE),
        ({"scale": float("nan")}, RANGE),
        ({"scale": float("inf")}, RANGE),
        ({"zero_point": -129}, RANGE),
        ({"zero_point": 128}, RANGE),
        ({"q_threshold": -128}, RANGE),  # a score of 0 has no weight
        ({"q_threshold": 129}, RANGE),
        ({"background": 2}, RANGE),
    ):
        assert kernel.run(case, **changes)[0] == expected, changes
    assert kernel.run(Case(case.map, max_detections=0))[0] == RANGE
    assert kernel.run(case, missing_bytes=1)[0] == SCRATCH
    assert kernel.run(case, offset=2)[0] == ALIGNMENT
    assert kernel.library.edk_detect_cells(None, None, None, 0, None, 1, None) == NULL


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(1, 1, 4), (12, 10, 480), (0, 1, 0), (1, -1, 0), (65536, 1, 0), (1, 65535, 262140), (65535, 65535, 0)],
)
def test_cells_scratch_bytes_is_four_for_each_cell(kernel: Kernel, height: int, width: int, expected: int) -> None:
    assert kernel.library.edk_detect_cells_scratch_bytes(height, width) == expected
