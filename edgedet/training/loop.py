"""The training run: set-up, epochs, validation, checkpoints, resuming."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edgedet import __version__
from edgedet.config import ModelFile, TrainConfig, changed_training_keys, load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.check.content import describe_left, load_for_training
from edgedet.data.check.whole import left_out_text
from edgedet.data.coco.split import CocoSplit, most_detections
from edgedet.data.paths import DataPaths
from edgedet.errors import CheckpointError, ConfigError
from edgedet.escape import json_text
from edgedet.evaluate.figures.reading import Sentence
from edgedet.evaluate.figures.training_curves import read_training
from edgedet.fileio import atomic_write_text, require_out_folder
from edgedet.net.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from edgedet.notebook import html_table, short_path
from edgedet.outputs.lock import hold_output
from edgedet.progress import show_progress
from edgedet.terminal import is_quiet, quietly
from edgedet.training.changes import DataWatch
from edgedet.training.course import Course, open_course, planned_course
from edgedet.training.loader import steps_per_epoch
from edgedet.training.log import EpochRecord, TrainLog
from edgedet.training.parallel.hardware import Hardware, choose_hardware, describe_hardware
from edgedet.training.parallel.processes import process_group
from edgedet.training.recipe import describe_fit, fit_recipe
from edgedet.training.resume import compare_settings, damaged_state, fitted_by_recipe, planned_before
from edgedet.training.trainer import Trainer
from edgedet.training.warm_start import Start, WarmStart, make_start, warm_model_file, warm_preprocess

BEST, LAST, HISTORY = "best.pt", "last.pt", "history.json"


@dataclass(frozen=True)
class TrainRequest:
    """What `edgedet train` takes."""

    model: str | None  # shipped model or path of a TOML; None: that of the checkpoint to start from
    data: DataPaths
    out: Path
    imgsz: tuple[int, int] | None = None  # width, height, px; None: the model's default
    # "auto": until AP on the validation split no longer rises; None: the model's, or more for a small data set or a
    # large batch, see `edgedet.training.recipe`.
    epochs: int | Literal["auto"] | None = None
    batch: int | None = None  # None: the model's; the learning rate follows, unless an override gives it
    overrides: tuple[str, ...] = ()  # key=value
    resume: bool = False  # with more `epochs` than the run was planned with, or ended with: extend it
    seed: int = 0
    quiet: bool = False
    start: WarmStart | None = None  # None: fresh weights
    device: str = "auto"  # auto | cpu | cuda | cuda:N | mps
    precision: str = "auto"  # auto | float32 | bfloat16 | float16
    workers: int | None = None  # processes that draw batches; None: as many as suit the device


@dataclass(frozen=True, repr=False)
class TrainResult:
    """What a run leaves."""

    best: Path  # checkpoint with the highest AP on the validation split
    last: Path  # checkpoint of the last epoch, with everything that --resume needs
    best_ap: float
    last_ap: float
    history: tuple[EpochRecord, ...]
    settled: bool = False  # the run ended because AP no longer rose
    broken: tuple[str, ...] = ()  # what is wrong with each image that was left out because it can't be read
    run: Run | None = field(default=None, repr=False, compare=False)  # data and settings, as they were used

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict: checkpoints, AP, and one entry an epoch."""
        values = {"best": str(self.best), "last": str(self.last), "best_ap": self.best_ap, "last_ap": self.last_ap}
        values |= {"settled": self.settled, "broken": list(self.broken)}
        values["reading"] = [asdict(sentence) for sentence in self.reading]
        return {**values, "history": [asdict(record) for record in self.history]}

    def __repr__(self) -> str:
        return f"<TrainResult {short_path(self.best)}: AP {self.best_ap:.3f}, {len(self.history)} epochs>"

    def _repr_html_(self) -> str:
        rows = [
            ("best checkpoint", short_path(self.best)),
            ("its AP", f"{self.best_ap:.3f}"),
            ("AP of the last epoch", f"{self.last_ap:.3f}"),
            ("epochs", f"{len(self.history)}{', AP no longer rose' if self.settled else ''}"),
        ]
        broken = (f"images left out because they are broken: {len(self.broken)}",) if self.broken else ()
        return html_table("Trained", rows, notes=(*(sentence.text() for sentence in self.reading), *broken))

    @property
    def reading(self) -> tuple[Sentence, ...]:
        """What stands out in the curves of loss and AP, with what to try; of a short run nothing."""
        return read_training(self.history, self.settled)


