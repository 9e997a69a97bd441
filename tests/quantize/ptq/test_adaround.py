from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import symbolic_trace
from torch.nn import functional

from edgedet.contracts import PreprocessSpec
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.fx.fake_quant import QuantConv2d
from edgedet.quantize.fx.prepare import prepare
from edgedet.quantize.fx.qparams import input_params, weight_codes
from edgedet.quantize.fx.walk import run_exact
from edgedet.quantize.ptq.adaround import DAMPING, adaround, covariances, round_codes
from edgedet.quantize.ptq.weights import quantize_weights

PIXELS = input_params(PreprocessSpec(32, 32))


def loss(weight, steps, codes, own, cross) -> np.ndarray:
    """Error of each filter as `round_codes` defines it, (G, F)."""
    v = codes * steps
    return np.einsum("gfi,gij,gfj->gf", v, own, v) - 2 * np.einsum("gfi,gij,gfj->gf", weight, cross, v)


def problem(groups: int, filters: int, size: int, seed: int):
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(groups, size, size))
    x = mixing @ rng.normal(size=(groups, size, 400))  # correlated inputs
    exact = x + 0.1 * rng.normal(size=x.shape)
    own, cross = x @ x.transpose(0, 2, 1) / 400, exact @ x.transpose(0, 2, 1) / 400
    weight = rng.normal(size=(groups, filters, size))
    steps = np.abs(weight).max(axis=2, keepdims=True) / 4  # coarse, so that rounding matters
    return weight, steps, weight_codes(weight / steps, np.ones(groups)), own, cross


def test_round_codes_closes_most_of_the_gap_to_the_best_of_all_roundings():
    gap = left = 0.0
    for seed in range(10):
        weight, steps, start, own, cross = problem(2, 3, 8, seed)
        found = round_codes(weight, steps, start, own, cross)
        before, after = (loss(weight, steps, codes, own, cross) for codes in (start, found))
        best = np.full(before.shape, np.inf)
        for ups in itertools.product((0, 1), repeat=8):
            codes = np.minimum(np.floor(weight / steps) + np.array(ups), np.ceil(weight / steps))
            best = np.minimum(best, loss(weight, steps, codes, own, cross))
        assert (after <= before + 1e-9).all()
        assert (after >= best - 1e-9).all()
        gap, left = gap + float((before - best).sum()), left + float((after - best).sum())
    # Single changes end in a local optimum, not always the best one.
    assert left < 0.5 * gap


def test_round_codes_no_single_change_helps_any_more():
    weight, steps, start, own, cross = problem(1, 5, 150, 0)  # more than one block
    found = round_codes(weight, steps, start, own, cross)
    after = loss(weight, steps, found, own, cross)
    for j in range(150):
        for change in (-1, 1):
            other = found.astype(int)
            exact = (weight / steps)[..., j]
            other[..., j] = np.clip(other[..., j] + change, np.floor(exact), np.ceil(exact))
            assert (loss(weight, steps, other, own, cross) >= after - 1e-9 * np.abs(after)).all()


def test_round_codes_only_rounds_up_or_down_and_keeps_whole_numbers():
    weight, steps, start, own, cross = problem(1, 4, 30, 1)
    steps[:] = np.abs(weight).max() / 200  # some weights lie beyond 127
    weight[0, 0, :5] = steps[0, 0] * np.arange(5)
    start = weight_codes(weight[0] / steps[0], np.ones(4))[None]
    found = round_codes(weight, steps, start, own, cross)
    exact = np.clip(weight / steps, -127, 127)
    assert ((found == np.floor(exact)) | (found == np.ceil(exact))).all()
    assert found.dtype == np.int8
    assert found.max() == 127 or found.min() == -127


def test_round_codes_uncorrelated_inputs_round_to_nearest():
    weight, steps, start, *_ = problem(1, 4, 20, 2)
    own = np.diag(np.random.default_rng(0).uniform(1, 9, 20))[None]
    np.testing.assert_array_equal(round_codes(weight, steps, start, own, own), start)


def layer(conv: nn.Conv2d, padding) -> QuantConv2d:
    return QuantConv2d(conv, "layer", "none", padding)


