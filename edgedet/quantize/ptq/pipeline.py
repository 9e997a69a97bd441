"""Post-training quantization in full: equalization, ranges, weights, rounding, biases, each step on its own switch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgedet.contracts import PreprocessSpec
from edgedet.errors import ConfigError
from edgedet.quantize.calibration.calibrate import set_ranges
from edgedet.quantize.calibration.range_choice import AUTO_IMAGES, RangePlan, TensorRange, find_ranges
from edgedet.quantize.fx.fold import fold_batch_norm
from edgedet.quantize.fx.int16 import AUTO, check_int16_option, groups_of, int16_names, layer_quants, widen
from edgedet.quantize.fx.lower_activations import lower_activations
from edgedet.quantize.fx.prepare import freeze, prepare, refuse_exponential_boxes
from edgedet.quantize.fx.qparams import input_params
from edgedet.quantize.fx.walk import images_for_walk, output_error, run_exact
from edgedet.quantize.ptq.adaround import adaround
from edgedet.quantize.ptq.bias_correction import correct_biases
from edgedet.quantize.ptq.equalize import equalize
from edgedet.quantize.ptq.int16_choice import choose_int16
from edgedet.quantize.ptq.weights import WEIGHT_METHODS, quantize_weights

# What `output_error` means, for people.
ERROR_MEANS = (
    "output error: squared error of the outputs in parts of their variance, on calibration images; 0 %: as the float "
    "network, 100 %: only the mean is left"
)
MIN_TO_SPLIT = 8  # calibration images; with fewer, steps are judged on the images that they learned from


@dataclass(frozen=True)
class PtqOptions:
    """The steps of post-training quantization, each on its own switch."""

    ranges: RangePlan = field(default_factory=RangePlan)  # activations
    weights: str = "minmax"  # or mse: clipped where the squared error is least
    equalize: bool = False  # cross-layer equalization, kept where it lowers the error of the network's outputs
    adaround: bool = False  # each weight up or down, whichever serves the layer's output
    bias_correction: bool = False  # give every channel the mean that it has in the float network
    int16: tuple[str, ...] = ()  # layers whose result is int16; ("auto",): where int8 does most of the damage
    seed: int = 0  # of the positions that adaround looks at

    def __post_init__(self) -> None:
        if self.weights not in WEIGHT_METHODS:
            raise ConfigError(f"`weights` {self.weights!r}: expected one of {', '.join(WEIGHT_METHODS)}")
        check_int16_option(self.int16)


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
    int16: tuple[str, ...] = ()  # first layers of the groups whose results are int16


class CalibrationImages(Protocol):
    """The images of a calibration; any part of them can be read again."""

    def __len__(self) -> int:
        """Number of images, at least 1."""

    def batches(self, start: int, stop: int) -> Iterator[Tensor]:
        """Images start..stop-1, float32 (N, C, H, W), normalized."""


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
    refuse_exponential_boxes(model)
    ptq = _Ptq(preprocess, images, options, reports)
    lowered = lower_activations(fold_batch_norm(model))
    start = ptq.quantized(lowered)
    improves = options.equalize or options.adaround or options.bias_correction
    if not (improves or options.int16):
        return PtqResult(freeze(start.quantized), start.used, ())
    fitting, judging = split_images(len(images), images_for_walk(preprocess.width, preprocess.height))
    referee = _Referee(start.prepared, list(images.batches(*judging)))
    referee.steps.append(Step("ranges and weights", referee.judge(start.quantized), kept=True))
    batches = list(images.batches(*fitting))
    names: tuple[str, ...] = ()
    if options.int16:
        start, names = ptq.with_int16(start, batches, referee)
    if options.equalize:
        equal, channels = equalize(lowered)
        if channels:
            other = ptq.widened(ptq.quantized(equal), names)
            start = other if referee.accepts(other.quantized, f"equalize {channels} channels") else start
    quantized = start.quantized
    if options.adaround:
        reports.begin("adaptive rounding")
        rounded = adaround(start.prepared, quantized, batches, options.seed)
        quantized = rounded if referee.accepts(rounded, "adaptive rounding") else quantized
    if options.bias_correction:
        reports.begin("bias correction")
        if quantized is start.quantized:
            corrected = correct_biases(start.prepared, quantized, batches)
        else:
            corrected = adaround(start.prepared, start.quantized, batches, options.seed, biases=True)
        quantized = corrected if referee.accepts(corrected, "bias correction") else quantized
    return PtqResult(freeze(quantized), start.used, tuple(referee.steps), start.wide)


@dataclass(frozen=True, eq=False)
class _Stage:
    """A network between two steps."""

    prepared: GraphModule  # float
    ranges: tuple[TensorRange, ...]  # for int8
    used: tuple[TensorRange, ...]  # those of int16 tensors in their place
    quantized: GraphModule  # ranges and weights decided

    @property
    def wide(self) -> tuple[str, ...]:
        """Names of the groups whose results are int16."""
        return int16_names(self.prepared)


@dataclass(frozen=True, eq=False)
class _Ptq:
    """What all steps know."""

    preprocess: PreprocessSpec
    images: CalibrationImages
    options: PtqOptions
    reports: Reports

    def quantized(self, lowered: GraphModule) -> _Stage:
        """Ranges and weights of a lowered network, int8 throughout."""
        self.reports.begin("ranges")
        prepared = prepare(lowered, input_params(self.preprocess))
        if self.options.int16 not in ((), (AUTO,)):
            groups_of(prepared, self.options.int16)  # raises, before anything takes long
        count = len(self.images)
        again = list(self.images.batches(0, min(AUTO_IMAGES, count)))
        ranges = find_ranges(prepared, self.images.batches(0, count), again, self.options.ranges, self.reports.images)
        return self._stage(prepared, ranges)

    def widened(self, stage: _Stage, names: tuple[str, ...]) -> _Stage:
        """The same with int16 results in these groups; their ranges are not clipped, unless the user said so."""
        if not names:
            return stage
        prepared = widen(stage.prepared, names)
        quants = layer_quants(stage.prepared)
        said = {quants[layer].name for layer, _ in self.options.ranges.per_tensor}
        wide = set(int16_names(prepared)) - said
        return self._stage(prepared, stage.ranges, tuple(r.unclipped if r.name in wide else r for r in stage.ranges))

    def with_int16(self, stage: _Stage, batches: Sequence[Tensor], referee: _Referee) -> tuple[_Stage, tuple[str, ...]]:
        """The network with int16 where the options say, and the groups that were asked for or chosen."""
        chooses = self.options.int16 == (AUTO,)
        if chooses:
            self.reports.begin("choice of int16 layers")
            names = choose_int16(stage.prepared, stage.quantized, batches)
        else:
            names = groups_of(stage.prepared, self.options.int16)
        if not names:
            return stage, ()
        wider = self.widened(stage, names)
        # What was asked for by name is not undone.
        kept = referee.accepts(wider.quantized, f"int16 results of {', '.join(wider.wide)}", always=not chooses)
        return (wider, names) if kept else (stage, ())

    def _stage(
        self, prepared: GraphModule, ranges: tuple[TensorRange, ...], wide: tuple[TensorRange, ...] | None = None
    ) -> _Stage:
        """Decide scales and weights; `wide`: ranges of the tensors that are int16."""
        wide = ranges if wide is None else wide
        calibrated = set_ranges(prepared, *({r.name: (r.low, r.high) for r in found} for found in (ranges, wide)))
        return _Stage(prepared, ranges, wide, quantize_weights(calibrated, self.options.weights))


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
    """Compares quantized networks with the float network on the same images, and keeps the minutes."""

    def __init__(self, prepared: GraphModule, batches: Sequence[Tensor]) -> None:
        self._batches = batches
        self._exact = [run_exact(prepared, batch) for batch in batches]
        self.steps: list[Step] = []

    def judge(self, quantized: GraphModule) -> float:
        """`output_error` of a network."""
        with torch.no_grad():
            outputs = [quantized(batch.contiguous(memory_format=torch.channels_last)) for batch in self._batches]
        return output_error(self._exact, [[o] if isinstance(o, Tensor) else list(o) for o in outputs])

    def accepts(self, candidate: GraphModule, name: str, always: bool = False) -> bool:
        """Judge a step against the last one that was kept, note it, and say whether it is kept."""
        error = self.judge(candidate)
        before = next(step.error for step in reversed(self.steps) if step.kept)
        self.steps.append(Step(name, error, always or error < before))
        return self.steps[-1].kept