@dataclass(frozen=True, eq=False)
class Run:
    """Everything that is fixed during a run."""

    out: Path
    file: ModelFile
    preprocess: PreprocessSpec
    outputs: OutputSpec
    train: CocoSplit
    valid: CocoSplit
    seed: int = 0
    resume: bool = False
    last: Checkpoint | None = None  # OUT/last.pt, where it was read already; None: read when the run goes on
    quiet: bool = False
    start: Start | None = None  # None: fresh weights
    hardware: Hardware = field(default_factory=Hardware)
    auto: bool = False  # ends when AP no longer rises; else after the epochs of `file.train`
    note: str | None = None  # what the recipe changed, for people


def train(request: TrainRequest, saved: Callable[[int], None] = lambda epochs: None) -> TrainResult:
    """Train a detector, or go on with an interrupted run.

    Writes OUT/best.pt and OUT/last.pt (each replaced atomically after every epoch that changes it), OUT/history.json
    and OUT/tensorboard/. The same request gives the same losses on the same machine, interrupted or not (on the CPU bit
    by bit; GPUs add some gradients in an order of the moment). Under torchrun all processes call it; rank 0 writes.

    Args:
        request: what to train on what.
        saved: called in rank 0 after the files of an epoch are written, with the epochs of the whole run so far.
    Returns:
        Paths and AP.
    Raises:
        ConfigError: unknown model or key, an image size that is not divisible by 32, OUT holds another run, or a device
            that is not there.
        DataError: the data set is wrong.
        CheckpointError: --resume with a damaged OUT/last.pt; without one, the run starts anew and says so.
        OutputError: OUT can't be written; the last checkpoint is still there.
    """
    hardware = choose_hardware(request.device, request.precision, request.workers)
    with process_group(hardware.processes, hardware.device), hold_output(request.out, hardware.processes.first):
        return run_training(_set_up(request, hardware), saved)


def run_training(run: Run, saved: Callable[[int], None] = lambda epochs: None) -> TrainResult:
    """Train what a run describes; see `train`.

    Args:
        run: data, settings and start.
        saved: as of `train`.
    Returns:
        Paths and AP.
    Raises:
        ConfigError: --resume of another run, or one image of 32x32 a step.
        CheckpointError: --resume with a damaged OUT/last.pt.
        OutputError: OUT can't be written; the last checkpoint is still there.
    """
    require_statistics(run.file.train.batch, run.preprocess)
    start = run.start or Start(None, "")
    trainer = Trainer(
        run.file,
        run.preprocess,
        run.outputs,
        run.train,
        run.seed,
        start.weights,
        frozen=start.frozen,
        backbone_lr_scale=start.backbone_lr_scale,
        hardware=run.hardware,
    )
    try:
        history = _resume(run, trainer) if run.resume else []
        _train_epochs(run, trainer, history, saved)
    finally:
        trainer.close()
    measured = [record.ap for record in history if record.ap is not None]
    settled = run.auto and not _course(run, history).open
    broken = (*run.train.broken, *run.valid.broken)
    light = replace(run, start=None, last=None)
    best, last = run.out / BEST, run.out / LAST
    return TrainResult(best, last, max(measured), measured[-1], tuple(history), settled, broken, light)


def _train_epochs(run: Run, trainer: Trainer, history: list[EpochRecord], saved: Callable[[int], None]) -> None:
    """All epochs that are not done yet; their records are appended."""
    config, writes = run.file.train, run.hardware.processes.first
    steps = steps_per_epoch(len(run.train.images), config.batch)
    watch = DataWatch(run.train, run.valid)
    with TrainLog(run.out, _course(run, history).epochs, steps, len(history), run.quiet, writes) as log:
        if run.resume and not history:
            log.message(f"note: {run.out / LAST} is not there: no epoch was finished; training starts anew")
        _announce(run, trainer, log)
        if history and len(history) >= _course(run, history).epochs:
            log.message(f"note: all {len(history)} epochs of this run are done; more `epochs` would extend it")
        while (epoch := len(history)) < (course := _course(run, history)).epochs:
            trainer.course = course
            log.length(course.epochs, course.open)
            if (news := course.news(epoch)) is not None:
                log.message(news)
            record = trainer.train_epoch(epoch, log)
            if (epoch + 1) % config.eval_interval == 0 or epoch + 1 == course.epochs:
                record = replace(record, ap=trainer.validate(epoch, run.valid, log))
            log.epoch(record)
            history.append(record)
            if writes:
                _save(run, trainer, history)
                saved(_course(run, history).epochs)
                if warning := watch.warning():
                    log.message(warning)


