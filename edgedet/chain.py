"""From a checkpoint to a judged int8 file in one call: substitution, then PTQ or QAT, then the AP waterfall."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from edgedet.data.check.content import require_judgeable
from edgedet.data.check.whole import whole_splits
from edgedet.data.coco.split import CocoSplit
from edgedet.diagnose.waterfall import Waterfall, WaterfallRequest, add_to_report, measure_waterfall
from edgedet.drawing.charts import Bar, waterfall_chart
from edgedet.errors import ConfigError
from edgedet.fileio import require_out_folder, write_text
from edgedet.finetune.qat import QatRequest, qat_checkpoint, qat_hardware
from edgedet.finetune.report import QatReport
from edgedet.finetune.resume import STATE_FILE
from edgedet.finetune.settings import Lessons
from edgedet.finetune.substitute import SubstituteReport, SubstituteRequest, substitute_checkpoint
from edgedet.finetune.swap import prepare_substituted
from edgedet.net.checkpoint import load_checkpoint
from edgedet.outputs.folder import added_files
from edgedet.outputs.lock import hold_output
from edgedet.progress import Progress
from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint
from edgedet.quantize.calibration.range_choice import require_layers
from edgedet.quantize.report import QuantizeReport
from edgedet.training.loop import LAST
from edgedet.training.parallel.processes import launched

PICTURE_FILE = "waterfall.svg"
REPORT_FILE = "report.json"


@dataclass(frozen=True)
class ChainRequest:
    """Which of the three steps, and how."""

    quantization: QuantizeRequest | QatRequest  # its checkpoint is what the chain starts from
    substitution: SubstituteRequest | None = None  # of the same checkpoint, in a folder of its own; None: none
    waterfall: bool = False  # over the validation split of the quantization's data
    waterfall_images: int | None = None  # only the first so many; None: all

    def __post_init__(self) -> None:
        if self.substitution is not None and self.substitution.checkpoint != self.quantization.checkpoint:
            raise ConfigError(
                f"substitution of {self.substitution.checkpoint}, quantization of {self.quantization.checkpoint}: "
                "expected one checkpoint, that the chain starts from"
            )
        if self.waterfall_images is not None and not self.waterfall:
            raise ConfigError(f"`waterfall_images` {self.waterfall_images}: only with `waterfall`; add it")


@dataclass(frozen=True, eq=False)
class ChainResult:
    """What every step gave; None for steps that were not asked for."""

    model: Path  # the int8 file
    substitution: SubstituteReport | None
    quantization: QuantizeReport | QatReport
    waterfall: Waterfall | None
    picture: Path | None  # of the waterfall
    valid: CocoSplit | None = None  # validation split, where it was read for the waterfall

    @property
    def ap(self) -> float | None:
        """Of the int8 file, where a step measured it."""
        if self.waterfall is not None:
            return self.waterfall.step("integer").ap
        return self.quantization.ap_file if isinstance(self.quantization, QatReport) else None

    @property
    def lessons(self) -> Lessons | None:
        """What QAT learned from; None: nothing was trained by it."""
        return self.quantization.lessons if isinstance(self.quantization, QatReport) else None


@dataclass(frozen=True)
class ChainEvents:
    """What a caller hears while the chain runs."""

    report: Callable[[str], None] = lambda text: None  # text of a step's report, as soon as it is done
    step: Callable[[str], None] = lambda name: None  # a long step of PTQ begins
    progress: Callable[[str], AbstractContextManager[Progress | None]] = lambda title: nullcontext()  # of a loop


def run_chain(request: ChainRequest, events: ChainEvents | None = None) -> ChainResult:
    """Substitute, quantize, and measure where accuracy was lost.

    What can be wrong without any work (folders, splits, names of layers) is checked before the first step. With
    `resume`, every step goes on from what its interrupted run left, and starts where there is nothing.

    Args:
        request: which steps.
        events: callbacks.
    Returns:
        The reports of all steps.
    Raises:
        EdgedetError: what a step raises; the steps before it are done and their files stay.
    """
    events = events or ChainEvents()
    quantization = request.quantization
    if launched().count > 1 and (request.waterfall or not isinstance(quantization, QatRequest)):
        raise ConfigError(
            "several processes (WORLD_SIZE): expected one; only training, substitution and QAT without a waterfall are "
            "shared"
        )
    if isinstance(quantization, QatRequest):
        qat_hardware(quantization)  # raises
    require_out_folder(quantization.out, "`out`")
    with hold_output(quantization.out, launched().first):
        return _run(request, events)


def _run(request: ChainRequest, events: ChainEvents) -> ChainResult:
    quantization = request.quantization
    split = None
    if request.waterfall:
        valid = replace(quantization.data, skip_broken=True).load("valid")
        (split,) = whole_splits((valid,), quantization.data.skip_broken, most=request.waterfall_images)
        require_judgeable(split)
    _check_layer_names(request)
    substituted = None
    if request.substitution is not None:
        resume = request.substitution.resume and (request.substitution.out / LAST).is_file()
        substituted = substitute_checkpoint(replace(request.substitution, resume=resume))
        events.report(substituted.text())
    report = _quantize(quantization, substituted, events)
    events.report(report.text())
    waterfall = picture = None
    if split is not None:
        waterfall, picture = _waterfall(request, split, report.model, substituted, events)
        events.report(f"\n{waterfall.text()}picture:     {picture}\n")
    return ChainResult(report.model, substituted, report, waterfall, picture, split)


def _quantize(
    request: QuantizeRequest | QatRequest, substituted: SubstituteReport | None, events: ChainEvents
) -> QuantizeReport | QatReport:
    checkpoint = request.checkpoint if substituted is None else substituted.checkpoint
    if isinstance(request, QatRequest):  # an interrupted substitution leaves no state of QAT
        resume = request.resume and (substituted is None or (request.out / STATE_FILE).is_file())
        return qat_checkpoint(replace(request, checkpoint=checkpoint, resume=resume))
    with events.progress("calibrate") as progress:
        return quantize_checkpoint(replace(request, checkpoint=checkpoint), progress, events.step)


def _check_layer_names(request: ChainRequest) -> None:
    """Raises ConfigError when int16 or calibration_for name what the network to quantize does not have."""
    quantization, substitution = request.quantization, request.substitution
    calibration_for = () if isinstance(quantization, QatRequest) else quantization.calibration_for
    if not quantization.int16 and not calibration_for:
        return
    activation = None if substitution is None else substitution.activation
    attention = substitution is None or substitution.channel_attention
    prepared = prepare_substituted(load_checkpoint(quantization.checkpoint).int8_form(), activation, attention)
    require_layers(prepared, quantization.int16, calibration_for)


def _waterfall(
    request: ChainRequest, split: CocoSplit, model: Path, substituted: SubstituteReport | None, events: ChainEvents
) -> tuple[Waterfall, Path]:
    """Measure, draw, and complete the report beside the model."""
    start = request.quantization.checkpoint
    checkpoint, original = (start, None) if substituted is None else (substituted.checkpoint, start)
    with events.progress("waterfall") as progress:
        asked = WaterfallRequest(model, checkpoint, split, request.waterfall_images, original)
        waterfall = measure_waterfall(asked, progress)
    bars = [
        Bar(step.label, step.ap, f"{step.change:+.3f}" if step.after else "", step.key == waterfall.guilty, step.aside)
        for step in waterfall.steps
    ]
    picture = model.with_name(PICTURE_FILE)
    title = f"AP of {model.name}, {waterfall.images} images of {waterfall.split}"
    with added_files(model.parent, REPORT_FILE) as folder:
        write_text(folder / PICTURE_FILE, waterfall_chart(title, bars))
        shutil.copyfile(model.with_name(REPORT_FILE), folder / REPORT_FILE)
        add_to_report(waterfall, folder / REPORT_FILE)
    return waterfall, picture
