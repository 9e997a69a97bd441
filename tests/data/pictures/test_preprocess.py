from __future__ import annotations

import io
import re
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from edgedet.contracts import PreprocessSpec
from edgedet.data.pictures.headers import read_header
from edgedet.data.pictures.pixel_formats import rgb_to_gray
from edgedet.data.pictures.preprocess import (
    Placement,
    fitted_size,
    load_image,
    normalize,
    quantization_table,
    quantize_input,
    resample,
    resample_coefficients,
    resize_to_input,
    to_channels,
    to_rgb,
)
from edgedet.errors import DataError, ShapeError

SIZES = [(1, 1), (1, 7), (7, 1), (2, 3), (3, 2), (13, 13), (640, 192), (480, 144), (192, 640), (1001, 97), (97, 1001)]


def reference_coefficients(n_in: int, n_out: int) -> list[list[int]]:
    """The definition in the module's text, one number at a time."""
    rows = []
    support = 2 * max(n_in, n_out)
    for i in range(n_out):
        weights = [max(0, support - abs((2 * i + 1) * n_in - (2 * j + 1) * n_out)) for j in range(n_in)]
        total, cumulated, before, row = sum(weights), 0, 0, []
        for weight in weights:
            cumulated += weight
            fixed = (2**16 * cumulated + total) // (2 * total)
            row.append(fixed - before)
            before = fixed
        rows.append(row)
    return rows


def reference_resample(image: np.ndarray, new_width: int, new_height: int) -> np.ndarray:
    """Vertical, then horizontal, integers only."""
    vertical = np.array(reference_coefficients(image.shape[0], new_height), np.int64)
    horizontal = np.array(reference_coefficients(image.shape[1], new_width), np.int64)
    rows = (np.einsum("ij,jxc->ixc", vertical, image.astype(np.int64)) + 2**14) >> 15
    return ((np.einsum("ij,yjc->yic", horizontal, rows) + 2**14) >> 15).astype(np.uint8)


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("n_in", "n_out"), SIZES)
def test_resample_coefficients_any_size_follows_the_definition(n_in: int, n_out: int) -> None:
    first, coefficients = resample_coefficients(n_in, n_out)
    dense = np.zeros((n_out, n_in + coefficients.shape[1]), np.int64)
    for i in range(n_out):
        dense[i, first[i] : first[i] + coefficients.shape[1]] = coefficients[i]
    assert not dense[:, n_in:].any()
    np.testing.assert_array_equal(dense[:, :n_in], reference_coefficients(n_in, n_out))
    np.testing.assert_array_equal(coefficients.sum(axis=1), 2**15)


@pytest.mark.parametrize(("n_in", "n_out"), [(65535, 1), (1, 65535), (65535, 65534), (65535, 192)])
def test_resample_coefficients_extreme_sides_sum_without_overflow(n_in: int, n_out: int) -> None:
    first, coefficients = resample_coefficients(n_in, n_out)
    assert coefficients.min() >= 0
    np.testing.assert_array_equal(coefficients.sum(axis=1), 2**15)
    assert first.min() >= 0
    assert first.max() < n_in


def test_resample_coefficients_error_of_the_fixed_point_is_below_one_unit() -> None:
    first, coefficients = resample_coefficients(37, 11)
    for i in range(11):
        weights = [max(Fraction(0), 74 - abs(Fraction((2 * i + 1) * 37 - (2 * j + 1) * 11))) for j in range(37)]
        for tap, value in enumerate(coefficients[i]):
            j = int(first[i]) + tap
            exact = weights[j] / sum(weights) * 2**15 if j < 37 else Fraction(0)
            assert abs(exact - int(value)) <= 1


@pytest.mark.parametrize(
    ("height", "width", "new_height", "new_width"),
    [
        (48, 64, 20, 27),
        (20, 27, 48, 64),
        (1, 1, 5, 3),
        (5, 3, 1, 1),
        (300, 7, 17, 40),
        (33, 33, 33, 10),
        (33, 33, 10, 33),
    ],
)
def test_resample_any_size_equals_slow_integer_reference(
    height: int, width: int, new_height: int, new_width: int
) -> None:
    image = random_image(height, width)
    np.testing.assert_array_equal(
        resample(image, new_width, new_height), reference_resample(image, new_width, new_height)
    )


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
def test_resample_flat_image_stays_flat(value: int) -> None:
    image = np.full((123, 77, 3), value, np.uint8)
    assert (resample(image, 31, 200) == value).all()


