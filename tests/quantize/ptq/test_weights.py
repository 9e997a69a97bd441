from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import symbolic_trace

from edgedet.contracts import PreprocessSpec
from edgedet.errors import ConfigError, ConversionError
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.fx.fake_quant import QuantConv2d
from edgedet.quantize.fx.prepare import freeze, prepare
from edgedet.quantize.fx.qparams import input_params, weight_codes, weight_scales
from edgedet.quantize.ptq.weights import FACTORS, clipped_scales, quantize_weights


def slow_error(channel: np.ndarray, scale: float) -> float:
    """Error of one channel, codes written out."""
    size = np.abs(channel.astype(np.float64)).ravel()
    return float(((size - np.minimum(np.floor(size / scale + 0.5), 127) * scale) ** 2).sum())


def test_clipped_scales_equal_brute_force():
    rng = np.random.default_rng(0)
    # A weight far out is worth clipping among very many others only.
    weight = rng.uniform(-1, 1, size=(3, 20000)).astype(np.float32)
    weight[0, 7], weight[1, 7] = -1.1, 3.0
    found, largest = clipped_scales(weight, "w"), weight_scales(weight, "w")
    np.testing.assert_array_equal(found < largest, [True, True, False])
    for channel, scale, top in zip(weight, found, largest, strict=True):
        errors = [slow_error(channel, float(np.float32(top * factor))) for factor in FACTORS]
        assert slow_error(channel, float(scale)) == pytest.approx(min(errors), rel=1e-9)


def test_clipped_scales_of_a_dead_channel_keep_their_floor():
    weight = np.ones((2, 1, 1, 1), np.float32)
    weight[1] = 0
    np.testing.assert_array_equal(clipped_scales(weight, "w")[0], weight_scales(weight, "w")[0])
    assert clipped_scales(weight, "w")[1] > 0


def test_clipped_scales_nan_is_named():
    with pytest.raises(ConversionError, match=r"stem\.conv\.weight: 1 of 3"):
        clipped_scales(np.array([[1.0], [np.nan], [2.0]], np.float32), "stem.conv")


def network():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 2, 1))
    prepared = prepare(symbolic_trace(model), input_params(PreprocessSpec(32, 32)))
    return calibrate(prepared, [torch.rand(2, 3, 8, 8)])


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_quantize_weights_codes_survive_freezing(method):
    calibrated = network()
    quantized = quantize_weights(calibrated, method)
    frozen = freeze(quantized)
    for before, after, exact in zip(quantized.modules(), frozen.modules(), calibrated.modules(), strict=True):
        if isinstance(before, QuantConv2d):
            weight = exact.weight.detach().numpy()
            scales = weight_scales(weight, "") if method == "minmax" else clipped_scales(weight, "")
            np.testing.assert_array_equal(after.weight_scale, scales)
            np.testing.assert_array_equal(after.weight_code, weight_codes(weight, scales))
            np.testing.assert_array_equal(before.weight.detach(), after.weight.detach())
            assert exact.weight_code is None


def test_quantize_weights_minmax_then_freeze_is_freeze_alone():
    calibrated = network()
    for one, other in zip(freeze(calibrated).modules(), freeze(quantize_weights(calibrated)).modules(), strict=True):
        if isinstance(one, QuantConv2d):
            for name in ("weight_scale", "weight_code", "bias_scale", "bias_code", "weight", "bias"):
                assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_quantize_weights_unknown_method_is_an_error():
    with pytest.raises(ConfigError, match="minmax, mse"):
        quantize_weights(network(), "magic")
