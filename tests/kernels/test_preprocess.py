from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace

import host_build
import numpy as np
import pytest
from c_structs import ALIGNMENT, NULL, OK, RANGE, SCRATCH, SHAPE, CImage

from edgedet.contracts import PreprocessSpec
from edgedet.data.pictures.pixel_formats import rgb565_to_rgb, yuyv_to_gray, yuyv_to_rgb
from edgedet.data.pictures.preprocess import (
    Placement,
    fitted_size,
    quantization_table,
    quantize_input,
    resize_to_input,
)

pytestmark = pytest.mark.toolchain

RGB888, RGB565, YUYV, GRAY8 = range(4)
UNPACK = {RGB888: lambda packed: packed, RGB565: rgb565_to_rgb, YUYV: yuyv_to_rgb}
UNPACK_GREY = {**UNPACK, YUYV: yuyv_to_gray, GRAY8: lambda packed: packed}
DEPTH = {RGB888: 3, RGB565: 2, YUYV: 2, GRAY8: 1}


class CParams(ctypes.Structure):
    _fields_ = [
        ("input_width", ctypes.c_int32),
        ("input_height", ctypes.c_int32),
        ("resize", ctypes.c_int),
        ("pad_value", ctypes.c_uint8),
        ("table", ctypes.c_void_p),
    ]


class CPlacement(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int32) for name in ("image_width", "image_height", "new_width", "new_height")]

    def values(self) -> Placement:
        return Placement(self.image_width, self.image_height, self.new_width, self.new_height)


@dataclass(eq=False)
class Kernel:
    """The library with the calling conventions of its functions."""

    library: ctypes.CDLL

    def run(
        self,
        packed: np.ndarray,
        layout: int,
        spec: PreprocessSpec,
        table: np.ndarray,
        *,
        scratch_bytes: int | None = None,
        offset: int = 0,
        **changes: int,
    ) -> tuple[int, np.ndarray, Placement]:
        """Status, output and placement; `changes` overwrite fields of the image."""
        height, width = packed.shape[:2]
        image = CImage(packed.ctypes.data, width, height, packed.strides[0], layout)
        for name, value in changes.items():
            setattr(image, name, value)
        params = CParams(
            spec.width,
            spec.height,
            ["letterbox", "stretch"].index(spec.resize) + 2 * (spec.interpolation == "bilinear"),
            spec.pad_value,
            table.ctypes.data,
        )
        name = "edk_preprocess_gray" if spec.channels == 1 else "edk_preprocess"
        needed = getattr(self.library, f"{name}_scratch_bytes")(ctypes.byref(params), width, height)
        size = needed if scratch_bytes is None else scratch_bytes
        # 64 guard bytes behind scratch and output show any write beyond them.
        scratch = np.full((needed + 64 + 7) // 8 * 8, 0x5A, np.uint8)
        output = np.full(spec.height * spec.width * spec.channels + 64, 0x5A, np.int8)
        placement = CPlacement()
        status = getattr(self.library, name)(
            ctypes.byref(image),
            ctypes.byref(params),
            scratch.ctypes.data + offset,
            size,
            output.ctypes.data,
            ctypes.byref(placement),
        )
        assert (scratch[needed + offset :] == 0x5A).all()
        assert (output[-64:] == 0x5A).all()
        if status != OK:
            assert (output == 0x5A).all()
        return status, output[:-64].reshape(spec.height, spec.width, spec.channels), placement.values()


@pytest.fixture(scope="session")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    folder = tmp_path_factory.mktemp("preprocess")
    library = host_build.load_library(
        folder, host_build.compiler("gcc", "clang", "cc"), "edk_preprocess*.c", "edk_place_image.c", "edk_image_box.c"
    )
    pointer = ctypes.c_void_p
    for name in ("edk_preprocess", "edk_preprocess_gray"):
        getattr(library, f"{name}_scratch_bytes").restype = ctypes.c_size_t
        getattr(library, name).argtypes = [pointer, pointer, pointer, ctypes.c_size_t, pointer, pointer]
    return Kernel(library)


def random_packed(layout: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    shape = (height, width, DEPTH[layout])
    return np.random.default_rng([seed, height, width]).integers(0, 256, shape, dtype=np.uint8)


def assert_equals_numpy(
    kernel: Kernel, packed: np.ndarray, layout: int, spec: PreprocessSpec, scale: float, zero_point: int
) -> None:
    unpack = UNPACK_GREY if spec.channels == 1 else UNPACK
    expected_pixels, expected_placement = resize_to_input(unpack[layout](packed), spec)
    status, output, placement = kernel.run(packed, layout, spec, quantization_table(spec, scale, zero_point))
    assert status == OK
    assert placement == expected_placement
    np.testing.assert_array_equal(output, quantize_input(expected_pixels, spec, scale, zero_point))


SIZES = [
    (1, 2),
    (2, 2),
    (1, 640),
    (480, 2),
    (33, 50),
    (64, 64),
    (96, 64),
    (63, 130),
    (480, 640),
    (97, 1002),
    (1001, 98),
]


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (32, 96)])
@pytest.mark.parametrize("layout", [RGB888, RGB565, YUYV])
def test_preprocess_any_size_equals_numpy(kernel: Kernel, layout: int, width: int, height: int, resize: str) -> None:
    spec = PreprocessSpec(width, height, resize=resize)
    for image_height, image_width in SIZES:
        packed = random_packed(layout, image_height, image_width)
        assert_equals_numpy(kernel, packed, layout, spec, 1 / 255, -128)


