"""Quantization from Python: what is asked for, and which part of the package does it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgedet.api.pages import finish_quantize, request_settings, tell
from edgedet.api.steps.thresholds import prepare_fit, refit_thresholds, require_labels
from edgedet.data.paths import DataPaths
from edgedet.errors import ConfigError
from edgedet.evaluate.figures.operating_point import Aim
from edgedet.typed import require_given, require_numbers, require_one, require_truth, require_whole, shown

if TYPE_CHECKING:
    from edgedet.finetune.report import QatReport
    from edgedet.quantize.report import QuantizeReport

METHODS = ("ptq", "qat")
EFFORTS = ("fast", "normal", "best")  # those of edgedet.quantize.ptq.pipeline, which loads torch


@dataclass(frozen=True)
class Quantization:
    """How to quantize; as the arguments of `Model.quantize`."""

    method: str  # ptq | qat
    images: Path | None  # folder of pictures without labels
    calib_images: int
    effort: str  # of ptq
    epochs: int  # of qat, as are the next three
    batch: int
    lr: float
    distill: bool
    int16: tuple[str, ...]
    seed: int
    operating_point: str | None = None  # fit thresholds for it; None: they stay

    def __post_init__(self) -> None:
        require_one("method", self.method, METHODS)
        require_one("effort", self.effort, EFFORTS)
        given = {"calib_images": self.calib_images, "epochs": self.epochs, "batch": self.batch}
        require_given(**given, lr=self.lr, seed=self.seed)
        require_whole(1, **given)
        require_whole(seed=self.seed)
        require_numbers(lr=self.lr)
        if self.lr <= 0:
            raise ConfigError(f"`lr` {self.lr:g}: expected a number above 0, such as 3e-4")
        require_truth(distill=self.distill)
        if self.operating_point is not None:
            Aim.parse(self.operating_point)  # raises


def layers_of(int16: Sequence[str]) -> tuple[str, ...]:
    """The names that were given as `int16`. Raises ConfigError when they are no list of texts."""
    if not isinstance(int16, list | tuple) or not all(isinstance(layer, str) for layer in int16):
        raise ConfigError(f"`int16` {shown(int16)}: expected a list of layers, or ['auto']")
    return tuple(int16)


def quantize(model: Path, data: DataPaths, out: Path, asked: Quantization) -> QuantizeReport | QatReport:
    """Make an int8 file.

    Args:
        model: checkpoint or ONNX file.
        data: data set; may be empty where `asked.images` is given.
        out: folder to write.
        asked: how.
    Returns:
        What came out.
    Raises:
        EdgedetError: data, network or options can't be used.
    """
    from edgedet.quantize.report import QuantizeReport

    aim = None if asked.operating_point is None else Aim.parse(asked.operating_point)
    fit = None
    if aim is not None:
        require_labels(data)
        fit = prepare_fit(data, aim)
    report = _qat(model, data, out, asked) if asked.method == "qat" else _ptq(model, data, out, asked)
    if fit is not None:
        refit_thresholds(report.model, model, fit)
        written = report.model.read_bytes()
        report = replace(report, sha256=hashlib.sha256(written).hexdigest(), model_bytes=len(written))
    valid = None if fit is None else fit.valid
    lessons = None
    if not isinstance(report, QuantizeReport):  # the page is drawn from them; the report need not hold all pictures
        lessons, report = report.lessons, replace(report, lessons=None)
    settings = request_settings(asked)
    tell(finish_quantize(out, report.model, model, data, settings, valid=valid, lessons=lessons), quiet=True)
    return report


def _ptq(model: Path, data: DataPaths, out: Path, asked: Quantization) -> QuantizeReport:
    from edgedet.quantize.api import QuantizeRequest, quantize_checkpoint

    if asked.distill:
        raise ConfigError("`distill` is for method 'qat'; found method 'ptq'")
    request = QuantizeRequest(
        model,
        data,
        out,
        images=asked.images,
        calib_images=asked.calib_images,
        seed=asked.seed,
        effort=asked.effort,
        int16=asked.int16,
    )
    if model.suffix.lower() != ".onnx":
        return quantize_checkpoint(request)
    from edgedet.contract.request import ContractRequest
    from edgedet.exchange.onnx_in.api import OnnxRequest, quantize_onnx

    return quantize_onnx(OnnxRequest(request, ContractRequest(model)))


def _qat(model: Path, data: DataPaths, out: Path, asked: Quantization) -> QatReport:
    from edgedet.finetune.qat import QatRequest, qat_checkpoint

    return qat_checkpoint(
        QatRequest(
            model,
            data,
            out,
            epochs=asked.epochs,
            batch=asked.batch,
            lr=asked.lr,
            distill=asked.distill,
            images=asked.images,
            calib_images=asked.calib_images,
            seed=asked.seed,
            int16=asked.int16,
        )
    )
