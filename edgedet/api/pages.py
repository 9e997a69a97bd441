"""report.html at the end of a run, and on demand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.api.opening import open_model
from edgedet.data.check.whole import whole_splits
from edgedet.data.coco.split import CocoSplit
from edgedet.data.formats.once import reading_once
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError, DataError, EdgedetError
from edgedet.fileio import PathLike, as_path, refuse_other_file, require_out_file, write_text
from edgedet.outputs.folder import added_files
from edgedet.outputs.lock import hold_output
from edgedet.page.found import save_found
from edgedet.page.measure import find_objects
from edgedet.page.pages import refuse_strange_page, write_comparison, write_page
from edgedet.page.pictures import jpeg
from edgedet.page.record import LabelCounts, count_labels, new_record, save_record
from edgedet.page.run_files import DATA, EVALUATION, FLOAT, INT8, PAGE, RECORD
from edgedet.terminal import working

if TYPE_CHECKING:
    from edgedet.evaluate.evaluator import EvalReport
    from edgedet.finetune.substitute import SubstituteRequest
    from edgedet.runtimes.protocol import Runtime
    from edgedet.training.loop import TrainRequest

_SAMPLES = 8  # augmented pictures


def report(*runs: PathLike, out: PathLike | None = None) -> Path:
    """Make the page of a run again, or one page that compares several.

    Args:
        runs: folders of train, quantize, substitute or inspect.
        out: HTML file of a comparison; None: comparison.html in the current folder. One run's page is its report.html.
    Returns:
        The file: it needs nothing else, open it in a browser.
    Raises:
        ConfigError: a folder is no run, `out` with one run, or `out` is another file.
        DataError: a file of a folder is not as edgedet writes it.
        ToolchainError: Jinja2 is missing.
    """
    folders = [as_path(run, "runs") for run in runs]
    if not folders:
        raise ConfigError("`runs`: expected at least one folder of a run")
    if len(folders) == 1:
        if out is not None:
            raise ConfigError(f"`out` {out}: only for several runs; the page of one is {folders[0] / PAGE}")
        return _of_files(lambda: write_page(folders[0]), folders)
    path = Path("comparison.html") if out is None else as_path(out, "out")
    require_out_file(path, "`out`")
    refuse_other_file(path, "`out`", "HTML page", (b"<!doctype html",))
    return _of_files(lambda: write_comparison(folders, path), folders)


def _of_files(make: Callable[[], Path], folders: Sequence[Path]) -> Path:
    """Make a page of what the folders hold; their files may come from anywhere.

    Raises:
        DataError: a file has a name that edgedet gives, and another form.
    """
    try:
        return make()
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{', '.join(map(str, folders))}: report.json, history.json or inspect.json there is not as edgedet writes "
            f"it ({type(error).__name__}: {error}); give folders of edgedet's runs"
        ) from error


def finish_train(request: TrainRequest, best: Path, command: str = "") -> str:
    """Make the page of a training that has ended.

    Args:
        request: what was trained.
        best: its checkpoint.
        command: as typed; empty: from Python.
    Returns:
        A line for the user: where the page is, or why there is none. It never raises: the results are complete.
    """

    def gather(folder: Path, notes: list[str]) -> tuple[LabelCounts, ...]:
        train, valid = _both(request.data)
        labels = _measure_checkpoint(best, train, valid, folder, request.device)
        _draw_augmented(request, train, folder, notes)
        return labels

    files = [best, request.out / "last.pt"]
    return _finish("train", request.out, command, request_settings(request), files, gather)


def finish_substitute(request: SubstituteRequest, best: Path, command: str = "") -> str:
    """Make the page of a substitution that has ended; as `finish_train`."""

    def gather(folder: Path, notes: list[str]) -> tuple[LabelCounts, ...]:
        return _measure_checkpoint(best, *_both(request.data), folder, request.device)

    files = [best, request.out / "last.pt"]
    return _finish("substitute", request.out, command, request_settings(request), files, gather)


def finish_inspect(folder: Path) -> str:
    """Make the page of a folder in which layers were inspected; it shows the run, too, when the folder is one."""
    try:
        return f"report: {write_page(folder)}"
    except Exception as error:  # a page is never worth a finished run
        return _no_page(folder, error)


def _both(data: DataPaths) -> tuple[CocoSplit, CocoSplit]:
    """Training and validation split; of the latter the images that a run could read."""
    with reading_once():
        train, valid = data.load("train"), data.load("valid")
    return train, _readable(data, valid)


def _readable(data: DataPaths, split: CocoSplit) -> CocoSplit:
    """The split as the run had it: without its broken images, where they were left out."""
    return whole_splits((split,), skip_broken=True)[0] if data.skip_broken else split


def _measure_checkpoint(
    best: Path, train: CocoSplit, valid: CocoSplit, folder: Path, device: str
) -> tuple[LabelCounts, ...]:
    runtime = open_model(best, None, device)
    save_found(find_objects(runtime, valid), folder / FLOAT)
    return tuple(count_labels(split, runtime.preprocess) for split in (train, valid))


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
    Returns:
        As `finish_train`.
    """

    def gather(folder: Path, notes: list[str]) -> tuple[LabelCounts, ...]:
        if not data.folders and data.val_ann is None:
            notes.append("AP is not measured: no data set with validation images was given.")
            return ()
        valid = data.load_if_present("valid")
        if valid is None:
            notes.append("AP is not measured: the data set has no validation split.")
            return ()
        valid = _readable(data, valid)
        runtime = open_model(model, None)
        found = find_objects(runtime, valid)
        save_found(found, folder / INT8)
        if checkpoint.suffix.lower() == ".onnx":
            notes.append("The float network is an ONNX file and is not measured here.")
        else:
            float_runtime = open_model(checkpoint, None, device)
            save_found(find_objects(float_runtime, valid, len(found.split.images)), folder / FLOAT)
        return (count_labels(valid, runtime.preprocess),)

    return _finish("quantize", out, command, settings, [model, checkpoint], gather)


