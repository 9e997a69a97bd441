"""Quantization-aware training from end to end: checkpoint and images in, a measured `model_int8.tflite` out."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

from edgedet import __version__
from edgedet.config import QatRecipe, TrainConfig
from edgedet.data.check.whole import left_out_text
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError, ConversionError
from edgedet.evaluate.evaluator import EvalReport, evaluate, sha256_of
from edgedet.evaluate.figures.training_curves import read_training
from edgedet.fileio import require_out_folder
from edgedet.finetune.calibrated import calibrated_graph
from edgedet.finetune.check_file import CHECK_RUNTIMES, MODEL_FILE, FileCheck, check_file
from edgedet.finetune.chosen_images import choose_images
from edgedet.finetune.notes import qat_notes
from edgedet.finetune.qat_trainer import MIN_LR_RATIO, QatTrainer
from edgedet.finetune.report import QatReport
from edgedet.finetune.resume import STATE_FILE, check_identity, load_state, save_history, save_state
from edgedet.finetune.settings import Lessons, training_settings, weak_augmentation
from edgedet.graph.flatbuffer import serialize
from edgedet.net.checkpoint import Checkpoint, load_checkpoint
from edgedet.net.rtmdet import channels_last
from edgedet.net.runtime import TorchRuntime
from edgedet.outputs.lock import hold_output
from edgedet.progress import Stopwatch
from edgedet.quantize.api import write_quantized
from edgedet.quantize.calibration.images import (
    ImageFiles,
    Manifest,
    check_enough,
    check_not_constant,
    draw_images,
    make_manifest,
)
from edgedet.quantize.fx.int16 import AUTO, check_int16_option, groups_of, int16_names
from edgedet.quantize.fx.prepare import freeze, prepare_model
from edgedet.quantize.fx.to_graph import graph_from_fx
from edgedet.threads import torch_threads, usable_cores
from edgedet.training.log import EpochRecord, TrainLog
from edgedet.training.parallel.hardware import Hardware, choose_hardware, describe_hardware
from edgedet.training.parallel.processes import process_group

REPORT_FILE = "report.json"


@dataclass(frozen=True)
class QatRequest:
    """What to fine-tune, and how."""

    checkpoint: Path
    data: DataPaths  # training and validation split; with `images`, only a validation split, or nothing
    out: Path  # folder, made when absent
    epochs: int = 5
    batch: int = 16
    lr: float = 3e-4  # peak rate of AdamW for the weights
    distill: bool = False  # learn from the float model's outputs instead of the labels
    images: Path | None = None  # with distill: a folder of images, in place of the training split
    ema_decay: float = 0.998  # of the weights while ranges are learned, lower in short runs; 0: no averaging at all
    calib_images: int = 128  # for the ranges that training starts from
    seed: int = 0
    threads: int = 0  # torch's; 0: all cores
    int16: tuple[str, ...] = ()  # layers whose result is int16 (16x8 operators); ("auto",): where it helps
    runtime: str = "ref"  # measures the file: ref (TFLite's reference kernels) or sim (the same arithmetic in NumPy)
    resume: bool = False
    quiet: bool = False
    device: str = "auto"  # auto | cpu | cuda | cuda:N; trains and measures; ranges are calibrated on the CPU
    workers: int | None = None  # processes that draw batches; None: as many as suit the device

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "lr", "calib_images"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"`{name}` must be positive, got {getattr(self, name)}")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"`ema_decay` must be in 0..1 (0: no averaging), got {self.ema_decay}")
        if self.images is not None and not self.distill:
            raise ConfigError("`images` without `distill`: a folder of images has no labels to train on; add `distill`")
        check_int16_option(self.int16)
        if self.runtime not in CHECK_RUNTIMES:
            raise ConfigError(f"`runtime` {self.runtime!r}: expected one of {', '.join(CHECK_RUNTIMES)}")


def with_recipe(request: QatRequest, recipe: QatRecipe) -> QatRequest:
    """The same request with the settings of a model file's [qat] section."""
    return replace(
        request,
        epochs=recipe.epochs,
        batch=recipe.batch,
        lr=recipe.lr,
        ema_decay=recipe.ema_decay,
        distill=recipe.distill or request.distill,
    )


@dataclass(frozen=True, eq=False)
class _Run:
    """Everything that is fixed during a run."""

    request: QatRequest
    checkpoint: Checkpoint
    config: TrainConfig
    train: CocoSplit
    judge: CocoSplit  # what AP is measured on
    judge_text: str
    hardware: Hardware

    def measure(self, network: nn.Module) -> EvalReport:
        """AP of a network, float or fake-quantized, through the code of `edgedet evaluate`; moves it to the device."""
        return evaluate(self.runtime(network), self.judge, share=self.hardware.processes)

    def runtime(self, network: nn.Module) -> TorchRuntime:
        """A network, moved to the device."""
        moved = network.to(self.hardware.device)
        return TorchRuntime(moved, self.checkpoint.preprocess, self.checkpoint.outputs)


