from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from edgedet.finetune.distill import BOX_SCORE, distillation_loss
from edgedet.training.objective.losses import prior_grid

STRIDES = (8, 16, 32)
GRID = prior_grid(64, 32, STRIDES)


def outputs(seed: int, classes: int = 3, offset: float = 0.0) -> list[Tensor]:
    rng = np.random.default_rng(seed)
    maps = []
    for stride in STRIDES:
        height, width = 32 // stride, 64 // stride
        maps.append(torch.from_numpy(rng.normal(-2 + offset, 2, (2, classes, height, width)).astype(np.float32)))
        maps.append(torch.from_numpy(rng.uniform(0.3, 3, (2, 4, height, width)).astype(np.float32)))
    return maps


def slow_loss(student: list[Tensor], teacher: list[Tensor]) -> tuple[float, float]:
    """Prior by prior, class by class, from the definitions."""
    cls = box = normalizer = 0.0
    for level, stride in enumerate(STRIDES):
        logits, distances = (t.double().numpy() for t in student[2 * level : 2 * level + 2])
        wanted_logits, wanted = (t.double().numpy() for t in teacher[2 * level : 2 * level + 2])
        scores, answers = 1 / (1 + np.exp(-wanted_logits)), 1 / (1 + np.exp(-logits))
        cls += float((scores * np.log(scores / answers) + (1 - scores) * np.log((1 - scores) / (1 - answers))).sum())
        for image, row, column in np.ndindex(logits.shape[0], *logits.shape[2:]):
            best = scores[image, :, row, column].max()
            if best > BOX_SCORE:
                normalizer += best
                first, second = distances[image, :, row, column], wanted[image, :, row, column]
                box += best * (1 - giou(corners(first * stride), corners(second * stride)))
    return cls / max(normalizer, 1.0), 2.0 * box / max(normalizer, 1.0)


def corners(ltrb: np.ndarray) -> np.ndarray:
    return np.array([-ltrb[0], -ltrb[1], ltrb[2], ltrb[3]])


def giou(a: np.ndarray, b: np.ndarray) -> float:
    def area(box: np.ndarray) -> float:
        return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))

    overlap = area(np.array([*np.maximum(a[:2], b[:2]), *np.minimum(a[2:], b[2:])]))
    hull = area(np.array([*np.minimum(a[:2], b[:2]), *np.maximum(a[2:], b[2:])]))
    union = area(a) + area(b) - overlap
    return overlap / union - (hull - union) / hull


@pytest.mark.parametrize("classes", [1, 3, 4])
def test_distillation_loss_equals_the_slow_formula(classes: int) -> None:
    student, teacher = outputs(0, classes), outputs(1, classes)
    losses = distillation_loss(student, teacher, GRID, 1.0, 2.0)
    cls, box = slow_loss(student, teacher)
    assert losses.cls.item() == pytest.approx(cls, rel=1e-4)
    assert losses.box.item() == pytest.approx(box, rel=1e-4)
    assert losses.total.item() == pytest.approx(cls + box, rel=1e-4)


def test_distillation_loss_equal_answers_cost_nothing() -> None:
    losses = distillation_loss(outputs(0), outputs(0), GRID, 1.0, 2.0)
    assert abs(losses.total.item()) < 1e-4  # float32 sums of 252 terms


def test_distillation_loss_teacher_that_sees_nothing_teaches_no_boxes() -> None:
    teacher = outputs(0, offset=-20.0)
    losses = distillation_loss(outputs(1), teacher, GRID, 1.0, 2.0)
    assert losses.positives.item() == 0
    assert losses.box.item() == 0.0
    assert torch.isfinite(losses.total)


def test_distillation_loss_descent_finds_the_teacher() -> None:
    teacher = outputs(1)
    student = [output.clone().requires_grad_() for output in outputs(0)]
    optimizer = torch.optim.Adam(student, lr=0.05)
    for _ in range(300):
        losses = distillation_loss(student, teacher, GRID, 1.0, 2.0)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert losses.total.item() < 0.02
    assert all(output.grad is not None for output in student)
    scores, wanted = student[0].sigmoid(), teacher[0].sigmoid()
    assert float((scores - wanted).abs().max().detach()) < 0.05


def test_distillation_loss_leaves_out_teacher_boxes_without_area() -> None:
    """As if the teacher were not sure of those priors' boxes; classes are learned all the same."""
    student, teacher = outputs(0), outputs(1)
    inverted = [t.clone() for t in teacher]
    inverted[1][0, :, 0, 0] = torch.tensor([-3.0, 1.0, 1.0, 1.0])
    inverted[3][1, :, 1, 1] = torch.tensor([1.0, 1.0, 1.0, torch.inf])
    sure = [t.sigmoid().amax(1) > BOX_SCORE for t in teacher[0::2]]
    expected = int(sure[0][0, 0, 0]) + int(sure[1][1, 1, 1])
    assert expected
    losses = distillation_loss(student, inverted, GRID, 1.0, 2.0)
    assert losses.left_out is not None
    assert int(losses.left_out) == expected
    assert int(losses.positives) == sum(int(level.sum()) for level in sure) - expected
    assert 0 <= float(losses.box) < 4
    assert float(distillation_loss(inverted, inverted, GRID, 1.0, 2.0).total) == pytest.approx(0, abs=1e-5)
