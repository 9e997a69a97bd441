"""Score thresholds of an int8 file, fitted again after quantization and written into its contract."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from edgedet.api.opening import open_model
from edgedet.contract.api import with_contracts
from edgedet.data.check.whole import whole_splits
from edgedet.data.coco.split import CocoSplit
from edgedet.data.formats.once import reading_once
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.escape import json_text
from edgedet.evaluate.figures.operating_point import Aim
from edgedet.evaluate.fit_thresholds import Refit, fit_thresholds
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


@dataclass(frozen=True, eq=False)
class Fit:
    """What thresholds are to be fitted for, and the images for it; they are read before the work that comes first."""

    aim: Aim
    train: CocoSplit
    valid: CocoSplit | None  # on which the result is measured; None: there is none


def prepare_fit(data: DataPaths, aim: Aim) -> Fit:
    """Read both splits.

    Raises:
        DataError: a split can't be read, or images in them are broken.
    """
    with reading_once():
        splits = [data.load("train"), data.load_if_present("valid")]
    train, *valid = whole_splits([split for split in splits if split is not None], data.skip_broken)
    return Fit(aim, train, valid[0] if valid else None)


def refit_thresholds(model: Path, checkpoint: Path, fit: Fit, bar: Bar = lambda title: nullcontext()) -> Refit:
    """Fit the thresholds of a quantized file on the training split, and write them into its contract.

    The float network is fitted on the same images, to say how far int8 moved the thresholds. The file and report.json
    beside it are replaced together; only the contract in the file changes.

    Args:
        model: int8 file of a quantization, report.json beside it.
        checkpoint: float network; an ONNX file is not run.
        fit: of `prepare_fit`.
        bar: shows progress.
    Returns:
        What was chosen and what it gives.
    Raises:
        DataError: the training split can't be used.
    """
    runtime = open_model(model, None)
    float_fit = None
    if checkpoint.suffix.lower() != ".onnx":
        with bar("thresholds, float") as progress:
            network = open_model(checkpoint, None)
            float_fit = fit_thresholds(network, fit.train, fit.aim, progress=progress, valid=fit.valid)
    with bar("thresholds, int8") as progress:
        int8_fit = fit_thresholds(runtime, fit.train, fit.aim, progress=progress, valid=fit.valid)
    refit = Refit(runtime.outputs.class_names, runtime.outputs.thresholds, float_fit, int8_fit)
    _write(model, int8_fit.thresholds, refit)
    return refit


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
