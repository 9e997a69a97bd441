from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from edgedet.data.pictures.pixel_formats import (
    rgb565_to_rgb,
    rgb_to_gray,
    rgb_to_rgb565,
    rgb_to_yuyv,
    yuyv_to_gray,
    yuyv_to_rgb,
)
from edgedet.errors import ShapeError


def random_bytes(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def slow_yuv_pixel(y: int, u: int, v: int) -> list[int]:
    """JFIF's matrix in floating point: the integer version may differ where the exact value is close to a tie."""
    real = (y + 1.402 * (v - 128), y - 0.344136 * (u - 128) - 0.714136 * (v - 128), y + 1.772 * (u - 128))
    return [min(max(int(np.floor(value + 0.5)), 0), 255) for value in real]


def test_rgb565_to_rgb_primaries_and_byte_order() -> None:
    packed = np.array([[[0x00, 0xF8], [0xE0, 0x07], [0x1F, 0x00], [0xFF, 0xFF], [0x00, 0x00]]], np.uint8)
    assert rgb565_to_rgb(packed).tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255] * 3, [0] * 3]]


def test_rgb565_to_rgb_every_value_is_the_scaled_one_within_one() -> None:
    value = np.arange(65536, dtype="<u2").reshape(1, -1)
    wide = rgb565_to_rgb(value.view(np.uint8).reshape(1, -1, 2))[0].astype(float)
    exact = np.stack([(value[0] >> 11) / 31, (value[0] >> 5 & 63) / 63, (value[0] & 31) / 31], axis=1) * 255
    assert np.abs(wide - exact).max() < 1.0


def test_rgb565_pack_of_unpacked_gives_the_same_bytes() -> None:
    packed = random_bytes(13, 17, 2)
    np.testing.assert_array_equal(rgb_to_rgb565(rgb565_to_rgb(packed)), packed)


def test_rgb_to_rgb565_loses_at_most_seven() -> None:
    image = random_bytes(13, 17, 3)
    assert np.abs(rgb565_to_rgb(rgb_to_rgb565(image)).astype(int) - image).max() <= 7


def test_yuyv_to_rgb_grey_is_exact_and_extremes_clip() -> None:
    packed = np.array([[[0, 128], [255, 128], [255, 255], [0, 0]]], np.uint8)
    assert yuyv_to_rgb(packed)[0, :2].tolist() == [[0, 0, 0], [255, 255, 255]]
    assert yuyv_to_rgb(packed)[0, 2:].tolist() == [slow_yuv_pixel(255, 255, 0), slow_yuv_pixel(0, 255, 0)]


def test_yuyv_to_rgb_random_pairs_equal_the_float_matrix_but_for_near_ties() -> None:
    packed = random_bytes(40, 50, 2)
    expected = np.array(
        [
            [
                slow_yuv_pixel(int(row[x, 0]), int(row[x // 2 * 2, 1]), int(row[x // 2 * 2 + 1, 1]))
                for x in range(packed.shape[1])
            ]
            for row in packed
        ]
    )
    difference = np.abs(yuyv_to_rgb(packed) - expected)
    assert difference.max() <= 1
    assert (difference != 0).mean() < 0.001


def test_rgb_to_yuyv_and_back_on_pairs_of_one_colour_loses_at_most_two() -> None:
    image = np.repeat(random_bytes(30, 20, 3), 2, axis=1)
    assert np.abs(yuyv_to_rgb(rgb_to_yuyv(image)).astype(int) - image).max() <= 2


def test_rgb_to_yuyv_saturated_colours_stay_inside_a_byte() -> None:
    corners = np.array([[[r, g, b]] * 2 for r in (0, 255) for g in (0, 255) for b in (0, 255)], np.uint8)
    back = yuyv_to_rgb(rgb_to_yuyv(corners))
    assert np.abs(back.astype(int) - corners).max() <= 2


def test_rgb_to_gray_is_pillows_luma() -> None:
    image = random_bytes(64, 97, 3)
    np.testing.assert_array_equal(rgb_to_gray(image)[..., 0], np.array(Image.fromarray(image).convert("L")))


def test_rgb_to_gray_of_grey_pixels_keeps_every_value() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(rgb_to_gray(np.repeat(levels, 3, axis=2)), levels)


def test_yuyv_to_gray_is_the_luma_that_a_camera_sends() -> None:
    image = random_bytes(8, 12, 3)
    np.testing.assert_array_equal(yuyv_to_gray(rgb_to_yuyv(image)), rgb_to_gray(image))


@pytest.mark.parametrize("convert", [rgb565_to_rgb, rgb_to_rgb565, yuyv_to_rgb, rgb_to_yuyv, rgb_to_gray, yuyv_to_gray])
def test_pixel_formats_wrong_arrays_raise(convert: object) -> None:
    assert callable(convert)
    for wrong in (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.int16)):
        with pytest.raises(ShapeError, match="pixels must be uint8"):
            convert(wrong)


def test_yuyv_odd_width_raises() -> None:
    with pytest.raises(ShapeError, match="even, got 3"):
        yuyv_to_rgb(np.zeros((2, 3, 2), np.uint8))
    with pytest.raises(ShapeError, match="even, got 3"):
        rgb_to_yuyv(np.zeros((2, 3, 3), np.uint8))
