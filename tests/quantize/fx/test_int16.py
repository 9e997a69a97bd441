from __future__ import annotations

import operator

import numpy as np
import pytest
import torch
from random_weights import random_detector
from torch import nn
from torch.fx import GraphModule, symbolic_trace

from edgedet.config import load_model_file
from edgedet.contracts import PreprocessSpec
from edgedet.errors import ConfigError
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.fold import fold_batch_norm
from edgedet.quantize.fx.int16 import (
    border_bases,
    can_widen,
    check_int16_option,
    groups_of,
    int16_names,
    widen,
)
from edgedet.quantize.fx.lower_activations import lower_activations
from edgedet.quantize.fx.prepare import freeze, prepare, quantized_by, requantizes
from edgedet.quantize.fx.qparams import LOGISTIC_PARAMS, LOGISTIC_PARAMS_16, UNIT_PARAMS_16, input_params
from edgedet.quantize.fx.settle_scales import disagreements

PIXELS = input_params(PreprocessSpec(32, 32))


class Chain(nn.Module):
    """conv a -> SiLU -> conv b -> hardswish -> conv c (output), a + b's input elsewhere (output)."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))
        self.silu, self.swish = nn.SiLU(), nn.Hardswish()

    def forward(self, x):
        first = self.silu(self.a(x))
        second = self.swish(self.b(first))
        return self.c(second), self.d(second + first)


def chain() -> GraphModule:
    torch.manual_seed(0)
    return prepare(lower_activations(symbolic_trace(Chain().eval())), PIXELS)


def pictures(seed: int = 0) -> torch.Tensor:
    return torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(seed))


def widths(graph_module: GraphModule) -> dict[str, tuple[int, ...]]:
    """Operator -> bits of its inputs and of its result."""
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    return {
        node.name: tuple(quantized_by(n, modules).bits for n in (*node.all_input_nodes, node))
        for node in graph_module.graph.nodes
        if node.op in ("call_module", "call_function")
        and (not isinstance(modules.get(str(node.target)), FakeQuant) or requantizes(node, modules))
    }


def test_widen_all_operators_around_a_tensor_compute_in_16_bits():
    wide = widen(chain(), groups_of(chain(), ["a"]))
    found = widths(wide)
    # The sigmoid's result lies between 16-bit operators only, so that it is int16 without having been named.
    assert found["a"] == (16, 16)
    assert found["silu_sigmoid"] == (16, 16)
    assert found["mul"] == (16, 16, 16)
    assert set(int16_names(wide)) == {"a", "silu_sigmoid"}
    assert found["b"] == found["c"] == found["swish"] == (8, 8)
    # In front of a (the input), behind mul.
    assert [bits for name, bits in found.items() if name.startswith("fake_quants")] == [(8, 16), (16, 8)]


def test_widen_nothing_changes_nothing():
    assert str(widen(chain(), ()).graph) == str(chain().graph)
    assert int16_names(chain()) == ()


def test_widen_an_operator_without_int16_kernel_reads_int8():
    # b's result is read by a Hardswish, for which there is no int16 kernel.
    found = widths(widen(chain(), groups_of(chain(), ["b"])))
    assert found["b"] == (16, 16)
    assert found["swish"] == (8, 8)


def test_widen_shares_a_border_between_readers():
    # The product enters b and the sum: int16 for both, one QUANTIZE behind neither.
    found = widths(widen(chain(), groups_of(chain(), ["mul"])))
    assert found["b"] == (16, 16)
    assert found["add"] == (16, 16, 16)
    assert found["silu_sigmoid"] == (8, 8)
    borders = [name for name in found if name.startswith("fake_quants")]
    # Both factors of the product, b's result, swish's into the sum, the sum's.
    assert len(borders) == 5


def test_widen_does_not_change_its_argument():
    prepared = chain()
    before = str(prepared.graph)
    widen(prepared, groups_of(prepared, ["a"]))
    assert str(prepared.graph) == before
    assert all(quant.bits == 8 for quant in prepared.modules() if isinstance(quant, FakeQuant))


def test_calibrate_borders_are_exact_copies_of_int8():
    calibrated = calibrate(widen(chain(), groups_of(chain(), ["a", "mul"])), [pictures()])
    bases = border_bases(calibrated)
    assert bases
    for border, base in bases.items():
        assert border.params.scale == np.float32(base.params.scale / 128)
        codes = torch.arange(-128, 128)
        values = (codes - base.params.zero_point).float() * float(base.params.scale)
        assert torch.equal(border(values), values)


def test_calibrate_int16_shows_the_largest_value_and_is_symmetric():
    calibrated = calibrate(widen(chain(), groups_of(chain(), ["a"])), [pictures()])
    quant = can_widen(calibrated)["a"]
    with torch.no_grad():
        values = calibrated.get_submodule("a")(pictures())
    assert quant.params.zero_point == 0
    assert quant.params.scale == pytest.approx(float(values.abs().max()) / 32767, rel=2e-3)  # settled for MUL


def test_freeze_bias_behind_int16_is_int64_with_the_product_of_the_scales():
    frozen = freeze(calibrate(widen(chain(), groups_of(chain(), ["mul"])), [pictures()]))
    modules = dict(frozen.named_modules(remove_duplicate=False))
    node = next(n for n in frozen.graph.nodes if n.name == "b")
    conv = modules["b"]
    assert isinstance(conv, QuantConv2d)
    assert conv.bias_code.dtype == torch.int64
    assert modules["a"].bias_code.dtype == torch.int32
    source = quantized_by(node.args[0], modules).params
    assert source.bits == 16
    expected = (np.float64(source.scale) * conv.weight_scale.numpy().astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(conv.bias_scale.numpy(), expected)


def test_widened_network_is_closer_to_float():
    torch.manual_seed(1)
    model = Chain().eval()
    prepared = prepare(lower_activations(symbolic_trace(model)), PIXELS)
    x = pictures(3)
    with torch.no_grad():
        exact = model(x)[1]
        errors = [
            float((freeze(calibrate(graph, [x]))(x)[1] - exact).square().mean())
            for graph in (prepared, widen(prepared, groups_of(prepared, ["a", "mul", "b"])))
        ]
    assert errors[1] < errors[0]


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("c", "`int16` c: it is an output of the network"),
        ("x", "`int16` x: it is the network's input"),
        ("cls_8", "`int16` cls_8: it enters or leaves the network"),
        ("input", "`int16` input: it enters or leaves the network"),
        ("auto", "`int16` auto: only quantize_checkpoint and QAT choose"),
        ("fake_quants_a", "`int16` fake_quants_a: the network has no layer"),
        ("swish", "`int16` swish: TFLite Micro has no int16 kernel for Hardswish"),
        ("sil", "`int16` sil: the network has no layer 'sil'; similar names: .*silu"),
    ],
)
def test_groups_of_impossible_layer_is_an_error(layer, text):
    with pytest.raises(ConfigError, match=text):
        groups_of(chain(), [layer])


def test_check_int16_option_auto_stands_alone():
    check_int16_option(("auto",))
    check_int16_option(("a", "b"))
    with pytest.raises(ConfigError, match="`int16` a,auto: expected `auto` alone"):
        check_int16_option(("a", "auto"))


def test_widen_prescribed_scales_become_the_prescribed_int16_scales():
    file = load_model_file("rtmdet_nano")
    lowered = lower_activations(fold_batch_norm(random_detector(file.model, 1, seed=0)))
    prepared = prepare(lowered, input_params(file.preprocess.spec((64, 64))))
    names = can_widen(prepared)
    wide = widen(prepared, [n for n in names if n.endswith("activate_sigmoid") or n.endswith("attention.fc")])
    found = {
        quant.params for quant in wide.modules() if isinstance(quant, FakeQuant) and quant.fixed and not quant.border
    }
    assert {LOGISTIC_PARAMS_16, UNIT_PARAMS_16} <= found


def test_can_widen_leaves_out_inputs_outputs_and_what_has_no_kernel():
    names = set(can_widen(chain()))
    assert names == {"a", "silu_sigmoid", "mul", "b", "add"}
    modules = dict(chain().named_modules(remove_duplicate=False))
    added = next(n for n in chain().graph.nodes if n.target is operator.add)
    assert added.name == "add"
    assert "c" not in names
    assert isinstance(modules["c"], QuantConv2d)


class Prescribed(nn.Module):
    """A sigmoid whose result a Hardswish reads, which has no int16 kernel; one module called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.gate, self.swish = nn.Sigmoid(), nn.Hardswish()

    def forward(self, x):
        gate = self.gate(self.a(x))
        return self.b(self.swish(self.swish(gate)) + gate)


