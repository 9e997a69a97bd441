"""Learned ranges and rounded weights against slow formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_weights import random_detector, random_pictures
from torch import Tensor

from edgedet.config import load_model_file
from edgedet.contracts import PreprocessSpec
from edgedet.finetune.qat_modules import (
    LearnedFakeQuant,
    OpenBorder,
    QatConv2d,
    freeze_ranges,
    learned_rounding,
    make_trainable,
    take_ranges,
    trained_graph,
)
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.int16 import border_bases, groups_of, widen
from edgedet.quantize.fx.prepare import freeze, prepare_model
from edgedet.quantize.fx.qparams import AffineParams, weight_codes, weight_scales


def slow_rounding(x: Tensor, scale: Tensor, zero_point: int) -> Tensor:
    """The definition: round straight through, clip, and let autograd do the rest."""
    steps = x / scale
    rounded = steps + (steps.round() - steps).detach() + zero_point
    return (rounded.clamp(-128, 127) - zero_point) * scale


@pytest.mark.parametrize("zero_point", [-128, -3, 0, 101, 127])
def test_learned_rounding_gradients_equal_the_slow_formula(zero_point: int) -> None:
    rng = np.random.default_rng(0)
    values = torch.from_numpy((rng.normal(0, 4, (3, 5, 7, 6))).astype(np.float32))
    upstream = torch.from_numpy(rng.normal(0, 1, values.shape).astype(np.float32))
    found = []
    for rounding in (learned_rounding, slow_rounding):
        x, scale = values.clone().requires_grad_(), torch.tensor(0.031, requires_grad=True)
        zero = torch.tensor(zero_point, dtype=torch.int32) if rounding is learned_rounding else zero_point
        y = rounding(x, scale, zero)
        y.backward(upstream)
        found.append((y.detach(), x.grad, scale.grad))
    (fast_y, fast_x, fast_scale), (slow_y, slow_x, slow_scale) = found
    torch.testing.assert_close(fast_y, slow_y)
    torch.testing.assert_close(fast_x, slow_x)  # clipped values have none, all others the upstream's
    assert 0 < int((fast_x == 0).sum()) < fast_x.numel()
    torch.testing.assert_close(fast_scale, slow_scale, rtol=1e-4, atol=1e-3)  # sums of 630 float32 terms


def test_learned_rounding_all_clipped_moves_only_the_scale() -> None:
    x, scale = torch.full((4,), 50.0, requires_grad=True), torch.tensor(0.1, requires_grad=True)
    learned_rounding(x, scale, torch.tensor(27, dtype=torch.int32)).sum().backward()
    assert torch.equal(x.grad, torch.zeros(4))
    assert scale.grad == 400.0  # each result is 100 steps


@pytest.fixture(scope="module")
def spec() -> PreprocessSpec:
    return PreprocessSpec(width=64, height=32)


def pictures(spec: PreprocessSpec) -> Tensor:
    return torch.from_numpy(random_pictures(4, spec.width, spec.height, 1) / np.float32(255)).permute(0, 3, 1, 2)


@pytest.fixture(scope="module", params=["rtmdet_pico_relu6", "rtmdet_nano"])
def calibrated(request, spec):
    config = replace(load_model_file(request.param).model, deepen=0.1)
    return calibrate(prepare_model(random_detector(config, 2, 0), spec), [pictures(spec)])


def test_make_trainable_computes_what_the_frozen_graph_computes(calibrated, spec):
    trainable, frozen, x = make_trainable(calibrated), freeze(calibrated), pictures(spec)
    quants = [m for m in trainable.modules() if isinstance(m, FakeQuant)]
    assert {type(m) for m in quants if m.fixed} == {FakeQuant}
    assert {type(m) for m in quants if not m.fixed} == {LearnedFakeQuant}
    assert not [p for p, m in trainable.named_modules() if isinstance(m, QuantConv2d) and not p.endswith(".conv")]
    with torch.inference_mode():
        pairs = list(zip(trainable(x), frozen(x), strict=True))
    for mine, theirs in pairs:
        # Rounding of biases (and ties of weights) can move single values by one step of 255, which layers amplify.
        difference = (mine - theirs).abs()
        assert float(difference.mean()) < 0.01 * float(theirs.abs().max())


def test_make_trainable_every_weight_and_range_has_a_gradient(calibrated, spec):
    trainable = make_trainable(calibrated)
    sum(output.square().mean() for output in trainable(pictures(spec))).backward()
    for name, parameter in trainable.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_qat_conv_rounds_to_the_codes_of_the_file(calibrated):
    conv = next(m for m in calibrated.modules() if isinstance(m, QuantConv2d))
    weight = conv.weight.detach().numpy()
    scales = weight_scales(weight, conv.name)
    expected = weight_codes(weight, scales) * scales[:, None, None, None]
    x = torch.rand(1, weight.shape[1] * conv.groups, 8, 8)
    found = QatConv2d(conv)(x)
    torch.testing.assert_close(found, conv.activate(conv.convolve(x, torch.from_numpy(expected))))


def test_trained_graph_untrained_is_the_calibrated_graph(calibrated):
    result = trained_graph(make_trainable(calibrated), calibrated)
    assert_same_scales(result, calibrated)
    for mine, theirs in zip(result.parameters(), calibrated.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_trained_graph_carries_learned_scales(calibrated):
    trainable = make_trainable(calibrated)
    path, quant = next((p, m) for p, m in trainable.named_modules() if isinstance(m, LearnedFakeQuant))
    before = quant.params
    quant.log_gain.data.fill_(float(np.log(2.0)))
    after = dict(trained_graph(trainable, calibrated).named_modules())[path].params
    assert after.zero_point == before.zero_point
    assert after.scale == pytest.approx(2 * before.scale, rel=5e-3)  # settle_scales may widen it a little


def test_freeze_ranges_nothing_moves_afterwards(calibrated, spec):
    average, model = make_trainable(calibrated), make_trainable(calibrated)
    for quant in (m for m in average.modules() if isinstance(m, LearnedFakeQuant)):
        quant.log_gain.data.fill_(-0.05)
    freeze_ranges(average)
    take_ranges(model, average)
    assert_same_scales(model, average)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    sum(output.square().mean() for output in model(pictures(spec))).backward()
    optimizer.step()
    assert_same_scales(model, average)
    # The export finds scales that are settled already: what was trained is what is written.
    assert_same_scales(trained_graph(model, calibrated), average)


def test_learned_fake_quant_set_params_writes_in_place(calibrated):
    quant = next(m for m in make_trainable(calibrated).modules() if isinstance(m, LearnedFakeQuant))
    scale = quant.scale
    quant.set_params(AffineParams(np.float32(0.5), 3))
    assert quant.scale is scale
    assert quant.params == AffineParams(np.float32(0.5), 3)


def assert_same_scales(first, second):
    others = dict(second.named_modules())
    for path, module in first.named_modules():
        if isinstance(module, FakeQuant):
            assert module.params == others[path].params, path


def test_learned_rounding_int16_rounds_and_clips_to_the_int16_grid():
    scale, zero = torch.tensor(0.001, requires_grad=True), torch.tensor(0, dtype=torch.int32)
    x = torch.tensor([-40.0, -0.00149, 0.0004, 0.0016, 32.0, 40.0], requires_grad=True)
    y = learned_rounding(x, scale, zero, 16)
    expected = torch.fake_quantize_per_tensor_affine(x.detach(), 0.001, 0, -32768, 32767)
    assert torch.equal(y.detach(), expected)
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]  # straight through inside, nothing where it is clipped
    # LSQ: the codes where it is clipped, codes - x / scale inside.
    codes = expected / 0.001
    inside = x.grad.bool()
    expected_grad = float((codes - inside * x.detach() / 0.001).double().sum())
    assert float(scale.grad) == pytest.approx(expected_grad, abs=0.01)  # float32 terms of 40,000 end at 0.004


def test_make_trainable_border_passes_values_on_and_comes_back_with_its_scale(spec):
    config = replace(load_model_file("rtmdet_pico_relu6").model, deepen=0.1)
    prepared = prepare_model(random_detector(config, 2, 0), spec)
    calibrated = calibrate(widen(prepared, groups_of(prepared, ["backbone.stem.1.conv"])), [pictures(spec)])
    trainable = make_trainable(calibrated)
    borders = [m for m in trainable.modules() if isinstance(m, OpenBorder)]
    assert borders
    x = torch.tensor([0.123456, -7.5])
    assert all(torch.equal(border(x), x) for border in borders)
    with torch.no_grad():
        for module in trainable.modules():
            if isinstance(module, LearnedFakeQuant):
                module.log_gain += 0.5
    trained = trained_graph(trainable, calibrated)
    for border, base in border_bases(trained).items():
        assert not isinstance(border, OpenBorder)
        assert border.params == base.params.widened
