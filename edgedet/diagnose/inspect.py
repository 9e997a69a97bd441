"""Layer diagnosis: what int8 does to every layer, alone and together with all others, and which layer it hurts most."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from edgedet.data.check.content import require_bright
from edgedet.data.coco.split import CocoSplit, common_classes
from edgedet.diagnose.layers import LayerComparison, Probe
from edgedet.diagnose.outputs import OutputCheck, check_outputs
from edgedet.diagnose.rebuild import Rebuilt, rebuild
from edgedet.errors import ConfigError
from edgedet.escape import json_text
from edgedet.graph.model import load_int8_model
from edgedet.net.checkpoint import load_checkpoint
from edgedet.notebook import Brief, html_table
from edgedet.progress import Progress, Stopwatch
from edgedet.quantize.calibration.images import draw_images
from edgedet.runtimes.names import choose_send
from edgedet.runtimes.open import open_runtime
from edgedet.typed import require_whole

BATCH = 8  # pictures at once; the first batch is the one that sensitivity is measured on


@dataclass(frozen=True)
class InspectRequest:
    """What to inspect."""

    model: Path  # int8 .tflite of edgedet
    checkpoint: Path  # that the file was quantized from
    split: CocoSplit
    images: int = 32  # drawn from the split
    sensitivity_images: int = 8  # of them, at most BATCH: the network runs on them once for each layer
    seed: int = 0
    runtime: str | None = None  # whose outputs are compared with the simulator's, a board (serial:PORT) for example
    send: str | None = None  # what the board gets: tensor or image; None: tensor

    def __post_init__(self) -> None:
        choose_send(self.runtime or "none", self.send)  # raises
        require_whole(1, images=self.images)
        require_whole(seed=self.seed)
        if self.images < 1 or not 1 <= self.sensitivity_images <= BATCH:
            raise ConfigError(
                f"inspect: {self.images} images, {self.sensitivity_images} for the sensitivity; expected at least 1, "
                f"and 1..{BATCH}"
            )


@dataclass(frozen=True, repr=False)
class LayerReport(Brief):
    """One layer: an operator whose result is rounded to int8. Those that copy codes (concatenation, ...) add nothing.

    SQNR in dB, infinite when exact; over all pictures.
    """

    rank: int  # 1: the most sensitive
    name: str  # of the file's tensor
    kind: str  # operator, or INPUT
    channels: int
    scale: float
    zero_point: int
    cumulative_db: float  # the chip's values, all layers before it int8 as well, against float
    cumulative_cosine: float
    alone_db: float  # this layer's weights and result rounded, its inputs float
    alone_cosine: float
    weights_db: float | None  # only its weights rounded; None without weights
    range_use: float  # 0..1, of the int8 range
    clipped: float  # 0..1, of the float values
    dead_channels: int
    saturated_channels: int
    sensitivity: float  # `output_damage` with only this layer in int8


@dataclass(frozen=True)
class Inspection:
    """All layers of a file, in the order of execution."""

    layers: tuple[LayerReport, ...]
    damage: float  # `output_damage` of the whole int8 network
    model: str
    checkpoint: str
    split: str
    images: int
    sensitivity_images: int
    seconds: float
    notes: tuple[str, ...]
    outputs: OutputCheck | None = None  # of the runtime that was asked for

    def __repr__(self) -> str:
        return f"<Inspection: {len(self.layers)} layers, {self.images} images, damage {self.damage:.4g}>"

    def _repr_html_(self) -> str:
        rows = [
            (layer.rank, layer.name, layer.kind, f"{layer.cumulative_db:.1f}", f"{layer.sensitivity:.4g}")
            for layer in sorted(self.layers, key=lambda layer: layer.rank)
        ]
        title = f"{len(self.layers)} layers on {self.images} images, damage at the outputs {self.damage:.4g}"
        return html_table(title, rows, ("rank", "layer", "kind", "SQNR, dB", "sensitivity"), self.notes)

    def __str__(self) -> str:
        return self.text()

    def text(self, top: int = 15) -> str:
        """Table of the most sensitive layers, then the outputs, each line with its end."""
        by_rank = sorted(self.layers, key=lambda layer: layer.rank)
        head = "rank    sens.  SQNR alone weights range  clip. dead sat. layer"  # names last: they may be long
        outputs = [layer for layer in self.layers if layer.name.startswith(("cls_", "box_"))]
        lines = [
            f"{len(self.layers)} layers of {self.model}, {self.images} images of {self.split}, {self.seconds:.0f} s; "
            "SQNR in dB",
            f"the {min(top, len(by_rank))} most sensitive (sens.: sensitivity):",
            head,
            *(_row(layer) for layer in by_rank[:top]),
            "outputs:",
            *(_row(layer) for layer in outputs),
            f"damage at the outputs: all layers together {self.damage:.4g}, sum of each alone "
            f"{sum(layer.sensitivity for layer in self.layers):.4g} ({self.sensitivity_images} images)",
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n".join(lines) + "\n" + ("" if self.outputs is None else self.outputs.text())

    def to_json(self) -> str:
        """JSON text; an infinite SQNR is null."""
        content: dict[str, Any] = asdict(self)
        for layer in content["layers"]:
            layer.update({key: None for key, v in layer.items() if isinstance(v, float) and not math.isfinite(v)})
        return json_text(content)

    def to_csv(self) -> str:
        """One line a layer, in the order of execution, with a head."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(LayerReport)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(layer) for layer in self.layers)
        return text.getvalue()


