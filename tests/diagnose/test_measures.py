from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgedet.diagnose.measures import RangeUse, Similarity, output_damage


def test_similarity_in_parts_equals_the_whole() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(4, 5, 3)).astype(np.float32)
    b = (a + rng.normal(0, 0.1, a.shape)).astype(np.float32)
    similarity = Similarity()
    for one, other in zip(a, b, strict=True):
        similarity.add(one, other)
    x, y = a.astype(np.float64), b.astype(np.float64)
    assert similarity.sqnr_db == pytest.approx(10 * np.log10((x**2).sum() / ((x - y) ** 2).sum()))
    assert similarity.cosine == pytest.approx((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))


def test_similarity_exact_zero_and_opposite() -> None:
    zero, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    for a, b, sqnr, cosine in (
        (one, one, math.inf, 1.0),
        (zero, zero, math.inf, 1.0),
        (zero, one, -math.inf, 0.0),
        (one, -one, 10 * math.log10(1 / 4), -1.0),
    ):
        similarity = Similarity()
        similarity.add(a, b)
        assert similarity.sqnr_db == pytest.approx(sqnr)
        assert similarity.cosine == pytest.approx(cosine)


def test_range_use_counts_dead_saturated_and_clipped() -> None:
    # scale 0.5, zero point -27: codes show -50.5 .. 77, half a step more is rounded into it
    use = RangeUse(0.5, -27, 3)
    values = np.array([[0.0, 77.2, 5.0], [0.0, 77.3, 6.0], [0.0, -50.8, 7.0]], np.float32)
    codes = np.array([[-27, 127, -17], [-27, 127, -15], [-27, -128, -13]], np.int8)
    use.add(values, codes)
    use.add(values[:1], codes[:1])
    assert use.range_use == 1.0
    assert use.dead_channels == 1
    assert use.saturated_channels == 1
    assert use.clipped == pytest.approx(2 / 12)  # 77.3 and -50.8


def detector(seed: int, size: int = 3) -> list[torch.Tensor]:
    """cls_8, box_8, cls_16, box_16 of two pictures."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, c, size, size, generator=generator) * 2 + 1 for c in (3, 4, 3, 4)]


def slow_damage(reference: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Cell by cell."""
    total = 0.0
    for level in range(0, len(reference), 2):
        pictures, classes, rows, columns = reference[level].shape
        for n in range(pictures):
            for y in range(rows):
                for x in range(columns):
                    p = [1 / (1 + math.exp(-float(reference[level][n, c, y, x]))) for c in range(classes)]
                    q = [1 / (1 + math.exp(-float(other[level][n, c, y, x]))) for c in range(classes)]
                    total += sum(
                        a * math.log(a / b) + (1 - a) * math.log((1 - a) / (1 - b)) for a, b in zip(p, q, strict=True)
                    )
                    boxes = [
                        [max(float(m[level + 1][n, side, y, x]), 0.0) for side in range(4)] for m in (reference, other)
                    ]
                    shared = [min(a, b) for a, b in zip(*boxes, strict=True)]
                    overlap, *areas = [(d[0] + d[2]) * (d[1] + d[3]) for d in (shared, *boxes)]
                    union = sum(areas) - overlap
                    total += max(p) * (1 - (overlap / union if union > 0 else 1.0))
    return total / len(reference[0])


def test_output_damage_equals_the_slow_sum_and_is_zero_for_itself() -> None:
    reference, other = detector(0), detector(1)
    assert output_damage(reference, other) == pytest.approx(slow_damage(reference, other), rel=1e-9)
    assert output_damage(reference, [x.clone() for x in reference]) == pytest.approx(0, abs=1e-9)


def test_output_damage_confident_cells_weigh_more() -> None:
    quiet, loud = torch.full((1, 1, 1, 1), -8.0), torch.full((1, 1, 1, 1), 3.0)
    box, moved = torch.ones(1, 4, 1, 1), torch.full((1, 4, 1, 1), 0.5)
    assert output_damage([loud, box], [loud, moved]) > 100 * output_damage([quiet, box], [quiet, moved])
    empty = torch.zeros(1, 4, 1, 1)
    assert output_damage([loud, empty], [loud, -empty]) == 0