def grey(width: int, height: int, resize: str = "letterbox", pad_value: int = 114) -> PreprocessSpec:
    return PreprocessSpec(width, height, "GRAY", resize, pad_value, mean=(120.5,), std=(60.0,))


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (32, 96)])
@pytest.mark.parametrize("layout", [RGB888, RGB565, YUYV, GRAY8])
def test_preprocess_gray_any_size_equals_numpy(
    kernel: Kernel, layout: int, width: int, height: int, resize: str
) -> None:
    for image_height, image_width in SIZES:
        packed = random_packed(layout, image_height, image_width)
        assert_equals_numpy(kernel, packed, layout, grey(width, height, resize, image_height % 256), 0.02, -7)


@pytest.mark.parametrize("width", [1, 3, 5, 63, 65, 127, 129, 641])
def test_preprocess_gray_odd_widths_and_strides_equal_numpy(kernel: Kernel, width: int) -> None:
    for layout in (RGB888, RGB565, GRAY8):
        packed = random_packed(layout, 37, width + 6)[:, 5 : 5 + width]
        assert_equals_numpy(kernel, packed, layout, grey(64, 96), 1 / 60, 3)


def test_preprocess_gray_every_luma_equals_numpy(kernel: Kernel) -> None:
    """All 65536 pixels of RGB565, and the corners of the RGB cube with their neighbours."""
    every = np.arange(65536, dtype="<u2").view(np.uint8).reshape(256, 256, 2)
    assert_equals_numpy(kernel, every, RGB565, grey(256, 256), 1 / 30, 0)
    levels = np.array([0, 1, 2, 127, 128, 253, 254, 255], np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, 512, 3)
    assert_equals_numpy(kernel, cube, RGB888, grey(512, 32, "stretch"), 1 / 30, 0)


def test_preprocess_gray_wrong_arguments_give_their_status_and_write_nothing(kernel: Kernel) -> None:
    spec = grey(32, 32)
    table = quantization_table(spec, 1 / 60, 0)
    packed = random_packed(GRAY8, 20, 30)
    for changes, expected in (
        ({"pixels": 0}, NULL),
        ({"width": 0}, SHAPE),
        ({"stride_bytes": 29}, SHAPE),
        ({"format": 4}, RANGE),
        ({"format": RGB888}, SHAPE),
        ({"format": YUYV, "width": 29}, SHAPE),
    ):
        assert kernel.run(packed, GRAY8, spec, table, **changes)[0] == expected, changes
    assert kernel.run(packed, GRAY8, spec, table, offset=1)[0] == ALIGNMENT
    params = CParams(32, 32, 0, 114, table.ctypes.data)
    needed = kernel.library.edk_preprocess_gray_scratch_bytes(ctypes.byref(params), 30, 20)
    assert kernel.run(packed, GRAY8, spec, table, scratch_bytes=needed - 1)[0] == SCRATCH
    assert kernel.library.edk_preprocess_gray_scratch_bytes(None, 30, 20) == 0


