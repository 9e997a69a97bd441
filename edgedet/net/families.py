"""Which backbone a model has, and the whole detector from its configuration."""

from __future__ import annotations

from edgedet.config import ModelConfig
from edgedet.net.mobilenetv4 import MobileNetV4ConvSmall
from edgedet.net.rtmdet import CSPNeXt, RTMDet

# `model.backbone` -> backbone; every one says the widths of its three features. config.BACKBONES holds the names.
_BACKBONES = {"cspnext": CSPNeXt, "mobilenetv4_conv_small": MobileNetV4ConvSmall}


def build_detector(config: ModelConfig, num_classes: int, in_channels: int = 3) -> RTMDet:
    """Build the network with fresh weights (drawn from torch's global generator; seed it before).

    Args:
        config: architecture.
        num_classes: number of classes, at least 1.
        in_channels: of the pictures: 3, or 1 for grey.
    Returns:
        The detector in training mode, float32.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    return RTMDet(_BACKBONES[config.backbone](config, in_channels), config, num_classes)
