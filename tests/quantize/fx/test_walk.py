from __future__ import annotations

import numpy as np
import pytest
import torch
from random_weights import random_detector, random_pictures
from torch import nn
from torch.fx import symbolic_trace

from edgedet.config import load_model_file
from edgedet.contracts import PreprocessSpec
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.fold import fold_batch_norm
from edgedet.quantize.fx.lower_activations import lower_activations
from edgedet.quantize.fx.prepare import freeze, prepare
from edgedet.quantize.fx.qparams import input_params
from edgedet.quantize.fx.walk import WALK_PIXELS, GraphWalk, images_for_walk, output_error, run_exact, walk_layers
from edgedet.quantize.ptq.bias_correction import channel_means, correct_biases
from edgedet.quantize.ptq.weights import quantize_weights

PIXELS = input_params(PreprocessSpec(64, 64))


def pictures(count: int = 4) -> torch.Tensor:
    return torch.from_numpy(random_pictures(count, 64, 64, seed=1).transpose(0, 3, 1, 2).astype(np.float32) / 255)


@pytest.fixture(scope="module", params=["rtmdet_pico_relu6", "rtmdet_nano"])
def networks(request):
    """(float network, prepared, quantized)."""
    lowered = lower_activations(fold_batch_norm(random_detector(load_model_file(request.param).model, 2, seed=0)))
    prepared = prepare(lowered, PIXELS)
    return lowered, prepared, quantize_weights(calibrate(prepared, [pictures()]))


def test_run_exact_is_the_float_network(networks):
    lowered, prepared, quantized = networks
    with torch.no_grad():
        want = lowered(pictures())
    # Calibrated or not, FakeQuants don't round here; the sums run in another order.
    for got, expected in zip(run_exact(prepared, pictures()), want, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(run_exact(quantized, pictures())[0], run_exact(prepared, pictures())[0])  # weights


def test_walk_layers_gives_each_layer_its_inputs_in_both_networks(networks):
    _, prepared, quantized = networks
    batches = list(pictures().split(3))
    seen: list[str] = []
    inputs: dict[str, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}

    def visit(exact, layer, exact_inputs, own_inputs):
        assert exact.name == layer.name
        assert [len(x) for x in own_inputs] == [3, 1]
        seen.append(layer.name)
        inputs[layer.name] = (list(exact_inputs), list(own_inputs))

    walk_layers(prepared, quantized, batches, (visit,))
    modules = {m.name: m for m in quantized.modules() if isinstance(m, QuantConv2d)}
    assert seen == [n.target for n in quantized.graph.nodes if n.target in modules]

    hooked: dict[str, torch.Tensor] = {}
    for name, module in modules.items():
        module.register_forward_pre_hook(lambda _, args, name=name: hooked.__setitem__(name, args[0].clone()))
    with torch.no_grad():
        quantized(pictures())
    for module in modules.values():
        module._forward_pre_hooks.clear()
    for name in seen:
        # Another batch size may turn a tie; far fewer than one in a thousand values differ.
        assert (torch.cat(inputs[name][1]) != hooked[name]).float().mean() < 0.05, name
        assert inputs[name][0][0].shape == inputs[name][1][0].shape


class Fork(nn.Module):
    """One part of the graph does not depend on the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        a, b = self.first(x), self.second(x)
        return torch.cat((a, b), dim=1), b * 2


def test_graph_walk_values_and_changed_outputs_equal_the_network():
    torch.manual_seed(0)
    model = Fork()
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    walk = GraphWalk(symbolic_trace(model))
    with torch.inference_mode():
        expected = model(x)
    values = walk.values(x)
    assert [node.name for node in values] == ["x", "first", "second", "cat", "mul"]
    for found in (walk.outputs(x), walk.outputs_again(values, {})):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    _, first, second, *_ = values
    other = torch.zeros_like(values[first])
    changed = walk.outputs_again(values, {first: other})
    assert torch.equal(changed[0], torch.cat((other, values[second]), 1))
    assert changed[1] is values[walk.nodes[-2]]  # not computed again
    assert torch.equal(values[first], model.first(x))


def test_graph_walk_unrounded_passes_on_what_changed_before(networks):
    _, _, quantized = networks
    walk = GraphWalk(quantized)
    values = walk.values(pictures())
    quants = {node for node in values if isinstance(walk.module_of(node), FakeQuant)}
    with torch.no_grad():
        rounded = quantized(pictures().contiguous(memory_format=torch.channels_last))
    assert all(torch.equal(a, b) for a, b in zip(walk.outputs_again(values, {}), rounded, strict=True))
    # With no rounding at all, what is left are the int8 weights.
    want = GraphWalk(quantized, exact=True).outputs(pictures())
    found = walk.outputs_again(values, {}, unrounded=quants)
    assert all(torch.equal(a, b) for a, b in zip(found, want, strict=True))
    assert not torch.equal(found[0], rounded[0])


def test_graph_walk_advance_frees_each_value_after_its_last_reader():
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Identity(), nn.Identity()

        def forward(self, x):
            y = self.a(x)
            return self.b(y), y + x

    walk = GraphWalk(symbolic_trace(Residual()))
    x, a, b, add, _ = walk.nodes
    env = {x: torch.ones(1)}
    kept = []
    for node in (a, b, add):
        walk.advance(node, env)
        kept.append(set(env))
    assert kept == [{x, a}, {x, a, b}, {b, add}]


@pytest.mark.parametrize(("width", "height", "count"), [(192, 192, 64), (640, 640, 5), (4096, 4096, 1), (32, 32, 2304)])
def test_images_for_walk_keeps_the_pixels(width, height, count):
    assert images_for_walk(width, height) == count
    assert count == 1 or count * width * height <= WALK_PIXELS


def test_correct_biases_every_layer_has_the_float_networks_means(networks):
    _, prepared, quantized = networks
    batches = list(pictures().split(2))
    before = [m.bias.detach().clone() for m in quantized.modules() if isinstance(m, QuantConv2d)]
    corrected = correct_biases(prepared, quantized, batches)

    def check(exact, layer, exact_inputs, inputs):
        want, got = channel_means(exact, exact_inputs), channel_means(layer, inputs)
        scale = float(want.abs().max()) + 1e-3
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4 * scale)

    walk_layers(prepared, corrected, batches, (check,))
    after = [m.bias.detach() for m in quantized.modules() if isinstance(m, QuantConv2d)]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))  # the argument is as it was
    for one, other in zip(quantized.modules(), corrected.modules(), strict=True):
        if isinstance(one, FakeQuant):
            assert one.params == other.params
        elif isinstance(one, QuantConv2d):
            assert torch.equal(one.weight_code, other.weight_code)
    freeze(corrected)


def test_channel_means_equal_numpys():
    conv = QuantConv2d(nn.Conv2d(2, 3, 3), "c", "relu", (1, 1, 1, 1))
    x = [torch.randn(2, 2, 5, 6), torch.randn(1, 2, 5, 6)]
    with torch.no_grad():
        values = np.concatenate([conv.convolve(b).numpy() for b in x])
        means = channel_means(conv, x)
    np.testing.assert_allclose(means.numpy(), values.mean((0, 2, 3)), atol=1e-6)
    assert (values < 0).any()  # in front of the activation


def test_output_error_is_zero_for_equal_outputs_and_one_for_the_mean():
    y = torch.randn((2, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    assert output_error([[y]], [[y]]) == 0.0
    mean = y.mean((0, 2, 3), keepdim=True).expand_as(y)
    assert output_error([[y]], [[mean]]) == pytest.approx(1.0, rel=1e-6)  # float32 mean
