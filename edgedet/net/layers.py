"""Building blocks of CSPNeXt and RTMDet, with MMDetection's parameter names.

All modules take and give float32 (N, C, H, W) and are traceable by torch.fx.
Source: RTMDet, arXiv:2212.07784.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgedet.config import ModelConfig


def activation(name: str) -> nn.Module:
    """A new activation module: silu | relu | relu6 | hardswish."""
    kinds = {"silu": nn.SiLU, "relu": nn.ReLU, "relu6": nn.ReLU6, "hardswish": nn.Hardswish}
    return kinds[name](inplace=True)


class Backbone(nn.Module):
    """Gives the features of strides 8, 16 and 32; `edgedet.net.families` lists the kinds."""

    widths: tuple[int, ...]  # channels of the three features


class ConvModule(nn.Module):
    """Convolution + BatchNorm + activation (none when `linear`).

    Args:
        padding: `same` gives a stride-2 3x3 convolution TFLite's SAME padding (bottom and right only, for even input
            sizes, which is all that a side divisible by 32 gives); everything else pads symmetrically either way.
    """

    def __init__(
        self,
        config: ModelConfig,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        asymmetric = config.padding == "same" and stride == 2
        if asymmetric and kernel not in (3, 5):
            raise ValueError(f"SAME padding with stride 2 is written for kernels 3 and 5, got {kernel}")
        before = (kernel - 2) // 2
        self.pad = nn.ZeroPad2d((before, kernel - 2 - before) * 2) if asymmetric else None
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride, 0 if asymmetric else kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.1)
        self.activate = nn.Identity() if linear else activation(config.activation)
        nn.init.kaiming_uniform_(self.conv.weight, a=5**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        if self.pad is not None:
            x = self.pad(x)
        result: Tensor = self.activate(self.bn(self.conv(x)))
        return result


class DepthwiseSeparableConvModule(nn.Module):
    """Depthwise kernel x kernel, then 1x1; BatchNorm and activation after each."""

    def __init__(self, config: ModelConfig, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise_conv = ConvModule(config, inputs, inputs, kernel, stride, groups=inputs)
        self.pointwise_conv = ConvModule(config, inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        result: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return result


def conv3x3(config: ModelConfig, inputs: int, outputs: int, stride: int = 1) -> nn.Module:
    """A full 3x3 convolution outside the CSPNeXt blocks, or a depthwise separable one when the model says so."""
    if config.depthwise != "none":
        return DepthwiseSeparableConvModule(config, inputs, outputs, 3, stride)
    return ConvModule(config, inputs, outputs, 3, stride)


class CSPNeXtBlock(nn.Module):
    """3x3, then depthwise 5x5 + 1x1, with an identity when `add_identity`."""

    def __init__(self, config: ModelConfig, channels: int, add_identity: bool) -> None:
        super().__init__()
        separable = config.depthwise == "all"
        self.conv1 = (DepthwiseSeparableConvModule if separable else ConvModule)(config, channels, channels, 3)
        self.conv2 = DepthwiseSeparableConvModule(config, channels, channels, 5)
        self.add_identity = add_identity

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as the input."""
        y = self.conv2(self.conv1(x))
        result: Tensor = y + x if self.add_identity else y
        return result


class ChannelAttention(nn.Module):
    """x * hardsigmoid(fc(mean over the picture of x))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)
        self.act = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as the input."""
        result: Tensor = x * self.act(self.fc(torch.mean(x, (2, 3), keepdim=True)))
        return result


class CSPLayer(nn.Module):
    """Cross stage partial layer of CSPNeXt blocks."""

    def __init__(
        self, config: ModelConfig, inputs: int, outputs: int, blocks: int, add_identity: bool, attention: bool
    ) -> None:
        super().__init__()
        middle = outputs // 2
        self.main_conv = ConvModule(config, inputs, middle, 1)
        self.short_conv = ConvModule(config, inputs, middle, 1)
        self.final_conv = ConvModule(config, 2 * middle, outputs, 1)
        self.blocks = nn.Sequential(*(CSPNeXtBlock(config, middle, add_identity) for _ in range(blocks)))
        self.attention = ChannelAttention(2 * middle) if attention else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W)."""
        short = self.short_conv(x)
        y = torch.cat((self.blocks(self.main_conv(x)), short), 1)
        if self.attention is not None:
            y = self.attention(y)
        result: Tensor = self.final_conv(y)
        return result


class SPPBottleneck(nn.Module):
    """Spatial pyramid pooling with windows 5, 9 and 13.

    A 9x9 maximum is a 5x5 maximum of 5x5 maxima (and 13x13 one more), so three 5x5 pools in a row give the same values
    for a fraction of the comparisons.
    """

    def __init__(self, config: ModelConfig, channels: int) -> None:
        super().__init__()
        middle = channels // 2
        self.conv1 = ConvModule(config, channels, middle, 1)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.conv2 = ConvModule(config, 4 * middle, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as the input."""
        x = self.conv1(x)
        pool5 = self.pool(x)
        pool9 = self.pool(pool5)
        result: Tensor = self.conv2(torch.cat((x, pool5, pool9, self.pool(pool9)), 1))
        return result
