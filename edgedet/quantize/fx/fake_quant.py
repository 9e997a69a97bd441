"""The modules of a prepared graph: quantized convolutions, and fake quantization of a tensor.

Everything else in a prepared graph (cat, max pool, nearest upsampling, padding, add, mul, mean, sigmoid) stays the
torch operator that it was; where its result needs a scale of its own, a `FakeQuant` follows it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet.errors import ConversionError
from edgedet.quantize.fx.qparams import (
    LIMITS,
    AffineParams,
    bias_codes,
    bias_scales,
    weight_codes,
    weight_scales,
)

# What a convolution may have fused; `unit` is the clamp to 0..1 that an output scale of 1/255 gives for free.
FUSED_ACTIVATIONS = ("none", "relu", "relu6", "unit")


class FakeQuant(nn.Module):
    """Per-tensor fake quantization, affine int8 or symmetric int16; all tensors of one shared-scale group share one.

    With an observer it passes values on and lets the observer see them; otherwise it rounds them to the grid.
    torch rounds ties to even after adding the zero point, TFLite away from zero: they differ by one step at exact ties.

    Args:
        name: path of the first layer of the group, for errors.
        fixed: parameters that calibration must not change; None: calibrated.
        bits: 8 or 16.
        border: int16 in front of or behind a 16-bit operator whose neighbour is int8; its scale is not calibrated but
            follows the group of the same name (`settle_borders`).
    """

    scale: Tensor  # float32 ()
    zero_point: Tensor  # int32 ()

    def __init__(self, name: str, fixed: AffineParams | None = None, bits: int = 8, border: bool = False) -> None:
        super().__init__()
        self.name = name
        self.bits = bits
        self.border = border
        self.fixed = fixed is not None or border
        self.observer: Observer | None = None
        self.register_buffer("scale", torch.tensor(0.0))
        self.register_buffer("zero_point", torch.tensor(0, dtype=torch.int32))
        if fixed is not None:
            self.set_params(fixed)

    def set_params(self, params: AffineParams) -> None:
        """Take scale, zero point and width."""
        self.bits = params.bits
        self.scale = torch.tensor(params.scale, dtype=torch.float32, device=self.scale.device)
        self.zero_point = torch.tensor(params.zero_point, dtype=torch.int32, device=self.zero_point.device)

    @property
    def params(self) -> AffineParams:
        """Scale, zero point and width.

        Raises:
            ConversionError: not calibrated.
        """
        scale = np.float32(self.scale.item())
        if scale <= 0:
            raise ConversionError(f"{self.name}: has no scale yet; calibrate the prepared graph first")
        return AffineParams(scale, int(self.zero_point.item()), self.bits)

    def forward(self, x: Tensor) -> Tensor:
        """Values on the grid, float32, same shape; with an observer, the values as they came."""
        if self.observer is not None:
            self.observer.update(x)
            return x
        if self.scale <= 0:
            raise ConversionError(f"{self.name}: has no scale yet; calibrate the prepared graph first")
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, *LIMITS[self.bits])


class QuantWeights(nn.Module):
    """A layer whose weights have one scale for each output channel; after `freeze` they and the bias are integer codes.

    Args:
        weight: float32 (O, I, H, W); copied.
        bias: float32 (O,); None: zeros.
        name: path of the layer, for errors.
    """

    weight_scale: Tensor | None  # float32 (O,)
    weight_code: Tensor | None  # int8 (O, I, H, W)
    bias_scale: Tensor | None  # float32 (O,)
    bias_code: Tensor | None  # int32 (O,); int64 behind an int16 input

    def __init__(self, weight: Tensor, bias: Tensor | None, name: str) -> None:
        super().__init__()
        self.name = name
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = nn.Parameter(torch.zeros(len(weight)) if bias is None else bias.detach().clone())
        for buffer in ("weight_scale", "weight_code", "bias_scale", "bias_code"):
            self.register_buffer(buffer, None)

    def set_weight_codes(self, scales: np.ndarray, codes: np.ndarray) -> None:
        """Decide the weights; `freeze` keeps them, and the forward pass uses exactly what they mean.

        Args:
            scales: float32 (O,), > 0.
            codes: int8, shape of the weight, -127..127.
        """
        self.weight_scale, self.weight_code = torch.from_numpy(scales), torch.from_numpy(codes)
        self.weight = nn.Parameter(torch.from_numpy(codes * scales[:, None, None, None]))

    def freeze(self, source: AffineParams) -> None:
        """Turn weights and bias into integer codes, and let the forward pass use exactly what the codes mean.

        Weights that `set_weight_codes` decided stay as they are; others get the scale of their largest value.

        Args:
            source: of the tensor that the convolution reads.
        Raises:
            ConversionError: NaN weights, or a bias that does not fit into the accumulator.
        """
        if self.weight_scale is None or self.weight_code is None:
            weight = self.weight.detach().numpy()
            chosen = weight_scales(weight, self.name)
            self.set_weight_codes(chosen, weight_codes(weight, chosen))
        assert self.weight_scale is not None
        assert self.weight_code is not None
        scales, codes = self.weight_scale.numpy(), self.weight_code.numpy()
        b_scales = bias_scales(source.scale, scales)
        b_codes = bias_codes(self.bias.detach().numpy(), b_scales, codes, self.name, source.bits)
        self.bias_scale, self.bias_code = torch.from_numpy(b_scales), torch.from_numpy(b_codes)
        self.bias = nn.Parameter(torch.from_numpy((b_codes * b_scales.astype(np.float64)).astype(np.float32)))


class QuantConv2d(QuantWeights):
    """Convolution with explicit padding and fused activation.

    Args:
        conv: float convolution with zero padding; its weights are copied.
        name: path of the layer, for errors.
        activation: one of `FUSED_ACTIVATIONS`.
        padding: (left, right, top, bottom) px of zeros, the convolution's own padding included.
    """

    def __init__(self, conv: nn.Conv2d, name: str, activation: str, padding: tuple[int, int, int, int]) -> None:
        super().__init__(conv.weight, conv.bias, name)
        if activation not in FUSED_ACTIVATIONS:
            raise ConversionError(f"{name}: activation {activation!r} can't be fused, only {FUSED_ACTIVATIONS}")
        self.activation = activation
        self.padding = padding
        self.stride = (int(conv.stride[0]), int(conv.stride[1]))
        self.dilation = (int(conv.dilation[0]), int(conv.dilation[1]))
        self.groups = conv.groups

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, I, H, W) -> (N, O, H', W'), after the fused activation, before the output's FakeQuant."""
        return self.activate(self.convolve(x))

    def pad(self, x: Tensor) -> Tensor:
        """float32 (N, I, H, W) with this layer's zeros around it."""
        return functional.pad(x, self.padding)

    def convolve(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """float32 (N, I, H, W) -> (N, O, H', W'), in front of the fused activation.

        Args:
            x: input.
            weight: float32 (O, I, H, W), instead of the module's own.
        """
        left, right, top, bottom = self.padding
        own = (top, left)
        if left != right or top != bottom:
            x, own = self.pad(x), (0, 0)
        used = self.weight if weight is None else weight
        return functional.conv2d(x, used, self.bias, self.stride, own, self.dilation, self.groups)

    def activate(self, y: Tensor) -> Tensor:
        """The fused activation, same shape."""
        match self.activation:
            case "relu":
                return functional.relu(y)
            case "relu6":
                return functional.relu6(y)
            case "unit":
                return torch.clamp(y, 0.0, 1.0)
        return y


class QuantConvTranspose2d(QuantWeights):
    """Transposed convolution without groups and dilation.

    Args:
        conv: float layer; its weights are copied.
        name: path of the layer, for errors.
    """

    def __init__(self, conv: nn.ConvTranspose2d, name: str) -> None:
        super().__init__(conv.weight.transpose(0, 1), conv.bias, name)
        self.stride = (int(conv.stride[0]), int(conv.stride[1]))
        self.padding = (int(conv.padding[0]), int(conv.padding[1]))

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, I, H, W) -> (N, O, H', W'), before the output's FakeQuant."""
        weight = self.weight.transpose(0, 1)
        return functional.conv_transpose2d(x, weight, self.bias, self.stride, self.padding)


class Observer(Protocol):
    """What calibration needs of an observer."""

    def update(self, values: Tensor) -> None:
        """Take in one tensor of one batch, float32 (N, ...)."""

    def end_batch(self) -> None:
        """Every tensor of the group has been taken in for this batch."""

    def range(self) -> tuple[float, float]:
        """(low, high) to quantize; low > high when nothing was seen, NaN when a value was NaN."""

    def extremes(self) -> tuple[float, float]:
        """(smallest, largest) value seen."""
