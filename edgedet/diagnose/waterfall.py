"""AP waterfall: the same images through every form of a network on its way to the chip; marks the guilty step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from edgedet.data.coco.split import CocoSplit
from edgedet.diagnose.outputs import check_outputs
from edgedet.diagnose.rebuild import Rebuilt, rebuild, with_weights_of, without_rounding
from edgedet.errors import ConfigError, ToolchainError
from edgedet.escape import json_text
from edgedet.evaluate.detect import OnDevice, board_with_room
from edgedet.evaluate.evaluator import evaluate
from edgedet.fileio import atomic_write_text
from edgedet.net.checkpoint import Checkpoint, load_checkpoint
from edgedet.net.rtmdet import channels_last
from edgedet.net.runtime import TorchRuntime
from edgedet.notebook import html_table
from edgedet.progress import Progress
from edgedet.quantize.fx.prepare import prepare_model
from edgedet.runtimes.device_figures import DeviceFigures
from edgedet.runtimes.names import choose_send
from edgedet.runtimes.open import open_runtime
from edgedet.runtimes.protocol import Int8Runtime, Runtime

# A step that costs more AP than this is guilty, if it is the most expensive one. It is what PTQ may lose in all, and
# more than the last digits that another order of rounding moves (0.002 to 0.003 on 87 images).
GUILTY_DROP = 0.005
# Key of a step -> what helps when it is guilty.
REMEDIES = {
    "folded": "folding BatchNorm must change nothing: this is a defect, report it with the checkpoint",
    "substituted": "fine-tune longer after the substitution (--tune-epochs)",
    "weights": "--effort best (adaptive rounding), then --method qat; `edgedet inspect` orders the layers",
    "fake_quant": "--calibration auto, --int16 auto, then --method qat; `edgedet inspect` orders the layers",
    "integer": "--method qat, which trains on the file's grid; `edgedet inspect` orders the layers",
    "xnnpack": "nothing for the chip, which computes as the simulator does; judge by --runtime sim, ref or tflm",
    "device": "the device must equal the simulator: is it built as deploy wrote it, without -ffast-math?",
    "tflm": "TFLite Micro must equal the simulator: this is a defect, report it with the file",
}
FEW_IMAGES = 50  # below, the waterfall warns
CHECKED_IMAGES = 20  # through TFLite's reference kernels and TFLite Micro, which need 0.1 to 0.2 s for an image


@dataclass(frozen=True)
class WaterfallRequest:
    """What to measure."""

    model: Path  # int8 .tflite of edgedet
    checkpoint: Path  # that the file was quantized from
    split: CocoSplit
    images: int | None = None  # only the first so many of the split; None: all
    original: Path | None = None  # the checkpoint before its activations were substituted
    checked_images: int = CHECKED_IMAGES  # through reference kernels and TFLite Micro
    guilty_drop: float = GUILTY_DROP
    runtime: str | None = None  # one more form: a board (serial:PORT), an emulated one, generated C
    send: str | None = None  # what the board gets: tensor or image; None: tensor

    def __post_init__(self) -> None:
        choose_send(self.runtime or "none", self.send)  # raises
        if self.checked_images < 1 or (self.images is not None and self.images < 1):
            raise ConfigError(f"waterfall: {self.images} images, {self.checked_images} checked: expected at least 1")


@dataclass(frozen=True)
class Step:
    """One form of the network."""

    key: str
    label: str
    ap: float  # COCO AP 0.50:0.95
    ap50: float
    images: int
    after: str = ""  # key of the form that it is compared with; empty for the first
    change: float = 0.0  # AP - AP of that form on the same images
    note: str = ""

    @property
    def aside(self) -> bool:
        """True for the form that no other is compared with, because it is not on the way to the chip."""
        return self.key == "activations"


@dataclass(frozen=True, repr=False)
class Waterfall:
    """AP of every form over the same images."""

    steps: tuple[Step, ...]
    guilty: str  # key of the step with the largest drop when it exceeds `guilty_drop`, else empty
    guilty_drop: float  # AP
    interaction: float  # change of weights and activations together - change of each alone
    split: str
    images: int
    notes: tuple[str, ...]  # what was not measured, and why
    device: DeviceFigures | None = None  # what was measured on a board besides AP

    def step(self, key: str) -> Step:
        """The step with this key. Raises KeyError."""
        for step in self.steps:
            if step.key == key:
                return step
        raise KeyError(key)

    def __repr__(self) -> str:
        guilty = f"guilty: {self.guilty}" if self.guilty else "no step is guilty"
        return f"<Waterfall: {len(self.steps)} forms on {self.images} images, {guilty}>"

    def _repr_html_(self) -> str:
        rows = [
            (step.label, f"{step.ap:.3f}", f"{step.ap50:.3f}", f"{step.change:+.3f}" if step.after else "", step.note)
            for step in self.steps
        ]
        guilty = f"{self.step(self.guilty).label}: {REMEDIES[self.guilty]}" if self.guilty else "no step"
        title = f"AP waterfall: {self.images} images of {self.split}"
        return html_table(title, rows, ("form", "AP", "AP50", "change", ""), (f"guilty: {guilty}", *self.notes))

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Table for a terminal, each line with its end."""
        width = max(len(step.label) for step in self.steps)
        lines = [f"AP waterfall ({self.split}, {self.images} images)", f"{'':<{width}}      AP    AP50  change"]
        for step in self.steps:
            change = f"{step.change:+.3f}" if step.after else ""
            mark = "  <- guilty" if step.key == self.guilty else ""
            note = f"  ({step.note})" if step.note else ""
            lines.append(f"{step.label:<{width}}  {step.ap:6.3f}  {step.ap50:6.3f}  {change:>6}{mark}{note}")
        weights, activations = self.step("weights"), self.step("activations")
        lines.append(
            f"adds up: weights {weights.change:+.3f}, activations {activations.change:+.3f}, interaction "
            f"{self.interaction:+.3f}, together {self.step('fake_quant').ap - self.step(weights.after).ap:+.3f}"
        )
        if self.guilty:
            lines.append(f"guilty: {self.step(self.guilty).label}, the largest drop, more than {self.guilty_drop:g}")
            lines.append(f"what helps: {REMEDIES[self.guilty]}")
        else:
            lines.append(f"guilty: no step; none costs more than {self.guilty_drop:g}")
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        return asdict(self)


