from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace

import host_build
import numpy as np
import pytest
from c_structs import ALIGNMENT, NULL, OK, RANGE, SCRATCH, SHAPE, GuardedRoom

from edgedet.contracts import Detections, OutputSpec
from edgedet.numerics.decode import class_codes, decode_int8, quantized_threshold, score_table

pytestmark = pytest.mark.toolchain


class CLevel(ctypes.Structure):
    _fields_ = [
        ("height", ctypes.c_int32),
        ("width", ctypes.c_int32),
        ("stride", ctypes.c_int32),
        ("cls_scale", ctypes.c_float),
        ("box_scale", ctypes.c_float),
        ("cls_zero_point", ctypes.c_int16),
        ("box_zero_point", ctypes.c_int16),
        ("q_threshold", ctypes.c_int16),
        ("score_table", ctypes.c_void_p),
        ("class_thresholds", ctypes.c_void_p),
    ]


class CParams(ctypes.Structure):
    _fields_ = [
        ("levels", ctypes.POINTER(CLevel)),
        ("num_levels", ctypes.c_int32),
        ("num_classes", ctypes.c_int32),
        ("nms_iou", ctypes.c_float),
    ]


@dataclass(frozen=True, eq=False)
class Case:
    """Outputs of one image and how to decode them."""

    spec: OutputSpec
    outputs: list[np.ndarray]
    scales: list[float]
    zero_points: list[int]
    score_threshold: float | None = 0.25  # None: those of the classes
    nms_iou: float = 0.65
    max_detections: int = 100
    max_candidates: int = 1000

    def numpy(self) -> Detections:
        return decode_int8(
            self.outputs,
            self.scales,
            self.zero_points,
            self.spec,
            score_threshold=self.score_threshold,
            nms_iou=self.nms_iou,
            max_detections=self.max_detections,
            max_candidates=self.max_candidates,
        )


