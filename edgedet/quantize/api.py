"""Quantization from end to end: checkpoint and images in, `model_int8.tflite` and its papers out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.check.whole import left_out_text
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.escape import json_text
from edgedet.fileio import require_out_folder, write_text
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.graph import Graph
from edgedet.net.checkpoint import load_checkpoint
from edgedet.outputs.folder import added_files
from edgedet.outputs.lock import hold_output
from edgedet.outputs.page_files import page_names
from edgedet.progress import Stopwatch
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.calibration.images import (
    ImageFiles,
    Manifest,
    check_enough,
    check_not_constant,
    draw_whole,
    make_manifest,
)
from edgedet.quantize.calibration.observers import MinMaxObserver
from edgedet.quantize.calibration.range_choice import RangePlan
from edgedet.quantize.calibration.ranges import PERCENTILE
from edgedet.quantize.calibration.source import calibration_split
from edgedet.quantize.fx.fake_quant import Observer
from edgedet.quantize.fx.int16 import AUTO, groups_of, widen
from edgedet.quantize.fx.prepare import freeze, prepare_model
from edgedet.quantize.fx.settle_scales import disagreements
from edgedet.quantize.fx.to_graph import QuantizedModel, graph_from_fx
from edgedet.quantize.ptq.pipeline import (
    EFFORTS,
    MIN_TO_SPLIT,
    PtqOptions,
    PtqResult,
    Reports,
    post_training_quantize,
)
from edgedet.quantize.report import QuantizeReport, options_json
from edgedet.threads import torch_threads

METHODS = ("ptq",)

MODEL_FILE = "model_int8.tflite"
MANIFEST_FILE = "calibration.json"
REPORT_FILE = "report.json"
# About the model of an earlier run; they go with it.
STALE_FILES = frozenset(
    {MODEL_FILE, "model_int8.rejected.tflite", "waterfall.svg", "inspect.csv", "inspect.json", "inspect.svg"}
)
FEW_IMAGES = 32  # calibration images, below which the report warns


@dataclass(frozen=True)
class QuantizeRequest:
    """What to quantize, and how."""

    checkpoint: Path
    data: DataPaths
    out: Path  # folder, made when absent
    method: str = "ptq"  # post-training quantization
    images: Path | None = None  # folder of pictures to calibrate on, in place of the training split
    calib_images: int = 128  # drawn from the training split; all of it when it has fewer
    seed: int = 0  # decides which images, and where adaptive rounding looks
    effort: str = "normal"  # one of EFFORTS: which steps; the options below change single ones, None leaves them
    calibration: str | None = None  # one of range_choice.CALIBRATIONS
    calibration_for: tuple[tuple[str, str], ...] = ()  # (layer, calibrator)
    percentile: float = PERCENTILE
    weights: str | None = None  # minmax | mse
    equalize: bool | None = None
    adaround: bool | None = None
    bias_correction: bool | None = None
    int16: tuple[str, ...] = ()  # layers whose result is int16 (16x8 operators); ("auto",): where it helps
    threads: int = 1  # torch's; another number changes float sums in the last bit, and with them the file

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"`method` {self.method!r}: expected one of {', '.join(METHODS)}")
        if self.effort not in EFFORTS:
            raise ConfigError(f"`effort` {self.effort!r}: expected one of {', '.join(EFFORTS)}")
        for argument, value in (("calib_images", self.calib_images), ("threads", self.threads)):
            if value < 1:
                raise ConfigError(f"`{argument}` {value}: expected at least 1")
        _ = self.options  # raises

    @property
    def options(self) -> PtqOptions:
        """The steps that effort and single options add up to.

        Raises:
            ConfigError: an unknown calibrator or weight method, or a percentile out of range.
        """
        chosen = EFFORTS[self.effort]
        ranges = RangePlan(self.calibration or chosen.ranges.method, self.calibration_for, self.percentile)
        switches = {
            name: chosen_by_user
            for name in ("weights", "equalize", "adaround", "bias_correction")
            if (chosen_by_user := getattr(self, name)) is not None
        }
        return replace(chosen, ranges=ranges, seed=self.seed, int16=self.int16, **switches)


def quantize_model(
    model: nn.Module,
    preprocess: PreprocessSpec,
    outputs: OutputSpec,
    batches: Iterable[Tensor],
    new_observer: Callable[[], Observer] = MinMaxObserver,
    int16: Sequence[str] = (),
) -> QuantizedModel:
    """Quantize a network in memory.

    Args:
        model: float32, NCHW, one input, a tuple of outputs in contract order; not changed.
        preprocess: input contract.
        outputs: output contract.
        batches: float32 (N, C, H, W), normalized, for calibration.
        new_observer: makes the observer of one group.
        int16: layers whose result is int16; see `edgedet.quantize.fx.int16`.
    Returns:
        The fake-quantized network and the int8 graph.
    Raises:
        EdgedetError: what the steps raise.
    """
    prepared = prepare_model(model, preprocess)
    if int16:
        prepared = widen(prepared, groups_of(prepared, int16))
    fake_quant = freeze(calibrate(prepared, batches, new_observer))
    return QuantizedModel(fake_quant, graph_from_fx(fake_quant, preprocess, outputs))


@dataclass(frozen=True, eq=False)
class FloatNetwork:
    """What post-training quantization takes, wherever it comes from."""

    module: nn.Module  # float32, NCHW, one input, a tuple of outputs in contract order
    preprocess: PreprocessSpec
    outputs: OutputSpec
    notes: tuple[str, ...] = ()  # for the report
    # Last change of the int8 graph, for contracts that only its tensors tell; None: nothing.
    describe: Callable[[Graph], Graph] | None = None


def quantize_checkpoint(
    request: QuantizeRequest,
    progress: Callable[[int, int], None] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> QuantizeReport:
    """Quantize a checkpoint and write the model, the calibration manifest and the report.

    Nothing is written before everything is computed; the files appear, and replace earlier ones, all at once.

    Args:
        request: what and how.
        progress: called with (images done, images in all) during calibration.
        on_step: called with the name of each long step when it begins.
    Returns:
        The report that also stands in report.json.
    Raises:
        CheckpointError, DataError, ConfigError, ConversionError, UnsupportedOpError: nothing was written.
    """
    require_out_folder(request.out, "`out`")
    with hold_output(request.out):
        watch = Stopwatch()
        checkpoint = load_checkpoint(request.checkpoint).int8_form()
        network = FloatNetwork(checkpoint.build(), checkpoint.preprocess, checkpoint.outputs)
        watch.lap("load")
        split = calibration_split(request.checkpoint, checkpoint.outputs, request.data, request.images)
        return quantize_network(network, split, request, watch, progress, on_step)


def quantize_network(
    network: FloatNetwork,
    split: CocoSplit,
    request: QuantizeRequest,
    watch: Stopwatch,
    progress: Callable[[int, int], None] | None = None,
    on_step: Callable[[str], None] | None = None,
) -> QuantizeReport:
    """Quantize a network in memory and write the model, the calibration manifest and the report.

    Args:
        network: what to quantize.
        split: images to draw from.
        request: how, and where to; its checkpoint and data are only named.
        watch: running; the steps are added to it.
        progress: called with (images done, images in all) during calibration.
        on_step: called with the name of each long step when it begins.
    Returns:
        The report that also stands in report.json.
    Raises:
        DataError, ConfigError, ConversionError, UnsupportedOpError: nothing was written.
    """
    split, records = draw_whole(split, request.calib_images, request.seed, request.data.skip_broken)
    check_enough(records, request.calib_images, split)
    check_not_constant(records)
    options = {**options_json(request.options), "threads": request.threads}
    manifest = make_manifest(records, split, network.preprocess, request.method, request.seed, options)
    watch.lap("data")
    images = ImageFiles(records, network.preprocess)
    reports = Reports(_counter(len(records), progress), on_step)
    with torch_threads(request.threads):
        result = post_training_quantize(network.module, network.preprocess, images, request.options, reports)
    watch.lap("quantize")
    graph = graph_from_fx(result.frozen, network.preprocess, network.outputs)
    if network.describe is not None:
        graph = network.describe(graph)
    data = serialize(graph)
    watch.lap("convert")
    report = _report(request, QuantizedModel(result.frozen, graph), result, data, len(records), watch.laps)
    report = replace(report, notes=(*network.notes, *report.notes, *left_out_text((split,))))
    write_quantized(request.out, data, manifest, report.to_json())
    return report


def write_quantized(out: Path, data: bytes, manifest: Manifest, report: dict[str, Any], name: str = MODEL_FILE) -> None:
    """Write model, calibration manifest and report, which replace earlier ones all at once.

    Args:
        out: folder.
        data: bytes of the `.tflite`.
        manifest: of the calibration images.
        report: JSON-able.
        name: of the model; another one when it was refused, and MODEL_FILE is absent then.
    Raises:
        OutputError: they can't be written; earlier ones are still there.
    """
    with added_files(out, REPORT_FILE, page_names(out) | STALE_FILES - {name}) as folder:
        (folder / name).write_bytes(data)
        write_text(folder / MANIFEST_FILE, manifest.to_json())
        write_text(folder / REPORT_FILE, json_text(report))


def _counter(total: int, progress: Callable[[int, int], None] | None) -> Callable[[int], None] | None:
    """Adds up the images of each pass."""
    if progress is None:
        return None
    done = 0

    def count(images: int) -> None:
        nonlocal done
        done = done % total + images
        progress(done, total)

    return count


def _report(
    request: QuantizeRequest,
    quantized: QuantizedModel,
    result: PtqResult,
    data: bytes,
    images: int,
    laps: list[tuple[str, float]],
) -> QuantizeReport:
    return QuantizeReport(
        model=request.out / MODEL_FILE,
        manifest=request.out / MANIFEST_FILE,
        report=request.out / REPORT_FILE,
        sha256=hashlib.sha256(data).hexdigest(),
        model_bytes=len(data),
        operators=tuple(Counter(operator.kind for operator in quantized.graph.operators).most_common()),
        scale_groups=quantized.scale_groups,
        method=request.method,
        effort=request.effort,
        options=request.options,
        ranges=result.ranges,
        steps=result.steps,
        int16=result.int16,
        calib_images_asked=request.calib_images,
        calib_images=images,
        seed=request.seed,
        seconds=tuple(laps),
        notes=tuple(_notes(request, result, images)),
    )


def _notes(request: QuantizeRequest, result: PtqResult, images: int) -> list[str]:
    """What a user should know."""
    notes = []
    if images < request.calib_images:
        notes.append(f"{request.calib_images} calibration images were asked for, there are {images}: all used")
    if images < FEW_IMAGES:
        notes.append(
            f"only {images} calibration images: the ranges depend on which these are"
            + (", and steps were judged on the images that they learned from" if images < MIN_TO_SPLIT else "")
            + "; 100 or more are better"
        )
    pairs = zip(result.steps, result.steps[1:], strict=False)
    if any(step.name.startswith("int16") and step.kept and step.error > before.error for before, step in pairs):
        notes.append(
            "int16 made the error of the outputs larger than int8 alone: other errors no longer cancel; see the steps"
        )
    differing = disagreements(result.frozen)
    if differing:
        notes.append(
            f"TFLite's reference kernels and TFLite Micro may differ by one step at {', '.join(differing)}: no scale "
            "near the calibrated one makes them agree"
        )
    if request.int16 == (AUTO,) and not result.int16:
        notes.append("`int16` auto: no layer is worth it, everything is int8 (see the steps)")
    return notes
