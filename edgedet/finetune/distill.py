"""Distillation: the quantized network learns to answer as its float original does; no labels are needed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from edgedet.training.objective.losses import (
    Divisor,
    Losses,
    PriorGrid,
    at_least_one,
    distances_to_boxes,
    flatten_outputs,
    giou_loss,
)

# Priors whose best class the float network scores below this teach nothing about boxes.
BOX_SCORE = 0.05


def distillation_loss(
    student: Sequence[Tensor],
    teacher: Sequence[Tensor],
    grid: PriorGrid,
    cls_weight: float,
    box_weight: float,
    divisor: Divisor = at_least_one,
) -> Losses:
    """How far the answers of two networks are apart, in the units of `detection_loss`.

    Classes: binary cross entropy between the two networks' scores, less its smallest possible value (the entropy of the
    teacher's scores), so that equal answers cost 0. Boxes: 1 - GIoU between the two networks' boxes, weighted by the
    teacher's best score.

    Args:
        student: outputs in contract order, NCHW.
        teacher: outputs of the float network for the same images.
        grid: priors of this input size.
        cls_weight: weight of the class term.
        box_weight: weight of the box term.
        divisor: of the sum of the teacher's best scores.
    Returns:
        The losses; both terms are divided by the sum of the teacher's best scores (at least 1). `positives` counts the
        priors that teach boxes, `left_out` those that the teacher is as sure of, but whose box has no area: a weak
        teacher puts right in front of left.
    """
    logits, distances = flatten_outputs(student)
    with torch.no_grad():
        teacher_logits, teacher_distances = flatten_outputs(teacher)
        scores = teacher_logits.sigmoid()
        best = scores.amax(-1)
        wanted = distances_to_boxes(teacher_distances, grid)
        scored = best > BOX_SCORE
        chosen = scored & _has_area(wanted)
        normalizer = divisor(best[chosen].sum())
        least = F.binary_cross_entropy_with_logits(teacher_logits, scores, reduction="sum")
    cls = F.binary_cross_entropy_with_logits(logits, scores, reduction="sum") - least
    cls = cls.clamp(min=0) / normalizer * cls_weight  # below 0 by rounding only
    boxes = distances_to_boxes(distances, grid)
    box = (giou_loss(boxes[chosen], wanted[chosen]) * best[chosen]).sum() / normalizer * box_weight
    return Losses(cls + box, cls.detach(), box.detach(), chosen.sum(), (scored & ~chosen).sum())


def _has_area(boxes: Tensor) -> Tensor:
    """bool, of xyxy boxes (..., 4): finite, and right and bottom lie behind left and top."""
    return boxes.isfinite().all(-1) & (boxes[..., 2:] > boxes[..., :2]).all(-1)