def _course(run: Run, history: list[EpochRecord]) -> Course:
    """Where the run stands; all processes have the same history."""
    if not run.auto:
        return planned_course(run.file.train)
    return open_course(run.file.train, [(record.epoch, record.ap) for record in history if record.ap is not None])


def _set_up(request: TrainRequest, hardware: Hardware) -> Run:
    file, preprocess = _model_and_input(request)
    config, given = _given_settings(request, file)
    require_statistics(config.batch, preprocess)
    refuse_existing(request.out, request.resume)
    quiet = request.quiet or not hardware.processes.first
    with quietly(quiet or is_quiet()), show_progress("reading the data set") as progress:
        train_split, valid_split = load_for_training(request.data, preprocess, progress)
    outputs = OutputSpec(
        class_names=train_split.class_names,
        category_ids=train_split.category_ids,
        max_detections=most_detections(train_split, valid_split),
    )
    images = len(train_split.images)
    fitted = fit_recipe(config, images, given)
    earlier = _last(request.out) if request.resume else None
    if earlier is not None and not fitted_by_recipe(earlier.info.get("identity")):
        fitted = replace(config, reference_batch=0)
    warm = request.start
    return Run(
        out=request.out,
        file=replace(file, train=fitted),
        preprocess=preprocess,
        outputs=outputs,
        train=train_split,
        valid=valid_split,
        seed=request.seed,
        resume=request.resume,
        last=earlier,
        quiet=request.quiet,
        start=None if warm is None else make_start(warm, file.model, preprocess, outputs, request.seed),
        hardware=hardware,
        auto=request.epochs == "auto",
        note=describe_fit(config, fitted, images),
    )


def _given_settings(request: TrainRequest, file: ModelFile) -> tuple[TrainConfig, frozenset[str]]:
    """Training settings as the user gave them, and the keys that he gave."""
    config, given = file.train, changed_training_keys(request.overrides)
    if request.batch is not None:
        config = replace(config, batch=request.batch)
    if request.epochs is not None and request.epochs != "auto":
        config, given = replace(config, epochs=request.epochs), given | {"epochs"}
    return config, given


def _model_and_input(request: TrainRequest) -> tuple[ModelFile, PreprocessSpec]:
    """Model file and input contract; a run that starts from a checkpoint keeps the contract of its weights."""
    if request.start is not None:
        path = request.start.checkpoint
        checkpoint = load_checkpoint(path)
        file = warm_model_file(checkpoint, request.model, request.overrides, path)
        return file, warm_preprocess(checkpoint, file, request.model, request.imgsz)
    if request.model is None:
        raise ConfigError("which `model`? it may only be left out with `start`, a checkpoint to start from")
    file = load_model_file(request.model, request.overrides)
    return file, file.preprocess.spec(request.imgsz)


def require_statistics(batch: int, preprocess: PreprocessSpec) -> None:
    """Raises ConfigError when BatchNorm would have no variance to compute: one image of one cell at the last stride."""
    if batch == 1 and preprocess.width == preprocess.height == 32:
        raise ConfigError("`imgsz` 32 with `batch` 1 leaves BatchNorm one value a channel; take a larger batch or size")


def refuse_existing(out: Path, resume: bool) -> None:
    """Raises ConfigError when nothing can be written in `out`, or it holds a run that nobody asked to go on with."""
    require_out_folder(out, "`out`")
    if not resume and (out / LAST).exists():
        raise ConfigError(f"{out} already holds a run; go on with it by `resume`, or give another `out`")


def _identity(run: Run) -> dict[str, Any]:
    """What has to be equal for a run to be the same run."""
    return {
        "model": asdict(run.file.model),
        "preprocess": run.preprocess.to_json(),
        "outputs": run.outputs.to_json(),
        "train": asdict(run.file.train),
        "length": "auto" if run.auto else "planned",
        "seed": run.seed,
        "start": None if run.start is None else run.start.source,
        "train_images": _fingerprint(run.train),
        "valid_images": _fingerprint(run.valid),
    }


