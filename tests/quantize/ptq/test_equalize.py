from __future__ import annotations

import numpy as np
import pytest
import torch
from random_weights import random_detector, random_pictures
from torch import nn
from torch.fx import symbolic_trace

from edgedet.config import load_model_file
from edgedet.errors import ConversionError
from edgedet.quantize.fx.fold import fold_batch_norm
from edgedet.quantize.fx.lower_activations import lower_activations
from edgedet.quantize.ptq.equalize import equalize


def uneven(conv: nn.Conv2d, seed: int = 0) -> nn.Conv2d:
    """Channels of very different size."""
    with torch.no_grad():
        factor = torch.from_numpy(np.exp(np.random.default_rng(seed).normal(size=conv.out_channels) * 3))
        conv.weight *= factor[:, None, None, None]
        conv.bias *= factor
    return conv


def spread(conv: nn.Conv2d, by_input: bool = False) -> float:
    """Largest over smallest channel."""
    values = conv.weight.detach().abs().amax((0, 2, 3) if by_input else (1, 2, 3))
    return float(values.max() / values.min())


def chain(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        uneven(nn.Conv2d(3, 8, 3, padding=1)),
        activation,
        nn.ZeroPad2d((0, 1, 0, 1)),
        nn.Conv2d(8, 8, 3, 2, groups=8),
        activation,
        nn.Conv2d(8, 4, 1),
    ).eval()


X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Identity()])
def test_equalize_through_relu_or_nothing_changes_no_bit_of_the_output(activation):
    model = chain(activation)
    before = lower_activations(symbolic_trace(model))
    after, channels = equalize(before)
    assert channels > 8
    assert spread(after.get_submodule("0")) < spread(model[0]) / 4
    with torch.no_grad():
        assert torch.equal(after(X), before(X))
        assert torch.equal(before(X), model(X))  # the argument is as it was


def test_equalize_meets_in_the_middle():
    # Channel 0: 16 outside, 1 inside -> both 4; channel 1 is even already.
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1))
    model[0].weight.data = torch.tensor([16.0, 1.0]).reshape(2, 1, 1, 1)
    model[2].weight.data = torch.tensor([1.0, 1.0]).reshape(1, 2, 1, 1)
    model[0].bias.data = torch.tensor([8.0, 1.0])
    after, channels = equalize(symbolic_trace(model))
    assert channels == 1
    assert after.get_submodule("0").weight.flatten().tolist() == [4.0, 1.0]
    assert after.get_submodule("0").bias.tolist() == [2.0, 1.0]
    assert after.get_submodule("2").weight.flatten().tolist() == [4.0, 1.0]


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.Hardswish(), nn.ReLU6()])
def test_equalize_leaves_other_activations_alone(activation):
    lowered = lower_activations(symbolic_trace(chain(activation)))
    after, channels = equalize(lowered)
    assert channels == 0
    for one, other in zip(lowered.parameters(), after.parameters(), strict=True):
        assert torch.equal(one, other)


def test_equalize_relu6_only_channels_that_provably_stay_below_6():
    # Inputs of the second convolution are 0..6. Channel 0: at most 6 * 1 + 1 = 7, clipped. Channel 1: at most
    # 6 * 0.01, far from 6. Channel 2: bias -10 and weight 1, never above 0. Channel 3: at most 3, may only double.
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU6(), nn.Conv2d(1, 4, 1), nn.ReLU6(), nn.Conv2d(4, 1, 1)).eval()
    model[2].weight.data = torch.tensor([1.0, 0.01, 1.0, 0.5]).reshape(4, 1, 1, 1)
    model[2].bias.data = torch.tensor([1.0, 0.0, -10.0, -0.00001])
    model[4].weight.data = torch.tensor([64.0, 64.0, 64.0, 64.0]).reshape(1, 4, 1, 1)
    before = symbolic_trace(model)
    after, channels = equalize(before)
    assert channels == 3
    factors = (after.get_submodule("2").weight / model[2].weight).flatten().tolist()
    assert factors == [1.0, 64.0, 8.0, 2.0]
    with torch.no_grad():
        for scale in (0.1, 1.0, 50.0):
            assert torch.equal(after(X * scale), before(X * scale))


class TwoReaders(nn.Module):
    def __init__(self, foreign: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = uneven(nn.Conv2d(3, 8, 1)), nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 3, padding=1)
        self.relu, self.foreign = nn.ReLU(), foreign

    def forward(self, x):
        x = self.relu(self.a(x))
        return self.b(x), self.c(x), x if self.foreign else 0


def test_equalize_serves_all_readers_together():
    model = TwoReaders(foreign=False).eval()
    after, channels = equalize(symbolic_trace(model))
    assert channels > 4
    with torch.no_grad():
        for one, other in zip(after(X)[:2], model(X)[:2], strict=True):
            assert torch.equal(one, other)


def test_equalize_tensor_that_leaves_the_network_is_left_alone():
    assert equalize(symbolic_trace(TwoReaders(foreign=True)))[1] == 0


def test_equalize_convolution_called_twice_is_left_alone():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = uneven(nn.Conv2d(3, 3, 1)), nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.b(self.a(self.a(x)))

    assert equalize(symbolic_trace(Twice()))[1] == 0


def test_equalize_nan_is_named():
    model = chain(nn.ReLU())
    model[3].weight.data[0, 0, 0, 0] = torch.nan
    with pytest.raises(ConversionError, match=r"3\.weight: 1 of"):
        equalize(symbolic_trace(model))


@pytest.mark.parametrize("name", ["rtmdet_nano_relu", "rtmdet_nano_ncadc_relu6", "rtmdet_nano"])
def test_equalize_detectors_give_the_same_bits(name):
    model = random_detector(load_model_file(name).model, 2, seed=0)
    lowered = lower_activations(fold_batch_norm(model))
    after, channels = equalize(lowered)
    assert (channels > 100) == (name == "rtmdet_nano_relu")
    x = torch.from_numpy(random_pictures(1, 64, 64, seed=1).transpose(0, 3, 1, 2).astype(np.float32) / 255)
    with torch.no_grad():
        for one, other in zip(lowered(x), after(x), strict=True):
            assert torch.equal(one, other)