def test_resample_ties_round_up() -> None:
    image = np.array([[[0]], [[1]]], np.uint8)  # two rows, mean 0.5
    assert resample(image, 1, 1)[0, 0, 0] == 1


def test_resample_same_size_is_a_copy() -> None:
    image = random_image(32, 48)
    result = resample(image, 48, 32)
    np.testing.assert_array_equal(result, image)
    result[:] = 0
    assert image.any()


@pytest.mark.parametrize("size", [(192, 144), (64, 50), (700, 500), (31, 400)])
def test_resample_random_image_is_within_two_levels_of_pillow(size: tuple[int, int]) -> None:
    image = random_image(240, 320)
    pillow = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR), int)
    # Pillow widens the same triangle, with other coefficient rounding and the other order of passes.
    assert np.abs(resample(image, *size).astype(int) - pillow).max() <= 2


def test_resample_strided_view_gives_the_same_as_a_copy() -> None:
    image = random_image(60, 80)[::2, ::-1]
    np.testing.assert_array_equal(resample(image, 17, 19), resample(image.copy(), 17, 19))


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)],
)
def test_resample_wrong_array_raises_shape_error(image: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="uint8"):
        resample(image, 2, 2)


def test_resample_empty_target_raises_shape_error() -> None:
    with pytest.raises(ShapeError, match="at least 1x1"):
        resample(random_image(4, 4), 0, 2)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (640, 480, (192, 144)),
        (480, 640, (144, 192)),
        (192, 192, (192, 192)),
        (10, 10, (192, 192)),
        (10000, 1, (192, 1)),
        (1, 10000, (1, 192)),
        (3, 2, (192, 128)),
        (384, 257, (192, 129)),  # 128.5 rounds up
    ],
)
def test_fitted_size_letterbox_keeps_the_aspect_ratio(width: int, height: int, expected: tuple[int, int]) -> None:
    placement = fitted_size(width, height, PreprocessSpec(192, 192))
    assert (placement.new_width, placement.new_height) == expected


def test_fitted_size_letterbox_never_exceeds_the_input() -> None:
    spec = PreprocessSpec(width=160, height=96)
    for width in range(1, 90):
        for height in range(1, 90):
            placement = fitted_size(width, height, spec)
            assert 1 <= placement.new_width <= 160
            assert 1 <= placement.new_height <= 96
            assert placement.new_width == 160 or placement.new_height == 96


def test_resize_to_input_letterbox_puts_image_top_left_and_pads() -> None:
    image = random_image(100, 50)
    pixels, placement = resize_to_input(image, PreprocessSpec(width=96, height=64, pad_value=7))
    assert pixels.shape == (64, 96, 3)
    assert pixels.dtype == np.uint8
    assert placement == Placement(50, 100, 32, 64)
    np.testing.assert_array_equal(pixels[:, :32], reference_resample(image, 32, 64))
    assert (pixels[:, 32:] == 7).all()


def test_resize_to_input_stretch_fills_non_square_input() -> None:
    image = random_image(100, 50)
    pixels, placement = resize_to_input(image, PreprocessSpec(width=96, height=64, resize="stretch"))
    np.testing.assert_array_equal(pixels, reference_resample(image, 96, 64))
    assert placement == Placement(50, 100, 96, 64)


def test_resize_to_input_agreeing_size_changes_nothing() -> None:
    image = random_image(192, 192)
    pixels, _ = resize_to_input(image, PreprocessSpec(192, 192))
    np.testing.assert_array_equal(pixels, image)


GRAY = PreprocessSpec(64, 32, channel_order="GRAY", mean=(10.0,), std=(20.0,), pad_value=9)


