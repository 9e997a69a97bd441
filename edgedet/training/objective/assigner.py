"""Dynamic soft label assignment, for a whole batch at once.

Source: RTMDet, arXiv:2212.07784, section 3.3; costs and constants as published there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_FAR = 1e8  # cost of a pair that must not match
SOFT_CENTER_RADIUS = 3.0
IOU_WEIGHT = 3.0


@dataclass(frozen=True, eq=False)
class Targets:
    """Boxes of a batch, padded to the largest number of objects (at least 1)."""

    boxes: Tensor  # float32 (B, G, 4), input px, xyxy; padding 0
    labels: Tensor  # int64 (B, G); padding 0
    valid: Tensor  # bool (B, G)

    def to(self, device: torch.device) -> Targets:
        """The same on a device; from pinned memory the copies run beside what the device is doing."""
        return Targets(*(tensor.to(device, non_blocking=True) for tensor in (self.boxes, self.labels, self.valid)))

    def pin_memory(self) -> Targets:
        """The same in memory from which a GPU copies by itself."""
        return Targets(self.boxes.pin_memory(), self.labels.pin_memory(), self.valid.pin_memory())


@dataclass(frozen=True, eq=False)
class Assignment:
    """What each prior has to learn."""

    matched: Tensor  # bool (B, P): prior is responsible for an object
    labels: Tensor  # int64 (B, P); meaningful where matched
    boxes: Tensor  # float32 (B, P, 4); meaningful where matched
    ious: Tensor  # float32 (B, P): IoU of the predicted box with its object, 0 where not matched


def pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of every box of one set with every box of the other.

    Args:
        first: float32 (B, P, 4), xyxy.
        second: float32 (B, G, 4), xyxy.
    Returns:
        float32 (B, P, G), 0..1.
    """
    low = torch.maximum(first[:, :, None, :2], second[:, None, :, :2])
    high = torch.minimum(first[:, :, None, 2:], second[:, None, :, 2:])
    overlap = (high - low).clamp_(min=0).prod(-1)
    areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1) for b in (first, second)]
    return overlap / (areas[0][:, :, None] + areas[1][:, None, :] - overlap).clamp_(min=1e-6)


@torch.no_grad()
def assign(logits: Tensor, boxes: Tensor, priors: Tensor, strides: Tensor, targets: Targets, topk: int) -> Assignment:
    """Match priors to objects by classification, localization and centre cost.

    Args:
        logits: float32 (B, P, C), class logits.
        boxes: float32 (B, P, 4), predicted boxes, input px, xyxy.
        priors: float32 (P, 2), x and y, input px.
        strides: float32 (P,), px.
        targets: objects.
        topk: the sum of an object's `topk` largest IoUs, rounded down, is its number of priors (at least 1).
    Returns:
        The assignment.
    """
    ious = pairwise_iou(boxes, targets.boxes)
    inside = (
        (priors[None, :, None, :] > targets.boxes[:, None, :, :2])
        & (priors[None, :, None, :] < targets.boxes[:, None, :, 2:])
    ).all(-1) & targets.valid[:, None, :]
    # As in RTMDet: a prior takes part when it lies in any object; then it may match each of them.
    candidate = inside.any(-1, keepdim=True) & targets.valid[:, None, :]
    cost = _cost(logits, ious, priors, strides, targets).masked_fill_(~candidate, _FAR)
    matching = _dynamic_k(cost, ious.masked_fill(~candidate, 0.0), topk) & candidate
    best = cost.masked_fill(~matching, 2 * _FAR).argmin(-1)
    matched = matching.any(-1)
    return Assignment(
        matched=matched,
        labels=targets.labels.gather(1, best),
        boxes=targets.boxes.gather(1, best[..., None].expand(-1, -1, 4)),
        ious=ious.gather(2, best[..., None]).squeeze(-1).masked_fill_(~matched, 0.0),
    )


def _cost(logits: Tensor, ious: Tensor, priors: Tensor, strides: Tensor, targets: Targets) -> Tensor:
    """(B, P, G) classification + localization + soft centre cost."""
    centers = (targets.boxes[..., :2] + targets.boxes[..., 2:]) / 2
    distance = (priors[None, :, None, :] - centers[:, None]).square_().sum(-1).sqrt_() / strides[None, :, None]
    center_cost = torch.pow(10.0, distance.clamp_(max=20.0) - SOFT_CENTER_RADIUS)
    iou_cost = -torch.log(ious + 1e-7) * IOU_WEIGHT
    # Cost against the soft label (IoU at the object's class, 0 elsewhere): the sum over classes is the sum for an all
    # zero label, corrected at the object's class, which spares a (B, P, G, C) tensor.
    zero_label = F.softplus(logits) * logits.sigmoid().square()
    own = logits.gather(2, targets.labels[:, None, :].expand(-1, logits.shape[1], -1))
    own_zero = F.softplus(own) * own.sigmoid().square()
    own_soft = (F.softplus(own) - own * ious) * (ious - own.sigmoid()).square()
    return zero_label.sum(-1, keepdim=True) - own_zero + own_soft + iou_cost + center_cost


def _dynamic_k(cost: Tensor, ious: Tensor, topk: int) -> Tensor:
    """Bool (B, P, G): the k cheapest priors of each object, k from its IoUs."""
    count = min(topk, cost.shape[1])
    k = ious.topk(count, dim=1).values.sum(1).int().clamp_(min=1)
    cheapest = cost.topk(count, dim=1, largest=False).indices
    chosen = torch.arange(count, device=cost.device)[None, :, None] < k[:, None, :]
    return torch.zeros_like(cost, dtype=torch.bool).scatter_(1, cheapest, chosen)
