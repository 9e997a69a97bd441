"""RTMDet: CSPNeXt backbone, CSPNeXtPAFPN neck, SepBN head; MMDetection's parameter names.

Source: RTMDet, arXiv:2212.07784; names and widths as in MMDetection's P5 setting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edgedet.config import ModelConfig
from edgedet.net.layers import Backbone, ConvModule, CSPLayer, SPPBottleneck, conv3x3

STRIDES = (8, 16, 32)
# (outputs, blocks, identity in the blocks, spatial pyramid pooling) of stages 1..4, before scaling.
STAGES = ((128, 3, True, False), (256, 6, True, False), (512, 6, True, False), (1024, 3, False, True))


class CSPNeXt(Backbone):
    """RTMDet's own backbone."""

    stage1: nn.Sequential
    stage2: nn.Sequential
    stage3: nn.Sequential
    stage4: nn.Sequential

    def __init__(self, config: ModelConfig, in_channels: int) -> None:
        super().__init__()
        channels = int(64 * config.widen)
        self.widths = tuple(int(outputs * config.widen) for outputs, *_ in STAGES[1:])
        self.stem = nn.Sequential(
            ConvModule(config, in_channels, channels // 2, 3, 2),
            ConvModule(config, channels // 2, channels // 2, 3),
            ConvModule(config, channels // 2, channels, 3),
        )
        for number, (outputs, blocks, identity, pyramid) in enumerate(STAGES, 1):
            width = int(outputs * config.widen)
            layers = [conv3x3(config, channels, width, 2)]
            if pyramid:
                layers.append(SPPBottleneck(config, width))
            depth = max(round(blocks * config.deepen), 1)
            layers.append(CSPLayer(config, width, width, depth, identity, config.channel_attention))
            setattr(self, f"stage{number}", nn.Sequential(*layers))
            channels = width

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, channels, H, W), normalized -> features of strides 8, 16, 32."""
        x8 = self.stage2(self.stage1(self.stem(x)))
        x16 = self.stage3(x8)
        return x8, x16, self.stage4(x16)


def head_width(config: ModelConfig) -> int:
    """Channels of the neck's maps and of the head."""
    return int(256 * config.widen)


class CSPNeXtPAFPN(nn.Module):
    """Neck: top-down, then bottom-up; gives three maps with the same number of channels, the head's.

    Args:
        config: architecture.
        widths: channels of the backbone's features of strides 8, 16, 32.
    """

    def __init__(self, config: ModelConfig, widths: Sequence[int]) -> None:
        super().__init__()
        depth = max(round(3 * config.deepen), 1)

        def csp(inputs: int, outputs: int) -> CSPLayer:
            return CSPLayer(config, inputs, outputs, depth, add_identity=False, attention=False)

        self.reduce_layers = nn.ModuleList(ConvModule(config, widths[i], widths[i - 1], 1) for i in (2, 1))
        self.top_down_blocks = nn.ModuleList(csp(2 * widths[i - 1], widths[i - 1]) for i in (2, 1))
        self.downsamples = nn.ModuleList(conv3x3(config, widths[i], widths[i], 2) for i in (0, 1))
        self.bottom_up_blocks = nn.ModuleList(csp(2 * widths[i], widths[i + 1]) for i in (0, 1))
        self.out_convs = nn.ModuleList(conv3x3(config, widths[i], head_width(config)) for i in (0, 1, 2))
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Features of strides 8, 16, 32 -> three maps of equal depth, same sizes."""
        x8, x16, x32 = features
        top32 = self.reduce_layers[0](x32)
        mid16 = self.top_down_blocks[0](torch.cat((self.upsample(top32), x16), 1))
        top16 = self.reduce_layers[1](mid16)
        out8 = self.top_down_blocks[1](torch.cat((self.upsample(top16), x8), 1))
        out16 = self.bottom_up_blocks[0](torch.cat((self.downsamples[0](out8), top16), 1))
        out32 = self.bottom_up_blocks[1](torch.cat((self.downsamples[1](out16), top32), 1))
        return self.out_convs[0](out8), self.out_convs[1](out16), self.out_convs[2](out32)


class RTMDetSepBNHead(nn.Module):
    """Head: per stride, class logits and ltrb distances in units of the stride (linear, or exp when `exp_boxes`)."""

    def __init__(self, config: ModelConfig, num_classes: int) -> None:
        super().__init__()
        channels = head_width(config)
        self.cls_convs = _branch(config, channels)
        self.reg_convs = _branch(config, channels)
        self.rtm_cls = nn.ModuleList(nn.Conv2d(channels, num_classes, 1) for _ in STRIDES)
        self.rtm_reg = nn.ModuleList(nn.Conv2d(channels, 4, 1) for _ in STRIDES)
        self.exp_boxes = config.exp_boxes
        self._init_predictions()

    def _init_predictions(self) -> None:
        for cls, reg in zip(self.rtm_cls, self.rtm_reg, strict=True):
            assert isinstance(cls, nn.Conv2d) and cls.bias is not None  # noqa: PT018
            assert isinstance(reg, nn.Conv2d) and reg.bias is not None  # noqa: PT018
            if cls.weight.is_meta:
                return  # no values to set, and normal_() would load torch's compiler for it, which takes seconds
            nn.init.normal_(cls.weight, std=0.01)
            nn.init.constant_(cls.bias, -math.log((1 - 0.01) / 0.01))  # RetinaNet's prior probability 0.01
            nn.init.normal_(reg.weight, std=0.01)
            # Boxes start 4 cells wide, so that the first assignments have an IoU.
            nn.init.constant_(reg.bias, math.log(2.0) if self.exp_boxes else 2.0)

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, ...]:
        """Three maps -> cls_8, box_8, cls_16, box_16, cls_32, box_32."""
        outputs: list[Tensor] = []
        for level, x in enumerate(features):
            cls, reg = x, x
            cls = self.cls_convs[level](cls)
            reg = self.reg_convs[level](reg)
            boxes = self.rtm_reg[level](reg)
            outputs += [self.rtm_cls[level](cls), torch.exp(boxes) if self.exp_boxes else boxes]
        return tuple(outputs)


def _branch(config: ModelConfig, channels: int) -> nn.ModuleList:
    """The stacked convolutions of one branch, one Sequential a stride."""
    levels = nn.ModuleList(
        nn.Sequential(*(conv3x3(config, channels, channels) for _ in range(config.stacked_convs))) for _ in STRIDES
    )
    if config.share_head:
        _share_convolutions(levels)
    return levels


def _share_convolutions(levels: nn.ModuleList) -> None:
    """Let every level use the first level's convolution weights; BatchNorms stay separate (SepBN)."""
    for level in levels[1:]:
        for own, first in zip(level.modules(), levels[0].modules(), strict=True):
            if isinstance(own, ConvModule) and isinstance(first, ConvModule):
                own.conv = first.conv


def channels_last(model: nn.Module) -> nn.Module:
    """The same network with weights in channels-last memory, which oneDNN's convolutions read without a copy."""
    # torch's stubs lack this overload.
    result: nn.Module = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return result


class RTMDet(nn.Module):
    """The whole detector.

    Takes float32 (N, channels, H, W), normalized, H and W divisible by 32; gives cls_8, box_8, cls_16, box_16, cls_32,
    box_32: (N, classes or 4, H/stride, W/stride), logits and distances in units of the stride.
    """

    def __init__(self, backbone: Backbone, config: ModelConfig, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = CSPNeXtPAFPN(config, backbone.widths)
        self.bbox_head = RTMDetSepBNHead(config, num_classes)
        self._frozen: tuple[str, ...] = ()

    def parts(self) -> tuple[str, ...]:
        """Paths of the modules that can be frozen, in the order in which a picture passes them."""
        return (*(f"backbone.{name}" for name, _ in self.backbone.named_children()), "neck")

    def freeze(self, parts: tuple[str, ...]) -> None:
        """Keep weights and BatchNorm statistics of these parts as they are, in training mode, too.

        Args:
            parts: of `parts()`.
        """
        self._frozen = parts
        for part in parts:
            self.get_submodule(part).requires_grad_(False)

    def train(self, mode: bool = True) -> RTMDet:
        """Training or evaluation mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen:
            self.get_submodule(part).eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, channels, H, W), normalized -> cls_8, box_8, cls_16, box_16, cls_32, box_32."""
        result: tuple[Tensor, ...] = self.bbox_head(self.neck(self.backbone(x)))
        return result