def measure_waterfall(request: WaterfallRequest, progress: Progress | None = None) -> Waterfall:
    """Evaluate float, folded, (substituted,) weights int8, activations int8, simulator, XNNPACK, TFLite Micro, device.

    Args:
        request: what to measure.
        progress: called with (images done, images in all), over all forms together.
    Returns:
        The waterfall. An interpreter that is not installed leaves its row out and a note in its place.
    Raises:
        CheckpointError, ConversionError, DataError: a file can't be read, or the file is not from this checkpoint.
    """
    checkpoint = load_checkpoint(request.checkpoint).int8_form()
    simulator = open_runtime(request.model, "sim")
    rebuilt = rebuild(simulator.model.graph, checkpoint, str(request.model))
    other = _other(request)
    meter = _Meter(request, progress)
    base = _measure_float(meter, request, checkpoint, rebuilt)
    _measure_rounding(meter, checkpoint, rebuilt, base)
    _measure_integer(meter, request, simulator)
    device = None if other is None else _measure_other(meter, request, other)
    by_key = {step.key: step for step in meter.steps}
    if by_key["float"].images < FEW_IMAGES:
        meter.notes.append(
            f"{by_key['float'].images} images: AP moves by a hundredth when one detection does; take {FEW_IMAGES} or "
            "more before believing a mark"
        )
    interaction = by_key["fake_quant"].ap - by_key["weights"].ap - by_key["activations"].change
    return Waterfall(
        steps=tuple(meter.steps),
        guilty=find_guilty(meter.steps, request.guilty_drop),
        guilty_drop=request.guilty_drop,
        interaction=interaction,
        split=request.split.name,
        images=by_key["float"].images,
        notes=tuple(meter.notes),
        device=device,
    )


def find_guilty(steps: Sequence[Step], guilty_drop: float) -> str:
    """Key of the step on the way to the chip that costs most, when it costs more than `guilty_drop` AP; else empty.

    XNNPACK is not on that way: it is guilty when nothing else is.
    """
    guilty = [step for step in steps if step.after and not step.aside and step.change < -guilty_drop]
    return min(guilty, key=lambda step: (step.key == "xnnpack", step.change)).key if guilty else ""


def add_to_report(waterfall: Waterfall, report: Path) -> None:
    """Put the waterfall into the report.json of a quantization, under the key `waterfall`."""
    content = json.loads(report.read_text(encoding="utf-8"))
    content["waterfall"] = waterfall.to_json()
    atomic_write_text(report, json_text(content))


class _Meter:
    """Evaluates one form after the other and collects the steps."""

    def __init__(self, request: WaterfallRequest, progress: Progress | None) -> None:
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self._split = request.split
        self._images = len(request.split.images[: request.images])
        self._progress = progress
        forms = 7 + 2 * (request.original is not None) + (request.runtime is not None)
        self._total = forms * self._images + 2 * min(request.checked_images, self._images)
        self._done = 0

    def measure(
        self, key: str, label: str, runtime: Runtime, after: str = "", note: str = "", images: int | None = None
    ) -> Step:
        """Evaluate a form and compare it with the step called `after`."""
        start = self._done
        report = evaluate(runtime, self._split, max_images=images or self._images, progress=self._count_from(start))
        self._done = start + report.images
        reference = next((step.ap for step in self.steps if step.key == after), report.ap.ap)
        step = Step(key, label, report.ap.ap, report.ap.ap50, report.images, after, report.ap.ap - reference, note)
        self.steps.append(step)
        return step

    def compare_on(self, images: int, step: Step, other: Runtime) -> None:
        """Replace a step's change by the one against another form on the same few images."""
        start = self._done
        report = evaluate(other, self._split, max_images=images, progress=self._count_from(start))
        self._done = start + report.images
        self.steps[self.steps.index(step)] = replace(step, change=step.ap - report.ap.ap)

    def _count_from(self, start: int) -> Progress | None:
        progress = self._progress
        if progress is None:
            return None
        return lambda done, _: progress(start + done, max(self._total, start + done))


