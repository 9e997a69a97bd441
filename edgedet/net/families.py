"""Which backbone a model has, and the whole detector from its configuration."""

from __future__ import annotations

from dataclasses import replace

from edgedet.config import ModelConfig
from edgedet.contracts import OutputSpec
from edgedet.head_spec import HeadSpec
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


def int8_form(config: ModelConfig, outputs: OutputSpec) -> tuple[ModelConfig, OutputSpec]:
    """The network as it is quantized: without the exponentials of the boxes, which are the decoder's.

    int8 has no step for an exponential's small results and no kernel for it; of the logarithms, one step is the same
    share of every distance, and the decoder's table of 256 entries is exact.

    Args:
        config: architecture; the weights fit both forms.
        outputs: output contract of the float network.
    Returns:
        The same two for networks without `exp_boxes`; else those of the network whose outputs are logarithms.
    """
    if not config.exp_boxes:
        return config, outputs
    return replace(config, exp_boxes=False), replace(outputs, head=HeadSpec(coding="log_distance"))
