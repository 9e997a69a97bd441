"""Activation substitution: SiLU and channel attention out of a trained checkpoint, then a few epochs of fine-tuning."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from edgedet.config import ACTIVATIONS, ModelConfig, ModelFile, PreprocessConfig, TrainConfig
from edgedet.data.check.content import load_for_training
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.escape import json_text
from edgedet.evaluate.evaluator import evaluate, sha256_of
from edgedet.evaluate.figures.reading import Sentence, finds_nothing
from edgedet.fileio import atomic_write_text
from edgedet.finetune.settings import require_checkpoint_classes, training_settings
from edgedet.finetune.swap import substitute
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.graph import Graph
from edgedet.graph.summary import summarize
from edgedet.net.checkpoint import Checkpoint, load_checkpoint
from edgedet.net.rtmdet import channels_last
from edgedet.net.runtime import TorchRuntime
from edgedet.notebook import Brief, html_table, short_path
from edgedet.outputs.lock import hold_output
from edgedet.quantize.api import quantize_model
from edgedet.quantize.calibration.images import draw_images, image_batches
from edgedet.runtimes.tflm_arena import measure_arena
from edgedet.texts import counted
from edgedet.training.loop import Run, refuse_existing, require_statistics, run_training
from edgedet.training.parallel.hardware import Hardware, choose_hardware
from edgedet.training.parallel.processes import process_group
from edgedet.training.warm_start import Start

REPORT_FILE = "substitute.json"
COST_IMAGES = 8  # ranges do not matter for the cost, but a graph needs some


@dataclass(frozen=True)
class SubstituteRequest:
    """What to replace, and how long to fine-tune."""

    checkpoint: Path
    data: DataPaths
    out: Path  # folder of the fine-tuning run: last.pt, best.pt, history.json, substitute.json
    activation: str | None = None  # relu | relu6 | hardswish (or silu); None: as it is
    channel_attention: bool = True  # False: drop it
    epochs: int = 20
    batch: int = 16
    lr: float = 1e-3  # peak; half of a training from scratch
    images: int = 128  # training images for BatchNorm statistics and mean attention
    seed: int = 0
    threads: int = 0  # torch's; 0: all cores
    resume: bool = False
    quiet: bool = False
    device: str = "auto"  # auto | cpu | cuda | cuda:N | mps; for fine-tuning and AP
    precision: str = "auto"  # auto | float32 | bfloat16 | float16
    workers: int | None = None  # processes that draw batches; None: as many as suit the device

    def __post_init__(self) -> None:
        if self.activation is not None and self.activation not in ACTIVATIONS:
            raise ConfigError(f"`activation` {self.activation!r}: expected one of {', '.join(ACTIVATIONS)}")
        if self.activation is None and self.channel_attention:
            raise ConfigError("nothing to substitute: give `activation`, `channel_attention` (to drop it), or both")
        for name in ("epochs", "batch", "lr", "images"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} of the substitution must be positive, got {getattr(self, name)}")


@dataclass(frozen=True, repr=False)
class Cost(Brief):
    """What a network costs on the chip, in int8."""

    operators: tuple[tuple[str, int], ...]  # kind and how often, most frequent first
    macs: int
    peak_activation_bytes: int
    arena_bytes: int | None  # TFLite Micro's, measured; None: the tflite_micro wheel is absent
    model_bytes: int

    @property
    def operator_count(self) -> int:
        """All operators."""
        return sum(count for _, count in self.operators)


@dataclass(frozen=True, repr=False)
class SubstituteReport:
    """What a substitution did to accuracy and cost. All APs are float, of the same images."""

    checkpoint: Path  # fine-tuned
    activation: str
    channel_attention: bool
    ap_before: float
    ap_substituted: float  # before fine-tuning
    ap_tuned: float  # after the last epoch
    epochs: int
    cost_before: Cost
    cost_after: Cost
    reading: tuple[Sentence, ...] = ()  # what stands out in the curves of loss and AP
    run: Run | None = field(default=None, repr=False, compare=False)  # of the fine-tuning, as it was done

    def __repr__(self) -> str:
        return f"<SubstituteReport {short_path(self.checkpoint)}: AP {self.ap_tuned:.3f}, before {self.ap_before:.3f}>"

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        title = f"Substituted: {self.activation}, {counted(self.epochs, 'epoch')}"
        return html_table(title, rows, head, [sentence.text() for sentence in self.reading])

    def __str__(self) -> str:
        return self.text()

    def _rows(self) -> list[tuple[str, str, str]]:
        """Name, before, after; the first row is the head."""
        before, after = self.cost_before, self.cost_after
        return [
            ("", "before", "after"),
            ("AP (float)", f"{self.ap_before:.4f}", f"{self.ap_tuned:.4f}"),
            ("AP without tuning", "", f"{self.ap_substituted:.4f}"),
            ("operators", str(before.operator_count), str(after.operator_count)),
            ("MACs", f"{before.macs:,}", f"{after.macs:,}"),
            ("peak of activations", f"{before.peak_activation_bytes:,}", f"{after.peak_activation_bytes:,}"),
            ("arena (TFLM)", _bytes_text(before.arena_bytes), _bytes_text(after.arena_bytes)),
            ("model bytes", f"{before.model_bytes:,}", f"{after.model_bytes:,}"),
        ]

    def text(self) -> str:
        """Lines for people, each with its line end."""
        nothing = finds_nothing(self.ap_tuned)
        attention = "with" if self.channel_attention else "without"
        table = "".join(f"  {name:<20}{old:>14}{new:>14}\n" for name, old, new in self._rows())
        return (
            f"substituted: {self.activation}, {attention} channel attention, {counted(self.epochs, 'epoch')} -> "
            f"{self.checkpoint}\n{table}"
            + ("" if nothing is None else f"note: {nothing.text()}\n")
            + "".join(f"reading: {sentence.text()}\n" for sentence in self.reading)
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict; paths as strings."""
        content = asdict(replace(self, run=None))
        del content["run"]
        content["checkpoint"] = str(self.checkpoint)
        for key in ("cost_before", "cost_after"):
            content[key]["operators"] = dict(content[key]["operators"])
        return content


