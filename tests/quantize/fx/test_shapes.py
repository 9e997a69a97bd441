from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.fx.passes.shape_prop import ShapeProp

from edgedet.config import load_model_file
from edgedet.net.families import build_detector
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.fx.prepare import prepare_model
from edgedet.quantize.fx.shapes import nchw_shapes


class Mixture(nn.Module):
    """Every kind of operator, with strides, dilation, sides that don't divide and an upsampling to a size."""

    def __init__(self) -> None:
        super().__init__()
        self.strided = nn.Conv2d(3, 6, 3, (2, 1), (1, 0))
        self.dilated = nn.Conv2d(6, 6, 3, dilation=2, groups=6)
        self.pad = nn.ZeroPad2d((0, 1, 2, 3))
        self.behind_pad = nn.Conv2d(6, 4, (3, 2), 2)
        self.gate = nn.Conv2d(4, 4, 1)
        self.sigmoid = nn.Sigmoid()
        self.hardswish = nn.Hardswish()
        self.pool = nn.MaxPool2d(3, 2)
        self.up = nn.Upsample(scale_factor=2)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.hardswish(self.behind_pad(self.pad(self.dilated(self.strided(x)))))
        x = x * self.sigmoid(self.gate(torch.mean(x, (2, 3), keepdim=True)))
        x = self.up(self.pool(x))
        return self.last(torch.cat((x, x + x), 1))


@pytest.mark.parametrize("name", ["mixture", "rtmdet_nano_half", "rtmdet_pico_relu6", "rtmdet_mnv4"])
def test_nchw_shapes_equal_those_of_running_the_network(name: str) -> None:
    torch.manual_seed(0)
    file = load_model_file("rtmdet_nano" if name == "mixture" else name)
    preprocess = file.preprocess.spec((96, 64))
    model = Mixture() if name == "mixture" else build_detector(file.model, 2)
    picture = torch.rand(1, 3, 64, 96)
    calibrated = calibrate(prepare_model(model.eval(), preprocess), [picture])
    found = nchw_shapes(calibrated, (1, 3, 64, 96))
    with torch.inference_mode():
        ShapeProp(calibrated).propagate(picture)
    expected = {n: tuple(n.meta["tensor_meta"].shape) for n in calibrated.graph.nodes if n.op != "output"}
    assert found == expected
    assert len(set(expected.values())) > 5


def test_nchw_shapes_operator_without_a_rule_asks_torch() -> None:
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.AvgPool2d(3, 2, ceil_mode=True), nn.PixelShuffle(2)))
    assert [*nchw_shapes(traced, (1, 8, 10, 7)).values()] == [(1, 8, 10, 7), (1, 8, 5, 3), (1, 2, 10, 6)]
