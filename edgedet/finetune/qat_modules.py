"""The trainable form of a calibrated graph: learned activation scales, weights rounded anew in every step.

A calibrated graph goes in (`make_trainable`), the same kind of graph comes out (`trained_graph`), so that everything
behind QAT is what PTQ uses: `settle_scales`, `freeze`, `graph_from_fx`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.fx import GraphModule

from edgedet.numerics.affine import WEIGHT_MAX
from edgedet.quantize.fx.copied import copied
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.qparams import DEAD_CHANNEL, LIMITS, AffineParams
from edgedet.quantize.fx.settle_scales import settle_scales

_SMALLEST = 1e-30  # of a weight channel's range, so that a channel of zeros has a scale


class _LearnedRounding(torch.autograd.Function):
    """Per-tensor fake quantization with gradients for the values and for the scale.

    Values: straight through inside the range, 0 where they are clipped. Scale: what the grid's points move by when the
    scale grows, (q - zero point) - [inside] * x / scale. Source: LSQ, arXiv:1902.08153.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, scale: Tensor, zero_point: Tensor, bits: int) -> Tensor:
        y = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, *LIMITS[bits])
        ctx.save_for_backward(x, y, scale, zero_point)
        ctx.limits = LIMITS[bits]  # type: ignore[attr-defined]
        return y

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, y, scale, zero_point = ctx.saved_tensors  # type: ignore[attr-defined]
        low, high = ctx.limits  # type: ignore[attr-defined]
        # Half a step beyond the outermost grid points still rounds to them.
        inside = (x >= (low - zero_point - 0.5) * scale) & (x <= (high - zero_point + 0.5) * scale)
        grad_x = grad * inside
        # Two dot products instead of a tensor of per-element terms.
        grad_scale = ((grad * y).sum() - (grad_x * x).sum()) / scale
        return grad_x, grad_scale, None, None


def learned_rounding(x: Tensor, scale: Tensor, zero_point: Tensor, bits: int = 8) -> Tensor:
    """Round to the int8 or int16 grid, differentiably in the values and in the scale.

    Args:
        x: float32, any shape.
        scale: float32 (), > 0.
        zero_point: int32 (), -128..127; 0 with 16 bits.
        bits: 8 or 16.
    Returns:
        float32, shape of `x`; clipped to the codes of the width, ties to even after adding the zero point (as torch).
    """
    result: Tensor = _LearnedRounding.apply(x, scale, zero_point, bits)  # type: ignore[no-untyped-call]
    return result


class LearnedFakeQuant(FakeQuant):
    """FakeQuant whose scale is learned: calibrated scale times exp(log_gain), zero point as calibrated.

    The logarithm makes a step of the optimizer a relative change, whatever the tensor's range, and keeps the scale
    positive. 0 stays exactly a code, and a ReLU's -128 stays where it is.

    Args:
        source: calibrated.
    """

    def __init__(self, source: FakeQuant) -> None:
        super().__init__(source.name, bits=source.bits)
        self.log_gain = nn.Parameter(torch.zeros(()))
        self.set_params(source.params)

    @property
    def params(self) -> AffineParams:
        """Scale, as learned so far, and zero point."""
        scale = np.float32((self.scale * self.log_gain.detach().exp()).item())
        return AffineParams(scale, int(self.zero_point.item()), self.bits)

    def set_params(self, params: AffineParams) -> None:
        """Take scale and zero point, in place, because the weight average holds references."""
        self.bits = params.bits
        with torch.no_grad():
            self.scale.fill_(float(params.scale))
            self.zero_point.fill_(params.zero_point)
            if hasattr(self, "log_gain"):  # absent while FakeQuant's constructor runs
                self.log_gain.zero_()

    @property
    def range_frozen(self) -> bool:
        """True when training does not move the range any more."""
        return not self.log_gain.requires_grad

    def forward(self, x: Tensor) -> Tensor:
        """Values on the grid, float32, same shape."""
        scale = self.scale * self.log_gain.exp()
        if self.range_frozen:
            return torch.fake_quantize_per_tensor_affine(x, scale, self.zero_point, *LIMITS[self.bits])
        return learned_rounding(x, scale, self.zero_point, self.bits)


