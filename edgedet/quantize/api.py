"""Quantization from end to end: checkpoint and images in, `model_int8.tflite` and its papers out."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule

from edgedet.convert.flatbuffer import serialize
from edgedet.convert.from_fx import graph_from_fx
from edgedet.convert.graph import Graph
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.fileio import atomic_write_bytes, atomic_write_text
from edgedet.quantize.calibrate import calibrate, freeze
from edgedet.quantize.calibration_data import draw_images, image_batches, make_manifest
from edgedet.quantize.fake_quant import FakeQuant
from edgedet.quantize.fold import fold_batch_norm
from edgedet.quantize.lower import lower_activations
from edgedet.quantize.observers import MinMaxObserver, Observer
from edgedet.quantize.prepare import prepare
from edgedet.quantize.qparams import input_params
from edgedet.structs import OutputSpec, PreprocessSpec
from edgedet.train.checkpoint import load_checkpoint

# Calibration method -> observer of one shared-scale group.
METHODS: dict[str, Callable[[], Observer]] = {"ptq": MinMaxObserver}

MODEL_FILE = "model_int8.tflite"
MANIFEST_FILE = "calibration.json"
REPORT_FILE = "report.json"


@dataclass(frozen=True)
class QuantizeRequest:
    """What to quantize, and how."""

    checkpoint: Path
    data: DataPaths
    out: Path  # folder, made when absent
    method: str = "ptq"  # ptq: min-max ranges, per-channel weights
    calib_images: int = 128  # drawn from the training split; all of it when it has fewer
    seed: int = 0  # decides which images

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"--method {self.method!r}: expected one of {', '.join(METHODS)}")
        if self.calib_images < 1:
            raise ConfigError(f"--calib-images {self.calib_images}: expected at least 1")


@dataclass(frozen=True)
class QuantizeReport:
    """What came out of `quantize_checkpoint`."""

    model: Path
    manifest: Path
    report: Path
    sha256: str  # of the model file
    model_bytes: int
    operators: tuple[tuple[str, int], ...]  # kind and how often, most frequent first
    scale_groups: int  # groups of activations that share a scale
    method: str
    calib_images_asked: int
    calib_images: int  # used
    seed: int
    seconds: tuple[tuple[str, float], ...]  # step and its wall-clock time
    notes: tuple[str, ...] = ()  # what a user should know

    def text(self) -> str:
        """Lines for people, each with its line end."""
        operators = ", ".join(f"{kind} {count}" for kind, count in self.operators)
        seconds = ", ".join(f"{step} {value:.2f}" for step, value in self.seconds)
        lines = [
            f"model:       {self.model} ({self.model_bytes:,} bytes, sha256 {self.sha256[:16]})",
            f"calibration: {self.calib_images} images, method {self.method}, seed {self.seed} -> {self.manifest}",
            f"operators:   {sum(count for _, count in self.operators)} ({operators})",
            f"scales:      {self.scale_groups} groups of activations",
            f"seconds:     {seconds}",
            *(f"note:        {note}" for note in self.notes),
        ]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict; paths as strings."""
        content = asdict(self)
        for key in ("model", "manifest", "report"):
            content[key] = str(content[key])
        content["notes"] = list(self.notes)
        content["operators"] = dict(self.operators)
        content["seconds"] = {step: round(value, 4) for step, value in self.seconds}
        return content


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """A network in its two forms, with the same numbers in both."""

    fake_quant: GraphModule  # float32 NCHW in and out, every value on its int8 grid
    graph: Graph  # int8, NHWC

    @property
    def scale_groups(self) -> int:
        """Number of groups of activations that share a scale."""
        return sum(isinstance(module, FakeQuant) for module in self.fake_quant.modules())


def prepare_model(model: nn.Module, preprocess: PreprocessSpec) -> GraphModule:
    """Fold, lower and prepare a float network; the result can be calibrated.

    Args:
        model: float32, NCHW; not changed.
        preprocess: input contract.
    Returns:
        The graph with one FakeQuant for each group of tensors that share a scale.
    Raises:
        ConversionError, UnsupportedOpError: see `fold_batch_norm`, `lower_activations`, `prepare`.
    """
    return prepare(lower_activations(fold_batch_norm(model)), input_params(preprocess))


