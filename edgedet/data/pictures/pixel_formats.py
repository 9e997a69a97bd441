"""Pixel formats of cameras, their 8-bit RGB and grey; the reference of `kernels/` (edk_preprocess*.h). Integers only.

RGB565: 2 bytes a pixel, little endian, red in bits 15..11, green in 10..5, blue in 4..0; widened to 8 bits by repeating
the upper bits below (0 becomes 0, the largest value 255).

YUYV (YUV 4:2:2): 4 bytes for 2 pixels, Y0 U Y1 V, ITU-R BT.601 in full range (0..255, as in JPEG/JFIF), coefficients in
units of 2^-16, rounded half up:

    R = clip((65536 Y                   +  91881 (V - 128) + 32768) >> 16)
    G = clip((65536 Y - 22554 (U - 128) -  46802 (V - 128) + 32768) >> 16)
    B = clip((65536 Y + 116130 (U - 128)                   + 32768) >> 16)

Grey is the Y of that matrix, rounded half up, as in Pillow's mode L; grey pixels (R = G = B) keep their value. The grey
of a YUYV pixel is its Y byte itself.

    grey = (19595 R + 38470 G + 7471 B + 32768) >> 16
"""

from __future__ import annotations

import numpy as np

from edgedet.errors import DataError, ShapeError

_WHITE = 255  # transparent pixels become white, as image viewers and annotation tools show them
_WIDE_WHITE = 65535
_ROWS = 256  # of a picture that is changed in wider numbers


def rgb565_to_rgb(packed: np.ndarray) -> np.ndarray:
    """Widen RGB565 pixels.

    Args:
        packed: uint8 (H, W, 2), low byte first.
    Returns:
        uint8 (H, W, 3), RGB.
    Raises:
        ShapeError: not uint8 (H, W, 2).
    """
    _check(packed, 2)
    value = packed[..., 0] | packed[..., 1].astype(np.uint16) << 8
    red, green, blue = value >> 11, value >> 5 & 0x3F, value & 0x1F
    wide = (red << 3 | red >> 2, green << 2 | green >> 4, blue << 3 | blue >> 2)
    return np.stack(wide, axis=-1).astype(np.uint8)


def rgb_to_rgb565(image: np.ndarray) -> np.ndarray:
    """Pack pixels as a camera with 16 bits a pixel would: the lower bits are cut off.

    Args:
        image: uint8 (H, W, 3), RGB.
    Returns:
        uint8 (H, W, 2), low byte first; `rgb565_to_rgb` differs from `image` by at most 7.
    Raises:
        ShapeError: not uint8 (H, W, 3).
    """
    _check(image, 3)
    red, green, blue = np.moveaxis(image.astype(np.uint16), -1, 0)
    value = (red >> 3) << 11 | (green >> 2) << 5 | blue >> 3
    return np.stack((value & 0xFF, value >> 8), axis=-1).astype(np.uint8)


def rgb_to_gray(image: np.ndarray) -> np.ndarray:
    """Luma of RGB pixels.

    Args:
        image: uint8 (H, W, 3), RGB.
    Returns:
        uint8 (H, W, 1).
    Raises:
        ShapeError: not uint8 (H, W, 3).
    """
    _check(image, 3)
    red, green, blue = np.moveaxis(image, -1, 0)
    luma = red.astype(np.uint32) * 19595
    luma += green.astype(np.uint32) * 38470
    luma += blue.astype(np.uint32) * 7471
    luma += 32768
    luma >>= 16
    result: np.ndarray = luma.astype(np.uint8)[..., None]
    return result


def over_white(rgba: np.ndarray) -> np.ndarray:
    """Lay transparent pixels over white, some rows at a time: 32-bit numbers of a whole picture take gigabytes.

    Args:
        rgba: uint8 (H, W, 4), alpha last.
    Returns:
        uint8 (H, W, 3), rounded half up.
    Raises:
        ShapeError: not uint8 (H, W, 4).
    """
    _check(rgba, 4)
    result = np.empty((*rgba.shape[:2], 3), np.uint8)
    for start in range(0, rgba.shape[0], _ROWS):
        wide = rgba[start : start + _ROWS].astype(np.uint32)
        colour, alpha = wide[:, :, :3], wide[:, :, 3:]
        result[start : start + _ROWS] = (colour * alpha + _WHITE * (255 - alpha) + 127) // 255
    return result


