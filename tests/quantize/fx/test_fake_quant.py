from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from edgedet.errors import ConversionError
from edgedet.numerics.affine import quantize
from edgedet.quantize.calibration.observers import MinMaxObserver
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.qparams import AffineParams


@pytest.mark.parametrize("zero_point", [-128, -117, 0, 5, 127])
def test_fake_quant_values_are_those_of_the_numpy_oracle_except_at_ties(zero_point):
    scale = np.float32(0.037)
    quant = FakeQuant("layer")
    quant.set_params(AffineParams(scale, zero_point))
    x = np.linspace(-12, 12, 5001, dtype=np.float32)
    codes = np.rint(quant(torch.from_numpy(x)).numpy() / scale).astype(int) + zero_point
    want = quantize(x, scale, zero_point).astype(int)
    # torch rounds x * (1 / scale) + zero_point half to even, TFLite x / scale half away: one step at exact ties only.
    ties = np.abs(np.abs(x / np.float64(scale)) % 1 - 0.5) < 1e-4
    np.testing.assert_array_equal(codes[~ties], want[~ties])
    assert np.abs(codes - want).max() <= 1
    assert codes.min() == -128 if zero_point < 127 else True
    assert codes.max() == 127


def test_fake_quant_uncalibrated_names_the_layer():
    with pytest.raises(ConversionError, match=r"neck\.conv"):
        FakeQuant("neck.conv")(torch.zeros(1))
    with pytest.raises(ConversionError, match=r"neck\.conv"):
        _ = FakeQuant("neck.conv").params


def test_fake_quant_observer_sees_values_and_passes_them_on():
    quant = FakeQuant("layer", AffineParams(np.float32(1.0), 0))
    quant.observer = MinMaxObserver()
    x = torch.tensor([0.3, -7.25])
    assert torch.equal(quant(x), x)
    assert quant.observer.range() == (-7.25, np.float32(0.3))


def test_min_max_observer_joins_batches_and_keeps_nan():
    observer = MinMaxObserver()
    assert observer.range() == (np.inf, -np.inf)
    observer.update(torch.tensor([[1.0, 2.0]]))
    observer.update(torch.tensor([-3.0]))
    assert observer.range() == (-3.0, 2.0)
    observer.update(torch.tensor([torch.nan]))
    observer.update(torch.tensor([5.0]))
    assert np.isnan(observer.range()).all()


@pytest.mark.parametrize("padding", [(1, 1, 1, 1), (0, 1, 0, 1), (0, 0, 0, 0), (2, 2, 1, 1)])
@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("none", lambda x: x),
        ("relu", functional.relu),
        ("relu6", functional.relu6),
        ("unit", lambda x: x.clamp(0, 1)),
    ],
)
def test_quant_conv_frozen_equals_convolution_of_codes(padding, activation, function):
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, stride=2)
    conv.weight.data[2] = 0  # a dead channel
    quant_conv = QuantConv2d(conv, "layer", activation, padding)
    x = torch.randn(2, 3, 9, 8) * 4
    torch.testing.assert_close(quant_conv(x), function(conv(functional.pad(x, padding))))
    quant_conv.freeze(AffineParams(np.float32(0.02), 0))
    weight = quant_conv.weight_code.numpy() * quant_conv.weight_scale.numpy()[:, None, None, None]
    bias = quant_conv.bias_code.numpy() * quant_conv.bias_scale.numpy()
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(weight))
        conv.bias.copy_(torch.from_numpy(bias))
    torch.testing.assert_close(quant_conv(x), function(conv(functional.pad(x, padding))))
    assert quant_conv.weight_code.dtype == torch.int8
    assert quant_conv.bias_code.dtype == torch.int32
    assert not quant_conv.weight_code[2].any()


def test_quant_conv_unknown_activation_is_an_error():
    with pytest.raises(ConversionError, match="tanh"):
        QuantConv2d(nn.Conv2d(1, 1, 1), "layer", "tanh", (0, 0, 0, 0))


def test_quant_conv_bias_beyond_int32_names_the_layer():
    conv = nn.Conv2d(1, 1, 1)
    nn.init.constant_(conv.bias, 1e9)
    nn.init.constant_(conv.weight, 1e-3)
    with pytest.raises(ConversionError, match=r"stem\.conv\.bias"):
        QuantConv2d(conv, "stem.conv", "none", (0, 0, 0, 0)).freeze(AffineParams(np.float32(1e-3), 0))