def _fingerprint(split: CocoSplit) -> dict[str, Any]:
    """Changes when images are added, removed or renamed, or annotations edited; pixels are not read."""
    hasher = hashlib.sha256()
    for record in split.images:
        hasher.update(f"{record.path.name} {record.width} {record.height}\n".encode("utf-8", "surrogatepass"))
        hasher.update(record.boxes.tobytes() + record.labels.tobytes() + record.crowd.tobytes())
    return {"images": len(split.images), "sha256": hasher.hexdigest()}


def _resume(run: Run, trainer: Trainer) -> list[EpochRecord]:
    """Bring the trainer to the state of OUT/last.pt; return the history so far, which is empty when there is none."""
    path, checkpoint = run.out / LAST, _last(run.out) if run.last is None else run.last
    if checkpoint is None:
        return []
    assert checkpoint.resume is not None
    before = checkpoint.info.get("identity")
    with damaged_state(path):
        history = [EpochRecord(**record) for record in checkpoint.info["history"]]
        planned = planned_before(before, _identity(run), len(history))
    compare_settings(path, before, planned)
    with damaged_state(path):
        trainer.load_state(checkpoint.weights, checkpoint.resume)
    if run.hardware.processes.first:  # the interrupted run may have ended between the two files
        _write_history(run.out, checkpoint.info["history"])
    return history


def _last(out: Path) -> Checkpoint | None:
    """OUT/last.pt, which has a state to resume from; None when the run was interrupted before its first epoch ended.

    Raises:
        CheckpointError: it is damaged, or holds no such state.
    """
    if not (out / LAST).exists():
        return None
    checkpoint = load_checkpoint(out / LAST)
    if checkpoint.resume is None:
        raise CheckpointError(f"{out / LAST}: holds no state to resume from; start anew without `resume`")
    return checkpoint


def _save(run: Run, trainer: Trainer, history: list[EpochRecord]) -> None:
    """Write best.pt first, then last.pt: whoever resumes from last.pt finds a best.pt that is not older."""
    record = history[-1]
    info: dict[str, Any] = {
        "edgedet": __version__,
        "identity": _identity(run),
        "epoch": record.epoch,
        "ap": record.ap,
        "history": [asdict(r) for r in history],
    }
    checkpoint = Checkpoint(run.file.model, run.preprocess, run.outputs, trainer.averaged_weights(), info)
    best = max((r.ap for r in history if r.ap is not None), default=None)
    if record.ap is not None and record.ap == best:
        save_checkpoint(checkpoint, run.out / BEST)
    save_checkpoint(replace(checkpoint, resume=trainer.state()), run.out / LAST)
    _write_history(run.out, info["history"])


def _write_history(out: Path, records: list[dict[str, Any]]) -> None:
    atomic_write_text(out / HISTORY, json_text(records))


def _announce(run: Run, trainer: Trainer, log: TrainLog) -> None:
    config, size = run.file.train, f"{run.preprocess.width}x{run.preprocess.height}"
    log.message(
        f"{run.file.model.name}, input {size}, {len(run.train.images)} training and {len(run.valid.images)} validation "
        f"images, classes {', '.join(run.outputs.class_names)}; {_length(run)} of "
        f"{steps_per_epoch(len(run.train.images), config.batch)} steps, batch {config.batch}, seed {run.seed}, "
        f"{describe_hardware(run.hardware, trainer.dtype)}; "
        f"TensorBoard: tensorboard --logdir {run.out}"
    )
    if run.note is not None:
        log.message(run.note)
    for note in run.start.notes if run.start is not None else ():
        log.message(note)
    for split in (run.train, run.valid):
        log.message(describe_left(split, run.preprocess))
        for text in left_out_text((split,)):
            log.message(f"warning: {text}")
        for warning in split.warnings:
            log.message(f"warning: {split.name}: {warning.text}")


def _length(run: Run) -> str:
    if not run.auto:
        return f"{run.file.train.epochs} epochs"
    return f"until AP no longer rises, at most {_course(run, []).epochs} epochs"