def wide_to_grey(values: np.ndarray, white_is_zero: bool, where: str) -> np.ndarray:
    """Reduce grey values of 16 bits to 8, rounded half up.

    Args:
        values: whole numbers (H, W), 0..65535; other types may hold others.
        white_is_zero: 0 is white and 65535 black.
        where: file, for the error.
    Returns:
        uint8 (H, W).
    Raises:
        DataError: a value outside 0..65535, as in files of 32 bits and of signed numbers.
    """
    wide = values.astype(np.int64)
    low, high = (int(wide.min()), int(wide.max())) if wide.size else (0, 0)
    if low < 0 or high > _WIDE_WHITE:
        raise DataError(
            f"{where}: grey values from {low} to {high}, expected 0 to {_WIDE_WHITE}; save the picture with 8 bits, or "
            "with 16 bits without a sign"
        )
    if white_is_zero:
        wide = _WIDE_WHITE - wide
    return ((wide * 255 + _WIDE_WHITE // 2) // _WIDE_WHITE).astype(np.uint8)


def yuyv_to_gray(packed: np.ndarray) -> np.ndarray:
    """Luma of YUV 4:2:2 pixels, full range: the Y bytes.

    Args:
        packed: uint8 (H, W, 2), W even; [:, x] is (Y, U) for even x and (Y, V) for odd x.
    Returns:
        uint8 (H, W, 1).
    Raises:
        ShapeError: not uint8 (H, W, 2), or W is odd.
    """
    _check(packed, 2)
    _check_even(packed)
    return packed[..., :1]


def yuyv_to_rgb(packed: np.ndarray) -> np.ndarray:
    """Convert YUV 4:2:2 pixels, BT.601, full range; both pixels of a pair have the same U and V.

    Args:
        packed: uint8 (H, W, 2), W even; [:, x] is (Y, U) for even x and (Y, V) for odd x.
    Returns:
        uint8 (H, W, 3), RGB.
    Raises:
        ShapeError: not uint8 (H, W, 2), or W is odd.
    """
    _check(packed, 2)
    _check_even(packed)
    luma = packed[..., 0].astype(np.int32) * 65536 + 32768
    u = np.repeat(packed[:, 0::2, 1].astype(np.int32) - 128, 2, axis=1)
    v = np.repeat(packed[:, 1::2, 1].astype(np.int32) - 128, 2, axis=1)
    wide = (luma + 91881 * v, luma - 22554 * u - 46802 * v, luma + 116130 * u)
    result: np.ndarray = np.clip(np.stack(wide, axis=-1) >> 16, 0, 255).astype(np.uint8)
    return result


def rgb_to_yuyv(image: np.ndarray) -> np.ndarray:
    """Pack pixels as a YUV 4:2:2 camera would, BT.601, full range; a pair shares the mean of its U and V.

    Args:
        image: uint8 (H, W, 3), RGB, W even.
    Returns:
        uint8 (H, W, 2), Y0 U Y1 V.
    Raises:
        ShapeError: not uint8 (H, W, 3), or W is odd.
    """
    _check(image, 3)
    _check_even(image)
    # The inverse of the matrix above, in units of 2^-16; the rows of U and V sum to 0, that of Y to 1.
    matrix = np.array([[19595, 38470, 7471], [-11059, -21709, 32768], [32768, -27439, -5329]], np.int32)
    luma, u, v = np.moveaxis(image.astype(np.int32) @ matrix.T, -1, 0)
    packed = np.empty((*image.shape[:2], 2), np.uint8)
    packed[..., 0] = (luma + 32768) >> 16
    for offset, chroma in enumerate((u, v)):
        pairs = chroma[:, 0::2] + chroma[:, 1::2]
        packed[:, offset::2, 1] = np.clip(((pairs + 65536) >> 17) + 128, 0, 255)
    return packed


def _check(pixels: np.ndarray, depth: int) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != depth:
        raise ShapeError(f"pixels must be uint8 (H, W, {depth}), got {pixels.dtype} {pixels.shape}")


def _check_even(pixels: np.ndarray) -> None:
    if pixels.shape[1] % 2:
        raise ShapeError(f"YUYV has pairs of pixels: the width must be even, got {pixels.shape[1]}")
