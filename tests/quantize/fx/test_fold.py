from __future__ import annotations

import pytest
import torch
from random_weights import random_detector, random_pictures
from torch import nn

from edgedet.config import load_model_file
from edgedet.errors import ConversionError
from edgedet.quantize.fx.fold import fold_batch_norm
from edgedet.quantize.fx.lower_activations import lower_activations

MODELS = ("rtmdet_nano", "rtmdet_nano_relu", "rtmdet_nano_ncadc_relu6", "rtmdet_pico_relu6")


@pytest.mark.parametrize("name", MODELS)
def test_fold_batch_norm_and_lower_keep_the_function(name):
    # float64, so that the folded weights' rounding to float32 is all that differs; a deep random network magnifies it.
    model = random_detector(load_model_file(name).model, 3, seed=1)
    pictures = torch.from_numpy(random_pictures(2, 96, 64, 3).transpose(0, 3, 1, 2) / 255.0)
    folded = fold_batch_norm(model)
    lowered = lower_activations(folded)
    with torch.inference_mode():
        expected = model.double()(pictures)
        for graph in (folded.double(), lowered.double()):
            for got, want in zip(graph(pictures), expected, strict=True):
                assert float((got - want).abs().max()) < 2e-3 * float(want.std())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    kinds = {type(m) for m in lowered.modules()}
    assert not kinds & {nn.SiLU, nn.Hardsigmoid, nn.BatchNorm2d}


def test_fold_batch_norm_shared_convolution_becomes_one_for_each_norm():
    model = random_detector(load_model_file("rtmdet_nano").model, 3, seed=1)
    names = {name for name, m in fold_batch_norm(model).named_modules() if isinstance(m, nn.Conv2d)}
    for level in range(3):
        for branch in ("cls_convs", "reg_convs"):
            assert {f"bbox_head.{branch}.{level}.{i}.conv" for i in range(2)} <= names


class Shared(nn.Module):
    """One convolution under two BatchNorms with the same parent, and once without."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.a, self.b = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        for norm in (self.a, self.b):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)

    def forward(self, x):
        return self.a(self.conv(x)), self.b(self.conv(x)), self.conv(x)


def test_fold_batch_norm_name_clash_gives_each_its_own_weights():
    torch.manual_seed(0)
    model = Shared().eval()
    x = torch.randn(2, 3, 5, 4)
    folded = fold_batch_norm(model)
    for got, want in zip(folded(x), model(x), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    assert sum(isinstance(m, nn.Conv2d) for m in folded.modules()) == 3


def test_fold_batch_norm_leaves_the_model_alone():
    model = Shared()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fold_batch_norm(model)
    assert model.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_fold_batch_norm_without_affine_and_conv_bias():
    model = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3, affine=False)).eval()
    model[1].running_var.uniform_(0.5, 2)
    x = torch.randn(1, 2, 6, 6)
    torch.testing.assert_close(fold_batch_norm(model)(x), model(x), rtol=1e-5, atol=1e-5)


def test_fold_batch_norm_norm_of_a_tensor_read_twice_stays():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)

        def forward(self, x):
            y = self.conv(x)
            return self.bn(y) + y

    assert any(isinstance(m, nn.BatchNorm2d) for m in fold_batch_norm(Twice().eval()).modules())


def test_fold_batch_norm_nan_statistics_name_the_layer():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)).eval()
    model[1].running_var[1] = torch.nan
    with pytest.raises(ConversionError, match=r"1\.running_var: 1 of 3"):
        fold_batch_norm(model)
