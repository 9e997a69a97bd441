"""Default boxes of SSD, for files that do not carry them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgedet.errors import ConfigError

SSD_SCALES = (0.2, 0.95)
SSD_RATIOS = (1.0, 2.0, 0.5, 3.0, 1.0 / 3.0)


def ssd_anchors(
    grids: Sequence[tuple[int, int]],
    min_scale: float = SSD_SCALES[0],
    max_scale: float = SSD_SCALES[1],
    ratios: Sequence[float] = SSD_RATIOS,
) -> tuple[float, ...]:
    """Default boxes as TensorFlow's detection models lay them.

    Scales grow linearly from the first level to the last. Every cell has one box for each ratio and one more, square,
    of the geometric mean of its scale and the next; the first level has three: half the smallest scale, square, then
    ratios 2 and 1/2.

    Args:
        grids: (rows, columns) of each level, largest grid first.
        min_scale: of the first level, in input sides.
        max_scale: of the last level.
        ratios: width / height.
    Returns:
        Flat, 4 for each box: centre y, centre x, height, width, in 0..1; order level, cell (row-major), box.
    Raises:
        ConfigError: no levels, or scales out of order.
    Source: SSD, arXiv:1512.02325, section 2.2.
    """
    if not grids or not 0 < min_scale <= max_scale or not ratios or min(ratios) <= 0:
        raise ConfigError(
            f"SSD anchors need levels, 0 < min_scale <= max_scale and ratios above 0, got {min_scale}, {max_scale}, "
            f"{tuple(ratios)}"
        )
    step = (max_scale - min_scale) / max(1, len(grids) - 1)
    scales = [min_scale + step * level for level in range(len(grids))] + [1.0]
    values: list[float] = []
    for level, (rows, columns) in enumerate(grids):
        if level == 0:
            shapes = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
        else:
            shapes = [(scales[level], ratio) for ratio in ratios]
            shapes.append((math.sqrt(scales[level] * scales[level + 1]), 1.0))
        for row in range(rows):
            for column in range(columns):
                for scale, ratio in shapes:
                    root = math.sqrt(ratio)
                    values += [(row + 0.5) / rows, (column + 0.5) / columns, scale / root, scale * root]
    return tuple(values)
