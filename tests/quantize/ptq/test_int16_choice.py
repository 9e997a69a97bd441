from __future__ import annotations

import torch
from torch import nn
from torch.fx import symbolic_trace

from edgedet.contracts import PreprocessSpec
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.fx.fake_quant import QuantConv2d
from edgedet.quantize.fx.lower_activations import lower_activations
from edgedet.quantize.fx.prepare import prepare
from edgedet.quantize.fx.qparams import input_params
from edgedet.quantize.ptq.int16_choice import choose_int16
from edgedet.quantize.ptq.weights import quantize_weights


class Spread(nn.Module):
    """Channel 0 of `wide` is a thousand times larger than the others, and only the others count at the output."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.wide, self.narrow, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
        self.relu = nn.ReLU()
        with torch.no_grad():
            self.wide.weight[0] *= factor
            self.narrow.weight[:, 0] = 0.0
            self.narrow.bias.fill_(1.0)

    def forward(self, x):
        return self.last(self.relu(self.narrow(self.wide(x))))


def chosen(factor: float, images: int = 2) -> tuple[str, ...]:
    torch.manual_seed(0)
    model = Spread(factor).eval()
    prepared = prepare(lower_activations(symbolic_trace(model)), input_params(PreprocessSpec(32, 32)))
    x = torch.rand((images, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    return choose_int16(prepared, quantize_weights(calibrate(prepared, [x])), [x])


def test_choose_int16_finds_the_tensor_whose_range_hides_what_counts():
    assert chosen(1000.0)[0] == "wide"


def test_choose_int16_chooses_nothing_where_weights_do_the_damage():
    torch.manual_seed(0)
    model = Spread(1.0).eval()
    with torch.no_grad():
        for conv in (model.wide, model.narrow, model.last):
            conv.weight.copy_((conv.weight * 2).round() / 2)
    prepared = prepare(lower_activations(symbolic_trace(model)), input_params(PreprocessSpec(32, 32)))
    x = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    coarse = quantize_weights(calibrate(prepared, [x]))
    for conv in coarse.modules():
        if isinstance(conv, QuantConv2d):
            conv.weight.data += 0.3 * torch.randn(conv.weight.shape, generator=torch.Generator().manual_seed(2))
    assert choose_int16(prepared, coarse, [x]) == ()


def test_choose_int16_one_image_is_enough():
    assert chosen(1000.0, images=1)[0] == "wide"
