"""A small anti-aliased drawing surface with transparency, on OpenCV."""

from __future__ import annotations

import math

import numpy as np

from edgedet.errors import missing_extra

try:
    import cv2
except ImportError as error:
    raise missing_extra("cv2", "train") from error

Colour = tuple[int, int, int]  # RGB, 0..255
_SUBPIXEL_BITS = 4  # OpenCV's fixed-point coordinates: 1/16 px


_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


def vary(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """A colour nearby: brightness and each channel move by up to `amount` levels."""
    shift = rng.uniform(-amount, amount) + rng.uniform(-amount, amount, 3) / 2
    return to_colour(np.array(colour) + shift)


def blend(first: Colour, second: Colour, share: float) -> Colour:
    """`share` 0 gives the first colour, 1 the second."""
    return to_colour(np.array(first) * (1 - share) + np.array(second) * share)


def to_colour(values: np.ndarray) -> Colour:
    """Clip three numbers to a colour."""
    red, green, blue = values.tolist()
    return min(max(int(red), 0), 255), min(max(int(green), 0), 255), min(max(int(blue), 0), 255)


def random_colour(rng: np.random.Generator) -> Colour:
    """Any colour, saturated ones as likely as greys."""
    base = rng.uniform(20, 235)
    return to_colour(base + rng.uniform(-1, 1, 3) * rng.uniform(0, 110))


def ellipse_points(centre: tuple[float, float], radii: tuple[float, float], angle: float = 0.0) -> np.ndarray:
    """Float (24, 2) polygon of an ellipse; angle in radians."""
    cos, sin = math.cos(angle), math.sin(angle)
    axes = np.array([[radii[0] * cos, radii[0] * sin], [-radii[1] * sin, radii[1] * cos]])
    result: np.ndarray = _CIRCLE @ axes + centre
    return result


class Canvas:
    """Premultiplied RGBA picture: opaque fills leave no dark seams at their soft edges."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels = np.zeros((height, width, 4), np.uint8)

    def fill(self, points: np.ndarray, colour: Colour) -> None:
        """Fill a polygon, float (N, 2) px."""
        cv2.fillPoly(self.pixels, [_fixed(points)], (*colour, 255), cv2.LINE_AA, _SUBPIXEL_BITS)

    def line(self, points: np.ndarray, colour: Colour, width_px: float, closed: bool = False) -> None:
        """Draw a polyline, float (N, 2) px; at least 1 px wide."""
        thickness = max(1, round(width_px))
        cv2.polylines(self.pixels, [_fixed(points)], closed, (*colour, 255), thickness, cv2.LINE_AA, _SUBPIXEL_BITS)

    def shade(self, mask: np.ndarray, colour: Colour, opacity: float) -> None:
        """Tint what is drawn already; mask uint8 (H, W)."""
        rows, columns = _bounds(mask)
        part = self.pixels[rows, columns].astype(np.float32)
        weight = mask[rows, columns, None].astype(np.float32) * (opacity / 255)
        target = np.array(colour, np.float32) * (part[:, :, 3:] / 255)
        part[:, :, :3] += (target - part[:, :, :3]) * weight
        self.pixels[rows, columns] = part + 0.5

    def mask(self, points: np.ndarray, blur_px: float = 0.0) -> np.ndarray:
        """uint8 (H, W) of a polygon, soft-edged when blur_px > 0."""
        mask = np.zeros(self.pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [_fixed(points)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        if blur_px >= 0.5:
            size = 2 * int(blur_px) + 1
            mask = cv2.blur(cv2.blur(mask, (size, size)), (size, size))
        return mask

    def paste(self, drawn: Canvas, mask: np.ndarray) -> None:
        """Take over `drawn` where the mask, uint8 (H, W), is set."""
        rows, columns = _bounds(mask)
        weight = mask[rows, columns, None].astype(np.float32) / 255
        old = self.pixels[rows, columns].astype(np.float32)
        self.pixels[rows, columns] = old + (drawn.pixels[rows, columns] - old) * weight + 0.5

    def copy(self) -> Canvas:
        """An independent copy."""
        other = Canvas(1, 1)
        other.pixels = self.pixels.copy()
        return other


def _fixed(points: np.ndarray) -> np.ndarray:
    return np.round(np.asarray(points) * (1 << _SUBPIXEL_BITS)).astype(np.int32).reshape(-1, 1, 2)


def _bounds(mask: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns that hold the mask (empty slices when it is empty)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