def measure_cost(checkpoint: Checkpoint, batches: Sequence[Tensor]) -> Cost:
    """Quantize a network and measure what it needs.

    Args:
        checkpoint: float network.
        batches: float32 (N, C, H, W), normalized; a few pictures.
    Returns:
        The cost of its int8 form.
    """
    checkpoint = checkpoint.int8_form()
    graph = quantize_model(checkpoint.build(), checkpoint.preprocess, checkpoint.outputs, batches).graph
    data = serialize(graph)
    summary = summarize(graph)
    operators = Counter(operator.kind for operator in graph.operators)
    return Cost(
        tuple(operators.most_common()), summary.macs, summary.peak_activation_bytes, _arena(graph, data), len(data)
    )


def _arena(graph: Graph, data: bytes) -> int | None:
    if importlib.util.find_spec("tflite_micro") is None:
        return None
    q_input = np.zeros(graph.tensors[graph.inputs[0]].shape, np.int8)
    return measure_arena(data, graph, (q_input,))[0].measured_bytes


def substitute_checkpoint(
    request: SubstituteRequest, saved: Callable[[int], None] = lambda epochs: None
) -> SubstituteReport:
    """Substitute in a checkpoint, fine-tune, and report accuracy and cost.

    Fine-tuning is a training run with the settings of the checkpoint's own training: OUT/last.pt after every epoch,
    `resume` goes on from it.

    Args:
        request: what and how.
        saved: as of `edgedet.training.loop.train`.
    Returns:
        The report that also stands in OUT/substitute.json.
    Raises:
        CheckpointError, DataError, ConfigError: what does not fit; nothing was written.
        EdgedetError: training diverged.
    """
    refuse_existing(request.out, request.resume)
    hardware = choose_hardware(request.device, request.precision, request.workers)
    with process_group(hardware.processes, hardware.device), hold_output(request.out, hardware.processes.first):
        return _substitute(request, hardware, saved)


