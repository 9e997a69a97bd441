"""What pictures of 16 bits use of their range: many cameras deliver a part of it, and nobody sees that in the file.

Cameras of 10, 12 or 14 bits give pictures that are almost black when 65535 is white, with a pixel that is broken and
white here and there. Thermal cameras count hundredths of a kelvin: all of a room lies between 29,000 and 31,000, which
is one grey when it has become 8 bits. One such picture may be a dark night or a wall; all of a source together are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.data.pictures.preprocess import load_image
from edgedet.errors import DataError

MOST_IMAGES = 16  # that are looked at, spread over the source
DARKEST_WHITE = 64  # of 255: a brightest pixel up to it uses at most 14 of 16 bits
LEAST_SPAN = 32  # of 255, that the pictures together cover but for single pixels; 13 of 16 bits
SPAN_IMAGES = 3  # fewer may show a wall
_ENDS = (0.1, 99.9)  # percentiles; what lies beyond are broken pixels and lamps


@dataclass(frozen=True)
class PictureRange:
    """Of one picture, 0..255 after the reduction to 8 bits."""

    low: float  # but for single pixels
    high: float
    brightest: int


def range_of(pixels: np.ndarray) -> PictureRange:
    """What a picture uses. `pixels`: uint8 (H, W, 3), not empty."""
    low, high = np.percentile(pixels, _ENDS).tolist()
    return PictureRange(low, high, int(pixels.max()))


def weak_pictures(wide: Sequence[Path]) -> str:
    """Look at some of the pictures that have 16 bits.

    Args:
        wide: their files. Those that can't be decoded are passed over: they are reported where all are decoded.
    Returns:
        A sentence with advice; empty when they use their range, or there are none.
    """
    seen = []
    for path in wide[:: max(1, -(-len(wide) // MOST_IMAGES))]:
        try:
            seen.append(range_of(load_image(path)))
        except DataError:
            continue
    return weak_text(seen, len(wide))


def weak_text(seen: Sequence[PictureRange], images: int) -> str:
    """What to say about the range of 16-bit pictures.

    Args:
        seen: pictures that were looked at.
        images: 16-bit pictures in all.
    Returns:
        A sentence with advice; empty when their range is used, or there is none.
    """
    if not seen:
        return ""
    brightest = max(picture.brightest for picture in seen)
    if brightest <= DARKEST_WHITE:
        bits = max(1, brightest * 257 - 129).bit_length()  # 8 bits were rounded
        return (
            f"{images} pictures have 16 bits, of which about {bits} are used: the brightest pixel of {len(seen)} of "
            f"them is {brightest} of 255 once 65535 is white, so they are almost black; multiply their values to the "
            "full 16 bits, or save them with 8 bits"
        )
    low, high = min(picture.low for picture in seen), max(picture.high for picture in seen)
    if len(seen) < SPAN_IMAGES or high - low > LEAST_SPAN:
        return ""
    return (
        f"{images} pictures have 16 bits, of which a small part is used: but for single pixels, {len(seen)} of them "
        f"lie between {low:.0f} and {high:.0f} of 255 once 65535 is white, so that little contrast is left; stretch "
        "the values that occur, the same way for all pictures, to the full 16 bits, or save them with 8 bits"
    )
