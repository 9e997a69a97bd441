"""Fourth and fifth step: find the range of every tensor, then turn weights and biases into integer codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import torch
from torch import Tensor
from torch.fx import GraphModule

from edgedet.errors import DataError
from edgedet.quantize.calibration.observers import MinMaxObserver
from edgedet.quantize.fx.copied import copied
from edgedet.quantize.fx.fake_quant import FakeQuant, Observer
from edgedet.quantize.fx.prepare import channels_last
from edgedet.quantize.fx.qparams import affine_params
from edgedet.quantize.fx.settle_scales import settle_scales

AnyObserver = TypeVar("AnyObserver", bound=Observer)


def calibrate(
    prepared: GraphModule,
    batches: Iterable[Tensor],
    new_observer: Callable[[], Observer] = MinMaxObserver,
    progress: Callable[[int], None] | None = None,
) -> GraphModule:
    """Run batches through the float network and set the scale of every FakeQuant that is not fixed.

    Args:
        prepared: from `prepare`; not changed.
        batches: float32 (N, C, H, W), normalized; used one at a time.
        new_observer: makes the observer of one shared-scale group.
        progress: called with the number of images after each batch.
    Returns:
        A new graph whose FakeQuants have their scales.
    Raises:
        DataError: no batch.
        ConversionError: NaN, or a layer whose result is always 0.
    """
    observers = observe(prepared, batches, new_observer, progress)
    return set_ranges(prepared, {name: observer.range() for name, observer in observers.items()})


def observe(
    prepared: GraphModule,
    batches: Iterable[Tensor],
    new_observer: Callable[[], AnyObserver],
    progress: Callable[[int], None] | None = None,
) -> dict[str, AnyObserver]:
    """Show every tensor that calibration decides about to an observer, in one pass through the float network.

    Args:
        prepared: from `prepare`; not changed.
        batches: float32 (N, C, H, W), normalized; used one at a time.
        new_observer: makes the observer of one shared-scale group.
        progress: called with the number of images after each batch.
    Returns:
        Name of each FakeQuant that is not fixed -> its observer.
    Raises:
        DataError: no batch.
    """
    watched = channels_last(copied(prepared))
    quants = [module for module in watched.modules() if isinstance(module, FakeQuant)]
    observers = {quant.name: new_observer() for quant in quants if not quant.fixed}
    for quant in quants:
        quant.observer = observers.get(quant.name, _BLIND)
    images = 0
    with torch.inference_mode():
        for batch in batches:
            watched(batch.contiguous(memory_format=torch.channels_last))
            for observer in observers.values():
                observer.end_batch()
            images += len(batch)
            if progress is not None:
                progress(len(batch))
    if not images:
        raise DataError("calibration got no images; expected at least one")
    return observers


def set_ranges(
    prepared: GraphModule,
    ranges: Mapping[str, tuple[float, float]],
    wide_ranges: Mapping[str, tuple[float, float]] | None = None,
) -> GraphModule:
    """Give every FakeQuant that is not fixed the scale of its range.

    Args:
        prepared: from `prepare`; not changed.
        ranges: name of the FakeQuant -> (low, high).
        wide_ranges: the same for int16, which has steps enough for more than int8 can show; None: `ranges`.
    Returns:
        A new graph; some scales are a few thousandths wider, so that all kernels agree (see `settle_scales`).
    Raises:
        ConversionError: NaN, or a layer whose result is always 0.
    """
    calibrated = channels_last(copied(prepared))
    for quant in calibrated.modules():
        if isinstance(quant, FakeQuant) and not quant.fixed:
            found = wide_ranges if wide_ranges is not None and quant.bits == 16 else ranges
            quant.set_params(affine_params(*found[quant.name], quant.name, quant.bits))
    settle_scales(calibrated)
    return calibrated


class _Blind:
    """Observer of a tensor whose scale is prescribed."""

    def update(self, values: Tensor) -> None:
        """Nothing to learn."""

    def end_batch(self) -> None:
        """Nothing to learn."""

    def range(self) -> tuple[float, float]:
        """Nothing seen."""
        return math.inf, -math.inf

    def extremes(self) -> tuple[float, float]:
        """Nothing seen."""
        return self.range()


_BLIND = _Blind()