@pytest.mark.parametrize("width", [1, 3, 63, 65, 127, 129, 641])
def test_preprocess_odd_widths_around_the_tile_equal_numpy(kernel: Kernel, width: int) -> None:
    for layout in (RGB888, RGB565):
        packed = random_packed(layout, 37, width)
        assert_equals_numpy(kernel, packed, layout, PreprocessSpec(64, 96), 1 / 255, -128)


def test_preprocess_random_sizes_equal_numpy(kernel: Kernel) -> None:
    rng = np.random.default_rng(11)
    for _ in range(30):
        layout = int(rng.integers(3))
        image_height, image_width = (int(v) for v in rng.integers(1, 400, 2))
        packed = random_packed(layout, image_height, image_width + image_width % 2)
        width, height = (int(v) * 32 for v in rng.integers(1, 8, 2))
        resize = ("letterbox", "stretch")[int(rng.integers(2))]
        interpolation = ("area", "bilinear")[int(rng.integers(2))]
        pad_value = int(rng.integers(256))
        spec = PreprocessSpec(width, height, resize=resize, pad_value=pad_value, interpolation=interpolation)
        assert_equals_numpy(kernel, packed, layout, spec, float(rng.uniform(0.001, 0.02)), int(rng.integers(-128, 128)))


@pytest.mark.parametrize("longest", [65535, 40000])
def test_preprocess_extreme_sides_equal_numpy(kernel: Kernel, longest: int) -> None:
    for shape in ((1, longest), (longest, 1)):
        assert_equals_numpy(
            kernel, random_packed(RGB888, *shape), RGB888, PreprocessSpec(32, 32, resize="stretch"), 1 / 255, -128
        )


@pytest.mark.parametrize(("scale", "zero_point"), [(1 / 255, -128), (0.0186, -15), (1e-4, 127), (3.0, 3)])
def test_preprocess_table_per_channel_and_saturation_equal_numpy(kernel: Kernel, scale: float, zero_point: int) -> None:
    spec = PreprocessSpec(64, 32, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375), pad_value=0)
    assert_equals_numpy(kernel, random_packed(RGB888, 90, 70), RGB888, spec, scale, zero_point)


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_preprocess_flat_image_stays_flat(kernel: Kernel, value: int) -> None:
    spec = PreprocessSpec(64, 64, resize="stretch")
    packed = np.full((123, 77, 3), value, np.uint8)
    _, output, _ = kernel.run(packed, RGB888, spec, quantization_table(spec, 1 / 255, -128))
    assert (output == value - 128).all()


def test_preprocess_every_rgb565_value_and_yuyv_combination_equals_numpy(kernel: Kernel) -> None:
    spec = PreprocessSpec(256, 256)  # the image's own size: no resampling, every pixel is seen by itself
    every = np.arange(65536, dtype="<u2").view(np.uint8).reshape(256, 256, 2)
    assert_equals_numpy(kernel, every, RGB565, spec, 1 / 255, -128)
    rng = np.random.default_rng(2)
    levels = np.array([0, 1, 16, 127, 128, 129, 235, 254, 255], np.uint8)
    for packed in (rng.choice(levels, (256, 256, 2)), rng.integers(0, 256, (256, 256, 2), dtype=np.uint8)):
        assert_equals_numpy(kernel, packed, YUYV, spec, 1 / 255, -128)


@pytest.mark.parametrize("layout", [RGB888, RGB565, YUYV])
def test_preprocess_rows_with_a_stride_skip_what_lies_between(kernel: Kernel, layout: int) -> None:
    wide = random_packed(layout, 50, 90)
    assert_equals_numpy(kernel, wide[:, 3:71], layout, PreprocessSpec(64, 64), 1 / 255, -128)


def test_preprocess_scratch_size_is_exact_and_small(kernel: Kernel) -> None:
    spec = PreprocessSpec(192, 192)
    table = quantization_table(spec, 1 / 255, -128)
    params = CParams(192, 192, 0, 114, table.ctypes.data)
    needed = kernel.library.edk_preprocess_scratch_bytes(ctypes.byref(params), 640, 480)
    assert needed == 5006  # the header names it
    packed = random_packed(RGB888, 480, 640)
    assert kernel.run(packed, RGB888, spec, table, scratch_bytes=needed - 1)[0] == SCRATCH
    assert kernel.run(packed, RGB888, spec, table, scratch_bytes=needed)[0] == OK
    for sides in ((0, 480), (640, -1), (65536, 480)):
        assert kernel.library.edk_preprocess_scratch_bytes(ctypes.byref(params), *sides) == 0
    assert kernel.library.edk_preprocess_scratch_bytes(None, 640, 480) == 0