def quantize_model(
    model: nn.Module,
    preprocess: PreprocessSpec,
    outputs: OutputSpec,
    batches: Iterable[Tensor],
    new_observer: Callable[[], Observer] = MinMaxObserver,
) -> QuantizedModel:
    """Quantize a network in memory.

    Args:
        model: float32, NCHW, one input, a tuple of outputs in contract order; not changed.
        preprocess: input contract.
        outputs: output contract.
        batches: float32 (N, 3, H, W), normalized, for calibration.
        new_observer: makes the observer of one group.
    Returns:
        The fake-quantized network and the int8 graph.
    Raises:
        EdgedetError: what the steps raise.
    """
    fake_quant = freeze(calibrate(prepare_model(model, preprocess), batches, new_observer))
    return QuantizedModel(fake_quant, graph_from_fx(fake_quant, preprocess, outputs))


def quantize_checkpoint(request: QuantizeRequest, progress: Callable[[int, int], None] | None = None) -> QuantizeReport:
    """Quantize a checkpoint and write the model, the calibration manifest and the report.

    Nothing is written before everything is computed; each file appears whole.

    Args:
        request: what and how.
        progress: called with (images done, images in all) during calibration.
    Returns:
        The report that also stands in report.json.
    Raises:
        CheckpointError, DataError, ConfigError, ConversionError, UnsupportedOpError: nothing was written.
    """
    if request.out.exists() and not request.out.is_dir():
        raise ConfigError(f"--out {request.out}: is a file, expected a folder or a new name")
    watch = _Stopwatch()
    checkpoint = load_checkpoint(request.checkpoint)
    model = checkpoint.build()
    watch.lap("load")
    split = request.data.load("train")
    records = draw_images(split, request.calib_images, request.seed)
    manifest = make_manifest(records, split, checkpoint.preprocess, request.method, request.seed)
    watch.lap("data")
    prepared = prepare_model(model, checkpoint.preprocess)
    watch.lap("prepare")
    done = 0

    def count(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done, len(records))

    batches = image_batches(records, checkpoint.preprocess)
    fake_quant = freeze(calibrate(prepared, batches, METHODS[request.method], count))
    watch.lap("calibrate")
    quantized = QuantizedModel(fake_quant, graph_from_fx(fake_quant, checkpoint.preprocess, checkpoint.outputs))
    data = serialize(quantized.graph)
    watch.lap("convert")
    report = _report(request, quantized, data, len(records), watch.laps)
    atomic_write_text(report.manifest, manifest.to_json())
    atomic_write_bytes(report.model, data)
    atomic_write_text(report.report, json.dumps(report.to_json(), indent=1) + "\n")
    return report


class _Stopwatch:
    """Wall-clock seconds of consecutive steps."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self.laps: list[tuple[str, float]] = []

    def lap(self, name: str) -> None:
        """End a step."""
        now = time.perf_counter()
        self.laps.append((name, now - self._since))
        self._since = now


def _report(
    request: QuantizeRequest, quantized: QuantizedModel, data: bytes, images: int, laps: list[tuple[str, float]]
) -> QuantizeReport:
    notes = []
    if images < request.calib_images:
        notes.append(
            f"{request.calib_images} calibration images were asked for, the training split has {images}: all used"
        )
    return QuantizeReport(
        model=request.out / MODEL_FILE,
        manifest=request.out / MANIFEST_FILE,
        report=request.out / REPORT_FILE,
        sha256=hashlib.sha256(data).hexdigest(),
        model_bytes=len(data),
        operators=tuple(Counter(operator.kind for operator in quantized.graph.operators).most_common()),
        scale_groups=quantized.scale_groups,
        method=request.method,
        calib_images_asked=request.calib_images,
        calib_images=images,
        seed=request.seed,
        seconds=tuple(laps),
        notes=tuple(notes),
    )
