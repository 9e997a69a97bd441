"""Untrained detectors with lifelike activations, for tests and benchmarks of what follows training.

Fresh weights will not do: BatchNorms that normalize nothing, and activations that fade layer by layer.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgedet.config import ModelConfig
from edgedet.net.families import build_detector
from edgedet.net.rtmdet import RTMDet

_PICTURES = 8


def random_detector(
    config: ModelConfig, num_classes: int, seed: int, width: int = 64, height: int = 64, in_channels: int = 3
) -> RTMDet:
    """A detector with random weights, and BatchNorm statistics measured on random pictures.

    Args:
        config: architecture.
        num_classes: number of classes.
        seed: decides everything; torch's global generator is left as it was.
        width: px, of the pictures, a multiple of 32.
        height: px.
        in_channels: of the pictures: 3, or 1.
    Returns:
        The detector in evaluation mode, float32.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = build_detector(config, num_classes, in_channels)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                _make_gentle(module.weight)
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.weight.uniform_(0.4, 1.0)
            norm.bias.normal_(1.5, 0.5)
        for layer in (*model.bbox_head.rtm_cls, *model.bbox_head.rtm_reg):
            layer.weight.normal_(0.0, 0.1)
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0  # the statistics of exactly this batch
        pictures = random_pictures(_PICTURES, width, height, seed)[..., :in_channels]
        model.train()(torch.from_numpy(pictures.astype(np.float32) / 255.0).permute(0, 3, 1, 2))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return model.eval()


def _make_gentle(weight: Tensor) -> None:
    """Keep a deep random network from multiplying small differences, which training would have kept down.

    Behind ReLUs everything is positive. A plain random filter then gives a large mean and a small variation, and the
    BatchNorm behind it magnifies that variation, rounding errors included, layer after layer.
    """
    if weight.shape[1] > 1:
        weight -= weight.mean((1, 2, 3), keepdim=True)
    else:
        weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2] += 1.0


def random_pictures(count: int, width: int, height: int, seed: int) -> np.ndarray:
    """Random pictures with large and small structure and the whole range of brightness.

    Args:
        count: pictures.
        width: px.
        height: px.
        seed: decides everything.
    Returns:
        uint8 (count, height, width, 3).
    """
    rng = np.random.default_rng(seed)
    picture = np.zeros((count, 3, height, width), np.float32)
    for cells, strength in ((3, 0.6), (9, 0.4), (27, 0.2)):
        coarse = torch.from_numpy(rng.standard_normal((count, 3, cells, cells), np.float32))
        picture += strength * functional.interpolate(coarse, (height, width), mode="bilinear").numpy()
    picture += rng.normal(0.0, 0.05, picture.shape).astype(np.float32)
    return np.clip(np.round(picture * 64 + 128), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
