"""What a training run shows: a progress bar, one line per epoch, the AP table, TensorBoard scalars and pictures."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from edgedet.errors import OutputError, missing_extra
from edgedet.evaluate.evaluator import EvalReport
from edgedet.outputs.failures import naming_output
from edgedet.terminal import is_quiet, visible

try:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
except ImportError as error:
    raise missing_extra("rich", "train") from error

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError as error:
    raise missing_extra("tensorboard", "train") from error


@dataclass(frozen=True)
class StepLosses:
    """Losses of one iteration."""

    total: float
    cls: float
    box: float
    positives: float  # matched priors per image
    left_out: float = 0.0  # of distillation: priors per image whose teacher box has no area


@dataclass(frozen=True)
class EpochRecord:
    """One line of the history."""

    epoch: int  # 1-based
    loss: float  # means over the epoch
    cls: float
    box: float
    lr: float  # of the last iteration
    images_per_second: float
    ap: float | None = None  # COCO AP on the validation split, when measured
    left_out: float = 0.0  # of distillation: share of the teacher's boxes that have no area and taught nothing


class TrainLog:
    """Terminal and TensorBoard of one run; a context manager.

    Args:
        out: run folder; TensorBoard files go to OUT/tensorboard.
        epochs: of the whole run.
        steps: iterations per epoch.
        done_epochs: epochs that an earlier part of the run finished; their later TensorBoard points are dropped.
        quiet: nothing on the terminal (tests, benchmarks), as with `edgedet --quiet`.
        writes: False: neither terminal nor files; of several processes only one writes.
    """

    def __init__(
        self,
        out: Path,
        epochs: int,
        steps: int,
        done_epochs: int = 0,
        quiet: bool = False,
        writes: bool = True,
    ) -> None:
        quiet = quiet or not writes or is_quiet()
        self._epochs, self._steps, self._quiet, self._open = epochs, steps, quiet, False
        purge_step = done_epochs * steps if done_epochs else None
        self._folder = out / "tensorboard"
        self._writer: SummaryWriter | None = None
        self._errors_of_threads = threading.excepthook
        if writes:
            # TensorBoard writes in a thread of its own, and raises what the disk says once more in the next call: there
            # it becomes one line.
            threading.excepthook = self._tell_unless_of_the_disk
            try:
                with naming_output(self._folder):
                    self._writer = SummaryWriter(str(self._folder), purge_step=purge_step)
            except BaseException:
                threading.excepthook = self._errors_of_threads
                raise
        self._console = Console(file=sys.stderr, quiet=quiet)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
        )
        self._progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal or quiet)
        self._task = self._progress.add_task("train", total=epochs * steps, completed=done_epochs * steps, losses="")
        self._start, self._done_before = time.monotonic(), done_epochs

    def __enter__(self) -> TrainLog:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._writer is None:
            return
        try:
            with naming_output(self._folder):
                self._writer.close()
        except OutputError:
            if value is None:  # otherwise the error that ends the run is more important
                raise
        finally:
            threading.excepthook = self._errors_of_threads

    def _tell_unless_of_the_disk(self, failed: threading.ExceptHookArgs) -> None:
        error = failed.exc_value
        name = error.filename if isinstance(error, OSError) else None  # TensorBoard's are bytes
        if not isinstance(name, str | bytes) or not os.fsdecode(name).startswith(str(self._folder)):
            self._errors_of_threads(failed)

    def message(self, text: str) -> None:
        """A line for the reader."""
        self._console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def length(self, epochs: int, at_most: bool) -> None:
        """Length of the run as it is known now.

        Args:
            epochs: of the whole run.
            at_most: it may still become shorter.
        """
        self._epochs, self._open = epochs, at_most
        self._progress.update(self._task, total=epochs * self._steps)

    def step(self, step: int, losses: StepLosses, lr: float) -> None:
        """After each iteration; `step` counts from the beginning of the run."""
        if self._writer is None:
            return
        for name, value in (("loss", losses.total), ("loss_cls", losses.cls), ("loss_box", losses.box)):
            self._scalar(f"train/{name}", value, step)
        self._scalar("train/positives_per_image", losses.positives, step)
        self._scalar("train/lr", lr, step)
        text = f"loss {losses.total:.3f} cls {losses.cls:.3f} box {losses.box:.3f} lr {lr:.2e}"
        self._progress.update(
            self._task, completed=step + 1, losses=text, description=f"epoch {step // self._steps + 1}/{self._epochs}"
        )

    def epoch(self, record: EpochRecord) -> None:
        """After each epoch."""
        if self._writer is None:
            return
        self._scalar("train/images_per_second", record.images_per_second, record.epoch * self._steps)
        done = record.epoch - self._done_before
        remaining = (time.monotonic() - self._start) / done * (self._epochs - record.epoch)
        ap = "" if record.ap is None else f"  AP {record.ap:.3f}"
        bound = "at most " if self._open else ""
        self.message(
            f"epoch {record.epoch:>3}/{bound}{self._epochs}  loss {record.loss:.4f}  cls {record.cls:.4f}  "
            f"box {record.box:.4f}  lr {record.lr:.2e}  {record.images_per_second:.1f} images/s  "
            f"ETA {bound}{_duration(remaining)}{ap}"
        )

    def evaluation(self, step: int, report: EvalReport, pictures: Iterable[tuple[str, np.ndarray]]) -> None:
        """After a validation; pictures are uint8 (H, W, 3)."""
        if self._writer is None:
            return
        ap = report.ap
        for name, value in (("AP", ap.ap), ("AP50", ap.ap50), ("AP75", ap.ap75)):
            self._scalar(f"valid/{name}", value, step)
        for row in ap.per_class:
            self._scalar(f"valid_class/{row.name}", row.ap, step)
        for name, picture in pictures:
            with naming_output(self._folder):
                self._writer.add_image(f"valid/{name}", picture, step, dataformats="HWC")
        with naming_output(self._folder):
            self._writer.flush()
        self.message(ap.table.rstrip())
        if ap.note:
            self.message(f"note: {ap.note}")

    def _scalar(self, name: str, value: float, step: int) -> None:
        """One point of a curve; an error of the thread that writes comes up here."""
        assert self._writer is not None
        with naming_output(self._folder):
            self._writer.add_scalar(name, value, step)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
