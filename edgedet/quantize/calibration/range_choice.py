"""Which calibrator decides the range of which tensor, and what `auto` does.

`auto` tries every calibrator on every shared-scale group: it quantizes the tensors of that group alone and looks at the
layers that read them. Taken is the range with the least squared error of those layers' outputs, each divided by the
output's own energy and summed over the layers. Ties go to the wider range. Tensors that leave the network keep their
whole range: the largest scores and boxes are rare, but they are the detections.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from edgedet.errors import ConfigError
from edgedet.quantize.calibration.calibrate import observe
from edgedet.quantize.calibration.observers import MinMaxObserver, MovingAverageObserver, StatisticsObserver
from edgedet.quantize.calibration.ranges import PERCENTILE, Range, kl_range, mse_range, percentile_range
from edgedet.quantize.fx.fake_quant import FakeQuant, Observer
from edgedet.quantize.fx.int16 import AUTO, check_int16_option, groups_of, layer_quants, unknown_layer
from edgedet.quantize.fx.prepare import quantized_by
from edgedet.quantize.fx.qparams import QMAX, QMIN, AffineParams, affine_params
from edgedet.quantize.fx.shared_scales import copies_codes
from edgedet.quantize.fx.walk import GraphWalk

METHODS = ("minmax", "moving-average", "percentile", "mse", "kl")
CALIBRATIONS = (*METHODS, "auto")
AUTO_IMAGES = 16  # looked at a second time by `auto`
KEPT_PIXELS = 4 * 256 * 256  # of the images that `auto` keeps every tensor of; 640x640 ones of rtmdet_s take 1 GB each


@dataclass(frozen=True)
class RangePlan:
    """Which calibrator decides the range of which tensor."""

    method: str = "minmax"  # one of CALIBRATIONS
    per_tensor: tuple[tuple[str, str], ...] = ()  # (layer, one of CALIBRATIONS); the layer's whole group follows
    percentile: float = PERCENTILE  # of the percentile calibrator

    def __post_init__(self) -> None:
        for option, method in (("`calibration`", self.method), *self.per_tensor):
            if method not in CALIBRATIONS:
                raise ConfigError(f"{option}: calibrator {method!r}, expected one of {', '.join(CALIBRATIONS)}")
        if not 50 < self.percentile <= 100:
            raise ConfigError(f"`percentile` {self.percentile}: expected more than 50 and at most 100")


@dataclass(frozen=True)
class TensorRange:
    """Range of one shared-scale group."""

    name: str  # of its first layer
    method: str  # that gave the range
    low: float
    high: float
    lowest: float  # smallest value seen
    highest: float  # largest value seen

    @property
    def unclipped(self) -> TensorRange:
        """The range of all values seen, for int16, which has steps enough for it."""
        return replace(self, method="minmax", low=self.lowest, high=self.highest)


def find_ranges(
    prepared: GraphModule,
    batches: Iterable[Tensor],
    again: Sequence[Tensor],
    plan: RangePlan,
    progress: Callable[[int], None] | None = None,
) -> tuple[TensorRange, ...]:
    """Observe every tensor, in one pass, and choose its range.

    Args:
        prepared: from `prepare`; not changed.
        batches: float32 (N, C, H, W), normalized; used one at a time.
        again: some images once more, for `auto`.
        plan: what is asked for.
        progress: called with the number of images after each batch.
    Returns:
        The range of every group that is not fixed, in the order of the graph.
    Raises:
        ConfigError: the plan names an unknown layer, or one whose scale is prescribed.
        ConversionError: NaN, or a layer whose result is always 0.
    """
    methods = _methods(prepared, plan)
    simple: dict[str, Callable[[], Observer]] = {"minmax": MinMaxObserver, "moving-average": MovingAverageObserver}
    asked = set(methods.values())
    if len(asked) == 1 and asked <= simple.keys():  # needs no histograms
        method = asked.pop()
        found = observe(prepared, batches, simple[method], progress)
        return tuple(TensorRange(name, method, *o.range(), *o.extremes()) for name, o in found.items())
    statistics = observe(prepared, batches, StatisticsObserver, progress)
    for name, seen in statistics.items():
        affine_params(*seen.range(), name)  # raises: nothing can be chosen from NaN or nothing
    errors = _auto_errors(prepared, again, statistics, methods, plan.percentile)
    chosen = []
    for name, method in methods.items():
        candidates = errors.get(name, {method if method != "auto" else "minmax": 0.0})
        best = min(candidates, key=candidates.__getitem__)
        seen = statistics[name]
        chosen.append(TensorRange(name, best, *range_by(best, seen, plan.percentile), *seen.extremes()))
    return tuple(chosen)


def range_by(method: str, statistics: StatisticsObserver, percentile: float) -> Range:
    """Range that one calibrator gives.

    Args:
        method: one of METHODS.
        statistics: of the tensor; finite, and not always 0.
        percentile: of the percentile calibrator.
    """
    match method:
        case "minmax":
            return statistics.range()
        case "moving-average":
            return statistics.moving_average.range()
        case "percentile":
            return percentile_range(statistics.histogram, percentile)
        case "mse":
            return mse_range(statistics.histogram)
        case "kl":
            return kl_range(statistics.histogram)
    raise ConfigError(f"calibrator {method!r}, expected one of {', '.join(METHODS)}")


def _methods(prepared: GraphModule, plan: RangePlan) -> dict[str, str]:
    """Name of each group that is not fixed -> what the plan asks for."""
    quants = layer_quants(prepared)
    methods = {q.name: plan.method for q in prepared.modules() if isinstance(q, FakeQuant) and not q.fixed}
    for layer, method in plan.per_tensor:
        if layer not in quants:
            raise unknown_layer(f"`calibration_for` {layer}={method}", layer, quants)
        if quants[layer].fixed:
            raise ConfigError(f"`calibration_for` {layer}={method}: the scale of this layer's result is prescribed")
        methods[quants[layer].name] = method
    return methods


def _auto_errors(
    prepared: GraphModule,
    again: Sequence[Tensor],
    statistics: dict[str, StatisticsObserver],
    methods: dict[str, str],
    percentile: float,
) -> dict[str, dict[str, float]]:
    """Group on `auto` -> calibrator -> error; calibrators from the widest range to the narrowest, each range once."""
    trials = [trial for trial in _trials(prepared) if methods.get(trial.quant.name) == "auto"]
    candidates: dict[str, dict[str, AffineParams]] = {}
    for trial in trials:
        name = trial.quant.name
        ranges = {method: range_by(method, statistics[name], percentile) for method in METHODS}
        by_width = sorted(METHODS, key=lambda method: ranges[method][0] - ranges[method][1])
        candidates[name] = {}
        for method in by_width:
            found = affine_params(*ranges[method], name)
            if found not in candidates[name].values():
                candidates[name][method] = found
    sums: dict[str, dict[str, dict[Node, float]]] = {name: {m: {} for m in p} for name, p in candidates.items()}
    energy: dict[Node, float] = {}
    walk = GraphWalk(prepared, exact=True)
    with torch.no_grad():
        for batch in again:
            for images in torch.split(batch, _kept_at_once(batch)):  # every tensor of the network is kept
                values = walk.values(images)
                for trial in trials:
                    for method, params in candidates[trial.quant.name].items():
                        _add_errors(trial, params, walk, values, sums[trial.quant.name][method])
                for node in {reader for trial in trials for reader in trial.readers}:
                    energy[node] = energy.get(node, 0.0) + float(values[node].double().square().sum())
    return {
        name: {m: sum(e / max(energy[n], 1e-30) for n, e in errors.items()) for m, errors in by_method.items()}
        for name, by_method in sums.items()
    }


def _kept_at_once(batch: Tensor) -> int:
    """How many images of a batch may have all their tensors in memory: 4 up to 256x256, 1 at 640x640."""
    return max(1, min(4, KEPT_PIXELS // (batch.shape[2] * batch.shape[3])))


@dataclass(frozen=True, eq=False)
class _Trial:
    """One group, and what has to be computed anew when its scale changes."""

    quant: FakeQuant
    inside: tuple[Node, ...]  # FakeQuant calls and copying operators of the group, in order
    readers: tuple[Node, ...]  # operators that read the group and round anew


def _trials(prepared: GraphModule) -> list[_Trial]:
    """All groups that are not fixed and of which no tensor leaves the network."""
    modules = dict(prepared.named_modules(remove_duplicate=False))
    inside: dict[FakeQuant, list[Node]] = {}
    for node in prepared.graph.nodes:
        if node.op == "output":
            continue
        if isinstance(modules.get(str(node.target)), FakeQuant) or copies_codes(node, modules):
            inside.setdefault(quantized_by(node, modules), []).append(node)
    trials = []
    for quant, nodes in inside.items():
        readers = tuple(dict.fromkeys(user for node in nodes for user in node.users if user not in nodes))
        if not quant.fixed and not any(reader.op == "output" for reader in readers):
            trials.append(_Trial(quant, tuple(nodes), readers))
    return trials


def _add_errors(
    trial: _Trial,
    params: AffineParams,
    walk: GraphWalk,
    values: dict[Node, Tensor],
    sums: dict[Node, float],
) -> None:
    """Add the squared errors of all readers, with one group quantized and everything else exact."""
    changed: dict[Node, Tensor] = {}
    known = ChainMap(changed, values)
    for node in trial.inside:
        if isinstance(walk.module_of(node), FakeQuant):
            x = known[node.all_input_nodes[0]]
            scale, zero_point = float(params.scale), params.zero_point
            changed[node] = torch.fake_quantize_per_tensor_affine(x, scale, zero_point, QMIN, QMAX)
        else:
            changed[node] = walk.call(node, known)
    for node in trial.readers:
        error = walk.call(node, known) - values[node]
        sums[node] = sums.get(node, 0.0) + float(error.double().square().sum())


def require_layers(
    prepared: GraphModule, int16: Sequence[str], calibration_for: Sequence[tuple[str, str]] = ()
) -> None:
    """Make sure, before long work, that a network has the layers that options name.

    Args:
        prepared: from `prepare`.
        int16: of `--int16`.
        calibration_for: of `--calibration-for`: (layer, calibrator).
    Raises:
        ConfigError: an unknown layer, one that can't be int16 or has a prescribed scale, or two calibrators for one
            scale.
    """
    check_int16_option(int16)
    if tuple(int16) != (AUTO,):
        groups_of(prepared, int16)
    quants = layer_quants(prepared)
    chosen: dict[FakeQuant, tuple[str, str]] = {}
    for layer, method in calibration_for:
        option = f"`calibration_for` {layer}={method}"
        if layer not in quants:
            raise unknown_layer(option, layer, quants)
        if quants[layer].fixed:
            raise ConfigError(f"{option}: the scale of this layer's result is prescribed; name another layer")
        first, before = chosen.setdefault(quants[layer], (layer, method))
        if before != method:
            shared = "" if first == layer else f", and both share one scale in {quants[layer].name}"
            raise ConfigError(
                f"{option}: {first} has {before} already{shared}; expected one calibrator, drop one of the two options"
            )