def finish_evaluate(
    out: Path,
    model: Path,
    runtime: Runtime,
    data: DataPaths,
    report: EvalReport,
    settings: Sequence[tuple[str, str]],
    command: str = "",
) -> str:
    """Write evaluate.json of an evaluation that has ended, and make its page.

    Args:
        out: folder of the run.
        model: file that was measured.
        runtime: that measured it; its detections in the first images are drawn.
        data: data set.
        report: what was measured.
        settings: what was asked for.
        command: as typed; empty: from Python.
    Returns:
        As `finish_train`.
    Raises:
        OutputError: evaluate.json can't be written.
    """
    with added_files(out, EVALUATION) as folder:
        write_text(folder / EVALUATION, report.to_json())

    def gather(folder: Path, notes: list[str]) -> tuple[LabelCounts, ...]:
        split = _readable(data, data.load(report.split))
        part = split if len(split.images) == report.images else replace(split, images=split.images[: report.images])
        save_found(find_objects(runtime, part), folder / (INT8 if model.suffix.lower() == ".tflite" else FLOAT))
        return (count_labels(split, runtime.preprocess),)

    return _finish("evaluate", out, command, settings, [model], gather)


def tell(line: str, quiet: bool = False) -> None:
    """Show what `finish_...` says, on stderr; when quiet, only that there is no page."""
    if not quiet or line.startswith("note"):
        sys.stderr.write(f"{line}\n")


def _finish(
    kind: str,
    out: Path,
    command: str,
    settings: Sequence[tuple[str, str]],
    files: Sequence[Path],
    gather: Callable[[Path, list[str]], tuple[LabelCounts, ...]],
) -> str:
    folder, notes = out / DATA, list[str]()
    labels: tuple[LabelCounts, ...] = ()
    try:
        with working(f"{kind}: {PAGE}"), hold_output(out):
            refuse_strange_page(out / PAGE)
            for stale in (out / PAGE, folder / RECORD, folder / FLOAT, folder / INT8, *folder.glob("augmented_*.jpg")):
                stale.unlink(missing_ok=True)
            try:
                labels = gather(folder, notes)
            except (EdgedetError, OSError) as error:
                notes.append(f"Pictures and AP are missing here: {error}")
            save_record(new_record(kind, command, settings, files, notes, labels), folder / RECORD)
            return f"report: {write_page(out)}"
    except Exception as error:
        return _no_page(out, error)


def _draw_augmented(request: TrainRequest, train: CocoSplit, folder: Path, notes: list[str]) -> None:
    from edgedet.config import load_model_file
    from edgedet.data.show import augmented_tiles
    from edgedet.fileio import atomic_write_bytes

    if request.model is None:
        notes.append(
            "Augmented pictures are not drawn: the network was that of a checkpoint, its settings are not known."
        )
        return
    file = load_model_file(request.model, request.overrides)
    spec = file.preprocess.spec(request.imgsz)
    tiles = augmented_tiles(train, spec, file.train, _SAMPLES, request.seed, None)
    for place, tile in enumerate(tiles):
        atomic_write_bytes(folder / f"augmented_{place}.jpg", jpeg(tile.pixels))


def request_settings(request: object) -> list[tuple[str, str]]:
    """Fields of a request as text, for the page; data sets by their options."""
    rows: list[tuple[str, str]] = []
    for field in fields(request):  # type: ignore[arg-type]
        value = getattr(request, field.name)
        if isinstance(value, DataPaths):
            rows += [(name, text) for name, text in request_settings(value) if text not in ("None", "")]
        elif field.name not in ("quiet", "resume") and value not in (None, ()):
            rows.append((field.name, ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)))
    return rows
