"""The batched assigner against a slow, obvious one (one image, one object, one prior at a time)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgedet.training.objective.assigner import Targets, assign, pairwise_iou
from edgedet.training.objective.losses import prior_grid


def _iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / max(union, 1e-6)


def _slow_assign(logits, boxes, priors, strides, objects, labels, topk):
    """Object index of each prior (-1: none) for one image, straight from the paper's description."""
    count = len(priors)
    result = np.full(count, -1)
    if not objects:
        return result

    def inside(p: int, o: list[float]) -> bool:
        return o[0] < priors[p][0] < o[2] and o[1] < priors[p][1] < o[3]

    candidates = [p for p in range(count) if any(inside(p, o) for o in objects)]
    costs: dict[tuple[int, int], float] = {}
    wanted: dict[int, list[int]] = {}
    for g, (box, label) in enumerate(zip(objects, labels, strict=True)):
        ious = {p: _iou(boxes[p], box) for p in candidates}
        for p in candidates:
            soft = [ious[p] if c == label else 0.0 for c in range(len(logits[p]))]
            cls = 0.0
            for x, y in zip(logits[p], soft, strict=True):
                probability = 1 / (1 + math.exp(-x))
                bce = -(y * math.log(probability) + (1 - y) * math.log(1 - probability))
                cls += bce * (y - probability) ** 2
            center = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            distance = math.dist(priors[p], center) / strides[p]
            costs[p, g] = cls - 3 * math.log(ious[p] + 1e-7) + 10 ** (distance - 3)
        k = max(1, int(sum(sorted(ious.values(), reverse=True)[:topk])))
        wanted[g] = sorted(candidates, key=lambda p, g=g: costs[p, g])[:k]
    for p in range(count):
        owners = [g for g in wanted if p in wanted[g]]
        if owners:
            result[p] = min(owners, key=lambda g: costs[p, g])
    return result


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_assign_random_batch_equals_slow_reference(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = 96, 64
    grid = prior_grid(width, height, (8, 16, 32))
    points, count = grid.points.numpy(), len(grid.points)
    images = 3
    low = points[None] - rng.uniform(2, 30, (images, count, 2))
    boxes = np.concatenate((low, points[None] + rng.uniform(2, 30, (images, count, 2))), -1).astype(np.float32)
    logits = rng.normal(-2, 1.5, (images, count, classes)).astype(np.float32)
    numbers = [4, 1, 0]
    objects = np.zeros((images, 4, 4), np.float32)
    labels = np.zeros((images, 4), np.int64)
    valid = np.zeros((images, 4), bool)
    for image, number in enumerate(numbers):
        corner = rng.uniform(0, (60, 40), (number, 2))
        objects[image, :number] = np.concatenate((corner, corner + rng.uniform(10, 30, (number, 2))), 1)
        labels[image, :number] = rng.integers(classes, size=number)
        valid[image, :number] = True
    found = assign(
        torch.from_numpy(logits),
        torch.from_numpy(boxes),
        grid.points,
        grid.strides,
        Targets(torch.from_numpy(objects), torch.from_numpy(labels), torch.from_numpy(valid)),
        13,
    )
    for image, number in enumerate(numbers):
        expected = _slow_assign(
            logits[image].tolist(),
            boxes[image].tolist(),
            points.tolist(),
            grid.strides.tolist(),
            objects[image, :number].tolist(),
            labels[image, :number].tolist(),
            13,
        )
        matched = found.matched[image].numpy()
        np.testing.assert_array_equal(matched, expected >= 0)
        np.testing.assert_array_equal(found.boxes[image].numpy()[matched], objects[image][expected[matched]])
        np.testing.assert_array_equal(found.labels[image].numpy()[matched], labels[image][expected[matched]])
        own = [_iou(boxes[image, p].tolist(), objects[image, expected[p]].tolist()) for p in np.flatnonzero(matched)]
        # float32 against float64
        np.testing.assert_allclose(found.ious[image].numpy()[matched], own, atol=1e-5)
        assert (found.ious[image].numpy()[~matched] == 0).all()


def test_assign_no_objects_matches_nothing() -> None:
    grid = prior_grid(64, 64, (8, 16, 32))
    count = len(grid.points)
    targets = Targets(torch.zeros(2, 1, 4), torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.bool))
    found = assign(torch.zeros(2, count, 3), torch.zeros(2, count, 4), grid.points, grid.strides, targets, 13)
    assert not found.matched.any()
    assert (found.ious == 0).all()


def test_pairwise_iou_hand_computed() -> None:
    first = torch.tensor([[[0.0, 0.0, 10.0, 10.0], [5.0, 5.0, 5.0, 5.0]]])
    second = torch.tensor([[[5.0, 0.0, 15.0, 10.0], [20.0, 20.0, 30.0, 30.0]]])
    expected = [[50 / 150, 0.0], [0.0, 0.0]]
    torch.testing.assert_close(pairwise_iou(first, second)[0], torch.tensor(expected))