class OpenBorder(FakeQuant):
    """A border to int16 that rounds nothing, because its scale would have to follow one that is being learned.

    What it leaves out is a 128th of what the int8 side rounds. `trained_graph` gives real borders back.

    Args:
        source: calibrated.
    """

    def __init__(self, source: FakeQuant) -> None:
        super().__init__(source.name, bits=source.bits, border=True)
        self.set_params(source.params)

    def forward(self, x: Tensor) -> Tensor:
        """The same values."""
        return x


class QatConv2d(nn.Module):
    """A QuantConv2d whose weights are trained in float and rounded, per output channel, in every forward pass.

    Scales follow the weights: largest absolute weight / 127, as `weight_scales` computes them at the end, so no weight
    is ever clipped and the gradient goes straight through. The bias is not rounded: its int32 step is far below float32
    noise.

    Args:
        source: calibrated, not frozen; copied.
    """

    weight_zero_point: Tensor  # int32 (O,), all 0

    def __init__(self, source: QuantConv2d) -> None:
        super().__init__()
        self.conv = copied(source)
        self.register_buffer("weight_zero_point", torch.zeros(len(source.weight), dtype=torch.int32), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, I, H, W) -> (N, O, H', W'), after the fused activation, before the output's FakeQuant."""
        weight = self.conv.weight
        largest = weight.detach().abs().amax((1, 2, 3))
        # In float64, as Python would compute it, but without waiting for the number.
        least = (largest.max().double() * DEAD_CHANNEL).clamp(min=_SMALLEST).float()
        scale = torch.maximum(largest, least) / WEIGHT_MAX
        rounded = torch.fake_quantize_per_channel_affine(
            weight, scale, self.weight_zero_point, 0, -WEIGHT_MAX, WEIGHT_MAX
        )
        return self.conv.activate(self.conv.convolve(x, rounded))


def make_trainable(calibrated: GraphModule) -> GraphModule:
    """Replace every convolution and every free FakeQuant by its trainable form; fixed scales stay fixed.

    Args:
        calibrated: from `calibrate`; not changed.
    Returns:
        A new graph of the same function as the fake-quantized network, up to the rounding of biases.
    """
    trainable = copied(calibrated)
    for path, module in list(trainable.named_modules()):
        if isinstance(module, QuantConv2d):
            trainable.set_submodule(path, QatConv2d(module))
        elif isinstance(module, FakeQuant) and module.border:
            trainable.set_submodule(path, OpenBorder(module))
        elif isinstance(module, FakeQuant) and not module.fixed:
            trainable.set_submodule(path, LearnedFakeQuant(module))
    result: GraphModule = trainable.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return result


def trained_graph(trainable: GraphModule, calibrated: GraphModule) -> GraphModule:
    """Bring weights and ranges back into the form of a calibrated graph, with scales on which all kernels agree.

    Args:
        trainable: from `make_trainable`, on any device; not changed.
        calibrated: what it was made from, on the CPU; not changed.
    Returns:
        A new calibrated graph on the CPU; `freeze` takes it.
    """
    result = copied(calibrated)
    trained = dict(trainable.named_modules())
    for path, module in result.named_modules():
        source = trained.get(path)
        if isinstance(source, QatConv2d):
            assert isinstance(module, QuantConv2d)
            module.weight = nn.Parameter(source.conv.weight.detach().cpu().clone())
            module.bias = nn.Parameter(source.conv.bias.detach().cpu().clone())
            module.weight_scale = module.weight_code = None  # of a start whose weights were decided before
        elif isinstance(source, LearnedFakeQuant):
            assert isinstance(module, FakeQuant)
            module.set_params(source.params)
    settle_scales(result)
    return result


def freeze_ranges(trainable: GraphModule) -> None:
    """Settle the scales and stop learning them, in place; weights go on adapting to exactly these scales."""
    settle_scales(trainable)
    for module in trainable.modules():
        if isinstance(module, LearnedFakeQuant):
            module.set_params(module.params)
            module.log_gain.requires_grad_(False)


def take_ranges(target: GraphModule, source: GraphModule) -> None:
    """Give `target` the frozen ranges of `source`, a graph of the same kind."""
    found = dict(source.named_modules())
    for path, module in target.named_modules():
        if isinstance(module, LearnedFakeQuant):
            other = found[path]
            assert isinstance(other, LearnedFakeQuant)
            module.set_params(other.params)
            module.log_gain.requires_grad_(False)
