"""Score thresholds of an int8 file, fitted again after quantization and written into its contract."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from edgedet.api.opening import open_model
from edgedet.contract.api import with_contracts
from edgedet.data.check.whole import whole_splits
from edgedet.data.coco.split import CocoSplit
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.escape import json_text
from edgedet.evaluate.fit_thresholds import Refit, fit_thresholds, measure_thresholds
from edgedet.evaluate.operating_point import Aim, OperatingPoint
from edgedet.fileio import write_text
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.metadata import read_contracts
from edgedet.outputs.folder import added_files
from edgedet.outputs.lock import hold_output
from edgedet.progress import Progress

REPORT_FILE = "report.json"
KEY = "operating_point"  # in it
Bar = Callable[[str], AbstractContextManager[Progress | None]]


def require_labels(data: DataPaths) -> None:
    """Raises ConfigError when thresholds are asked for without a training split to fit them on."""
    if not data.folders and data.train_ann is None:
        raise ConfigError(
            "`operating_point`: thresholds are fitted on the labelled training split; give `data`, or leave it out"
        )


def require_whole(data: DataPaths) -> None:
    """Raises what `refit_thresholds` would end with after the work: a split that can't be read, or broken images."""
    splits = [data.load("train"), data.load_if_present("valid")]
    whole_splits([split for split in splits if split is not None], data.skip_broken)


def refit_thresholds(
    model: Path, checkpoint: Path, data: DataPaths, aim: Aim, bar: Bar = lambda title: nullcontext()
) -> Refit:
    """Fit the thresholds of a quantized file on the training split, and write them into its contract.

    The float network is fitted on the same images, to say how far int8 moved the thresholds. The file and report.json
    beside it are replaced together; only the contract in the file changes.

    Args:
        model: int8 file of a quantization, report.json beside it.
        checkpoint: float network; an ONNX file is not run.
        data: data set with a training split; on its validation split, if it has one, the result is measured.
        aim: what the thresholds are chosen for.
        bar: shows progress.
    Returns:
        What was chosen and what it gives.
    Raises:
        DataError: the training split can't be used.
    """
    (train,) = _whole(data, data.load("train"))
    valid = data.load_if_present("valid")
    runtime = open_model(model, None)
    float_fit = None
    if checkpoint.suffix.lower() != ".onnx":
        with bar("thresholds, float") as progress:
            float_fit = fit_thresholds(open_model(checkpoint, None), train, aim, progress=progress)
    with bar("thresholds, int8") as progress:
        fit = fit_thresholds(runtime, train, aim, progress=progress)
    outputs = runtime.outputs.with_thresholds(fit.thresholds)
    held_out: tuple[OperatingPoint, ...] = ()
    if valid is not None:
        (valid,) = _whole(data, valid)
        held_out = measure_thresholds(runtime, outputs, valid)
    refit = Refit(
        runtime.outputs.class_names,
        runtime.outputs.thresholds,
        float_fit,
        fit,
        held_out,
        "" if valid is None else valid.name,
    )
    _write(model, fit.thresholds, refit)
    return refit


def _whole(data: DataPaths, split: CocoSplit) -> tuple[CocoSplit, ...]:
    return whole_splits((split,), data.skip_broken)


def _write(model: Path, thresholds: tuple[float, ...], refit: Refit) -> None:
    source = str(model)
    graph = parse_tflite(model.read_bytes(), source)
    found = read_contracts(graph, source)
    outputs = found.outputs.with_thresholds(thresholds)
    roles = dict(zip(outputs.tensor_names, found.output_indices, strict=True))
    data = serialize(with_contracts(graph, found.preprocess, outputs, roles, source))
    with hold_output(model.parent):
        report = json.loads((model.parent / REPORT_FILE).read_text(encoding="utf-8"))
        report |= {"sha256": hashlib.sha256(data).hexdigest(), "model_bytes": len(data), KEY: refit.to_json()}
        with added_files(model.parent, REPORT_FILE) as folder:
            (folder / model.name).write_bytes(data)
            write_text(folder / REPORT_FILE, json_text(report))