def test_resize_to_input_grey_converts_before_it_resamples() -> None:
    image = random_image(40, 30)
    pixels, placement = resize_to_input(image, GRAY)
    assert pixels.shape == (32, 64, 1)
    width = placement.new_width
    np.testing.assert_array_equal(pixels[:, :width], reference_resample(rgb_to_gray(image), width, 32))
    assert (pixels[:, width:] == 9).all()
    of_grey, same = resize_to_input(rgb_to_gray(image), GRAY)  # a camera without colours
    np.testing.assert_array_equal(of_grey, pixels)
    assert same == placement


def test_resize_to_input_bgr_swaps_red_and_blue() -> None:
    image = random_image(50, 40)
    rgb, _ = resize_to_input(image, PreprocessSpec(64, 32))
    bgr, _ = resize_to_input(image, PreprocessSpec(64, 32, channel_order="BGR"))
    np.testing.assert_array_equal(bgr, rgb[..., ::-1])


def test_to_channels_grey_picture_for_a_colour_network_raises_shape_error() -> None:
    with pytest.raises(ShapeError, match=r"image must be uint8 \(H, W, 3\), got uint8 \(4, 4, 1\)"):
        to_channels(np.zeros((4, 4, 1), np.uint8), PreprocessSpec(32, 32))


def test_grey_network_one_table_normalizes_and_quantizes() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    expected = (pixels.astype(np.float64) - 10.0) / 20.0
    np.testing.assert_array_equal(normalize(pixels, GRAY), expected.astype(np.float32))
    assert quantization_table(GRAY, 0.1, -120).shape == (1, 256)
    np.testing.assert_array_equal(
        quantize_input(pixels, GRAY, 0.1, -120),
        np.clip(np.trunc(expected / 0.1 + np.copysign(0.5, expected)) - 120, -128, 127),
    )
    with pytest.raises(ShapeError, match="1"):
        normalize(np.zeros((2, 2, 3), np.uint8), GRAY)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 5), (5, 5, 4)])
def test_resize_to_input_wrong_shape_raises_shape_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError):
        resize_to_input(np.zeros(shape, np.uint8), PreprocessSpec(192, 192))


def test_placement_to_image_inverts_to_input() -> None:
    placement = Placement(640, 480, 192, 144)
    boxes = np.array([[0, 0, 640, 480], [10.5, 20, 30, 400]], np.float32)
    there = placement.to_input(boxes)
    np.testing.assert_allclose(there[0], [0, 0, 192, 144])
    np.testing.assert_allclose(placement.to_image(there), boxes, rtol=1e-6)  # float32 rounding


def test_placement_to_image_clips_to_the_image() -> None:
    boxes = np.array([[-5.0, -1, 300, 150]], np.float32)
    np.testing.assert_array_equal(Placement(640, 480, 192, 144).to_image(boxes), [[0, 0, 640, 480]])
    assert boxes[0, 0] == -5  # not changed in place


def test_placement_no_boxes_gives_empty_array() -> None:
    for empty in (np.zeros((0, 4)), np.zeros(0)):
        assert Placement(640, 480, 192, 144).to_image(empty).shape == (0, 4)
        assert Placement(640, 480, 192, 144).to_input(empty).shape == (0, 4)


def test_placement_wrong_shape_raises_shape_error() -> None:
    with pytest.raises(ShapeError, match=r"\(N, 4\)"):
        Placement(640, 480, 192, 144).to_image(np.zeros((3, 5)))


ALL_PIXELS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def test_quantize_input_mean_0_std_255_is_pixel_minus_128() -> None:
    quantized = quantize_input(ALL_PIXELS, PreprocessSpec(192, 192), 1 / 255, -128)
    np.testing.assert_array_equal(quantized, ALL_PIXELS.astype(int) - 128)
    # TFLite stores the scale as float32.
    quantized = quantize_input(ALL_PIXELS, PreprocessSpec(192, 192), float(np.float32(1 / 255)), -128)
    np.testing.assert_array_equal(quantized, ALL_PIXELS.astype(int) - 128)


