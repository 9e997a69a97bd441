"""Post-training quantization in full: equalization, ranges, weights, rounding, biases, each step on its own switch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgedet.errors import ConfigError
from edgedet.quantize.adaround import adaround
from edgedet.quantize.bias_correction import correct_biases
from edgedet.quantize.calibrate import freeze, set_ranges
from edgedet.quantize.equalize import equalize
from edgedet.quantize.fold import fold_batch_norm
from edgedet.quantize.layer_walk import images_for_walk, run_exact
from edgedet.quantize.lower import lower_activations
from edgedet.quantize.prepare import prepare
from edgedet.quantize.qparams import input_params
from edgedet.quantize.range_choice import AUTO_IMAGES, RangePlan, TensorRange, find_ranges
from edgedet.quantize.weights import WEIGHT_METHODS, quantize_weights
from edgedet.structs import PreprocessSpec

MIN_TO_SPLIT = 8  # calibration images; with fewer, steps are judged on the images that they learned from
_TINY = 1e-30  # keeps quotients finite


@dataclass(frozen=True)
class PtqOptions:
    """The steps of post-training quantization, each on its own switch."""

    ranges: RangePlan = field(default_factory=RangePlan)  # activations
    weights: str = "minmax"  # or mse: clipped where the squared error is least
    equalize: bool = False  # cross-layer equalization, kept where it lowers the error of the network's outputs
    adaround: bool = False  # each weight up or down, whichever serves the layer's output
    bias_correction: bool = False  # give every channel the mean that it has in the float network
    seed: int = 0  # of the positions that adaround looks at

    def __post_init__(self) -> None:
        if self.weights not in WEIGHT_METHODS:
            raise ConfigError(f"--weights {self.weights!r}: expected one of {', '.join(WEIGHT_METHODS)}")


EFFORTS: dict[str, PtqOptions] = {
    "fast": PtqOptions(),
    "normal": PtqOptions(RangePlan("auto"), bias_correction=True),
    "best": PtqOptions(RangePlan("auto"), weights="mse", equalize=True, adaround=True, bias_correction=True),
}


@dataclass(frozen=True)
class Step:
    """One step and what it did to the outputs of the network."""

    name: str
    error: float  # `output_error` after the step
    kept: bool  # False: the step made the error larger and was undone


@dataclass(frozen=True, eq=False)
class PtqResult:
    """A quantized network and how it came about."""

    frozen: GraphModule  # fake-quantized, with integer codes
    ranges: tuple[TensorRange, ...]
    steps: tuple[Step, ...]  # none when nothing but ranges and weights was asked for


class CalibrationImages(Protocol):
    """The images of a calibration; any part of them can be read again."""

    def __len__(self) -> int:
        """Number of images, at least 1."""

    def batches(self, start: int, stop: int) -> Iterator[Tensor]:
        """Images start..stop-1, float32 (N, 3, H, W), normalized."""


@dataclass(frozen=True)
class Reports:
    """Where the progress of a long quantization goes; None: nowhere."""

    images: Callable[[int], None] | None = None  # images of one more batch, in passes over all of them
    step: Callable[[str], None] | None = None  # name of the step that begins

    def begin(self, step: str) -> None:
        """Say which step begins."""
        if self.step is not None:
            self.step(step)


NO_REPORTS = Reports()


def post_training_quantize(
    model: nn.Module,
    preprocess: PreprocessSpec,
    images: CalibrationImages,
    options: PtqOptions,
    reports: Reports = NO_REPORTS,
) -> PtqResult:
    """Quantize a network without training.

    Each step that can be undone (equalization, adaptive rounding, bias correction) is kept when it lowers
    `output_error` on images that it has not seen, as far as there are enough images.

    Args:
        model: float32, NCHW; not changed.
        preprocess: input contract.
        images: for calibration.
        options: which steps.
        reports: progress.
    Returns:
        The network with integer codes.
    Raises:
        EdgedetError: what the steps raise.
    """
    lowered = lower_activations(fold_batch_norm(model))
    pixels = input_params(preprocess)
    again = list(images.batches(0, min(AUTO_IMAGES, len(images))))

    def quantized_with(graph: GraphModule) -> tuple[GraphModule, tuple[TensorRange, ...], GraphModule]:
        reports.begin("ranges")
        prepared = prepare(graph, pixels)
        ranges = find_ranges(prepared, images.batches(0, len(images)), again, options.ranges, reports.images)
        calibrated = set_ranges(prepared, {r.name: (r.low, r.high) for r in ranges})
        return prepared, ranges, quantize_weights(calibrated, options.weights)

    prepared, ranges, quantized = quantized_with(lowered)
    if not (options.equalize or options.adaround or options.bias_correction):
        return PtqResult(freeze(quantized), ranges, ())
    fitting, judging = split_images(len(images), images_for_walk(preprocess.width, preprocess.height))
    referee = _Referee(prepared, list(images.batches(*judging)))
    error = referee.judge(quantized)
    steps = [Step("ranges and weights", error, kept=True)]
    if options.equalize:
        equal, channels = equalize(lowered)
        if channels:
            other = quantized_with(equal)
            error, kept = referee.compare(other[2], error, f"equalize {channels} channels", steps)
            prepared, ranges, quantized = other if kept else (prepared, ranges, quantized)
    batches = list(images.batches(*fitting))
    if options.adaround:
        reports.begin("adaptive rounding")
        rounded = adaround(prepared, quantized, batches, options.seed)
        error, kept = referee.compare(rounded, error, "adaptive rounding", steps)
        quantized = rounded if kept else quantized
    if options.bias_correction:
        reports.begin("bias correction")
        corrected = correct_biases(prepared, quantized, batches)
        error, kept = referee.compare(corrected, error, "bias correction", steps)
        quantized = corrected if kept else quantized
    return PtqResult(freeze(quantized), ranges, tuple(steps))


def split_images(count: int, walk: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Which images steps learn from, and which judge them.

    Args:
        count: images, at least 1.
        walk: as many as a walk takes at most.
    Returns:
        (start, stop) of both, apart from each other; of the same images when there are fewer than MIN_TO_SPLIT.
    """
    if count < MIN_TO_SPLIT:
        return (0, min(count, walk)), (0, min(count, walk))
    fit = min(walk, count * 3 // 4)
    return (0, fit), (fit, min(count, fit + max(walk // 2, 1)))


class _Referee:
    """Compares quantized networks with the float network on the same images."""

    def __init__(self, prepared: GraphModule, batches: Sequence[Tensor]) -> None:
        self._batches = batches
        self._exact = [run_exact(prepared, batch) for batch in batches]

    def judge(self, quantized: GraphModule) -> float:
        """`output_error` of a network."""
        with torch.no_grad():
            outputs = [quantized(batch.contiguous(memory_format=torch.channels_last)) for batch in self._batches]
        return output_error(self._exact, [[o] if isinstance(o, Tensor) else list(o) for o in outputs])

    def compare(self, candidate: GraphModule, before: float, name: str, steps: list[Step]) -> tuple[float, bool]:
        """Judge a step, note it, and say which error stands and whether the step is kept."""
        error = self.judge(candidate)
        kept = error < before
        steps.append(Step(name, error, kept))
        return min(error, before), kept


def output_error(exact: Sequence[Sequence[Tensor]], outputs: Sequence[Sequence[Tensor]]) -> float:
    """Mean over the outputs of squared error divided by variance (about the channel's mean).

    Args:
        exact: of each batch the outputs of the float network, float32 (N, C, H, W) each.
        outputs: of the quantized network, same shapes.
    Returns:
        0 for equal outputs; 1 for outputs that only know the mean.
    """
    errors = []
    for exact_parts, parts in zip(zip(*exact, strict=True), zip(*outputs, strict=True), strict=True):
        y = torch.cat(exact_parts).double()
        variance = float((y - y.mean((0, 2, 3), keepdim=True)).square().sum())
        error = float((y - torch.cat(parts).double()).square().sum())
        errors.append(error / max(variance, _TINY))
    return float(np.mean(errors))
