from __future__ import annotations

import math

import pytest
import torch

from edgedet.training.objective.assigner import Targets
from edgedet.training.objective.losses import (
    detection_loss,
    distances_to_boxes,
    flatten_outputs,
    giou_loss,
    prior_grid,
    quality_focal_loss,
)


def test_prior_grid_non_square_is_row_by_row() -> None:
    grid = prior_grid(64, 32, (16, 32))
    assert grid.points.tolist() == [
        [0, 0], [16, 0], [32, 0], [48, 0], [0, 16], [16, 16], [32, 16], [48, 16], [0, 0], [32, 0],
    ]  # fmt: skip
    assert grid.strides.tolist() == [16] * 8 + [32] * 2


def test_flatten_outputs_keeps_cell_order() -> None:
    cls = torch.arange(12.0).reshape(1, 2, 2, 3)
    box = torch.arange(24.0).reshape(1, 4, 2, 3)
    logits, distances = flatten_outputs((cls, box))
    assert logits[0, 4].tolist() == [cls[0, 0, 1, 1], cls[0, 1, 1, 1]]
    assert distances[0, 2].tolist() == box[0, :, 0, 2].tolist()


def test_distances_to_boxes_hand_computed() -> None:
    grid = prior_grid(32, 32, (16,))
    boxes = distances_to_boxes(torch.tensor([[[1.0, 2.0, 3.0, 4.0]] * 4]), grid)
    assert boxes[0, 3].tolist() == [16 - 16, 16 - 32, 16 + 48, 16 + 64]


@pytest.mark.parametrize(
    ("box", "target", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 0.0),
        ((0, 0, 10, 10), (20, 0, 30, 10), 1 + 100 / 300),  # apart: hull 300, union 200
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 - 50 / 150),  # hull equals union
        ((5, 5, 5, 5), (0, 0, 10, 10), 1.0),  # empty prediction inside
    ],
)
def test_giou_loss_hand_computed(box: tuple, target: tuple, expected: float) -> None:
    loss = giou_loss(torch.tensor([box]).float(), torch.tensor([target]).float())
    assert loss.item() == pytest.approx(expected, abs=1e-5)  # float32 and the epsilon


def test_quality_focal_loss_hand_computed() -> None:
    x, y = 0.7, 0.4
    p = 1 / (1 + math.exp(-x))
    expected = (y - p) ** 2 * -(y * math.log(p) + (1 - y) * math.log(1 - p))
    assert quality_focal_loss(torch.tensor([x]), torch.tensor([y])).item() == pytest.approx(expected, rel=1e-5)


def test_detection_loss_without_objects_trains_the_background() -> None:
    outputs = []
    for stride in (8, 16, 32):
        cells = 64 // stride
        outputs += [
            torch.zeros(2, 3, cells, cells, requires_grad=True),
            torch.ones(2, 4, cells, cells, requires_grad=True),
        ]
    targets = Targets(torch.zeros(2, 1, 4), torch.zeros(2, 1, dtype=torch.int64), torch.zeros(2, 1, dtype=torch.bool))
    losses = detection_loss(outputs, targets, prior_grid(64, 64, (8, 16, 32)), 13, 1.0, 2.0)
    losses.total.backward()
    assert losses.positives == 0
    assert losses.box == 0
    # 84 cells x 2 images x 3 classes at p = 0.5: 0.25 * ln 2 each
    assert losses.cls.item() == pytest.approx(84 * 2 * 3 * 0.25 * math.log(2), rel=1e-5)
    assert outputs[0].grad is not None
    assert (outputs[0].grad > 0).all()


def test_detection_loss_perfect_prediction_is_near_zero() -> None:
    box = torch.tensor([16.0, 16.0, 48.0, 48.0])
    grid = prior_grid(64, 64, (8, 16, 32))
    outputs = []
    for stride in (8, 16, 32):
        cells = 64 // stride
        y, x = torch.meshgrid(torch.arange(cells), torch.arange(cells), indexing="ij")
        distances = torch.stack((x * stride - box[0], y * stride - box[1], box[2] - x * stride, box[3] - y * stride))
        inside = (distances > 0).all(0)
        outputs += [torch.where(inside, 12.0, -12.0)[None, None], (distances / stride)[None]]
    targets = Targets(box[None, None], torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool))
    losses = detection_loss(outputs, targets, grid, 100, 1.0, 2.0)
    assert losses.positives == sum(int((o > 0).sum()) for o in outputs[0::2])
    assert losses.total < 1e-3


def test_giou_loss_is_never_negative_for_boxes_with_sides_in_any_order() -> None:
    rng = torch.Generator().manual_seed(0)
    boxes, targets = (torch.randint(-20, 20, (4000, 4), generator=rng).float() for _ in range(2))
    for found in (giou_loss(boxes, targets), giou_loss(boxes, boxes), giou_loss(targets * 1e4, targets)):
        assert float(found.min()) >= 0
        assert float(found.max()) <= 2