def test_quantize_input_ties_go_away_from_zero_and_clip() -> None:
    spec = PreprocessSpec(32, 32, mean=(128.0, 128.0, 128.0), std=(1.0, 1.0, 1.0))
    table = quantization_table(spec, 2.0, 3)[0]
    # (pixel - 128) / 2: -0.5 -> -1, 0.5 -> 1, 1.5 -> 2
    assert table[127] == -1 + 3
    assert table[129] == 1 + 3
    assert table[131] == 2 + 3
    assert table[125] == -2 + 3
    assert quantization_table(spec, 0.5, 0)[0][0] == -128
    assert quantization_table(spec, 0.5, 0)[0][255] == 127


def test_quantize_input_per_channel_mean_follows_exact_fractions() -> None:
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    spec = PreprocessSpec(32, 32, mean=mean, std=std)
    scale, zero_point = 0.0186584, -13
    quantized = quantize_input(ALL_PIXELS, spec, scale, zero_point)
    for pixel in range(256):
        for channel in range(3):
            real = (pixel - Fraction(mean[channel])) / Fraction(std[channel]) / Fraction(scale)
            away = int(abs(real) + Fraction(1, 2)) * (1 if real >= 0 else -1)
            assert quantized[pixel, channel] == min(max(away + zero_point, -128), 127)


def test_normalize_keeps_shape_and_divides_per_channel() -> None:
    spec = PreprocessSpec(32, 32, mean=(1.0, 2.0, 3.0), std=(10.0, 20.0, 40.0))
    pixels = random_image(5, 7)
    expected = (pixels.astype(np.float64) - [1, 2, 3]) / [10, 20, 40]
    result = normalize(pixels, spec)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected.astype(np.float32))


def test_normalize_float_pixels_raises_shape_error() -> None:
    with pytest.raises(ShapeError, match="uint8"):
        normalize(np.zeros((4, 4, 3), np.float32), PreprocessSpec(32, 32))


def test_load_image_grey_palette_and_bilevel_become_rgb(tmp_path: Path) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    Image.fromarray(grey).save(tmp_path / "l.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "p.png")
    Image.fromarray(grey > 100).save(tmp_path / "b.png")
    np.testing.assert_array_equal(load_image(tmp_path / "l.png"), np.repeat(grey[:, :, None], 3, axis=2))
    assert load_image(tmp_path / "p.png").shape == (8, 8, 3)
    np.testing.assert_array_equal(load_image(tmp_path / "b.png")[..., 0], np.where(grey > 100, 255, 0))


def test_load_image_16_bit_is_scaled_not_truncated(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 257, 32768], [65535, 65407, 1000, 40000]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(deep).save(tmp_path / "deep.tiff")
    expected = np.round(deep / 65535 * 255)
    np.testing.assert_array_equal(load_image(tmp_path / "deep.png")[..., 1], expected)
    np.testing.assert_array_equal(load_image(tmp_path / "deep.tiff")[..., 2], expected)


def test_load_image_transparent_pixels_become_white(tmp_path: Path) -> None:
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), [[[10, 20, 30], [255] * 3, [127] * 3]])


def test_load_image_cmyk_and_ycbcr_become_rgb(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((16, 16, 3), (200, 40, 40), np.uint8))
    image.convert("CMYK").save(tmp_path / "c.jpg", quality=95)
    assert np.abs(load_image(tmp_path / "c.jpg").astype(int) - (200, 40, 40)).max() <= 6  # JPEG loss


