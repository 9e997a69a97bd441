from __future__ import annotations

import ctypes
from dataclasses import replace

import host_build
import numpy as np
import pytest
from c_structs import ALIGNMENT, NULL, OK, RANGE, SCRATCH, SHAPE, GuardedRoom
from row_heads import HEADS, RowCase, filled, row_case, spec_of

from edgedet.codegen.row_decoder import CodeValues, RowDecoder, RowLevel, View, row_decoder
from edgedet.numerics.decode import MAX_CANDIDATES

pytestmark = pytest.mark.toolchain


class CView(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in ("tensor", "offset", "cell_step", "anchor_step", "channel_step")]


class CCodes(ctypes.Structure):
    _fields_ = [("table", ctypes.c_void_p), ("scale", ctypes.c_float), ("zero_point", ctypes.c_int16)]


class CLevel(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("height", "width", "stride", "anchors")),
        *((name, CView) for name in ("cls", "box", "obj")),
        ("cls_codes", CCodes),
        ("box_codes", CCodes * 4),
        ("obj_codes", CCodes),
        *((name, ctypes.c_void_p) for name in ("cls_powers", "bin_powers", "anchor_px")),
        *((name, ctypes.c_int16) for name in ("cls_threshold", "obj_threshold")),
    ]


class CParams(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("input_width", "input_height")),
        ("levels", ctypes.POINTER(CLevel)),
        ("num_levels", ctypes.c_int32),
        ("tensor_bytes", ctypes.POINTER(ctypes.c_int32)),
        *((name, ctypes.c_int32) for name in ("num_tensors", "num_classes", "bins")),
        *((name, ctypes.c_int16) for name in ("box_coding", "score_coding", "background", "objectness", "agnostic")),
        *((name, ctypes.c_float) for name in ("offset", "score_threshold", "nms_iou")),
        ("class_thresholds", ctypes.c_void_p),
    ]


class CDecoder:
    """A RowDecoder as C structs, and the arrays that they point to."""

    def __init__(self, decoder: RowDecoder) -> None:
        self._decoder = decoder
        self._kept: list[np.ndarray] = []
        self.levels = (CLevel * len(decoder.levels))(*(self._level(level) for level in decoder.levels))
        sizes = (ctypes.c_int32 * len(decoder.tensor_bytes))(*decoder.tensor_bytes)
        names = ("num_classes", "bins", "box_coding", "score_coding", "background", "objectness", "agnostic")
        self.params = CParams(
            decoder.width, decoder.height, self.levels, len(self.levels), sizes, len(sizes),
            *(getattr(decoder, name) for name in (*names, "offset", "score_threshold", "nms_iou")),
            self._pointer(np.array(decoder.class_thresholds, np.float32)) if decoder.class_thresholds else None,
        )  # fmt: skip

    def _pointer(self, array: np.ndarray) -> int:
        self._kept.append(array)
        return array.ctypes.data

    def _codes(self, codes: CodeValues) -> CCodes:
        table = None if codes.table < 0 else self._pointer(self._decoder.tables[codes.table])
        return CCodes(table, codes.scale, codes.zero_point)

    def _level(self, level: RowLevel) -> CLevel:
        def view(place: View) -> CView:
            return CView(place.tensor, place.offset, place.cell_step, place.anchor_step, place.channel_step)

        def powers(index: int) -> int | None:
            return None if index < 0 else self._pointer(self._decoder.powers[index])

        anchors = self._pointer(np.array(level.anchor_px, np.float32)) if level.anchor_px else None
        return CLevel(
            level.height, level.width, level.stride, level.anchors, view(level.cls), view(level.box), view(level.obj),
            self._codes(level.cls_codes), (CCodes * 4)(*map(self._codes, level.box_codes)),
            self._codes(level.obj_codes), powers(level.cls_powers), powers(level.bin_powers), anchors,
            level.cls_threshold, level.obj_threshold,
        )  # fmt: skip


