from __future__ import annotations

import math

import numpy as np
import pytest

from edgedet.errors import ConfigError
from edgedet.numerics.heads.ssd_anchors import ssd_anchors

GRIDS = ((19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1))


def test_ssd_anchors_of_mobilenet_300_are_1917() -> None:
    boxes = np.array(ssd_anchors(GRIDS)).reshape(-1, 4)
    assert len(boxes) == 1917 == 3 * 361 + 6 * (100 + 25 + 9 + 4 + 1)
    # The first cell: half a cell from the corner; scales 0.1, then 0.2 with ratios 2 and 1/2.
    root = math.sqrt(2)
    expected = [[0.1, 0.1], [0.2 / root, 0.2 * root], [0.2 * root, 0.2 / root]]
    np.testing.assert_allclose(boxes[:3], [[0.5 / 19, 0.5 / 19, *e] for e in expected])
    # The last level: scale 0.95, and the geometric mean with 1.
    np.testing.assert_allclose(boxes[-6], [0.5, 0.5, 0.95, 0.95])
    np.testing.assert_allclose(boxes[-1], [0.5, 0.5, math.sqrt(0.95), math.sqrt(0.95)])
    # The second level, second cell of the first row, ratio 3.
    second = boxes[1083 + 6 + 3]
    np.testing.assert_allclose(second, [0.05, 0.15, 0.35 / math.sqrt(3), 0.35 * math.sqrt(3)])


def test_ssd_anchors_scales_out_of_order_raise() -> None:
    with pytest.raises(ConfigError, match="min_scale"):
        ssd_anchors(GRIDS, 0.9, 0.2)