def inspect_model(request: InspectRequest, progress: Progress | None = None) -> Inspection:
    """Compare every layer of an int8 file with the float network.

    Args:
        request: what to inspect.
        progress: called with (steps done, in all): one for each picture, then one for each layer.
    Returns:
        The diagnosis.
    Raises:
        CheckpointError, ConversionError, DataError: a file can't be read, or the file is not from this checkpoint.
    """
    watch = Stopwatch()
    require_bright(request.split)
    checkpoint = load_checkpoint(request.checkpoint).int8_form()
    model = load_int8_model(request.model)
    advice = "inspect with the data that it was made for"
    common_classes(request.split, str(request.model), model.outputs.class_names, advice)
    # A port or board that can't be used is told before all the work.
    other = None if request.runtime is None else open_runtime(request.model, request.runtime, send=request.send)
    rebuilt = rebuild(model.graph, checkpoint, str(request.model))
    comparison = LayerComparison(rebuilt, model)
    probes = comparison.probes
    records = draw_images(request.split, request.images, request.seed)
    total = len(records) + len(probes)
    first: Tensor | None = None
    for begin in range(0, len(records), BATCH):
        x = comparison.add(records[begin : begin + BATCH])
        first = x[: request.sensitivity_images] if first is None else first
        if progress is not None:
            progress(min(begin + BATCH, len(records)), total)
    assert first is not None, "draw_images gives at least one"
    damage, sensitivities = comparison.sensitivities(
        first, None if progress is None else lambda done, _: progress(len(records) + done, total)
    )
    order = sorted(range(len(probes)), key=lambda number: -sensitivities[number])
    ranks = {number: rank for rank, number in enumerate(order, 1)}
    names = [model.graph.tensors[probe.tensor].name for probe in probes]
    outputs = None
    if other is not None:
        outputs = check_outputs(open_runtime(request.model), other, records)
    return Inspection(
        layers=tuple(_layer(probe, names[n], ranks[n], sensitivities[n]) for n, probe in enumerate(probes)),
        damage=damage,
        model=str(request.model),
        checkpoint=str(request.checkpoint),
        split=request.split.name,
        images=len(records),
        sensitivity_images=len(first),
        seconds=watch.seconds(),
        notes=_notes(rebuilt, request, len(records)),
        outputs=outputs,
    )


def _layer(probe: Probe, name: str, rank: int, sensitivity: float) -> LayerReport:
    return LayerReport(
        rank=rank,
        name=name,
        kind=probe.kind,
        channels=probe.channels,
        scale=probe.scale,
        zero_point=probe.zero_point,
        cumulative_db=probe.cumulative.sqnr_db,
        cumulative_cosine=probe.cumulative.cosine,
        alone_db=probe.alone.sqnr_db,
        alone_cosine=probe.alone.cosine,
        weights_db=probe.weights.sqnr_db if probe.has_weights else None,
        range_use=probe.range.range_use,
        clipped=probe.range.clipped,
        dead_channels=probe.range.dead_channels,
        saturated_channels=probe.range.saturated_channels,
        sensitivity=sensitivity,
    )


def _notes(rebuilt: Rebuilt, request: InspectRequest, images: int) -> tuple[str, ...]:
    notes = []
    if images < BATCH:
        notes.append(f"only {images} images: the order of the layers depends on which these are; 32 or more are better")
    if images < request.images:
        notes.append(f"{request.images} images were asked for, the split {request.split.name} has {images}: all used")
    if rebuilt.rescaled:
        notes.append("the file is equalized: its layers are compared with the equalized float network")
    if rebuilt.fine_tuned:
        notes.append(
            f"the file's weights lie {rebuilt.weight_distance:.1f} steps (RMS) from the checkpoint's: another "
            "checkpoint of the same architecture, or a fine-tuned file (--method qat), so the differences are not "
            "those of int8 alone; make sure that --against names the checkpoint it was quantized from"
        )
    return tuple(notes)


def _row(layer: LayerReport) -> str:
    weights = "-" if layer.weights_db is None else f"{layer.weights_db:.1f}"
    return (
        f"{layer.rank:>4} {layer.sensitivity:>8.3g} {layer.cumulative_db:>5.1f} {layer.alone_db:>5.1f} {weights:>7} "
        f"{100 * layer.range_use:>4.0f}% {100 * layer.clipped:>5.2f}% {layer.dead_channels:>4} "
        f"{layer.saturated_channels:>4} {layer.name}"
    )
