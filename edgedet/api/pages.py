"""report.html at the end of a run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.api.opening import open_model
from edgedet.contracts import NmsChoice, PreprocessSpec
from edgedet.data.check.whole import whole_splits
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.errors import EdgedetError
from edgedet.fileio import write_text
from edgedet.outputs.folder import added_files
from edgedet.outputs.page_files import DATA, PAGE, is_strange_page, page_names, remove_page
from edgedet.page.found import save_found
from edgedet.page.measure import find_objects
from edgedet.page.pages import refuse_strange_page, write_fresh_page, write_page
from edgedet.page.pictures import jpeg
from edgedet.page.record import PLANNED, SETTLED, LabelCounts, RunRecord, count_labels, new_record, save_record
from edgedet.page.run_files import EVALUATION, FLOAT, INSPECTED, INSPECTION, INT8, RECORD
from edgedet.terminal import working

if TYPE_CHECKING:
    from edgedet.config import TrainConfig
    from edgedet.evaluate.evaluator import EvalReport
    from edgedet.finetune.settings import Lessons
    from edgedet.finetune.substitute import SubstituteReport, SubstituteRequest
    from edgedet.runtimes.protocol import Runtime
    from edgedet.training.loop import Run, TrainRequest, TrainResult

_SAMPLES = 8  # augmented pictures
_UNFINISHED = "The run has not ended: AP, pictures and labels come with its end; `resume` goes on with it."


def draft_page(kind: str, request: TrainRequest | SubstituteRequest, command: str = "") -> Callable[[int], None]:
    """What to call after each epoch of a training: its page is never older than an epoch, also when it is killed.

    What measures AP and draws pictures comes at the end, by `finish_train` or `finish_substitute`.

    Args:
        kind: train or substitute.
        request: what is trained.
        command: as typed; empty: from Python.
    """
    out, said = request.out, 0

    def saved(epochs: int) -> None:
        nonlocal said
        try:
            refuse_strange_page(out / PAGE)
            if not said:  # AP and pictures there are of an earlier part of the run
                remove_page(out)
            if said != epochs:
                settings = [*request_settings(request), (PLANNED, str(epochs))]
                (out / DATA).mkdir(exist_ok=True)
                save_record(new_record(kind, command, settings, (), (_UNFINISHED,)), out / DATA / RECORD)
                said = epochs
            write_page(out)
        except Exception:  # never worth a run; what is wrong is said at its end
            return

    return saved


def finish_train(request: TrainRequest, result: TrainResult, command: str = "") -> str:
    """Make the page of a training that has ended.

    Args:
        request: what was trained.
        result: its end.
        command: as typed; empty: from Python.
    Returns:
        A line for the user: where the page is, or why there is none. It never raises: the results are complete.
    """
    assert result.run is not None
    ended = [(SETTLED, "yes" if result.settled else "no")] if request.epochs == "auto" else []
    return _finish_run("train", request, result.best, result.run, command, ended)


def finish_substitute(request: SubstituteRequest, report: SubstituteReport, command: str = "") -> str:
    """Make the page of a substitution that has ended; as `finish_train`."""
    assert report.run is not None
    return _finish_run("substitute", request, report.checkpoint, report.run, command)


def _finish_run(
    kind: str,
    request: TrainRequest | SubstituteRequest,
    checkpoint: Path,
    run: Run,
    command: str,
    ended: Sequence[tuple[str, str]] = (),
) -> str:
    def gather(folder: Path, notes: list[str]) -> tuple[LabelCounts, ...]:
        runtime = open_model(checkpoint, None, request.device)
        save_found(find_objects(runtime, run.valid), folder / FLOAT)
        _draw_augmented(run.train, run.preprocess, run.file.train, run.seed, folder)
        return tuple(count_labels(split, run.preprocess) for split in (run.train, run.valid))

    files = list(dict.fromkeys([checkpoint, run.out / "last.pt"]))
    settings = [*request_settings(request), *ended]
    return _finish(kind, run.out, _record(kind, command, settings, files, _effective(run)), gather)


def _effective(run: Run) -> list[tuple[str, str]]:
    """Keys of the model file, as the run used them, and its input."""
    spec = run.preprocess
    tables = (("model", run.file.model), ("train", run.file.train))
    rows = [
        (f"{name}.{field.name}", str(getattr(table, field.name))) for name, table in tables for field in fields(table)
    ]
    return [*rows, ("input", f"{spec.width}x{spec.height} {spec.channel_order}, {spec.resize}")]


def finish_inspect(
    folder: Path,
    contents: Mapping[str, str],
    files: Sequence[Path] = (),
    command: str = "",
    settings: Sequence[tuple[str, str]] = (),
) -> str:
    """Write what an inspection found, with the page, which shows the run, too, when the folder is one.

    Args:
        folder: where to.
        contents: file -> text, among them inspect.json.
        files: that were compared.
        command: as typed.
        settings: what was asked for.
    Returns:
        As `finish_train`.
    Raises:
        OutputError: the files can't be written.
    """
    with added_files(folder, INSPECTION, page_names(folder) - {DATA}) as fresh:
        for name, text in contents.items():
            write_text(fresh / name, text)
        if not is_strange_page(folder / PAGE):
            (fresh / DATA).mkdir()
            save_record(new_record("inspect", command, settings, files), fresh / DATA / INSPECTED)
        return _page(folder, fresh)


def _page(out: Path, fresh: Path) -> str:
    """Write the page of a folder whose newest files are in `fresh`; as `finish_train`."""
    try:
        write_fresh_page(out, fresh)
    except Exception as error:  # a page is never worth a finished run
        return _no_page(out, error)
    return f"report: {out / PAGE}"


def _no_page(folder: Path, error: Exception) -> str:
    return f"note: {folder / PAGE} was not made ({type(error).__name__}: {error}); the results are complete"


def finish_quantize(
    out: Path,
    model: Path,
    checkpoint: Path,
    data: DataPaths,
    settings: Sequence[tuple[str, str]],
    command: str = "",
    device: str | None = None,
    valid: CocoSplit | None = None,
    lessons: Lessons | None = None,
) -> str:
    """Make the page of a quantization that has ended.

    Args:
        out: folder of the run.
        model: its int8 file.
        checkpoint: float network, .pt or .onnx.
        data: data set; its validation split is measured, when it has one.
        settings: what was asked for.
        command: as typed; empty: from Python.
        device: that the float network runs on; None: auto.
        valid: the validation split, where the run has read it, without broken images.
        lessons: what quantization-aware training learned from; None: nothing was trained.
    Returns:
        As `finish_train`; the line before it has the verdict.
    """

    def gather(folder: Path, notes: list[str]) -> tuple[LabelCounts, ...]:
        counts = []
        if lessons is not None:
            _draw_augmented(lessons.train, lessons.preprocess, lessons.config, lessons.seed, folder)
            labelled = any(len(record.labels) for record in lessons.train.images)
            counts += [count_labels(lessons.train, lessons.preprocess)] if labelled else []
        split = valid or _valid_of(data, notes)
        if split is None:
            return tuple(counts)
        runtime = open_model(model, None)
        found = find_objects(runtime, split)
        save_found(found, folder / INT8)
        if checkpoint.suffix.lower() == ".onnx":
            notes.append("The float network is an ONNX file and is not measured here.")
        else:
            float_runtime = open_model(checkpoint, None, device)
            save_found(find_objects(float_runtime, split, len(found.split.images)), folder / FLOAT)
        return (*counts, count_labels(split, runtime.preprocess))

    return _finish("quantize", out, _record("quantize", command, settings, [model, checkpoint]), gather)


def _valid_of(data: DataPaths, notes: list[str]) -> CocoSplit | None:
    """The validation split, without its broken images where they are left out; None, with a note: there is none."""
    if not data.folders and data.val_ann is None:
        notes.append("AP is not measured: no data set with validation images was given.")
        return None
    split = data.load_if_present("valid")
    if split is None:
        notes.append("AP is not measured: the data set has no validation split.")
        return None
    return whole_splits((split,), skip_broken=True)[0] if data.skip_broken else split


def finish_evaluate(
    out: Path,
    model: Path,
    runtime: Runtime,
    split: CocoSplit,
    report: EvalReport,
    settings: Sequence[tuple[str, str]],
    command: str = "",
) -> str:
    """Write evaluate.json of an evaluation that has ended, and its page.

    Args:
        out: folder of the run.
        model: file that was measured.
        runtime: that measured it; its detections in the first images are drawn.
        split: as it was measured, of which the report may have the first images only.
        report: what was measured.
        settings: what was asked for.
        command: as typed; empty: from Python.
    Returns:
        As `finish_train`.
    Raises:
        OutputError: evaluate.json can't be written.
    """

    def gather(folder: Path, notes: list[str]) -> tuple[LabelCounts, ...]:
        part = split if len(split.images) == report.images else replace(split, images=split.images[: report.images])
        save_found(find_objects(runtime, part), folder / (INT8 if model.suffix.lower() == ".tflite" else FLOAT))
        return (count_labels(split, runtime.preprocess),)

    record = _record("evaluate", command, settings, [model])
    return _finish("evaluate", out, record, gather, {EVALUATION: report.to_json()})


def evaluation_settings(
    data: DataPaths,
    opened: tuple[str | None, str | None, str | None],
    nms: NmsChoice,
    measured: tuple[int | None, str, str, float],
) -> list[tuple[str, str]]:
    """What the page of an evaluation says about it, from Python as from the command.

    Args:
        data: the data set.
        opened: runtime, what a board gets, device; None: the usual one.
        nms: limits of decoding.
        measured: images (None: all), split, operating point, score threshold.
    """
    names = ("runtime", "send", "device", "images", "split", "operating_point", "score_threshold")
    given = [*zip(names, (*opened, *measured), strict=True), *((f.name, getattr(nms, f.name)) for f in fields(nms))]
    return [(name, str(value)) for name, value in given if value not in (None, False)] + request_settings(data)


def tell(line: str, quiet: bool = False) -> None:
    """Show what `finish_...` says, on stderr; when quiet, only that there is no page."""
    if not quiet or line.startswith("note"):
        sys.stderr.write(f"{line}\n")


def _record(
    kind: str,
    command: str,
    settings: Sequence[tuple[str, str]],
    files: Sequence[Path],
    effective: Sequence[tuple[str, str]] = (),
) -> Callable[[list[str], tuple[LabelCounts, ...]], RunRecord]:
    """Everything of a record but notes and labels, which come last."""
    return lambda notes, labels: new_record(kind, command, settings, files, notes, labels, effective)


def _finish(
    kind: str,
    out: Path,
    record: Callable[[list[str], tuple[LabelCounts, ...]], RunRecord],
    gather: Callable[[Path, list[str]], tuple[LabelCounts, ...]],
    results: Mapping[str, str] | None = None,
) -> str:
    """Write the page and its data, in place of earlier ones, and with them results that were not written yet."""
    try:
        with working(f"{kind}: {PAGE}"), added_files(out, next(iter(results or {PAGE: ""})), page_names(out)) as fresh:
            for name, text in (results or {}).items():
                write_text(fresh / name, text)
            try:
                refuse_strange_page(out / PAGE)
                _gather(fresh / DATA, record, gather)
                page = write_fresh_page(out, fresh)
            except Exception as error:
                shutil.rmtree(fresh / DATA, ignore_errors=True)
                (fresh / PAGE).unlink(missing_ok=True)
                return _no_page(out, error)
        verdict = f"verdict: {page.verdict}\n" if kind == "quantize" else ""  # the others have said it
        return f"{verdict}report: {out / PAGE}"
    except Exception as error:
        if results:
            raise
        return _no_page(out, error)


def _gather(
    folder: Path,
    record: Callable[[list[str], tuple[LabelCounts, ...]], RunRecord],
    gather: Callable[[Path, list[str]], tuple[LabelCounts, ...]],
) -> None:
    folder.mkdir()
    notes, labels = list[str](), tuple[LabelCounts, ...]()
    try:
        labels = gather(folder, notes)
    except (EdgedetError, OSError) as error:
        notes.append(f"Pictures and AP are missing here: {error}")
    save_record(record(notes, labels), folder / RECORD)


def _draw_augmented(train: CocoSplit, preprocess: PreprocessSpec, config: TrainConfig, seed: int, folder: Path) -> None:
    from edgedet.data.show import augmented_tiles

    tiles = augmented_tiles(train, preprocess, config, _SAMPLES, seed, None)
    for place, tile in enumerate(tiles):
        (folder / f"augmented_{place}.jpg").write_bytes(jpeg(tile.pixels))


def request_settings(request: object) -> list[tuple[str, str]]:
    """Fields of a request as text, for the page; data sets by their options."""
    rows: list[tuple[str, str]] = []
    for field in fields(request):  # type: ignore[arg-type]
        value = getattr(request, field.name)
        if isinstance(value, DataPaths):
            rows += [(name, text) for name, text in request_settings(value) if text not in ("None", "")]
        elif is_dataclass(value):
            rows += [(f"{field.name}.{name}", text) for name, text in request_settings(value)]
        elif field.name not in ("quiet", "resume") and value not in (None, ()):
            rows.append((field.name, ", ".join(map(_text, value)) if isinstance(value, tuple) else str(value)))
    return rows


def _text(value: object) -> str:
    """An item of a setting; pairs as `--option` takes them, layer=calibrator."""
    return "=".join(map(str, value)) if isinstance(value, tuple) else str(value)