def _substitute(request: SubstituteRequest, hardware: Hardware, saved: Callable[[int], None]) -> SubstituteReport:
    old = load_checkpoint(request.checkpoint)
    require_statistics(request.batch, old.preprocess)
    activation, attention = _what(request, old.model_config)
    train, valid = load_for_training(request.data, old.preprocess)
    require_checkpoint_classes(old, train)
    batches = list(image_batches(draw_images(train, request.images, request.seed), old.preprocess))
    if len(batches) > 1 and len(batches[-1]) < len(batches[0]):
        batches.pop()  # statistics of a small batch would count as much as those of a full one
    new = substitute(old, activation, attention, batches)
    ap_before, ap_substituted = _ap(old, valid, hardware), _ap(new, valid, hardware)
    result = run_training(_tuning(request, old, new, train, valid, hardware), saved)

    def write() -> SubstituteReport:
        few = [batches[0][:COST_IMAGES]]
        report = SubstituteReport(
            checkpoint=result.last,
            activation=activation,
            channel_attention=new.model_config.channel_attention,
            ap_before=ap_before,
            ap_substituted=ap_substituted,
            ap_tuned=result.last_ap,
            epochs=request.epochs,
            cost_before=measure_cost(old, few),
            cost_after=measure_cost(load_checkpoint(result.last), few),
            reading=result.reading,
        )
        atomic_write_text(request.out / REPORT_FILE, json_text(report.to_json()))
        return report

    return replace(hardware.processes.from_first(write), run=result.run)


def _what(request: SubstituteRequest, old: ModelConfig) -> tuple[str, bool]:
    """Activation and channel attention of the new network.

    Raises:
        ConfigError: they are those of the old one.
    """
    activation = request.activation or old.activation
    attention = request.channel_attention and old.channel_attention
    if (activation, attention) == (old.activation, old.channel_attention):
        has = "with" if attention else "without"
        raise ConfigError(
            f"{request.checkpoint}: nothing to substitute: {old.name} is already {activation} {has} channel attention; "
            "ask for another activation, or quantize it as it is"
        )
    return activation, attention


def _ap(checkpoint: Checkpoint, split: CocoSplit, hardware: Hardware) -> float:
    network = channels_last(checkpoint.build()).to(hardware.device)
    runtime = TorchRuntime(network, checkpoint.preprocess, checkpoint.outputs)
    return evaluate(runtime, split, share=hardware.processes).ap.ap


def _tuning(
    request: SubstituteRequest,
    old: Checkpoint,
    new: Checkpoint,
    train: CocoSplit,
    valid: CocoSplit,
    hardware: Hardware,
) -> Run:
    spec = new.preprocess
    config: TrainConfig = replace(
        training_settings(old), epochs=request.epochs, batch=request.batch, lr=request.lr,
        eval_interval=max(1, request.epochs // 4), threads=request.threads,
    )  # fmt: skip
    defaults = PreprocessConfig(spec.width, spec.resize, spec.pad_value, spec.mean, spec.std, spec.channels)
    source = f"{new.model_config.name} from {sha256_of(request.checkpoint)}"
    return Run(
        out=request.out,
        file=ModelFile(new.model_config, defaults, config),
        preprocess=spec,
        outputs=new.outputs,
        train=train,
        valid=valid,
        seed=request.seed,
        resume=request.resume,
        quiet=request.quiet,
        start=Start(new.weights, source),
        hardware=hardware,
    )


def _bytes_text(value: int | None) -> str:
    return "not measured" if value is None else f"{value:,}"
