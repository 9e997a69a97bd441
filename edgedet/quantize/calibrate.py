"""Fourth and fifth step: find the range of every tensor, then turn weights and biases into integer codes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from edgedet.errors import DataError
from edgedet.quantize.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.observers import MinMaxObserver, Observer
from edgedet.quantize.prepare import quantized_by
from edgedet.quantize.qparams import affine_params, logistic_input_params


def calibrate(
    prepared: GraphModule,
    batches: Iterable[Tensor],
    new_observer: Callable[[], Observer] = MinMaxObserver,
    progress: Callable[[int], None] | None = None,
) -> GraphModule:
    """Run batches through the float network and set the scale of every FakeQuant that is not fixed.

    Args:
        prepared: from `prepare`; not changed.
        batches: float32 (N, 3, H, W), normalized; used one at a time.
        new_observer: makes the observer of one shared-scale group.
        progress: called with the number of images after each batch.
    Returns:
        A new graph whose FakeQuants have their scales.
    Raises:
        DataError: no batch.
        ConversionError: NaN, or a layer whose result is always 0.
    """
    calibrated = _channels_last(copy.deepcopy(prepared))
    quants = [module for module in calibrated.modules() if isinstance(module, FakeQuant)]
    for quant in quants:
        quant.observer = new_observer()
    images = 0
    with torch.inference_mode():
        for batch in batches:
            calibrated(batch.contiguous(memory_format=torch.channels_last))
            images += len(batch)
            if progress is not None:
                progress(len(batch))
    if not images:
        raise DataError("calibration got no images; expected at least one")
    for quant in quants:
        assert quant.observer is not None
        if not quant.fixed:
            quant.set_params(affine_params(*quant.observer.range(), quant.name))
        quant.observer = None
    _avoid_logistic_ties(calibrated)
    return calibrated


def _avoid_logistic_ties(calibrated: GraphModule) -> None:
    """Let all interpreters agree on every sigmoid, see `logistic_input_params`."""
    modules = dict(calibrated.named_modules(remove_duplicate=False))
    for node in calibrated.graph.nodes:
        if node.op == "call_module" and isinstance(modules[str(node.target)], nn.Sigmoid):
            quant = quantized_by(node.args[0], modules)
            if not quant.fixed:
                quant.set_params(logistic_input_params(quant.params))


def freeze(calibrated: GraphModule) -> GraphModule:
    """Give every convolution its integer codes.

    Args:
        calibrated: from `calibrate`; not changed.
    Returns:
        A new graph: the fake-quantized network, float in and out, whose numbers are exactly those of the int8 file.
    Raises:
        ConversionError: NaN weights, or a bias that does not fit into int32.
    """
    frozen = copy.deepcopy(calibrated)
    modules = dict(frozen.named_modules(remove_duplicate=False))
    for node in frozen.graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, QuantConv2d):
            source = node.args[0]
            assert isinstance(source, Node)
            module.freeze(quantized_by(source, modules).params.scale)
    return _channels_last(frozen)


def _channels_last(graph_module: GraphModule) -> GraphModule:
    """Lay the weights out for channels-last inputs, which torch's CPU convolutions are faster with."""
    return graph_module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
