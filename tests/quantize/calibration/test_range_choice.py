from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import symbolic_trace

from edgedet.contracts import PreprocessSpec
from edgedet.errors import ConfigError, ConversionError
from edgedet.quantize.calibration.calibrate import calibrate, observe, set_ranges
from edgedet.quantize.calibration.observers import StatisticsObserver
from edgedet.quantize.calibration.range_choice import CALIBRATIONS, METHODS, RangePlan, find_ranges, range_by
from edgedet.quantize.calibration.ranges import PERCENTILE, kl_range, mse_range, percentile_range
from edgedet.quantize.fx.fake_quant import FakeQuant
from edgedet.quantize.fx.prepare import prepare, quantized_by
from edgedet.quantize.fx.qparams import affine_params, input_params
from edgedet.quantize.fx.walk import GraphWalk

PIXELS = input_params(PreprocessSpec(32, 32))


class Small(nn.Module):
    """a (with a heavy tail) and b share a scale through a concatenation; a sigmoid; two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1), nn.Conv2d(8, 4, 1)
        self.gate, self.sigmoid, self.pool = nn.Conv2d(4, 4, 1), nn.Sigmoid(), nn.MaxPool2d(3, 1, 1)
        self.cls, self.box = nn.Conv2d(4, 2, 1), nn.Conv2d(4, 4, 1)

    def forward(self, x):
        a = self.a(x)
        x = self.c(torch.cat((self.pool(a), self.b(x)), 1))
        x = x * self.sigmoid(self.gate(x))
        return self.cls(x), self.box(x)


GROUPS = ("a", "c", "gate", "mul", "cls", "box")  # that calibration decides about


def network():
    torch.manual_seed(0)
    return prepare(symbolic_trace(Small().eval()), PIXELS)


def pictures(count: int = 12) -> torch.Tensor:
    x = torch.from_numpy(np.random.default_rng(0).normal(0.5, 0.1, (count, 3, 12, 12)).astype(np.float32))
    x[3, :, 2, 2] = 30.0  # far out, once
    return x


BATCHES = list(pictures().split(5))


def chosen(plan: RangePlan, again=BATCHES):
    return {r.name: r for r in find_ranges(network(), BATCHES, again, plan)}


def test_find_ranges_minmax_is_calibrate():
    ranges = chosen(RangePlan())
    assert tuple(ranges) == GROUPS
    one = set_ranges(network(), {r.name: (r.low, r.high) for r in ranges.values()})
    other = calibrate(network(), BATCHES)
    for left, right in zip(one.modules(), other.modules(), strict=True):
        if isinstance(left, FakeQuant):
            assert left.params == right.params


@pytest.mark.parametrize("method", METHODS)
def test_find_ranges_one_method_is_that_function_of_the_groups_statistics(method):
    statistics = observe(network(), BATCHES, StatisticsObserver)
    for name, found in chosen(RangePlan(method)).items():
        seen = statistics[name]
        want = {
            "minmax": lambda s: (s.histogram.low, s.histogram.high),
            "moving-average": lambda s: s.moving_average.range(),
            "percentile": lambda s: percentile_range(s.histogram, PERCENTILE),
            "mse": lambda s: mse_range(s.histogram),
            "kl": lambda s: kl_range(s.histogram),
        }[method](seen)
        assert (found.low, found.high) == pytest.approx(want, rel=1e-6)
        assert found.method == method


def test_find_ranges_group_is_the_union_of_its_tensors():
    prepared = network()
    modules = dict(prepared.named_modules())
    with torch.no_grad():
        a, b = (modules[n].convolve(pictures()) for n in "ab")
    found = chosen(RangePlan())["a"]
    assert found.low == pytest.approx(float(min(a.min(), b.min())))
    assert found.high == pytest.approx(float(max(a.max(), b.max())))


def test_find_ranges_prescribed_scales_stay_whatever_the_calibrator():
    for method in CALIBRATIONS:
        ranges = chosen(RangePlan(method))
        assert "sigmoid" not in ranges
        assert "x" not in ranges
        calibrated = set_ranges(network(), {r.name: (r.low, r.high) for r in ranges.values()})
        modules = dict(calibrated.named_modules(remove_duplicate=False))
        of = {n.name: quantized_by(n, modules).params for n in calibrated.graph.nodes if n.op != "output"}
        assert (float(of["sigmoid"].scale), of["sigmoid"].zero_point) == (1 / 256, -128)
        assert of["x"] == PIXELS


@pytest.mark.parametrize("layer", ["a", "b", "pool", "cat"])  # any name of the group will do
def test_find_ranges_per_tensor_choice_reaches_the_whole_group(layer):
    ranges = chosen(RangePlan("minmax", ((layer, "percentile"),), percentile=99.0))
    assert [r.method for r in ranges.values()] == ["percentile", *["minmax"] * 5]
    assert ranges["a"].high < 0.9 * chosen(RangePlan())["a"].high


def brute_force_auto(name: str) -> dict[str, float]:
    """Error of each method for one group: the readers of that group, computed by hand."""
    statistics = observe(network(), BATCHES, StatisticsObserver)
    modules = dict(network().named_modules())
    x = pictures()
    with torch.no_grad():
        a, b = modules["a"](x), modules["b"](x)
        joined = torch.cat((modules["pool"](a), b), 1)
        c = modules["c"](joined)
        gate = modules["gate"](c)
        product = c * modules["sigmoid"](gate)

        def error(got, want):
            return float((got - want).double().square().sum() / want.double().square().sum())

        errors = {}
        for method in METHODS:
            params = affine_params(*range_by(method, statistics[name], PERCENTILE), name)

            def shown(t, params=params):
                return torch.fake_quantize_per_tensor_affine(t, float(params.scale), params.zero_point, -128, 127)

            match name:
                case "a":
                    copy = torch.cat((modules["pool"](shown(a)), shown(b)), 1)
                    errors[method] = error(modules["c"](copy), c)
                case "c":
                    errors[method] = error(modules["gate"](shown(c)), gate) + error(
                        shown(c) * modules["sigmoid"](gate), product
                    )
                case "mul":
                    errors[method] = sum(error(modules[h](shown(product)), modules[h](product)) for h in ("cls", "box"))
                case "gate":
                    errors[method] = error(torch.sigmoid(shown(gate)), torch.sigmoid(gate))
    return errors


@pytest.mark.parametrize("name", ["a", "c", "gate", "mul"])
def test_find_ranges_auto_takes_the_least_error_of_the_readers(name):
    errors = brute_force_auto(name)
    method = chosen(RangePlan("auto"))[name].method
    assert errors[method] == pytest.approx(min(errors.values()), rel=1e-3)


def test_find_ranges_auto_keeps_the_whole_range_of_outputs():
    ranges, whole = chosen(RangePlan("auto")), chosen(RangePlan())
    for name in ("cls", "box"):
        assert ranges[name] == whole[name]


def test_find_ranges_auto_keeps_the_tensors_of_fewer_large_images(monkeypatch):
    # All tensors of four 640x640 images of rtmdet_s are 4 GB.
    asked, values = [], GraphWalk.values
    monkeypatch.setattr(GraphWalk, "values", lambda walk, x: asked.append(len(x)) or values(walk, x))
    chosen(RangePlan("auto"), [torch.rand(6, 3, 256, 256)])
    chosen(RangePlan("auto"), [torch.rand(2, 3, 640, 640)])
    assert asked == [4, 2, 1, 1]


def test_find_ranges_auto_can_be_asked_for_one_tensor():
    ranges = chosen(RangePlan("minmax", (("a", "auto"),)))
    assert ranges["a"] == chosen(RangePlan("auto"))["a"]
    assert {r.method for name, r in ranges.items() if name != "a"} == {"minmax"}


@pytest.mark.parametrize("layer", ["sigmoid", "x"])
def test_find_ranges_prescribed_layer_can_not_be_chosen(layer):
    with pytest.raises(ConfigError, match="prescribed"):
        chosen(RangePlan("minmax", ((layer, "mse"),)))


def test_find_ranges_unknown_layer_is_an_error_with_similar_names():
    with pytest.raises(ConfigError, match=r"gates.*similar names: gate"):
        chosen(RangePlan("minmax", (("gates", "mse"),)))


@pytest.mark.parametrize("method", CALIBRATIONS)
def test_find_ranges_nan_and_dead_layers_are_named(method):
    for value, text in ((torch.nan, "^a: its values range from nan"), (0.0, "^a: its values are all 0")):
        prepared = network()
        modules = dict(prepared.named_modules())
        for name in "ab":
            for parameter in modules[name].parameters():
                torch.nn.init.constant_(parameter, value)
        with pytest.raises(ConversionError, match=text):  # noqa: PT012  either of the two says so
            ranges = find_ranges(prepared, BATCHES, BATCHES, RangePlan(method))
            set_ranges(prepared, {r.name: (r.low, r.high) for r in ranges})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("magic",), "`calibration`: calibrator 'magic'"),
        (("mse", (("a", "magic"),)), "a: calibrator 'magic'"),
        (("percentile", (), 0.0), "`percentile` 0.0"),
        (("percentile", (), 100.1), "`percentile`"),
    ],
)
def test_range_plan_wrong_option_is_an_error(arguments, text):
    with pytest.raises(ConfigError, match=text):
        RangePlan(*arguments)
