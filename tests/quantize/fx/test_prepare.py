from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from random_weights import random_detector
from torch import nn
from torch.fx import symbolic_trace

from edgedet.config import load_model_file
from edgedet.contracts import PreprocessSpec
from edgedet.errors import ConversionError, DataError, UnsupportedOpError
from edgedet.net.families import build_detector
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.fold import fold_batch_norm
from edgedet.quantize.fx.lower_activations import lower_activations
from edgedet.quantize.fx.prepare import freeze, prepare, prepare_model, quantized_by
from edgedet.quantize.fx.qparams import UNIT_PARAMS, AffineParams, input_params
from edgedet.quantize.fx.shared_scales import shared_scale_groups

PIXELS = input_params(PreprocessSpec(32, 32))


def conv(inputs: int = 3, outputs: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1)


class Linked(nn.Module):
    """a+b and b+c are concatenated, so that a, b and c share a scale through b; d stays alone."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = conv(), conv(), conv(), conv(6)
        self.pool, self.up, self.pad = nn.MaxPool2d(5, 1, 2), nn.Upsample(scale_factor=2), nn.ZeroPad2d((0, 1, 0, 1))

    def forward(self, x):
        a, b, c = self.a(x), self.b(x), self.c(x)
        first = torch.cat((self.up(self.pool(a)), self.up(b)), 1)
        second = torch.cat((b, c), 1)
        return self.d(first), self.pad(second)


def test_shared_scale_groups_linked_concatenations_are_one_group():
    groups = [{node.name for node in group} for group in shared_scale_groups(symbolic_trace(Linked()))]
    assert groups == [{"x"}, {"a", "b", "c", "pool", "up", "up_1", "pad", "cat", "cat_1"}, {"d"}]


def slow_groups(graph_module) -> set[frozenset[str]]:
    """Merge sets that touch until nothing changes: the obvious reference."""
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    sets = []
    for node in graph_module.graph.nodes:
        if node.op == "output":
            continue
        group = {node.name}
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if node.target is torch.cat or isinstance(module, nn.MaxPool2d | nn.Upsample | nn.ZeroPad2d):
            group |= {source.name for source in node.all_input_nodes}
        sets.append(group)
    changed = True
    while changed:
        changed = False
        for i in range(len(sets)):
            for j in range(len(sets) - 1, i, -1):
                if sets[i] & sets[j]:
                    sets[i] |= sets.pop(j)
                    changed = True
    return {frozenset(s) for s in sets}


@pytest.mark.parametrize("name", ["rtmdet_nano", "rtmdet_nano_ncadc_relu6", "rtmdet_pico_relu6"])
def test_shared_scale_groups_of_the_detectors_equal_the_slow_reference(name):
    lowered = lower_activations(fold_batch_norm(random_detector(load_model_file(name).model, 3, 0)))
    groups = shared_scale_groups(lowered)
    assert {frozenset(node.name for node in group) for group in groups} == slow_groups(lowered)
    assert max(len(group) for group in groups) >= 6  # a concatenation with pooled or upsampled inputs


def test_prepare_group_shares_one_instance_and_its_range_is_the_union():
    model = Linked()
    for layer, value in ((model.a, 1.0), (model.b, -2.0), (model.c, 3.0)):
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, value)
    prepared = prepare(symbolic_trace(model), PIXELS)
    modules = dict(prepared.named_modules(remove_duplicate=False))
    of = {n.name: quantized_by(n, modules) for n in prepared.graph.nodes if n.op != "output"}
    assert len({id(of[name]) for name in ("a", "b", "c", "pool", "cat", "cat_1", "pad")}) == 1
    assert of["d"] is not of["a"]
    assert sum(isinstance(m, FakeQuant) for m in prepared.modules()) == 3
    calibrated = calibrate(prepared, [torch.rand(1, 3, 8, 8)])
    params = quantized_by(
        next(n for n in calibrated.graph.nodes if n.name == "cat"), dict(calibrated.named_modules())
    ).params
    assert params.scale == np.float32(5 / 255)  # -2..3


def test_prepare_input_scale_is_the_contract_and_survives_calibration():
    torch.manual_seed(0)  # other weights may leave nothing behind the ReLU
    prepared = prepare(symbolic_trace(nn.Sequential(conv(), nn.ReLU())), PIXELS)
    frozen = freeze(calibrate(prepared, [torch.rand(1, 3, 4, 4) * 0.1]))
    modules = dict(frozen.named_modules())
    first = next(iter(frozen.graph.nodes))
    assert quantized_by(first, modules).params == AffineParams(np.float32(1 / 255), -128)
    pixels = torch.arange(256).reshape(1, 1, 16, 16) / 255.0
    codes = quantized_by(first, modules)(pixels).numpy().ravel() / np.float32(1 / 255) - 128
    np.testing.assert_array_equal(np.rint(codes), np.arange(256) - 128)


@pytest.mark.parametrize(("layer", "name"), [(nn.ReLU(), "relu"), (nn.ReLU6(), "relu6"), (nn.Hardtanh(0, 1), "unit")])
def test_prepare_fuses_padding_and_activation(layer, name):
    model = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 3, 3, 2), layer)
    prepared = prepare(symbolic_trace(model), PIXELS)
    fused = [m for m in prepared.modules() if isinstance(m, QuantConv2d)]
    assert [(m.activation, m.padding) for m in fused] == [(name, (0, 1, 0, 1))]
    assert not any(isinstance(m, nn.ZeroPad2d) for m in prepared.modules())
    modules = dict(prepared.named_modules())
    output = [n for n in prepared.graph.nodes if n.op == "call_module"][-1]
    assert quantized_by(output, modules).fixed == (name == "unit")
    if name == "unit":
        assert quantized_by(output, modules).params == UNIT_PARAMS


def test_prepare_leaves_its_argument_alone():
    traced = symbolic_trace(nn.Sequential(conv(), nn.ReLU()))
    before = traced.code
    prepare(traced, PIXELS)
    assert traced.code == before
    assert isinstance(traced.get_submodule("0"), nn.Conv2d)


class Sigmoids(nn.Module):
    def __init__(self, both: bool) -> None:
        super().__init__()
        self.a, self.b, self.sigmoid, self.both = conv(), conv(), nn.Sigmoid(), both

    def forward(self, x):
        b = self.b(x)
        return torch.cat((self.sigmoid(self.a(x)), self.sigmoid(b) if self.both else b), 1)


def test_prepare_sigmoid_concatenated_with_something_else_is_an_error():
    with pytest.raises(ConversionError, match=r"sigmoid prescribes 0\.00390625"):
        prepare(symbolic_trace(Sigmoids(both=False)), PIXELS)


def test_prepare_two_sigmoids_concatenated_keep_their_scale():
    prepared = prepare(symbolic_trace(Sigmoids(both=True)), PIXELS)
    cat = next(n for n in prepared.graph.nodes if n.name == "cat")
    assert quantized_by(cat, dict(prepared.named_modules())).params == AffineParams(np.float32(1 / 256), -128)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(conv(), nn.GELU()),
        nn.Sequential(nn.Hardtanh()),
        nn.Sequential(nn.BatchNorm2d(3)),
        nn.Conv2d(4, 8, 1, groups=2),
        nn.Conv2d(3, 3, 3, padding="same"),
        nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"),
    ],
)
def test_prepare_unsupported_operator_is_named(model):
    traced = symbolic_trace(nn.Sequential(model))
    with pytest.raises(UnsupportedOpError, match="0"):
        prepare(traced, PIXELS)


def test_prepare_two_inputs_are_an_error():
    class Two(nn.Module):
        def forward(self, x, y):
            return x + y

    with pytest.raises(UnsupportedOpError, match="'x', 'y'"):
        prepare(symbolic_trace(Two()), PIXELS)


def test_calibrate_without_images_is_an_error():
    with pytest.raises(DataError):
        calibrate(prepare(symbolic_trace(nn.Sequential(conv())), PIXELS), [])


def test_calibrate_dead_layer_is_named():
    model = nn.Sequential(conv(), nn.ReLU())
    nn.init.constant_(model[0].bias, -100.0)
    with pytest.raises(ConversionError, match=r"^0: its values are all 0"):
        calibrate(prepare(symbolic_trace(model), PIXELS), [torch.rand(1, 3, 4, 4)])


def test_calibrate_nan_is_named():
    model = nn.Sequential(conv())
    model[0].weight.data[0] = torch.nan
    with pytest.raises(ConversionError, match=r"^0: its values range from nan"):
        calibrate(prepare(symbolic_trace(model), PIXELS), [torch.rand(1, 3, 4, 4)])


def test_calibrate_ranges_do_not_depend_on_the_batching():
    prepared = prepare(symbolic_trace(Linked()), PIXELS)
    images = torch.rand(6, 3, 8, 8)
    scales = []
    for batches in ([images], list(images.split(1)), list(images.split(4))):
        calibrated = calibrate(prepared, batches)
        scales.append([m.params for m in calibrated.modules() if isinstance(m, FakeQuant)])
    # torch may sum in another order for another batch size: a few units in the last place of float32.
    for other in scales[1:]:
        for left, right in zip(scales[0], other, strict=True):
            assert left.zero_point == right.zero_point
            assert abs(left.scale / right.scale - 1) < 1e-5


def test_prepare_model_exponential_boxes_says_how_to_leave_them_out() -> None:
    file = load_model_file("rtmdet_pico_relu6")
    model = build_detector(replace(file.model, exp_boxes=True), 2).eval()
    with pytest.raises(UnsupportedOpError, match=r"exp_boxes.*checkpoint\.int8_form\(\)"):
        prepare_model(model, file.preprocess.spec())
