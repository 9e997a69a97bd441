"""RTMDet's losses: quality focal loss on the classes, GIoU on the boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from edgedet.numerics.heads.boxes import MAX_EXPONENT
from edgedet.training.objective.assigner import Targets, assign


@dataclass(frozen=True, eq=False)
class PriorGrid:
    """Priors of one input size: cell (row, column) of a stride lies at (column * stride, row * stride) px."""

    points: Tensor  # float32 (P, 2), x and y
    strides: Tensor  # float32 (P,)

    def to(self, device: torch.device) -> PriorGrid:
        """The same on a device."""
        return PriorGrid(self.points.to(device), self.strides.to(device))


@dataclass(frozen=True, eq=False)
class Losses:
    """Terms of one batch, weighted; `total` is their sum."""

    total: Tensor
    cls: Tensor
    box: Tensor
    positives: Tensor  # number of matched priors
    left_out: Tensor | None = None  # of distillation: priors whose teacher box has no area

    def scalars(self) -> Tensor:
        """float64 (4,): total, cls, box, positives; on a GPU it waits for the step once instead of four times."""
        parts = (self.total.detach(), self.cls, self.box, self.positives)
        return torch.stack([part.double() for part in parts])


Divisor = Callable[[Tensor], Tensor]  # what losses are divided by, of the sum of weights of this process's images


def at_least_one(total: Tensor) -> Tensor:
    """The divisor of a batch that one process computes alone."""
    return total.clamp(min=1.0)


def prior_grid(width: int, height: int, strides: Sequence[int]) -> PriorGrid:
    """Priors of all strides, row by row, in the order of `flatten_outputs`."""
    points, scale = [], []
    for stride in strides:
        rows, columns = height // stride, width // stride
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        points.append(torch.stack((x, y), -1).reshape(-1, 2).float() * stride)
        scale.append(torch.full((rows * columns,), float(stride)))
    return PriorGrid(torch.cat(points), torch.cat(scale))


def flatten_outputs(outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Put the strides' maps behind each other.

    Args:
        outputs: cls_8, box_8, ...: (B, C or 4, H, W) each.
    Returns:
        logits float32 (B, P, C), distances float32 (B, P, 4).
    """

    def flat(maps: Sequence[Tensor]) -> Tensor:
        return torch.cat([m.float().flatten(2).transpose(1, 2) for m in maps], 1)

    return flat(outputs[0::2]), flat(outputs[1::2])


def exponential_boxes(outputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """cls_8, box_8, ... with logarithms of distances -> with the distances, as the decoders of `log_distance` do."""
    return tuple(x.clamp(max=MAX_EXPONENT).exp() if number % 2 else x for number, x in enumerate(outputs))


def distances_to_boxes(distances: Tensor, grid: PriorGrid) -> Tensor:
    """Ltrb distances (B, P, 4) in strides -> xyxy boxes (B, P, 4) in px."""
    scaled = distances * grid.strides[:, None]
    return torch.cat((grid.points - scaled[..., :2], grid.points + scaled[..., 2:]), -1)


def giou_loss(boxes: Tensor, targets: Tensor) -> Tensor:
    """1 - GIoU of each pair.

    Args:
        boxes: float32 (N, 4), xyxy; one whose sides are not in this order has no area.
        targets: float32 (N, 4), xyxy, likewise.
    Returns:
        float32 (N,), 0..2.
    Source: arXiv:1902.09630.
    """
    overlap = (
        (torch.minimum(boxes[:, 2:], targets[:, 2:]) - torch.maximum(boxes[:, :2], targets[:, :2]))
        .clamp(min=0)
        .prod(-1)
    )
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(-1)
    target_area = (targets[:, 2:] - targets[:, :2]).clamp(min=0).prod(-1)
    union = area + target_area - overlap + 1e-6
    hull = (
        (torch.maximum(boxes[:, 2:], targets[:, 2:]) - torch.minimum(boxes[:, :2], targets[:, :2]))
        .clamp(min=0)
        .prod(-1)
    ) + 1e-6
    return (1 - overlap / union + (hull - union) / hull).clamp(min=0)  # below by rounding only


def quality_focal_loss(logits: Tensor, soft_labels: Tensor) -> Tensor:
    """|label - p|^2 * binary cross entropy, summed.

    Args:
        logits: float32, any shape.
        soft_labels: float32, same shape, 0..1 (IoU at the object's class, 0 elsewhere).
    Returns:
        Scalar.
    Source: arXiv:2006.04388, beta = 2.
    """
    weight = (soft_labels - logits.sigmoid()).square()
    return (F.binary_cross_entropy_with_logits(logits, soft_labels, reduction="none") * weight).sum()


def detection_loss(
    outputs: Sequence[Tensor],
    targets: Targets,
    grid: PriorGrid,
    topk: int,
    cls_weight: float,
    box_weight: float,
    divisor: Divisor = at_least_one,
) -> Losses:
    """Assign, then weigh the two losses.

    Args:
        outputs: the detector's outputs, contract order, NCHW.
        targets: objects of the batch.
        grid: priors of this input size.
        topk: see `assign`.
        cls_weight: weight of the class loss.
        box_weight: weight of the box loss.
        divisor: of the sum of the assigned IoUs.
    Returns:
        The losses; both are divided by the sum of the assigned IoUs (at least 1).
    """
    logits, distances = flatten_outputs(outputs)
    boxes = distances_to_boxes(distances, grid)
    found = assign(logits.detach(), boxes.detach(), grid.points, grid.strides, targets, topk)
    soft_labels = F.one_hot(found.labels, logits.shape[-1]) * found.ious[..., None]
    normalizer = divisor(found.ious.sum())
    cls = quality_focal_loss(logits, soft_labels) / normalizer * cls_weight
    box_terms = giou_loss(boxes[found.matched], found.boxes[found.matched]) * found.ious[found.matched]
    box = box_terms.sum() / normalizer * box_weight
    return Losses(cls + box, cls.detach(), box.detach(), found.matched.sum())
