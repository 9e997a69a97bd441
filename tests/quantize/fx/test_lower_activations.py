from __future__ import annotations

import operator

import pytest
import torch
from torch import nn

from edgedet.errors import UnsupportedOpError
from edgedet.quantize.fx.fold import fold_batch_norm
from edgedet.quantize.fx.lower_activations import lower_activations


def test_lower_activations_silu_becomes_sigmoid_and_product():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.SiLU(inplace=True), nn.Dropout(), nn.Identity())
    lowered = lower_activations(fold_batch_norm(model))
    assert [n.target for n in lowered.graph.nodes if n.op == "call_function"] == [operator.mul]
    assert [type(m) for m in lowered.children()] == [nn.Conv2d, nn.Sigmoid]
    x = torch.randn(1, 1, 4, 4)
    torch.testing.assert_close(lowered(x), model.eval()(x))


@pytest.mark.parametrize("bias", [True, False])
def test_lower_activations_hard_sigmoid_moves_into_the_convolution(bias):
    model = nn.Sequential(nn.Conv2d(1, 2, 1, bias=bias), nn.Hardsigmoid()).eval()
    nn.init.constant_(model[0].weight, 4.0)  # -4..4 and bias: both clamps are met
    x = torch.linspace(-2, 2, 16).reshape(1, 1, 4, 4)
    folded = fold_batch_norm(model)
    lowered = lower_activations(folded)
    torch.testing.assert_close(lowered(x), model(x))
    torch.testing.assert_close(folded(x), model(x))  # the argument was not changed
    assert float(model(x).detach().min()) == 0
    assert float(model(x).detach().max()) == 1


class Reads(nn.Module):
    def __init__(self, twice: bool) -> None:
        super().__init__()
        self.conv, self.act, self.twice = nn.Conv2d(1, 1, 1), nn.Hardsigmoid(), twice

    def forward(self, x):
        y = self.conv(x)
        return self.act(y) + y if self.twice else self.act(x)


@pytest.mark.parametrize("twice", [True, False])
def test_lower_activations_hard_sigmoid_without_own_convolution_is_an_error(twice):
    with pytest.raises(UnsupportedOpError, match="act"):
        lower_activations(fold_batch_norm(Reads(twice)))
