"""Run a model over a split: COCO AP and where the time goes."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from edgedet.contracts import Detections, OutputSpec
from edgedet.data.check.content import count_objects
from edgedet.data.coco.split import CocoSplit, ImageRecord, common_classes
from edgedet.errors import ConfigError, DataError
from edgedet.escape import json_text
from edgedet.evaluate.detect import Clock, OnDevice, board_with_room, detect_records, keeping_results
from edgedet.evaluate.figures.coco_ap import ApResult, coco_ap
from edgedet.evaluate.figures.false_alarms import FalseAlarms, count_false_alarms
from edgedet.evaluate.figures.matches import match
from edgedet.evaluate.figures.operating_point import Aim, Operation, operation_of, thresholds_of
from edgedet.evaluate.figures.reading import Sentence, read_ap
from edgedet.evaluate.own_decoder import Decoder, OwnDecoder
from edgedet.notebook import html_table, short
from edgedet.progress import Progress

if TYPE_CHECKING:  # the training loop evaluates without loading simulator and flatbuffer
    from edgedet.runtimes.device_figures import DeviceFigures
    from edgedet.runtimes.protocol import Runtime


COCO_SCORE_THRESHOLD = 0.001  # low enough for the whole precision-recall curve; RTMDet's test_cfg


class Share(Protocol):
    """How several processes divide the images of a split."""

    def mine(self, records: Sequence[ImageRecord]) -> Sequence[ImageRecord]:
        """Those that this process evaluates."""

    def gather(self, part: dict[int, Detections]) -> dict[int, Detections]:
        """What all processes found; called by each of them with its own."""


@runtime_checkable
class Detailed(Protocol):
    """A runtime that measures more than time, for example instructions."""

    def details(self, per_operator: bool) -> tuple[str, ...]:
        """Lines for the report, about the images so far."""


@dataclass(frozen=True)
class Timings:
    """Mean time per image, ms of wall-clock."""

    preprocess_ms: float  # decode the image file, resize, normalize or quantize
    invoke_ms: float  # the network
    decode_ms: float  # thresholds, boxes, NMS

    @property
    def total_ms(self) -> float:
        """Sum of the three."""
        return self.preprocess_ms + self.invoke_ms + self.decode_ms


@dataclass(frozen=True)
class EvalReport:
    """What was measured, with what, on what."""

    ap: ApResult
    timings: Timings
    runtime: str  # sim, ref, xnnpack, tflm, torch, ...
    arithmetic: str  # which arithmetic and package ran, in words
    model: str  # path of the model file; empty for a model in memory
    model_sha256: str
    split: str
    annotations: str  # path
    images: int
    score_threshold: float
    nms_iou: float
    max_detections: int
    input_size: tuple[int, int]  # width, height, px
    machine: str
    class_agnostic: bool = False  # each box had its best class only, and suppressed those of all classes
    model_thresholds: tuple[tuple[str, float], ...] = ()  # class of the model, its score threshold on the device
    details: tuple[str, ...] = ()  # what else the runtime measured, lines for the report
    operation: Operation | None = None  # precision, recall, F1 at score thresholds, where they were asked for
    reading: tuple[Sentence, ...] = ()  # what stands out in all of this
    left_out: tuple[str, ...] = ()  # classes that only the model or only the data has, as sentences
    false_alarms: FalseAlarms | None = None  # where the images show no object; AP is -1 then
    broken: tuple[str, ...] = ()  # what is wrong with each image that was left out because it can't be read
    device: DeviceFigures | None = None  # what was measured on a board: ms by its clock, AP of its own detections

    def to_json(self) -> str:
        """JSON text, keys in the order of the fields, newline at the end."""
        value: dict[str, Any] = asdict(self)
        value["model_thresholds"] = dict(self.model_thresholds)
        value["operation"] = None if self.operation is None else self.operation.to_json()
        return json_text(value, 2)

    def text(self) -> str:
        """The table as pycocotools prints it, followed by timings and arithmetic."""
        per_class = "\n".join(f"  {row.name}: AP {row.ap:.3f}, AP50 {row.ap50:.3f}" for row in self.ap.per_class)
        details = "".join(f"{line}\n" for line in self.details)
        reading = "".join(f"reading: {sentence.text()}\n" for sentence in self.reading)
        left_out = "".join(f"note: {line}\n" for line in self.left_out)
        if self.broken:
            left_out += (
                f"note: images left out because they are broken: {len(self.broken)} ({'; '.join(self.broken)})\n"
            )
        plain = f"note: {self.ap.note}\n" if self.ap.note else ""
        operation = "" if self.operation is None else self.operation.text()
        result = f"{self.ap.table}{plain}{left_out}per class:\n{per_class}\n{operation}"
        if self.false_alarms is not None:
            result = f"{self.false_alarms.text()}{left_out}"
        return (
            f"{result}"
            f"images: {self.images} ({self.split}){self._speed()}\n"
            f"runtime: {self.runtime}: {self.arithmetic}\n"
            f"{details}"
            f"{reading}"
        )

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        figures = f"AP {self.ap.ap:.3f}, AP50 {self.ap.ap50:.3f}"
        return f"<EvalReport {figures}: {self.images} images of {short(self.split)}>"

    def _repr_html_(self) -> str:
        rows = [("all", f"{self.ap.ap:.3f}", f"{self.ap.ap50:.3f}")]
        rows += [(row.name, f"{row.ap:.3f}", f"{row.ap50:.3f}") for row in self.ap.per_class]
        alarms = () if self.false_alarms is None else (self.false_alarms.text(),)
        broken = (f"images left out because they are broken: {len(self.broken)}",) if self.broken else ()
        notes = (*alarms, *(sentence.text() for sentence in self.reading), *self.left_out, *broken)
        title = f"COCO AP: {self.images} images of {self.split}, runtime {self.runtime}"
        return html_table(title, rows, ("class", "AP", "AP50"), notes)

    def _speed(self) -> str:
        """Input size and times, where a model ran."""
        if self.input_size == (0, 0):
            return ""
        t = self.timings
        return (
            f", input {self.input_size[0]}x{self.input_size[1]}\n"
            f"ms per image: preprocess {t.preprocess_ms:.2f}, invoke {t.invoke_ms:.2f}, decode {t.decode_ms:.2f}"
        )


def evaluate(
    runtime: Runtime,
    split: CocoSplit,
    *,
    max_images: int | None = None,
    score_threshold: float = COCO_SCORE_THRESHOLD,
    progress: Progress | None = None,
    model_path: Path | None = None,
    per_operator: bool = False,
    decode: Decoder | None = None,
    share: Share | None = None,
    aim: Aim | None = None,
    compare_plain: bool = True,
) -> EvalReport:
    """Measure a model on a split.

    Args:
        runtime: the model in one of its forms.
        split: images and ground truth. Classes are matched by name; AP is over those that the model and the data share,
            and the report says which are left out.
        max_images: only the first so many images of the split; None for all.
        score_threshold: detections below are dropped; 0.001 gives COCO AP. Images without any object are measured at
            the contract's threshold, if that is higher.
        progress: called after each image.
        model_path: file of the model, for the report and its hash.
        per_operator: details of every operator, from runtimes that measure them.
        decode: of a head that edgedet does not know: (outputs, preprocess, score_threshold) -> Detections, where
            outputs are real values, float32, in contract order, and the boxes of the result are in pixels of the
            network's input; None: the contract's head.
        share: of several processes that evaluate together; each gets the whole report, with its own timings. None:
            this process evaluates all images.
        aim: propose score thresholds for it; None: AP only.
        compare_plain: as of `coco_ap`; False where nobody reads its note.
    Returns:
        AP, timings and what they belong to.
    Raises:
        DataError: the split is empty, an image can't be read, no class is shared, or boxes were lost on load, so that
            none is left. Images that show no object are no error: the report has their false alarms.
        ConfigError: max_images is not positive.
    """
    records = select_records(split, max_images)
    board = board_with_room(runtime, records)
    keeping = keeping_results(runtime)
    if decode is not None:
        runtime = OwnDecoder(runtime, decode)
    task = _task(runtime.outputs, split, len(records), score_threshold)
    clock = Clock()
    mine = task.records if share is None else share.mine(task.records)
    own: dict[int, Detections] = {}
    with keeping:
        found = _detect_all(runtime, mine, task.least, task.labels, clock, progress, own)
    if share is not None:
        found = share.gather(found)
    ap = coco_ap(task.split, found, runtime.outputs.max_detections, compare_plain)
    device = None if board is None else _figures(board, task.split, own, runtime.outputs)
    timings = _mean(clock, max(1, len(mine)))
    details = _details(runtime, device, per_operator)
    return _report(runtime, task, found, ap, aim, timings, model_path, device, details)


@dataclass(frozen=True, eq=False)
class _Task:
    """What is measured: images with their objects of the classes that model and data share."""

    split: CocoSplit
    records: tuple[ImageRecord, ...]  # the images of it that are measured
    labels: np.ndarray  # as of `match_classes`
    left_out: tuple[str, ...]
    has_objects: bool  # else there is no precision-recall curve to draw: what matters is what the chip reports
    score_threshold: float  # of the report
    least: float | None  # of the detections; None: the contract's


def _task(outputs: OutputSpec, split: CocoSplit, images: int, score_threshold: float) -> _Task:
    split, labels, left_out = match_classes(outputs.class_names, split)
    records = split.images[:images]
    if count_objects(split, records):
        return _Task(split, records, labels, left_out, True, score_threshold, score_threshold)
    least = score_threshold if score_threshold > outputs.score_threshold else None
    return _Task(split, records, labels, left_out, False, max(score_threshold, outputs.score_threshold), least)


def _report(
    runtime: Runtime,
    task: _Task,
    found: dict[int, Detections],
    ap: ApResult,
    aim: Aim | None,
    timings: Timings,
    model_path: Path | None,
    device: DeviceFigures | None,
    details: tuple[str, ...],
) -> EvalReport:
    """What was found, with what it belongs to."""
    outputs, operation = runtime.outputs, None
    if aim is not None and task.has_objects:
        thresholds = thresholds_of(outputs, task.split.class_names)
        operation = operation_of(match(task.split, found), thresholds, aim)
    false_alarms = None
    if not task.has_objects:
        false_alarms = count_false_alarms(found, task.split.class_names, task.score_threshold)
    return EvalReport(
        ap=ap,
        operation=operation,
        reading=() if operation is None else read_ap(ap, operation, task.records, runtime.preprocess),
        timings=timings,
        runtime=runtime.name,
        arithmetic=runtime.arithmetic,
        model="" if model_path is None else str(model_path),
        model_sha256="" if model_path is None else sha256_of(model_path),
        split=task.split.name,
        annotations=str(task.split.ann_path),
        images=len(task.records),
        score_threshold=task.score_threshold,
        nms_iou=outputs.nms_iou,
        max_detections=outputs.max_detections,
        input_size=(runtime.preprocess.width, runtime.preprocess.height),
        machine=describe_machine(),
        class_agnostic=outputs.head.agnostic,
        model_thresholds=tuple(zip(outputs.class_names, outputs.thresholds, strict=True)),
        details=details,
        device=device,
        left_out=task.left_out,
        broken=task.split.broken,
        false_alarms=false_alarms,
    )


def _detect_all(
    runtime: Runtime,
    records: Sequence[ImageRecord],
    score_threshold: float | None,
    labels: np.ndarray,
    clock: Clock,
    progress: Progress | None,
    own: dict[int, Detections],
) -> dict[int, Detections]:
    """Detections by image id, in labels of the data set; arguments as of `evaluate` and `detect_records`."""
    found = {}
    detected = detect_records(runtime, records, score_threshold, labels, clock, own)
    for done, (record, detections) in enumerate(detected, start=1):
        found[record.image_id] = detections
        if progress is not None:
            progress(done, len(records))
    return found


def _details(runtime: Runtime, device: DeviceFigures | None, per_operator: bool) -> tuple[str, ...]:
    if device is not None:
        return device.lines()
    return runtime.details(per_operator) if isinstance(runtime, Detailed) else ()


def _figures(board: OnDevice, split: CocoSplit, own: dict[int, Detections], outputs: OutputSpec) -> DeviceFigures:
    """What was measured on a board, with the AP of what it detected itself, where the images show objects."""
    figures = board.device_figures()
    if not own or not any(len(record.boxes) for record in split.images if record.image_id in own):
        return figures
    from edgedet.runtimes.device_figures import OwnDetections

    ap = coco_ap(split, own, outputs.max_detections, compare_plain=False)
    least = min((outputs.score_threshold, *outputs.class_thresholds))
    objects = sum(map(len, own.values()))
    return replace(figures, own_detections=OwnDetections(ap.ap, ap.ap50, objects, least))


def match_classes(class_names: tuple[str, ...], split: CocoSplit) -> tuple[CocoSplit, np.ndarray, tuple[str, ...]]:
    """Bring the classes of a model and of a data set together, by name.

    Args:
        class_names: of the model.
        split: data set.
    Returns:
        The split with the common classes; int64 (len(class_names),), the index into its `class_names` for each label of
        the model, -1 for classes that the data lacks; sentences about what is left out.
    Raises:
        DataError: no class is shared.
    """
    advice = "evaluate on the data set that the model was trained for, or rename the classes by `rename`"
    common = common_classes(split, "the model", class_names, advice)
    only_model = [name for name in class_names if name not in common]
    only_data = [name for name in split.class_names if name not in common]
    left_out = []
    if only_model:
        left_out.append(f"the data has no class {', '.join(only_model)}: AP is over the other classes of the model")
    if only_data:
        left_out.append(f"the model does not know the class {', '.join(only_data)}: its boxes are left out")
    chosen = split if not only_data else split.with_classes(common)
    labels = [chosen.class_names.index(name) if name in common else -1 for name in class_names]
    return chosen, np.array(labels, dtype=np.int64), tuple(left_out)


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe_machine() -> str:
    """One line: system, architecture, processor, cores, Python and NumPy versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{platform.system()} {platform.machine()}, {_processor()}, {cores} cores, Python {platform.python_version()}, "
        f"NumPy {np.__version__}"
    )


def select_records(split: CocoSplit, max_images: int | None) -> tuple[ImageRecord, ...]:
    """First images of a split.

    Args:
        split: data set.
        max_images: how many; None: all.
    Raises:
        ConfigError: max_images is not positive.
        DataError: the split is empty.
    """
    if max_images is not None and max_images < 1:
        raise ConfigError(f"images must be at least 1, got {max_images}")
    records = split.images[:max_images]
    if not records:
        raise DataError(f"{split.ann_path}: the split {split.name} has no images to evaluate")
    return records


def _mean(clock: Clock, images: int) -> Timings:
    return Timings(*(1000.0 * total / images for total in (clock.preprocess, clock.invoke, clock.decode)))


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