class Kernel:
    """edk_detect_rows with guard bytes around everything that it writes."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        library.edk_detect_scratch_bytes.restype = ctypes.c_size_t
        pointer, number = ctypes.c_void_p, ctypes.c_int32
        library.edk_detect_rows.argtypes = [
            *(pointer, pointer, pointer, ctypes.c_size_t),
            *(number, pointer, number, pointer),
        ]

    def run(
        self,
        case: RowCase,
        *,
        level_changes: dict[str, float | None] | None = None,
        param_changes: dict[str, float | None] | None = None,
        max_candidates: int = MAX_CANDIDATES,
        max_detections: int | None = None,
        missing_bytes: int = 0,
        offset: int = 0,
    ) -> tuple[int, np.ndarray]:
        """Status and detections; changes overwrite fields of the last level and of the parameters, `cls.offset` too."""
        shapes = [array.shape for array in case.outputs]
        made = CDecoder(row_decoder(case.spec, shapes, case.scales, case.zero_points, case.size))
        for holder, changes in ((made.levels[len(made.levels) - 1], level_changes), (made.params, param_changes)):
            for name, value in (changes or {}).items():
                *path, last = name.split(".")
                target = holder
                for part in path:
                    target = getattr(target, part)
                setattr(target, last, value)
        arrays = [np.ascontiguousarray(array) for array in case.outputs]
        pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        places = case.spec.max_detections if max_detections is None else max_detections
        needed = self.library.edk_detect_scratch_bytes(max_candidates)
        room = GuardedRoom(needed, places)
        status = self.library.edk_detect_rows(
            ctypes.byref(made.params), pointers, room.scratch.ctypes.data + offset, needed - missing_bytes,
            max_candidates, room.found.ctypes.data, places, ctypes.byref(room.count),
        )  # fmt: skip
        return status, room.detections(status, offset)


# With multiply-adds fused where the source allows it; clang does so in more places than gcc.
@pytest.fixture(scope="session", params=["gcc", "clang"])
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    program = host_build.compiler(request.param)
    folder = tmp_path_factory.mktemp("rows")
    return Kernel(host_build.load_library(folder, program, "edk_detect_rows.c", "edk_detect_scratch_bytes.c"))


def assert_equals_numpy(kernel: Kernel, case: RowCase) -> int:
    with np.errstate(over="ignore", invalid="ignore"):  # of absurd scales
        expected = case.numpy()
    status, found = kernel.run(case)
    assert status == OK
    np.testing.assert_array_equal(found["box"], expected.boxes)
    np.testing.assert_array_equal(found["score"], expected.scores)
    np.testing.assert_array_equal(found["label"], expected.labels)
    return len(found)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_detect_rows_random_outputs_equal_numpy(kernel: Kernel, name: str) -> None:
    found = 0
    for seed in range(8):
        threshold = (0.001, 0.3, 0.05, 0.5)[seed % 4]
        spec = spec_of(name, 1 + seed % 5, score_threshold=threshold, nms_iou=(0.5, 0.2, 0.9)[seed % 3])
        found += assert_equals_numpy(kernel, row_case(name, seed, spec))
    assert found > 30


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("name", sorted(HEADS))
def test_detect_rows_thresholds_of_classes_equal_numpy(kernel: Kernel, name: str, agnostic: bool) -> None:
    head = replace(HEADS[name], agnostic=agnostic)
    plain = spec_of(name, 4, score_threshold=0.05, head=head, max_detections=3000)
    spec = plain.with_thresholds((0.05, 0.4, 0.1, 0.9))
    found = [sum(assert_equals_numpy(kernel, row_case(name, seed, one)) for seed in range(5)) for one in (plain, spec)]
    assert found[0] != found[1] > 0


@pytest.mark.parametrize("name", sorted(HEADS))
def test_detect_rows_saturated_codes_and_ties_equal_numpy(kernel: Kernel, name: str) -> None:
    case = row_case(name, 1)
    for codes in ((-128,), (127,), (0,), (127, -128), (-128, 127), (127, 127, -128), (90, 10, 60)):
        assert_equals_numpy(kernel, filled(case, codes))


@pytest.mark.parametrize("name", sorted(HEADS))
def test_detect_rows_nothing_above_the_threshold_and_everything(kernel: Kernel, name: str) -> None:
    nothing = row_case(name, 2, spec_of(name, score_threshold=0.9999))
    assert assert_equals_numpy(kernel, filled(nothing, (-128,))) == 0
    everything = row_case(name, 3, spec_of(name, score_threshold=1e-9, nms_iou=1.0, max_detections=3000))
    assert assert_equals_numpy(kernel, everything) > 20


@pytest.mark.parametrize("name", ["yolox", "nanodet", "yolov5", "ssd", "ssd_agnostic"])
def test_detect_rows_more_candidates_than_the_budget_equal_numpy(kernel: Kernel, name: str) -> None:
    # 240x160: 600 + 150 cells; the anchors of ssd stay 48, so that it has many classes instead.
    classes, size = (40, (96, 64)) if name.startswith("ssd") else (4, (240, 160))
    spec = spec_of(name, classes, score_threshold=1e-9, max_detections=60)
    case = row_case(name, 4, spec, size)
    rows = sum(array.size for array in case.outputs) // (5 + classes)
    assert rows * classes > MAX_CANDIDATES
    for outputs in (case.outputs, [array // 32 * 32 for array in case.outputs]):  # the second with very many ties
        assert assert_equals_numpy(kernel, replace(case, outputs=outputs)) > 5


@pytest.mark.parametrize("name", sorted(HEADS))
def test_detect_rows_awkward_scales_equal_numpy(kernel: Kernel, name: str) -> None:
    rng = np.random.default_rng(7)
    for seed in range(12):
        case = row_case(name, 100 + seed, spec_of(name, 2, score_threshold=0.05))
        scales = [float(np.float32(10.0 ** rng.uniform(-4, 2))) for _ in case.scales]
        zero_points = [int(rng.integers(-128, 128)) for _ in case.scales]
        assert_equals_numpy(kernel, replace(case, scales=scales, zero_points=zero_points))


@pytest.mark.parametrize("name", sorted(HEADS))
def test_detect_rows_exponentials_that_overflow_equal_numpy(kernel: Kernel, name: str) -> None:
    case = row_case(name, 5, spec_of(name, score_threshold=0.2))
    for scale in (1e-45, 1e-38, 3.0, 1e3, 1e30):
        assert_equals_numpy(kernel, replace(case, scales=[float(np.float32(scale))] * len(case.scales)))


@pytest.mark.parametrize("name", ["yolox", "distance", "yolov5", "yolov8_nchw"])
@pytest.mark.parametrize("size", [(100, 60), (8, 8), (17, 120)])
def test_detect_rows_partial_cells_and_other_sizes_equal_numpy(
    kernel: Kernel, name: str, size: tuple[int, int]
) -> None:
    for seed in range(4):
        assert_equals_numpy(kernel, row_case(name, seed, spec_of(name, 2, score_threshold=0.01), size))


@pytest.mark.parametrize("name", ["yolox", "distance", "nanodet", "yolov5"])
def test_detect_rows_strides_whose_products_are_rounded_equal_numpy(kernel: Kernel, name: str) -> None:
    """With powers of two all products are exact, and a fused multiply-add would not show."""
    head = HEADS[name]
    tensors = tuple(role.replace("_16", "_12").replace("_8", "_5") for role in head.tensors)
    for seed in range(4):
        spec = spec_of(name, 2, strides=(5, 12), score_threshold=0.02, head=replace(head, tensors=tensors, offset=0.3))
        assert assert_equals_numpy(kernel, row_case(name, seed, spec, (120, 60))) > 5


def test_detect_rows_boxes_outside_the_input_are_dropped(kernel: Kernel) -> None:
    case = filled(row_case("yolox", 0, spec_of("yolox", score_threshold=0.01)), (127,))
    for array in case.outputs[1::3]:
        array[..., :] = (127, 127, 0, 0)  # to the right and down, one cell in size
    case = replace(case, zero_points=[0] * 6)
    assert assert_equals_numpy(kernel, replace(case, scales=[0.1, 0.5, 0.1] * 2)) == 0
    assert assert_equals_numpy(kernel, replace(case, scales=[0.1, 0.01, 0.1] * 2)) > 0


def test_detect_rows_fewer_places_give_the_first_detections(kernel: Kernel) -> None:
    case = row_case("yolox", 6, spec_of("yolox", score_threshold=0.01))
    _, everything = kernel.run(case)
    assert len(everything) > 10
    for most in (1, 5):
        status, found = kernel.run(case, max_detections=most)
        assert status == OK
        assert np.array_equal(found, everything[:most])


def test_detect_rows_small_budget_keeps_the_best(kernel: Kernel) -> None:
    case = row_case("yolox", 6, spec_of("yolox", score_threshold=0.01))
    _, everything = kernel.run(case)
    status, found = kernel.run(case, max_candidates=1)
    assert (status, len(found)) == (OK, 1)
    assert found[0] == everything[0]


def test_detect_rows_wrong_numbers_give_their_status_and_write_nothing(kernel: Kernel) -> None:
    case = row_case("yolov5_apart", 0)
    nan, infinity, most = float("nan"), float("inf"), 2**31 - 1
    for changes, expected in (
        *(({name: 0}, SHAPE) for name in ("height", "width", "stride", "anchors")),
        *(({name: -1}, SHAPE) for name in ("height", "width", "stride", "anchors")),
        *(({name: most}, SHAPE) for name in ("height", "width", "stride", "anchors")),
        *(({f"{view}.tensor": 6}, SHAPE) for view in ("cls", "box", "obj")),
        *(({f"{view}.tensor": -1}, SHAPE) for view in ("cls", "box", "obj")),
        *(({f"{view}.offset": -1}, SHAPE) for view in ("cls", "box", "obj")),
        *(({f"{view}.offset": most}, SHAPE) for view in ("cls", "box", "obj")),
        *(({f"{view}.cell_step": most}, SHAPE) for view in ("cls", "box", "obj")),
        *(({f"{view}.anchor_step": -1}, SHAPE) for view in ("cls", "box", "obj")),
        *(({f"{view}.anchor_step": most}, SHAPE) for view in ("cls", "box", "obj")),
        *(({f"{view}.channel_step": most}, SHAPE) for view in ("cls", "box")),
        ({"cls_codes.scale": nan}, RANGE),
        ({"obj_codes.scale": infinity}, RANGE),
        ({"cls_codes.zero_point": 128}, RANGE),
        ({"cls_threshold": 129}, RANGE),
        ({"obj_threshold": -129}, RANGE),
    ):
        assert kernel.run(case, level_changes=changes)[0] == expected, changes
    for changes, expected in (
        *(({name: value}, RANGE) for name in ("input_width", "input_height") for value in (0, 65536)),
        *(({name: value}, RANGE) for name in ("num_levels", "num_tensors") for value in (0, 49)),
        *(({name: 2}, RANGE) for name in ("background", "objectness", "agnostic")),
        *(({name: value}, RANGE) for name in ("box_coding", "score_coding") for value in (-1, 5)),
        *(({"bins": value}, RANGE) for value in (-1, 1, 8)),  # only distances have bins
        *(({"score_threshold": value}, RANGE) for value in (-0.1, 1.0, nan)),
        *(({"nms_iou": value}, RANGE) for value in (0.0, 1.1, nan)),
        ({"offset": infinity}, RANGE),
        ({"num_classes": 0}, RANGE),
        ({"num_classes": most}, RANGE),
        ({"num_classes": most - 1}, SHAPE),
        ({"levels": None}, NULL),
        ({"tensor_bytes": None}, NULL),
        ({"score_coding": 1}, NULL),  # no powers
    ):
        assert kernel.run(case, param_changes=changes)[0] == expected, changes
    assert kernel.run(row_case("ssd", 0), level_changes={"anchor_px": None})[0] == NULL
    assert kernel.run(row_case("nanodet", 0), level_changes={"bin_powers": None})[0] == NULL
    assert kernel.run(case, max_detections=0)[0] == RANGE
    assert kernel.run(case, max_candidates=0)[0] == RANGE
    assert kernel.run(case, missing_bytes=1)[0] == SCRATCH
    assert kernel.run(case, offset=2)[0] == ALIGNMENT


def test_detect_rows_null_pointers_give_their_status(kernel: Kernel) -> None:
    assert kernel.library.edk_detect_rows(None, None, None, 0, 1, None, 1, None) == NULL
