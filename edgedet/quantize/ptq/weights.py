"""Weights per output channel, symmetric int8: the scale of the largest, or the one with the least squared error."""

from __future__ import annotations

import numpy as np
from torch.fx import GraphModule

from edgedet.errors import ConfigError
from edgedet.quantize.fx.copied import copied
from edgedet.quantize.fx.fake_quant import QuantWeights
from edgedet.quantize.fx.prepare import channels_last
from edgedet.quantize.fx.qparams import weight_codes, weight_scales

WEIGHT_METHODS = ("minmax", "mse")
FACTORS = np.arange(64, 15, -1) / 64.0  # of the largest weight, that the clipping search tries; ties: the largest


def quantize_weights(calibrated: GraphModule, method: str = "minmax") -> GraphModule:
    """Decide the weight codes of every convolution; biases stay float until `freeze`.

    Args:
        calibrated: a prepared graph; not changed.
        method: `minmax`, or `mse`: clip each channel where its squared error is least.
    Returns:
        A new graph whose convolutions compute with what their weight codes mean.
    Raises:
        ConversionError: a weight is NaN or infinite.
        ConfigError: unknown method.
    """
    if method not in WEIGHT_METHODS:
        raise ConfigError(f"weights {method!r}: expected one of {', '.join(WEIGHT_METHODS)}")
    result = copied(calibrated)
    for conv in result.modules():
        if isinstance(conv, QuantWeights):
            weight = conv.weight.detach().numpy()
            scales = weight_scales(weight, conv.name) if method == "minmax" else clipped_scales(weight, conv.name)
            conv.set_weight_codes(scales, weight_codes(weight, scales))
    return channels_last(result)


def clipped_scales(weight: np.ndarray, name: str) -> np.ndarray:
    """Symmetric scale of each output channel with the least squared error of its weights.

    Args:
        weight: float32 (O, ...).
        name: layer, for the error.
    Returns:
        float32 (O,), > 0, between 1/4 and all of `weight_scales`.
    Raises:
        ConversionError: a weight is NaN or infinite.
    """
    largest = weight_scales(weight, name)
    exact = weight.astype(np.float64).reshape(len(weight), -1)
    best, least = largest.copy(), np.full(len(weight), np.inf)
    for factor in FACTORS:
        scales = (largest * factor).astype(np.float32)
        shown = weight_codes(weight, scales).reshape(exact.shape) * scales[:, None].astype(np.float64)
        error = ((shown - exact) ** 2).sum(axis=1)
        better = error < least
        best[better], least[better] = scales[better], error[better]
    return best
