"""Slow decoders, one box after the other, written from the formulas of the papers; used by the tests of the heads."""

from __future__ import annotations

import math

import numpy as np

from edgedet.contracts import Detections


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(v - max(values)) for v in values]
    return [p / sum(powers) for p in powers]


def corners(cx: float, cy: float, w: float, h: float) -> list[float]:
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def iou(a: list[float], b: list[float]) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union


def finish(
    candidates: list[tuple[float, int, list[float]]], size: tuple[int, int], threshold: float, nms_iou: float, most: int
) -> list[tuple[float, int, list[float]]]:
    """(score, label, box) of the kept ones, best first."""
    clipped = []
    for score, label, box in candidates:
        if score <= threshold:
            continue
        box = [min(max(v, 0.0), float(size[i % 2])) for i, v in enumerate(box)]
        if box[2] > box[0] and box[3] > box[1]:
            clipped.append((score, label, box))
    clipped.sort(key=lambda c: -c[0])
    kept: list[tuple[float, int, list[float]]] = []
    for candidate in clipped:
        if all(k[1] != candidate[1] or iou(k[2], candidate[2]) <= nms_iou for k in kept):
            kept.append(candidate)
    return kept[:most]


def assert_same(found: Detections, expected: list[tuple[float, int, list[float]]]) -> None:
    assert len(found) == len(expected) > 0
    np.testing.assert_array_equal(found.labels, [e[1] for e in expected])
    np.testing.assert_allclose(found.scores, [e[0] for e in expected], rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [e[2] for e in expected], rtol=1e-5, atol=1e-4)
