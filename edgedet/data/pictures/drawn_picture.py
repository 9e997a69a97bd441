"""A picture that stands in for a photograph where none was given."""

from __future__ import annotations

import numpy as np

_BLOBS = 12  # round patches of colour over the gradient


def draw_pixels(height: int, width: int, seed: int, channels: int = 3) -> np.ndarray:
    """A picture with the statistics of a photograph: shading, patches with edges, sensor noise, full range.

    White noise would leave most of a network at its biases, so that wrong weights could go unnoticed.

    Args:
        height: px.
        width: px.
        seed: of everything that is drawn.
        channels: of a pixel.
    Returns:
        uint8 (height, width, channels).
    """
    rng = np.random.default_rng(seed)
    rows = np.linspace(0.0, 1.0, height)[:, None, None]
    columns = np.linspace(0.0, 1.0, width)[None, :, None]
    corners = rng.uniform(0.0, 255.0, (2, 2, channels))
    top = corners[0, 0] * (1 - columns) + corners[0, 1] * columns
    bottom = corners[1, 0] * (1 - columns) + corners[1, 1] * columns
    picture = top * (1 - rows) + bottom * rows
    for _ in range(_BLOBS):
        centre_y, centre_x = rng.uniform(0.0, 1.0, 2)
        radius_y, radius_x = rng.uniform(0.04, 0.3, 2)
        inside = ((rows - centre_y) / radius_y) ** 2 + ((columns - centre_x) / radius_x) ** 2 < 1.0
        picture = np.where(inside, rng.uniform(0.0, 255.0, channels), picture)
    picture = picture + rng.normal(0.0, 6.0, picture.shape)
    picture[0, 0], picture[-1, -1] = 0.0, 255.0  # both ends of the input's range
    result: np.ndarray = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return result
