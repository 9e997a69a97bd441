"""BatchNorm over the batches of several processes, on devices for which torch's SyncBatchNorm has no code."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


class _Sum(torch.autograd.Function):
    """Sum over the processes; so is the gradient, because each process's losses depend on every part of it."""

    @staticmethod
    def forward(ctx: FunctionCtx, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose statistics in training are those of all processes' batches, which are of one size.

    torch's SyncBatchNorm does this on GPUs only. Parameters and buffers have the names of BatchNorm2d.
    """

    @classmethod
    def like(cls, source: nn.BatchNorm2d) -> SharedBatchNorm2d:
        """One that takes over the parameters and buffers themselves, not copies."""
        norm = cls(source.num_features, source.eps, source.momentum)
        norm._parameters, norm._buffers, norm.training = source._parameters, source._buffers, source.training
        return norm

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), same shape and dtype."""
        if not self.training or not dist.is_initialized():
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        count = values.numel() // self.num_features * dist.get_world_size()
        mean = _Sum.apply(values.sum((0, 2, 3))) / count  # type: ignore[no-untyped-call]
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / count  # type: ignore[no-untyped-call]
        with torch.no_grad():
            self.num_batches_tracked += 1
            momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)
        gain = self.weight * (variance + self.eps).rsqrt()
        result: Tensor = (centred * gain[:, None, None] + self.bias[:, None, None]).to(x.dtype)
        return result