def _measure_float(meter: _Meter, request: WaterfallRequest, checkpoint: Checkpoint, rebuilt: Rebuilt) -> str:
    """Float forms; gives the key of the last."""
    if request.original is None:
        meter.measure("float", "float checkpoint", _runtime(checkpoint.build(), checkpoint))
        meter.measure("folded", "BatchNorm folded", _runtime(rebuilt.folded, checkpoint), "float")
        return "folded"
    original = load_checkpoint(request.original).int8_form()
    meter.measure("float", "float checkpoint", _runtime(original.build(), original))
    folded = without_rounding(prepare_model(original.build(), original.preprocess))
    meter.measure("folded", "BatchNorm folded", _runtime(folded, original), "float")
    note = f"{original.model_config.activation} -> {checkpoint.model_config.activation}"
    meter.measure("substituted", "activation substituted", _runtime(rebuilt.folded, checkpoint), "folded", note)
    return "substituted"


def _measure_rounding(meter: _Meter, checkpoint: Checkpoint, rebuilt: Rebuilt, base: str) -> None:
    """Weights only, activations only, both."""
    note = "fine-tuned weights" if rebuilt.fine_tuned else "equalized" if rebuilt.rescaled else ""
    weights = _runtime(without_rounding(rebuilt.frozen), checkpoint)
    meter.measure("weights", "weights int8", weights, base, note)
    activations = _runtime(with_weights_of(rebuilt.frozen, rebuilt.scaled), checkpoint)
    meter.measure("activations", "activations int8 alone", activations, base, "float weights; not in the chain")
    meter.measure("fake_quant", "+ activations int8", _runtime(rebuilt.frozen, checkpoint), "weights")
    if rebuilt.fine_tuned:
        meter.notes.append(
            f"the file's weights lie {rebuilt.weight_distance:.1f} steps (RMS) from the checkpoint's: it was "
            "fine-tuned, so the step `weights int8` holds the fine-tuning as well"
        )


def _measure_integer(meter: _Meter, request: WaterfallRequest, simulator: Int8Runtime) -> None:
    """The file itself, in every arithmetic that is installed."""
    few = min(request.checked_images, len(request.split.images[: request.images]))
    reference = _open(request.model, "ref", meter)
    note = ""
    if reference is not None:
        found = check_outputs(simulator, reference, request.split.images[:few])
        note = f"{few} images: {found.differing} of {found.outputs:,} outputs differ from TFLite's reference kernels"
        if found.differing:
            meter.notes.append("the simulator must equal TFLite's reference kernels: report this file")
    meter.measure("integer", "integer simulator", simulator, "fake_quant", note)
    xnnpack = _open(request.model, "xnnpack", meter)
    if xnnpack is not None:
        meter.measure("xnnpack", "XNNPACK", xnnpack, "integer")
    tflm = _open(request.model, "tflm", meter)
    if tflm is not None:
        step = meter.measure(
            "tflm", f"TFLite Micro, {few} images", tflm, "integer", "against the simulator on the same images", few
        )
        meter.compare_on(few, step, simulator)


def _other(request: WaterfallRequest) -> Int8Runtime | None:
    """The runtime that was asked for, opened first: what is wrong with a port or board is told before all the work."""
    if request.runtime is None:
        return None
    runtime = open_runtime(request.model, request.runtime, send=request.send)
    board_with_room(runtime, request.split.images[: request.images])
    return runtime


def _measure_other(meter: _Meter, request: WaterfallRequest, other: Int8Runtime) -> DeviceFigures | None:
    """The row of the runtime that was asked for; gives what was measured, where it is a board."""
    board = other if isinstance(other, OnDevice) else None
    label = other.name if board is None else "on the device"
    sent = "" if board is None else f", {choose_send(other.name, request.send)}s sent"
    meter.measure("device", label, other, "integer", f"{other.name}{sent}")
    meter.notes += other.details(False)
    return None if board is None else board.device_figures()


def _open(model: Path, name: str, meter: _Meter) -> Int8Runtime | None:
    """An interpreter; None, with a note in the report, when this machine can't run the file with it."""
    try:
        return open_runtime(model, name)
    except ToolchainError as error:
        meter.notes.append(f"not measured: {name}: {error}")
        return None


def _runtime(model: nn.Module, checkpoint: Checkpoint) -> TorchRuntime:
    return TorchRuntime(channels_last(model), checkpoint.preprocess, checkpoint.outputs)
