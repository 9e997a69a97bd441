"""Boxes with their names drawn into a picture."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edgedet.errors import ShapeError


def draw_boxes(image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """Draw boxes, the first on top; each class has its own colour.

    Args:
        image: uint8 (H, W, 3), RGB; stays as it is.
        boxes: (N, 4), pixels of the image, xyxy.
        labels: (N,), decide the colours.
        texts: N, one above each box.
    Returns:
        uint8 (H, W, 3), a copy with boxes.
    Raises:
        ShapeError: the image is not uint8 (H, W, 3).
    """
    return draw_coloured(image, boxes, [class_colour(label) for label in labels.tolist()], texts)


def draw_coloured(
    image: np.ndarray, boxes: np.ndarray, colours: Sequence[tuple[int, int, int]], texts: Sequence[str]
) -> np.ndarray:
    """As `draw_boxes`, in given RGB colours; an empty text draws no label."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ShapeError(f"drawing boxes: expected uint8 (H, W, 3), found {image.dtype} {image.shape}")
    canvas = Image.fromarray(image).copy()
    draw = ImageDraw.Draw(canvas)
    side = max(image.shape[:2])
    font = ImageFont.load_default(size=max(11, round(side / 45)))
    line_px = max(2, round(side / 300))
    # Last first, so that the best detection and its label lie on top.
    for index in reversed(range(len(texts))):
        colour = colours[index]
        x1, y1, x2, y2 = (round(value) for value in boxes[index].tolist())
        draw.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=line_px)
        if texts[index]:
            _draw_label(draw, font, texts[index], (x1, y1), colour, canvas.size)
    return np.array(canvas)


def class_colour(label: int) -> tuple[int, int, int]:
    """RGB colour of a class: hues by the golden ratio, so that neighbouring labels differ most."""
    red, green, blue = colorsys.hsv_to_rgb((0.36 + label * 0.618033988749895) % 1.0, 0.85, (1.0, 0.75)[label // 8 % 2])
    return round(red * 255), round(green * 255), round(blue * 255)


def _draw_label(
    draw: ImageDraw.ImageDraw,
    font: Any,
    text: str,
    corner: tuple[int, int],
    colour: tuple[int, int, int],
    size: tuple[int, int],
) -> None:
    """A filled plate above the box, or inside it where there is no room above; moved left at the right border."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = round(right - left) + 4, round(bottom - top) + 4
    x = max(0, min(corner[0], size[0] - width))
    y = corner[1] - height if corner[1] >= height else corner[1]
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    # Rec. 601 luma decides between black and white letters.
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128
    draw.text((x + 2 - left, y + 2 - top), text, font=font, fill=(0, 0, 0) if bright else (255, 255, 255))
