"""The one way from an image file to the network's input, shared by training, calibration, evaluation and firmware.

Everything between the decoded uint8 pixels and the network's input is exact integer arithmetic, so that C code can
repeat it bit for bit. One axis of n_in pixels is resampled to n_out pixels with a triangle filter that is widened by
the downscale factor (bilinear interpolation when upscaling), half-pixel centres, in units of 1 / (2 * n_out) source
pixels:

    support     = 2 * max(n_in, n_out)
    weight(i,j) = max(0, support - |(2 * i + 1) * n_in - (2 * j + 1) * n_out|)      output i, source 0 <= j < n_in
    cum(i,j)    = weight(i,0) + ... + weight(i,j);  total(i) = cum(i, n_in - 1)
    fixed(i,j)  = floor((2^16 * cum(i,j) + total(i)) / (2 * total(i)));  fixed(i,-1) = 0
    coeff(i,j)  = fixed(i,j) - fixed(i,j-1)                                          0..2^15, sums to exactly 2^15
    out(i)      = (sum_j coeff(i,j) * in(j) + 2^14) >> 15                            uint8

This is the contract's interpolation `area`. `bilinear`, which networks of other makers were trained with, does not
widen the filter: support = 2 * n_out, so that two source pixels make an output whatever the factor (OpenCV's
INTER_LINEAR but for its rounding).

The vertical pass runs first (C needs one scratch row), its uint8 result goes through the horizontal pass. All terms
are non-negative and the sum stays below 2^24, hence float32 BLAS gives the integer result in any order of summation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgedet.contracts import PreprocessSpec
from edgedet.data.pictures.headers import IMAGE_ERRORS, exif_orientation
from edgedet.data.pictures.opening import FORMATS, open_image
from edgedet.data.pictures.pixel_formats import over_white, rgb_to_gray, wide_to_grey
from edgedet.errors import DataError, ShapeError

COEFF_BITS = 15  # 255 * 2^15 + 2^14 < 2^24: exact in float32
_INT8: np.dtype[Any] = np.dtype(np.int8)
_BLOCK_ROWS = 16  # output rows per matrix product: wide enough for BLAS, few zeros in the band
_PHOTOMETRIC_TAG = 262  # TIFF 6.0, PhotometricInterpretation
_TURNS = {  # EXIF orientation -> what makes the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Placement:
    """Where the image lies in the network's input: its top left new_width x new_height pixels."""

    image_width: int  # px, of the upright image
    image_height: int  # px
    new_width: int  # px, inside the input
    new_height: int  # px

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes of the network's input in pixels of the image.

        Args:
            boxes: float (N, 4), input px, xyxy.
        Returns:
            float32 (N, 4), image px, xyxy, clipped to the image.
        """
        size = np.array([self.image_width, self.image_height] * 2, np.float64)
        scaled = _as_boxes(boxes) * (size / np.array([self.new_width, self.new_height] * 2, np.float64))
        return np.clip(scaled, 0.0, size).astype(np.float32)

    def to_input(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes of the image in pixels of the network's input.

        Args:
            boxes: float (N, 4), image px, xyxy.
        Returns:
            float32 (N, 4), input px, xyxy, not clipped.
        """
        size = np.array([self.image_width, self.image_height] * 2, np.float64)
        return (_as_boxes(boxes) * (np.array([self.new_width, self.new_height] * 2, np.float64) / size)).astype(
            np.float32
        )


def load_image(path: Path) -> np.ndarray:
    """Decode an image file to upright 8-bit RGB.

    EXIF orientation is applied; grey and palette images get three channels; transparent pixels are laid over white;
    16-bit grey is scaled from 0..65535 to 0..255; CMYK and the other colour models go through Pillow's conversion.

    Args:
        path: file in one of the formats of `opening.FORMATS`.
    Returns:
        uint8 (H, W, 3), RGB, C-contiguous.
    Raises:
        DataError: missing, not an image, truncated or damaged, or float pixels without a defined range.
    """
    try:
        with open_image(path) as image:
            image.load()
            return upright_rgb(image, str(path))
    except FileNotFoundError as error:
        raise DataError(f"{path}: image file not found; check the path") from error
    except IMAGE_ERRORS as error:
        raise DataError(
            f"{path}: can't decode the image ({type(error).__name__}: {error}); "
            f"expected a complete file of {', '.join(FORMATS)}; replace the file"
        ) from error


