"""Empirical bias correction: quantization shifts the mean of each channel; the bias takes the shift back.

Sequential: a layer is corrected with the inputs that the corrected layers in front of it give.
Source: Data-Free Quantization through Weight Equalization and Bias Correction, arXiv:1906.04721, section 4.2 and
appendix D.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgedet.quantize.fx.copied import copied
from edgedet.quantize.fx.fake_quant import QuantConv2d
from edgedet.quantize.fx.walk import walk_layers


def correct_biases(prepared: GraphModule, quantized: GraphModule, batches: Sequence[Tensor]) -> GraphModule:
    """Give every channel of every convolution the mean that it has in the float network.

    Args:
        prepared: the float network; not changed.
        quantized: the same, calibrated and with weights quantized; not changed.
        batches: float32 (N, C, H, W), normalized, at least one.
    Returns:
        A new graph with other float biases.
    """
    corrected = copied(quantized)
    walk_layers(prepared, corrected, batches, (correct_bias,))
    return corrected


def correct_bias(
    exact: QuantConv2d, quantized: QuantConv2d, exact_inputs: Sequence[Tensor], inputs: Sequence[Tensor]
) -> None:
    """Shift one bias, in place; the means are those in front of the activation.

    Args:
        exact: convolution of the float network.
        quantized: convolution to correct.
        exact_inputs: float32 (N, I, H, W) each, what the float network gives.
        inputs: same shapes, what the quantized network gives.
    """
    shift = channel_means(exact, exact_inputs) - channel_means(quantized, inputs)
    quantized.bias = nn.Parameter((quantized.bias.double() + shift).float())


def channel_means(conv: QuantConv2d, inputs: Sequence[Tensor]) -> Tensor:
    """Mean of each output channel in front of the activation: float64 (O,), over images and positions."""
    total = torch.zeros(len(conv.bias), dtype=torch.float64)
    count = 0
    for x in inputs:
        y = conv.convolve(x)
        total += y.sum((2, 3)).double().sum(0)
        count += y.numel() // y.shape[1]
    return total / count