def test_calibrate_int8_copy_of_a_prescribed_int16_tensor_keeps_the_prescribed_scale():
    torch.manual_seed(0)
    prepared = prepare(lower_activations(symbolic_trace(Prescribed().eval())), PIXELS)
    calibrated = calibrate(widen(prepared, groups_of(prepared, ["gate"])), [pictures()])
    modules = dict(calibrated.named_modules(remove_duplicate=False))
    swish = next(n for n in calibrated.graph.nodes if n.name == "swish")
    assert quantized_by(swish.args[0], modules).params == LOGISTIC_PARAMS


def test_groups_of_a_module_that_is_called_twice_have_different_names():
    prepared = prepare(lower_activations(symbolic_trace(Prescribed().eval())), PIXELS)
    names = [m.name for m in prepared.modules() if isinstance(m, FakeQuant)]
    assert len(set(names)) == len(names)
    assert {"swish", "swish_1"} <= set(names)


@pytest.mark.slow
@pytest.mark.parametrize("model", [pytest.param("rtmdet_nano", marks=pytest.mark.long), "rtmdet_nano_relu"])
def test_calibrate_whole_int16_networks_find_scales_on_which_all_kernels_agree(model):
    file = load_model_file(model)
    detector = random_detector(file.model, 1, seed=0)
    prepared = prepare(lower_activations(fold_batch_norm(detector)), input_params(file.preprocess.spec((64, 64))))
    wide = widen(prepared, can_widen(prepared))
    for seed in range(3):
        x = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(seed))
        assert disagreements(calibrate(wide, [x])) == ()
        assert disagreements(calibrate(prepared, [x])) == ()