def test_preprocess_wrong_arguments_give_their_status_and_write_nothing(kernel: Kernel) -> None:
    spec = PreprocessSpec(32, 32)
    table = quantization_table(spec, 1 / 255, -128)
    packed = random_packed(RGB888, 20, 30)
    for changes, expected in (
        ({"pixels": 0}, NULL),
        ({"width": 0}, SHAPE),
        ({"width": 65536}, SHAPE),
        ({"height": -1}, SHAPE),
        ({"stride_bytes": 89}, SHAPE),
        ({"stride_bytes": -90}, SHAPE),
        ({"format": 3}, RANGE),
        ({"format": YUYV, "width": 29}, SHAPE),
    ):
        assert kernel.run(packed, RGB888, spec, table, **changes)[0] == expected, changes
    assert kernel.run(packed, RGB888, spec, table, offset=1)[0] == ALIGNMENT
    assert kernel.library.edk_preprocess(None, None, None, 0, None, None) == NULL


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_place_image_any_size_equals_fitted_size(kernel: Kernel, resize: str) -> None:
    rng = np.random.default_rng(3)
    sides = [1, 2, 3, 31, 65535, *rng.integers(1, 65536, 40).tolist()]
    for image_width in sides:
        for image_height in rng.choice(sides, 12).tolist():
            spec = PreprocessSpec(*(int(v) * 32 for v in rng.integers(1, 40, 2)), resize=resize)
            placement = CPlacement()
            mode = ["letterbox", "stretch"].index(resize)
            status = kernel.library.edk_place_image(
                image_width, image_height, spec.width, spec.height, mode, ctypes.byref(placement)
            )
            assert status == OK
            assert placement.values() == fitted_size(image_width, image_height, spec)


def test_place_image_wrong_arguments_give_their_status(kernel: Kernel) -> None:
    placement = CPlacement()
    place = kernel.library.edk_place_image
    assert place(4, 4, 4, 4, 0, None) == NULL
    assert place(4, 4, 4, 4, 4, ctypes.byref(placement)) == RANGE
    for sides in ((0, 4, 4, 4), (4, 65536, 4, 4), (4, 4, -1, 4), (4, 4, 4, 0)):
        assert place(*sides, 0, ctypes.byref(placement)) == SHAPE


def test_image_box_random_boxes_equal_placement_to_image(kernel: Kernel) -> None:
    rng = np.random.default_rng(4)
    for _ in range(300):
        sides = [int(v) for v in rng.integers(1, 3000, 4)]
        boxes = rng.uniform(-50, 3000, (1, 4)).astype(np.float32)
        expected = Placement(*sides).to_image(boxes)
        result = boxes.copy()  # in place, as the header allows
        assert (
            kernel.library.edk_image_box(
                ctypes.byref(CPlacement(*sides)),
                result.ctypes.data_as(ctypes.c_void_p),
                result.ctypes.data_as(ctypes.c_void_p),
            )
            == OK
        )
        np.testing.assert_array_equal(result, expected)


def test_image_box_wrong_arguments_give_their_status(kernel: Kernel) -> None:
    box = np.zeros(4, np.float32).ctypes
    good = CPlacement(1, 1, 1, 1)
    image_box = kernel.library.edk_image_box
    assert image_box(None, ctypes.c_void_p(box.data), ctypes.c_void_p(box.data)) == NULL
    assert image_box(ctypes.byref(good), None, ctypes.c_void_p(box.data)) == NULL
    assert (
        image_box(ctypes.byref(CPlacement(1, 1, 0, 1)), ctypes.c_void_p(box.data), ctypes.c_void_p(box.data)) == SHAPE
    )


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize(("height", "width"), [(480, 640), (33, 50), (20, 1000), (1, 1)])
def test_preprocess_bilinear_equals_numpy(kernel: Kernel, height: int, width: int, resize: str) -> None:
    spec = PreprocessSpec(96, 64, resize=resize, interpolation="bilinear")
    packed = random_packed(RGB888, height, width)
    assert_equals_numpy(kernel, packed, RGB888, spec, 1 / 255, -128)
    assert_equals_numpy(kernel, packed, RGB888, replace(spec, channel_order="GRAY", mean=(1.0,), std=(99.0,)), 0.02, -7)
