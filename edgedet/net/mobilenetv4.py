"""MobileNetV4-Conv-S as the backbone of a detector: universal inverted bottlenecks, no attention.

Source: MobileNetV4, arXiv:2404.10518, table 11. The layers behind the last block (1x1 to 960, pooling, 1280, classes)
belong to the classifier and are left out, so the map of stride 32 has 128 channels.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from edgedet.config import ModelConfig
from edgedet.net.layers import Backbone, ConvModule


@dataclass(frozen=True)
class _Block:
    """A universal inverted bottleneck."""

    outputs: int  # channels
    expanded: int  # channels between the two pointwise convolutions
    first: int  # kernel of the depthwise convolution in front of the expansion; 0: none
    middle: int  # kernel of the depthwise convolution between the pointwise ones; 0: none
    stride: int = 1  # of the middle one


# ExtraDW has both depthwise convolutions, IB (inverted bottleneck) the middle one, ConvNext the first.
_STRIDE_16 = (
    _Block(96, 192, 5, 5, stride=2),
    *(_Block(96, 192, 0, 3),) * 4,
    _Block(96, 384, 3, 0),
)
_STRIDE_32 = (
    _Block(128, 576, 3, 3, stride=2),
    _Block(128, 512, 5, 5),
    _Block(128, 512, 0, 5),
    _Block(128, 384, 0, 5),
    _Block(128, 512, 0, 3),
    _Block(128, 512, 0, 3),
)


class UniversalInvertedBottleneck(nn.Module):
    """[depthwise,] 1x1 up, [depthwise,] 1x1 down, with an identity where the shapes allow it.

    Only the expansion and the middle depthwise convolution have an activation.
    """

    def __init__(self, config: ModelConfig, inputs: int, block: _Block) -> None:
        super().__init__()
        wide, first, middle = block.expanded, block.first, block.middle
        layers: list[nn.Module] = []
        if first:
            layers.append(ConvModule(config, inputs, inputs, first, groups=inputs, linear=True))
        layers.append(ConvModule(config, inputs, wide, 1))
        if middle:
            layers.append(ConvModule(config, wide, wide, middle, block.stride, groups=wide))
        layers.append(ConvModule(config, wide, block.outputs, 1, linear=True))
        self.layers = nn.Sequential(*layers)
        self.add_identity = block.stride == 1 and inputs == block.outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.layers(x)
        return y + x if self.add_identity else y


def _bottlenecks(config: ModelConfig, inputs: int, blocks: tuple[_Block, ...]) -> nn.Sequential:
    widths = (inputs, *(block.outputs for block in blocks))
    return nn.Sequential(*(UniversalInvertedBottleneck(config, *pair) for pair in zip(widths, blocks, strict=False)))


class MobileNetV4ConvSmall(Backbone):
    """Widths and depths are fixed: `widen` and `deepen` of the model are those of neck and head."""

    widths = (64, 96, 128)

    def __init__(self, config: ModelConfig, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvModule(config, in_channels, 32, 3, 2),
            # Fused inverted bottlenecks: a full 3x3, then 1x1.
            ConvModule(config, 32, 32, 3, 2),
            ConvModule(config, 32, 32, 1),
            ConvModule(config, 32, 96, 3, 2),
            ConvModule(config, 96, 64, 1),
        )
        self.stage3 = _bottlenecks(config, 64, _STRIDE_16)
        self.stage4 = _bottlenecks(config, 96, _STRIDE_32)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, channels, H, W), normalized -> features of strides 8, 16, 32."""
        x8 = self.stem(x)
        x16 = self.stage3(x8)
        return x8, x16, self.stage4(x16)