def upright_rgb(image: Image.Image, where: str) -> np.ndarray:
    """Upright 8-bit RGB of a picture that Pillow has opened, as `load_image`.

    Args:
        image: of any mode.
        where: its file or name, for errors.
    Returns:
        uint8 (H, W, 3), RGB, C-contiguous.
    Raises:
        DataError: float pixels.
    """
    turn = _TURNS.get(exif_orientation(image))
    # Pillow turns such TIFFs round when they have 8 bits, and leaves those of 16 as they are.
    white_is_zero = image.format == "TIFF" and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC_TAG) == 0
    return _to_rgb(image if turn is None else image.transpose(turn), white_is_zero, where)


def _to_rgb(image: Image.Image, white_is_zero: bool, where: str) -> np.ndarray:
    """8-bit RGB array of a loaded Pillow image of any mode."""
    if image.mode == "RGB":
        return np.array(image)
    if image.mode == "F":
        raise DataError(f"{where}: float pixels have no defined range; save the image with 8 or 16 bits per channel")
    if image.mode.startswith("I"):  # "I;16", "I;16B" and, in older Pillow versions, "I" for 16-bit PNG
        return np.repeat(wide_to_grey(np.array(image), white_is_zero, where)[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return over_white(np.array(image.convert("RGBA")))
    return np.array(image.convert("RGB"))


def fitted_size(image_width: int, image_height: int, spec: PreprocessSpec) -> Placement:
    """Size of the image inside the network's input.

    letterbox: the side that limits fills the input, the other one is scaled alike, rounded half up, at least 1 px.
    stretch: both sides fill the input.

    Args:
        image_width: px, > 0.
        image_height: px, > 0.
        spec: preprocessing contract.
    Returns:
        The placement.
    """
    new_width, new_height = spec.width, spec.height
    if spec.resize == "letterbox":
        # Compare width / spec.width with height / spec.height without a division.
        if image_width * spec.height >= image_height * spec.width:
            new_height = max(1, (2 * image_height * spec.width + image_width) // (2 * image_width))
        else:
            new_width = max(1, (2 * image_width * spec.height + image_height) // (2 * image_height))
    return Placement(image_width, image_height, new_width, new_height)


def resize_to_input(image: np.ndarray, spec: PreprocessSpec) -> tuple[np.ndarray, Placement]:
    """Bring an image to the channels and the size of the network's input.

    Args:
        image: uint8 (H, W, 3), RGB; for a GRAY network also (H, W, 1), grey.
        spec: preprocessing contract.
    Returns:
        uint8 (spec.height, spec.width, spec.channels), the image at the top left, the rest `spec.pad_value`; and its
        placement.
    Raises:
        ShapeError: not uint8 (H, W, 3), or empty.
    """
    image = to_channels(image, spec)
    placement = fitted_size(image.shape[1], image.shape[0], spec) if image.size else Placement(0, 0, 1, 1)
    resized = resample(image, placement.new_width, placement.new_height, spec.interpolation)
    if resized.shape[:2] == (spec.height, spec.width):
        return resized, placement
    padded = np.full((spec.height, spec.width, spec.channels), spec.pad_value, np.uint8)
    padded[: placement.new_height, : placement.new_width] = resized
    return padded, placement


def load_pixels(path: Path, spec: PreprocessSpec) -> np.ndarray:
    """The resized image of a file, uint8 (spec.height, spec.width, spec.channels). Raises DataError as `load_image`."""
    return resize_to_input(load_image(path), spec)[0]


def to_channels(image: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    """Bring an image to the channels of the network's input; the first step, in front of any resampling.

    Args:
        image: uint8 (H, W, 3), RGB; for a GRAY network also (H, W, 1), grey, which stays as it is.
        spec: preprocessing contract.
    Returns:
        uint8 (H, W, spec.channels), RGB, BGR or grey; RGB is the same array.
    Raises:
        ShapeError: another shape or type.
    """
    depth = image.shape[2] if image.ndim == 3 else None
    if depth == 1 and spec.channel_order == "GRAY":
        return image
    if image.dtype != np.uint8 or depth != 3:
        raise ShapeError(f"image must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    if spec.channel_order == "GRAY":
        return rgb_to_gray(image)
    return image[..., ::-1] if spec.channel_order == "BGR" else image


def to_rgb(pixels: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    """Pixels of a network's input as people look at them.

    Args:
        pixels: uint8 (H, W, spec.channels), as `to_channels` returns them.
        spec: preprocessing contract.
    Returns:
        uint8 (H, W, 3), RGB; grey in all three channels.
    """
    if spec.channel_order == "GRAY":
        return np.repeat(pixels, 3, axis=2)
    return pixels[..., ::-1] if spec.channel_order == "BGR" else pixels


def resample(image: np.ndarray, new_width: int, new_height: int, interpolation: str = "area") -> np.ndarray:
    """Resample with the integer triangle filter of this module: vertical pass, then horizontal pass.

    Args:
        image: uint8 (H, W, C).
        new_width: px, > 0.
        new_height: px, > 0.
        interpolation: area | bilinear.
    Returns:
        uint8 (new_height, new_width, C), a new array.
    Raises:
        ShapeError: not uint8 (H, W, C), an empty image, or an empty result.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or not image.size:
        raise ShapeError(f"image must be non-empty uint8 (H, W, C), got {image.dtype} {image.shape}")
    if new_width < 1 or new_height < 1:
        raise ShapeError(f"new size must be at least 1x1 px, got {new_width}x{new_height}")
    height, width, channels = image.shape
    rows = np.ascontiguousarray(image).reshape(height, width * channels)
    if height != new_height:
        rows = _resample_rows(rows, new_height, interpolation)
    if width == new_width:
        return rows.reshape(new_height, width, channels).copy()
    # The same row-wise product serves the columns after a transposition, which is cheap on the reduced image.
    columns = rows.reshape(new_height, width, channels).transpose(1, 0, 2).reshape(width, new_height * channels)
    resized = _resample_rows(columns, new_width, interpolation).reshape(new_width, new_height, channels)
    return np.ascontiguousarray(resized.transpose(1, 0, 2))


def resample_coefficients(n_in: int, n_out: int, interpolation: str = "area") -> tuple[np.ndarray, np.ndarray]:
    """Integer filter of one axis, as the module's text defines it.

    Args:
        n_in: source pixels, 1..65535.
        n_out: output pixels, 1..65535.
        interpolation: area | bilinear.
    Returns:
        first int64 (n_out,): index of the first source pixel of each output pixel;
        coefficients int64 (n_out, taps), 0..2^15, each row sums to 2^15; unused taps at the end are 0 (their source
        index may lie behind the last pixel).
    """
    centre = (2 * np.arange(n_out, dtype=np.int64) + 1) * n_in
    support = 2 * (max(n_in, n_out) if interpolation == "area" else n_out)
    first = np.maximum((centre - support - n_out) // (2 * n_out) + 1, 0)
    last = np.minimum(-((n_out - centre - support) // (2 * n_out)) - 1, n_in - 1)
    source = first[:, None] + np.arange(int((last - first).max()) + 1)
    weights = support - np.abs(centre[:, None] - (2 * source + 1) * n_out)
    weights = np.where(source <= last[:, None], weights, 0)
    cumulated = np.cumsum(weights, axis=1)
    total = cumulated[:, -1:]
    fixed = ((cumulated << (COEFF_BITS + 1)) + total) // (2 * total)
    return first, np.diff(fixed, axis=1, prepend=0)


@lru_cache(maxsize=64)
def _band_blocks(n_in: int, n_out: int, interpolation: str) -> tuple[tuple[int, int, int, np.ndarray], ...]:
    """The band matrix cut into (first output, first source, end source, float32 (outputs, sources) / 2^15)."""
    first, coefficients = resample_coefficients(n_in, n_out, interpolation)
    taps = coefficients.shape[1]
    blocks = []
    for start in range(0, n_out, _BLOCK_ROWS):
        block_first = first[start : start + _BLOCK_ROWS]
        low = int(block_first[0])
        dense = np.zeros((len(block_first), int(block_first[-1]) - low + taps), np.float32)
        columns = (block_first - low)[:, None] + np.arange(taps)
        # Division by 2^15 is exact in float32; it saves a multiplication of the large result.
        np.put_along_axis(dense, columns, (coefficients[start : start + _BLOCK_ROWS] / 2.0**COEFF_BITS), axis=1)
        high = min(low + dense.shape[1], n_in)
        matrix = np.ascontiguousarray(dense[:, : high - low])
        matrix.flags.writeable = False
        blocks.append((start, low, high, matrix))
    return tuple(blocks)


def _resample_rows(rows: np.ndarray, n_out: int, interpolation: str) -> np.ndarray:
    """Resample the first axis of uint8 (n_in, M) to uint8 (n_out, M); exact, see the module's text."""
    result = np.empty((n_out, rows.shape[1]), np.uint8)
    for start, low, high, matrix in _band_blocks(len(rows), n_out, interpolation):
        sums = matrix @ rows[low:high].astype(np.float32)
        sums += 0.5
        result[start : start + len(matrix)] = sums  # the cast truncates, so that 0.5 above rounds half up
    return result


def normalize(pixels: np.ndarray, spec: PreprocessSpec) -> np.ndarray:
    """Float input of the network: (pixel - mean) / std per channel.

    Args:
        pixels: uint8 (..., spec.channels), in the network's channel order, as from `resize_to_input`.
        spec: preprocessing contract.
    Returns:
        float32, same shape.
    Raises:
        ShapeError: not uint8 (..., spec.channels).
    """
    return _lookup(_float_table(spec.mean, spec.std), pixels)


def quantize_input(
    pixels: np.ndarray, spec: PreprocessSpec, scale: float, zero_point: int, dtype: np.dtype[Any] = _INT8
) -> np.ndarray:
    """Integer input of the network: round_half_away(normalized / scale) + zero_point, clipped to the type's range.

    Args:
        pixels: uint8 (..., spec.channels), in the network's channel order, as from `resize_to_input`.
        spec: preprocessing contract.
        scale: of the input tensor, > 0.
        zero_point: of the input tensor, a value of `dtype`.
        dtype: of the input tensor: int8, uint8 or int16.
    Returns:
        `dtype`, same shape.
    Raises:
        ShapeError: not uint8 (..., spec.channels).
    """
    return _lookup(quantization_table(spec, scale, zero_point, dtype), pixels)


def quantization_table(spec: PreprocessSpec, scale: float, zero_point: int, dtype: np.dtype[Any] = _INT8) -> np.ndarray:
    """Input value of each pixel value and channel; firmware carries the same table.

    Args:
        spec: preprocessing contract.
        scale: of the input tensor, > 0.
        zero_point: of the input tensor, a value of `dtype`.
        dtype: of the input tensor: int8, uint8 or int16.
    Returns:
        `dtype` (spec.channels, 256), [channel, pixel value], in the network's channel order.
    """
    normalized = (np.arange(256.0) - np.array(spec.mean)[:, None]) / np.array(spec.std)[:, None]
    steps = normalized / scale
    # floor(|x| + 0.5) with the sign put back: ties go away from zero.
    rounded = np.copysign(np.floor(np.abs(steps) + 0.5), steps)
    limits = np.iinfo(dtype)
    result: np.ndarray = np.clip(rounded + zero_point, limits.min, limits.max).astype(dtype)
    return result


@lru_cache(maxsize=16)
def _float_table(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """float32 (channels, 256), [channel, pixel value]."""
    table: np.ndarray = ((np.arange(256.0) - np.array(mean)[:, None]) / np.array(std)[:, None]).astype(np.float32)
    table.flags.writeable = False
    return table


def _lookup(table: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """table[channel, pixel] for uint8 (..., channels) pixels."""
    channels = len(table)
    if pixels.dtype != np.uint8 or pixels.ndim < 1 or pixels.shape[-1] != channels:
        raise ShapeError(f"pixels must be uint8 (..., {channels}), got {pixels.dtype} {pixels.shape}")
    if (table == table[0]).all():
        value: np.ndarray = table[0][pixels]
        return value
    result = np.empty(pixels.shape, table.dtype)
    for channel in range(channels):
        result[..., channel] = table[channel][pixels[..., channel]]
    return result


def _as_boxes(boxes: np.ndarray) -> np.ndarray:
    """float64 (N, 4) of boxes; an empty array of any shape becomes (0, 4)."""
    array = np.asarray(boxes, np.float64)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ShapeError(f"boxes must be (N, 4), got {array.shape}")
    return array