@pytest.mark.parametrize("suffix", ["png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_load_image_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = np.array([[[10] * 3, [60] * 3, [110] * 3], [[160] * 3, [200] * 3, [250] * 3]], np.uint8)
    # How the camera stored it, by EXIF's definition of row 0 and column 0.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"e.{suffix}", exif=exif, **options)
    np.testing.assert_array_equal(load_image(tmp_path / f"e.{suffix}"), upright)
    assert read_header(tmp_path / f"e.{suffix}").upright_size == (3, 2)


def jpeg_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(random_image(64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"not an image", jpeg_bytes()[:-400], jpeg_bytes()[:30], b"\x89PNG\r\n\x1a\n" + b"\0" * 40],
    ids=["empty", "text", "cut", "header only", "png damaged"],
)
def test_load_image_broken_file_raises_data_error_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.jpg"):
        load_image(path)


def test_load_image_missing_file_raises_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.jpg: image file not found"):
        load_image(tmp_path / "no.jpg")


def test_load_image_float_pixels_raises_data_error(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tiff")
    with pytest.raises(DataError, match="no defined range"):
        load_image(tmp_path / "f.tiff")


@pytest.mark.parametrize("values", [[[-1, 5]], [[0, 65_536]], [[2**31 - 1, 0]]])
def test_load_image_grey_outside_16_bits_raises_data_error(tmp_path: Path, values: list[list[int]]) -> None:
    Image.fromarray(np.array(values, np.int32)).save(tmp_path / "i.tiff")
    with pytest.raises(DataError, match=rf"i\.tiff: grey values from {min(values[0])} to {max(values[0])}, expected 0"):
        load_image(tmp_path / "i.tiff")


@pytest.mark.parametrize("bits", [8, 16])
def test_load_image_tiff_whose_white_is_zero_is_turned_round(tmp_path: Path, bits: int) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    # Pillow turns 8 bits round by itself when it writes, too.
    stored = grey if bits == 8 else 65_535 - grey.astype(np.uint16) * 257
    Image.fromarray(stored).save(tmp_path / "w.tiff", tiffinfo={262: 0})
    with Image.open(tmp_path / "w.tiff") as image:
        assert image.tag_v2[262] == 0
    assert (load_image(tmp_path / "w.tiff")[..., 0] == grey).all()


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"", "an empty file"),
        (bytes(300), "zeros, as lost blocks"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 1\n",
            "a pointer of Git LFS; `git lfs pull`",
        ),
        (b"\n<!DOCTYPE html><title>404</title>", "a web page"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "a picture in HEIC"),
        (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "a picture in JPEG 2000"),
    ],
)
def test_load_image_file_of_another_kind_is_named(tmp_path: Path, start: bytes, found: str) -> None:
    (tmp_path / "a.jpg").write_bytes(start)
    with pytest.raises(DataError, match=re.escape(f"WEBP, TIFF, PPM, GIF, found {found}")):
        load_image(tmp_path / "a.jpg")


def test_load_image_embedded_profile_does_not_change_pixels(tmp_path: Path) -> None:
    image = random_image(8, 8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(image).save(tmp_path / "icc.png", icc_profile=profile)
    np.testing.assert_array_equal(load_image(tmp_path / "icc.png"), image)


@pytest.mark.parametrize("order", ["RGB", "BGR", "GRAY"])
def test_to_rgb_shows_the_picture_that_went_in(order: str) -> None:
    grey = order == "GRAY"
    spec = (
        PreprocessSpec(32, 32, mean=(0.0,), std=(1.0,), channel_order=order)
        if grey
        else PreprocessSpec(32, 32, channel_order=order)
    )
    image = random_image(5, 7)
    shown = to_rgb(to_channels(image, spec), spec)
    assert shown.shape == image.shape
    if grey:
        assert all((shown[..., channel] == rgb_to_gray(image)[..., 0]).all() for channel in range(3))
    else:
        np.testing.assert_array_equal(shown, image)


@pytest.mark.parametrize("size", [(64, 48), (192, 144), (31, 77), (300, 300)])
def test_resample_bilinear_is_that_of_opencv_but_for_rounding(size: tuple[int, int]) -> None:
    image = random_image(120, 160)
    expected = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    # Both round twice, OpenCV with coefficients of 11 bits: one unit at most.
    assert np.abs(resample(image, *size, "bilinear").astype(int) - expected).max() <= 1


def test_resample_coefficients_bilinear_have_two_taps_whatever_the_factor() -> None:
    first, coefficients = resample_coefficients(640, 192, "bilinear")
    assert coefficients.shape == (192, 2)
    # Output 0 lies at (0 + 1/2) * 640 / 192 - 1/2 = 7/6 source pixels.
    assert first[0] == 1
    assert abs(coefficients[0, 1] / 2**15 - 1 / 6) < 2**-14
    np.testing.assert_array_equal(coefficients.sum(axis=1), 2**15)