def qat_hardware(request: QatRequest) -> Hardware:
    """On what a request runs.

    Raises:
        ConfigError: unknown device, or one that is not there or can't do it.
    """
    hardware = choose_hardware(request.device, "float32", request.workers)
    if hardware.device.type == "mps":
        raise ConfigError("`device` mps: torch has no fake quantization for it; expected auto, cpu, cuda or cuda:N")
    return hardware


def qat_checkpoint(request: QatRequest) -> QatReport:
    """Fine-tune a checkpoint with fake quantization, write the int8 file, and measure the file.

    Writes OUT/qat_last.pt after every epoch (atomically; `resume` goes on from it, with the losses of an uninterrupted
    run), OUT/history.json, OUT/tensorboard/, at the end OUT/model_int8.tflite, OUT/calibration.json and
    OUT/report.json. The last epoch is exported; none is picked on the validation split. Under torchrun all processes
    call it; rank 0 writes.

    Args:
        request: what and how.
    Returns:
        The report that also stands in report.json.
    Raises:
        CheckpointError, DataError, ConfigError, UnsupportedOpError: before training.
        ConversionError: the AP of the file is lower than that of the network by more than chance explains; the file is
            then called model_int8.rejected.tflite, with manifest and report, and there is no model_int8.tflite.
        EdgedetError: training diverged.
    """
    hardware = qat_hardware(request)
    processes = hardware.processes
    # Before anything is computed: another number of threads gives other float sums.
    with (
        torch_threads(request.threads or max(1, usable_cores() // processes.local_count)),
        process_group(processes, hardware.device),
        hold_output(request.out, processes.first),
    ):
        return _qat(request, hardware)


def _qat(request: QatRequest, hardware: Hardware) -> QatReport:
    clock = Stopwatch()
    run = _set_up(request, hardware)
    checkpoint = run.checkpoint
    records = draw_images(run.train, request.calib_images, request.seed)
    check_enough(records, request.calib_images, run.train)
    check_not_constant(records)
    manifest = make_manifest(records, run.train, checkpoint.preprocess, "qat", request.seed)
    network = channels_last(checkpoint.build())
    clock.lap("load")
    ap_float = run.measure(network).ap.ap
    clock.lap("float AP")
    with torch_threads(1):  # the same ranges on every machine
        calibrated = calibrated_graph(checkpoint, ImageFiles(records, checkpoint.preprocess), request.int16)
    clock.lap("calibrate")
    ap_start = run.measure(freeze(calibrated)).ap.ap
    clock.lap("start AP")
    trainer = QatTrainer(
        calibrated, run.config, checkpoint.preprocess, checkpoint.outputs, run.train, request.seed,
        network if request.distill else None, hardware,
    )  # fmt: skip
    try:
        history = _train(run, trainer, ap_float, ap_start, clock)
    finally:
        trainer.close()
    assert history[-1].ap is not None
    aps = (ap_float, ap_start, history[-1].ap)
    report = hardware.processes.from_first(lambda: _write(run, trainer.frozen(), manifest, aps, history, clock))
    return replace(report, lessons=Lessons(run.train, checkpoint.preprocess, run.config, request.seed))


def _write(
    run: _Run,
    frozen: GraphModule,
    manifest: Manifest,
    aps: tuple[float, float, float],
    history: list[EpochRecord],
    clock: Stopwatch,
) -> QatReport:
    """Write and measure the file, then its papers; `aps`: float, at the start, after training."""
    request = run.request
    graph = graph_from_fx(frozen, run.checkpoint.preprocess, run.checkpoint.outputs)
    data, operators = serialize(graph), Counter(operator.kind for operator in graph.operators)
    clock.lap("convert")
    checked = check_file(data, request.out, request.runtime, run.judge, aps[-1], run.runtime(frozen))
    clock.lap("file AP")
    refused = [f"REFUSED: {checked.refusal}"] if checked.refusal else [checked.note] if checked.note else []
    left_out = max(record.left_out for record in history)
    notes = (*refused, *qat_notes(aps, left_out), *left_out_text((run.train, run.judge)))
    report = _report(run, checked, data, aps, int16_names(frozen), clock.laps, notes)
    reading = read_training(history, resumes=False)
    report = replace(report, operators=tuple(operators.most_common()), reading=reading)
    write_quantized(request.out, data, manifest, report.to_json(), checked.name)
    if checked.refusal:
        raise ConversionError(
            f"{report.model}: {checked.refusal}. The file is kept under this name, with {REPORT_FILE}, for `edgedet "
            f"inspect`; there is no {MODEL_FILE}. Please report it with the checkpoint"
        )
    return report


def _set_up(request: QatRequest, hardware: Hardware) -> _Run:
    require_out_folder(request.out, "`out`")
    if not request.resume and (request.out / STATE_FILE).exists():
        raise ConfigError(f"{request.out} already holds a QAT run; go on with it by `resume`, or give another `out`")
    checkpoint = load_checkpoint(request.checkpoint).int8_form()
    if request.int16 not in ((), (AUTO,)):
        groups_of(prepare_model(checkpoint.build(), checkpoint.preprocess), request.int16)  # raises before long work
    train, judge, text = choose_images(request.data, request.images, request.distill, checkpoint)
    config = replace(
        weak_augmentation(training_settings(checkpoint)),
        epochs=request.epochs, batch=request.batch, lr=request.lr, min_lr_ratio=MIN_LR_RATIO,
        ema_decay=request.ema_decay, eval_interval=1, bf16=False, threads=request.threads,
    )  # fmt: skip
    run = _Run(request, checkpoint, config, train, judge, text, hardware)
    if request.resume and (request.out / STATE_FILE).is_file():
        check_identity(request.out / STATE_FILE, _identity(run))
    return run


def _train(run: _Run, trainer: QatTrainer, ap_float: float, ap_start: float, clock: Stopwatch) -> list[EpochRecord]:
    """All epochs that are not done yet."""
    out, config, writes = run.request.out, run.config, run.hardware.processes.first
    identity = _identity(run)
    found = run.request.resume and (out / STATE_FILE).is_file()
    if (history := load_state(out / STATE_FILE, identity, trainer) if found else []) and writes:  # may be one behind
        save_history(out, history)
    training = validation = 0.0
    with TrainLog(out, config.epochs, trainer.steps, len(history), run.request.quiet, writes) as log:
        log.message(
            f"QAT of {run.request.checkpoint}: {len(run.train.images)} images, {config.epochs} epochs of "
            f"{trainer.steps} steps, batch {config.batch}, lr {config.lr:g}, ranges frozen from step "
            f"{trainer.freeze_step + 1}; {describe_hardware(run.hardware, torch.float32)}; {run.judge_text}: "
            f"float {ap_float:.4f}, fake-quantized {ap_start:.4f}"
        )
        for split in (run.train, run.judge):
            for warning in split.warnings:
                log.message(f"warning: {split.name}: {warning.text}")
        if run.request.int16:
            log.message(f"int16 results: {', '.join(int16_names(trainer.model)) or 'none, no layer is worth it'}")
        for epoch in range(len(history), config.epochs):
            record = trainer.train_epoch(epoch, log)
            training += clock.seconds()
            report = run.measure(trainer.frozen())
            log.evaluation((epoch + 1) * trainer.steps, report, ())
            validation += clock.seconds()
            history.append(replace(record, ap=report.ap.ap))
            log.epoch(history[-1])
            if writes:
                save_state(out / STATE_FILE, identity, history, trainer)
                save_history(out, history)
    clock.laps += [("training", training), ("validation", validation)]
    return history


def _identity(run: _Run) -> dict[str, Any]:
    """What has to be equal for a run to be the same run."""
    request = run.request
    return {
        "checkpoint": sha256_of(request.checkpoint),
        "train": asdict(run.config),
        "distill": request.distill,
        "calib_images": request.calib_images,
        "int16": list(request.int16),
        "seed": request.seed,
        "train_images": len(run.train.images),
        "valid_images": len(run.judge.images),
        "edgedet": __version__,
    }


def _report(
    run: _Run,
    checked: FileCheck,
    data: bytes,
    aps: tuple[float, float, float],
    int16: tuple[str, ...],
    laps: list[tuple[str, float]],
    notes: tuple[str, ...],
) -> QatReport:
    """Report of a finished run; `data`: the file; `aps`: float, at the start, after training."""
    request = run.request
    ap_float, ap_start, ap_qat = aps
    return QatReport(
        model=request.out / checked.name,
        report=request.out / REPORT_FILE,
        sha256=hashlib.sha256(data).hexdigest(),
        model_bytes=len(data),
        ap_of=run.judge_text,
        ap_float=ap_float,
        ap_start=ap_start,
        ap_qat=ap_qat,
        ap_file=checked.ap,
        ap_tolerance=checked.tolerance,
        arithmetic=checked.arithmetic,
        refused=bool(checked.refusal),
        epochs=run.config.epochs,
        batch=run.config.batch,
        lr=run.config.lr,
        distill=request.distill,
        int16=int16,
        train_images=len(run.train.images),
        seed=request.seed,
        seconds=tuple(laps),
        notes=notes,
    )