LAYERS = {
    "3x3": (nn.Conv2d(3, 4, 3), (1, 1, 1, 1)),
    "stride": (nn.Conv2d(3, 4, 3, 2), (0, 1, 0, 1)),
    "dilated": (nn.Conv2d(3, 4, 3, dilation=2), (2, 2, 2, 2)),
    "depthwise": (nn.Conv2d(3, 3, (5, 3), groups=3), (1, 1, 2, 2)),
    "1x1": (nn.Conv2d(3, 4, 1), (0, 0, 0, 0)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_covariances_equal_numpys_on_unfolded_inputs(name, memory_format):
    conv = layer(*LAYERS[name])
    rng = np.random.default_rng(0)
    x = [torch.from_numpy(rng.normal(5, 1, (2, 3, 9, 10)).astype(np.float32)) for _ in range(2)]
    exact = [b + 0.1 * torch.from_numpy(rng.normal(size=b.shape).astype(np.float32)) for b in x]
    x, exact = ([b.contiguous(memory_format=memory_format) for b in part] for part in (x, exact))
    own, cross = covariances(conv, exact, x, rng)
    size = conv.weight[0].numel()

    def patches(batches):
        kernel = tuple(conv.weight.shape[2:])
        columns = [functional.unfold(conv.pad(b), kernel, conv.dilation, 0, conv.stride) for b in batches]
        return torch.cat([c.transpose(0, 1).flatten(1) for c in columns], 1).numpy().reshape(conv.groups, size, -1)

    for got, rows in ((own, patches(x)), (cross, patches(exact))):
        for group in range(conv.groups):
            want = np.cov(rows[group], patches(x)[group], bias=True)[:size, size:]
            damping = DAMPING * np.diag(np.cov(patches(x)[group], bias=True).reshape(size, size)).mean()
            np.testing.assert_allclose(got[group], want + damping * np.eye(size), atol=2e-4)


def test_covariances_of_constant_inputs_stay_positive_and_keep_the_codes():
    conv = layer(nn.Conv2d(2, 2, 1), (0, 0, 0, 0))
    x = [torch.full((2, 2, 4, 4), 3.0)]
    own, cross = covariances(conv, x, x, np.random.default_rng(0))
    assert (own[:, [0, 1], [0, 1]] > 0).all()
    weight = conv.weight.detach().numpy().astype(np.float64).reshape(1, 2, 2)
    steps = np.abs(weight).max(axis=2, keepdims=True) / 127
    start = np.rint(weight / steps).astype(np.int8)
    np.testing.assert_array_equal(round_codes(weight, steps, start, own, cross), start)


def weight_codes_of(graph) -> list[torch.Tensor]:
    return [m.weight_code for m in graph.modules() if isinstance(m, QuantConv2d)]


def network():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2, groups=16), nn.ReLU(),
        nn.Conv2d(16, 8, 1),
    )  # fmt: skip
    with torch.no_grad():  # few levels, so that rounding is what counts
        for conv in (model[0], model[2], model[4]):
            conv.weight[:, 0, 0, 0] *= 12
    prepared = prepare(symbolic_trace(model), PIXELS)
    pictures = functional.interpolate(torch.rand(12, 3, 6, 6), (20, 20), mode="bilinear")
    return prepared, quantize_weights(calibrate(prepared, [pictures])), pictures


def test_adaround_lowers_the_error_on_pictures_that_it_has_not_seen():
    prepared, quantized, pictures = network()
    before = [codes.clone() for codes in weight_codes_of(quantized)]
    rounded = adaround(prepared, quantized, list(pictures[:8].split(3)), seed=0)
    errors = []
    with torch.no_grad():
        want = run_exact(prepared, pictures[8:])[0]
        for graph in (quantized, rounded):
            difference = graph(pictures[8:]) - want
            errors.append(float((difference - difference.mean((0, 2, 3), keepdim=True)).square().sum()))
    assert errors[1] < 0.8 * errors[0]
    differences = [(one.int() - other.int()).abs() for one, other in zip(before, weight_codes_of(rounded), strict=True)]
    assert max(int(d.max()) for d in differences) == 1
    for one, other in zip(before, weight_codes_of(quantized), strict=True):
        assert torch.equal(one, other)  # the argument is as it was


def test_adaround_same_seed_gives_the_same_codes():
    prepared, quantized, pictures = network()
    first, second = (adaround(prepared, quantized, [pictures], seed=1) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_covariances_draw_a_part_of_the_positions_of_large_maps():
    conv = layer(nn.Conv2d(1, 1, 1), (0, 0, 0, 0))
    x = [torch.randn(1, 1, 200, 200)]
    few, _ = covariances(conv, x, x, np.random.default_rng(0))
    assert few[0, 0, 0] == pytest.approx(float(x[0].var()) * (1 + DAMPING), rel=0.05)
    assert few[0, 0, 0] != pytest.approx(float(x[0].var(unbiased=False)) * (1 + DAMPING), rel=1e-6)


def test_adaround_with_biases_keeps_the_means_of_the_outputs():
    prepared, quantized, pictures = network()
    shifts = []
    with torch.no_grad():
        want = run_exact(prepared, pictures)[0].mean((0, 2, 3))
        for biases in (False, True):
            rounded = adaround(prepared, quantized, [pictures], seed=0, biases=biases)
            shifts.append(float((rounded(pictures).mean((0, 2, 3)) - want).abs().max()))
    assert shifts[1] < 0.2 * shifts[0]  # not 0: the last result is rounded once more