class Kernel:
    """edk_detect with guard bytes around everything that it writes."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        library.edk_detect_scratch_bytes.restype = ctypes.c_size_t
        library.edk_detect.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_int32,
            ctypes.c_void_p,
            ctypes.c_int32,
            ctypes.c_void_p,
        ]

    def run(
        self,
        case: Case,
        *,
        level_changes: dict[str, float] | None = None,
        param_changes: dict[str, float] | None = None,
        missing_bytes: int = 0,
        offset: int = 0,
    ) -> tuple[int, np.ndarray]:
        """Status and detections; changes overwrite fields of the last level and of the parameters."""
        levels = (CLevel * len(case.spec.strides))()
        tables = []
        for i, stride in enumerate(case.spec.strides):
            scale, zero_point = case.scales[2 * i], case.zero_points[2 * i]
            tables.append(score_table(scale, zero_point))
            height, width = case.outputs[2 * i].shape[1:3]
            least = case.spec.score_threshold if case.score_threshold is None else case.score_threshold
            threshold = quantized_threshold(least, scale, zero_point)
            classes = class_codes(case.spec.class_thresholds if case.score_threshold is None else (), scale, zero_point)
            tables.append(classes)
            levels[i] = CLevel(
                height,
                width,
                stride,
                scale,
                case.scales[2 * i + 1],
                zero_point,
                case.zero_points[2 * i + 1],
                threshold,
                tables[-2].ctypes.data,
                classes.ctypes.data if len(classes) else None,
            )
        for name, value in (level_changes or {}).items():
            setattr(levels[len(levels) - 1], name, value)
        params = CParams(levels, len(levels), len(case.spec.class_names), case.nms_iou)
        for name, value in (param_changes or {}).items():
            setattr(params, name, value)
        arrays = [np.ascontiguousarray(array) for array in case.outputs]
        pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        needed = self.library.edk_detect_scratch_bytes(case.max_candidates)
        room = GuardedRoom(needed, case.max_detections)
        status = self.library.edk_detect(
            ctypes.byref(params),
            pointers,
            room.scratch.ctypes.data + offset,
            needed - missing_bytes,
            case.max_candidates,
            room.found.ctypes.data,
            case.max_detections,
            ctypes.byref(room.count),
        )
        return status, room.detections(status, offset)


# clang fuses multiply-add where gcc does not: without the volatile in edk_detect.c, boxes would differ in the last bit.
@pytest.fixture(scope="session", params=["gcc", "clang"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    program = host_build.compiler(request.param)
    return Kernel(host_build.load_library(tmp_path_factory.mktemp("detect"), program, "edk_detect*.c"))


def spec_of(classes: int, strides: tuple[int, ...] = (8, 16, 32)) -> OutputSpec:
    return OutputSpec(class_names=tuple(f"class{i}" for i in range(classes)), strides=strides)


def random_case(seed: int, spec: OutputSpec, width: int, height: int, mean: float = -1.0) -> Case:
    """Logits around `mean` with few distinct values (many ties), overlapping boxes, odd zero points."""
    rng = np.random.default_rng(seed)
    outputs, scales, zero_points = [], [], []
    for stride in spec.strides:
        shape = (1, -(-height // stride), -(-width // stride))
        pair = (
            (rng.normal(mean, 1.5, (*shape, len(spec.class_names))), rng.uniform(0.05, 0.12), rng.integers(-5, 90)),
            (rng.gamma(2.0, 1.0, (*shape, 4)) - 0.2, rng.uniform(0.02, 0.06), rng.integers(-128, -100)),
        )
        for real, scale, zero_point in pair:
            outputs.append(np.clip(np.round(real / scale) + zero_point, -128, 127).astype(np.int8))
            scales.append(float(np.float32(scale)))
            zero_points.append(int(zero_point))
    return Case(spec, outputs, scales, zero_points)


def assert_equals_numpy(kernel: Kernel, case: Case) -> int:
    expected = case.numpy()
    status, found = kernel.run(case)
    assert status == OK
    np.testing.assert_array_equal(found["box"], expected.boxes)
    np.testing.assert_array_equal(found["score"], expected.scores)
    np.testing.assert_array_equal(found["label"], expected.labels)
    return len(found)


@pytest.mark.parametrize("classes", [1, 3, 4])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (32, 160)])
@pytest.mark.parametrize("threshold", [0.001, 0.25, 0.5])
def test_detect_random_outputs_equal_numpy(
    kernel: Kernel, classes: int, width: int, height: int, threshold: float
) -> None:
    found = 0
    for seed in range(15):
        case = random_case(seed, spec_of(classes), width, height)
        found += assert_equals_numpy(kernel, replace(case, score_threshold=threshold))
    assert found > 30


@pytest.mark.parametrize("thresholds", [(0.05, 0.5, 0.2), (0.9999, 0.01, 0.01), (0.3, 0.3, 0.30001)])
def test_detect_thresholds_of_classes_equal_numpy(kernel: Kernel, thresholds: tuple[float, ...]) -> None:
    found = 0
    for seed in range(10):
        case = random_case(300 + seed, spec_of(3).with_thresholds(thresholds), 96, 64, mean=0.0)
        found += assert_equals_numpy(kernel, replace(case, score_threshold=None))
    assert found > 30


@pytest.mark.parametrize("nms_iou", [0.01, 0.3, 0.5, 0.65, 0.9, 1.0])
def test_detect_any_nms_threshold_equals_numpy(kernel: Kernel, nms_iou: float) -> None:
    for seed in range(10):
        case = random_case(100 + seed, spec_of(2), 96, 96, mean=0.0)
        assert_equals_numpy(kernel, replace(case, nms_iou=nms_iou, score_threshold=0.1))


@pytest.mark.parametrize("budget", [1, 2, 3, 17, 100, 4000])
@pytest.mark.parametrize("max_detections", [1, 5, 300])
def test_detect_fewer_places_than_candidates_equals_numpy(kernel: Kernel, budget: int, max_detections: int) -> None:
    for seed in range(6):
        case = random_case(200 + seed, spec_of(3), 96, 64, mean=0.0)
        case = replace(case, max_candidates=budget, max_detections=max_detections, score_threshold=0.05)
        assert_equals_numpy(kernel, case)


@pytest.mark.parametrize("strides", [(8,), (32,), (4, 8), (5, 7, 12), (8, 16, 32, 64)])
def test_detect_other_strides_and_partial_cells_equal_numpy(kernel: Kernel, strides: tuple[int, ...]) -> None:
    width, height = (-(-side // strides[0]) * strides[0] for side in (100, 60))
    for seed in range(8):
        assert_equals_numpy(kernel, random_case(300 + seed, spec_of(2, strides), width, height, mean=0.0))


def test_detect_awkward_scales_equal_numpy(kernel: Kernel) -> None:
    rng = np.random.default_rng(9)
    for seed in range(40):
        case = random_case(400 + seed, spec_of(2, (5, 7, 12)), 105, 70, mean=0.0)
        scales = [float(np.float32(10.0 ** rng.uniform(-3, 1))) for _ in case.scales]
        assert_equals_numpy(
            kernel, replace(case, scales=scales, score_threshold=0.3, nms_iou=float(rng.uniform(0.1, 1)))
        )


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 3e38])
def test_detect_extreme_scales_equal_numpy(kernel: Kernel, scale: float) -> None:
    case = random_case(1, spec_of(2), 64, 64, mean=0.0)
    scales = [float(np.float32(scale))] * 6
    with np.errstate(over="ignore"):
        assert_equals_numpy(kernel, replace(case, scales=scales, score_threshold=0.5))
        assert_equals_numpy(kernel, replace(case, scales=scales, score_threshold=0.2))


def test_detect_everything_equal_keeps_order_of_level_cell_class(kernel: Kernel) -> None:
    spec = spec_of(2)
    for value in (-128, 0, 127):
        outputs = []
        for stride in spec.strides:
            cells = (1, 32 // stride, 64 // stride)
            outputs += [np.full((*cells, 2), value, np.int8), np.full((*cells, 4), 1, np.int8)]
        case = Case(spec, outputs, [0.1, 0.01] * 3, [-128, 0] * 3, score_threshold=0.0, max_detections=1000)
        assert assert_equals_numpy(kernel, case) == 2 * (32 + 8 + 2)
        assert_equals_numpy(kernel, replace(case, max_candidates=37))


def test_detect_ties_across_levels_of_different_scales_equal_numpy(kernel: Kernel) -> None:
    spec = spec_of(1, (8, 16))
    outputs = [np.full((1, 4, 4, 1), 20, np.int8), np.full((1, 4, 4, 4), 1, np.int8)]
    outputs += [np.full((1, 2, 2, 1), 10, np.int8), np.full((1, 2, 2, 4), 1, np.int8)]
    # 20 * 0.1 and 10 * 0.2 are the same float; a neighbour of 0.2 is not.
    for second in (0.2, float(np.nextafter(np.float32(0.2), np.float32(1)))):
        case = Case(spec, outputs, [0.1, 0.1, second, 0.1], [0, 0, 0, 0], max_candidates=5)
        assert_equals_numpy(kernel, case)


def test_detect_saturated_outputs_stay_inside_the_input(kernel: Kernel) -> None:
    spec = spec_of(1)
    outputs = []
    for stride in spec.strides:
        cells = (1, 64 // stride, 96 // stride)
        outputs += [np.full((*cells, 1), 127, np.int8), np.full((*cells, 4), 127, np.int8)]
    case = Case(spec, outputs, [0.5] * 6, [-128] * 6)
    assert assert_equals_numpy(kernel, case) == 1
    inverted = replace(case, outputs=[np.full_like(q, -128) if i % 2 else q for i, q in enumerate(outputs)])
    assert assert_equals_numpy(kernel, replace(inverted, zero_points=[-128, 127] * 3)) == 0  # no box has an area


def test_detect_nothing_above_the_threshold_is_empty(kernel: Kernel) -> None:
    case = random_case(0, spec_of(3), 64, 32, mean=-30.0)
    assert assert_equals_numpy(kernel, case) == 0
    out_of_reach = replace(random_case(0, spec_of(3), 64, 32), score_threshold=0.99999, scales=[0.01] * 6)
    assert quantized_threshold(0.99999, 0.01, out_of_reach.zero_points[0]) == 128
    assert assert_equals_numpy(kernel, out_of_reach) == 0


def test_detect_one_cell_equals_numpy(kernel: Kernel) -> None:
    outputs = [np.full((1, 1, 1, 1), 50, np.int8), np.array([[[[-1, -2, 30, 40]]]], np.int8)]
    case = Case(spec_of(1, (32,)), outputs, [0.1, 0.02], [0, -3], max_candidates=1, max_detections=1)
    assert assert_equals_numpy(kernel, case) == 1


def test_detect_wrong_numbers_give_their_status_and_write_nothing(kernel: Kernel) -> None:
    case = random_case(0, spec_of(2), 64, 64)
    nan, infinity = float("nan"), float("inf")
    for changes, expected in (
        ({"height": 0}, SHAPE),
        ({"width": 3}, SHAPE),
        ({"stride": 0}, SHAPE),
        ({"stride": 16}, SHAPE),
        ({"cls_scale": 0.0}, RANGE),
        ({"cls_scale": nan}, RANGE),
        ({"box_scale": infinity}, RANGE),
        ({"box_scale": -0.1}, RANGE),
        ({"cls_zero_point": 128}, RANGE),
        ({"box_zero_point": -129}, RANGE),
        ({"q_threshold": 129}, RANGE),
        ({"score_table": None}, NULL),
    ):
        assert kernel.run(case, level_changes=changes)[0] == expected, changes
    for changes, expected in (
        ({"num_levels": 0}, RANGE),
        ({"num_levels": 17}, RANGE),
        ({"num_classes": 0}, RANGE),
        ({"num_classes": 2**31 - 1}, SHAPE),
        ({"nms_iou": 0.0}, RANGE),
        ({"nms_iou": nan}, RANGE),
        ({"nms_iou": 1.5}, RANGE),
        ({"levels": None}, NULL),
    ):
        assert kernel.run(case, param_changes=changes)[0] == expected, changes
    assert kernel.run(replace(case, max_detections=0))[0] == RANGE
    assert kernel.run(replace(case, max_candidates=0))[0] == RANGE
    assert kernel.run(case, missing_bytes=1)[0] == SCRATCH
    assert kernel.run(case, offset=2)[0] == ALIGNMENT


def test_detect_null_pointers_give_their_status(kernel: Kernel) -> None:
    assert kernel.library.edk_detect(None, None, None, 0, 1, None, 1, None) == NULL


@pytest.mark.parametrize(
    ("budget", "expected"), [(1, 8), (1000, 8000), (0, 0), (-1, 0), (2**24, 2**27), (2**24 + 1, 0)]
)
def test_detect_scratch_bytes_is_eight_for_each_candidate(kernel: Kernel, budget: int, expected: int) -> None:
    assert kernel.library.edk_detect_scratch_bytes(budget) == expected
