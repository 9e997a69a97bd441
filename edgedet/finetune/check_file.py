"""The file that QAT wrote must have the AP that QAT printed; otherwise it does not get its name."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.data.coco.split import CocoSplit
from edgedet.errors import ConversionError
from edgedet.evaluate.ap_bootstrap import ap_difference_error
from edgedet.evaluate.evaluator import evaluate
from edgedet.fileio import atomic_write_bytes
from edgedet.runtimes.open import open_runtime
from edgedet.runtimes.protocol import Runtime

MODEL_FILE = "model_int8.tflite"
REJECTED_FILE = "model_int8.rejected.tflite"
CHECK_RUNTIMES = ("ref", "sim")
ERRORS = 3.0  # standard errors of the difference that chance explains
AP_TOLERANCE = 0.005  # between the network that was trained and the file; larger on tiny splits, see `ap_tolerance`


@dataclass(frozen=True)
class FileCheck:
    """A file that was measured and accepted."""

    path: Path  # where it is until it gets its name
    ap: float
    tolerance: float  # AP, that it may have been away from the expected one
    arithmetic: str  # which arithmetic and package measured it


def ap_tolerance(split: CocoSplit) -> float:
    """Largest difference of two APs that may come from rounding alone.

    Float and integer arithmetic differ by a step here and there, which can move one detection across an IoU threshold.
    Where a split has few objects, that one detection is more than 0.005 of AP.

    Args:
        split: images that both APs are of.
    Returns:
        `AP_TOLERANCE`, or one object of the rarest class that occurs, whichever is larger.
    """
    counts = np.bincount(np.concatenate([record.labels for record in split.images]))
    present = counts[counts > 0]
    return max(AP_TOLERANCE, 1.0 / (len(present) * int(present.min()))) if len(present) else AP_TOLERANCE


def check_file(
    data: bytes, out: Path, runtime: str, split: CocoSplit, expected_ap: float, trained: Runtime
) -> FileCheck:
    """Write a model, and measure whether it may get its name: unless its AP is lower than chance explains.

    Args:
        data: bytes of the `.tflite`.
        out: folder.
        runtime: `ref` or `sim`; without an interpreter package, `ref` becomes `sim` (the same arithmetic), and
            `arithmetic` says so.
        split: images to measure on.
        expected_ap: of the fake-quantized network on the same images.
        trained: that network, run on the images once more when the file's AP is lower by more than `ap_tolerance`:
            the tolerance is then `ERRORS` standard errors of the difference, if that is more.
    Returns:
        The accepted file, which is still OUT/model_int8.rejected.tflite: the caller gives it its name together with its
        report.
    Raises:
        ConversionError: the AP of the file is lower by more than the tolerance. The file is
            OUT/model_int8.rejected.tflite, and OUT/model_int8.tflite is gone, an older one included.
    """
    candidate, accepted = out / REJECTED_FILE, out / MODEL_FILE
    atomic_write_bytes(candidate, data)
    available = any(importlib.util.find_spec(name) for name in ("ai_edge_litert", "tflite_runtime"))
    used = runtime if available or runtime != "ref" else "sim"
    opened = open_runtime(candidate, used)
    ap, tolerance = evaluate(opened, split).ap.ap, ap_tolerance(split)
    if not expected_ap - ap <= tolerance:
        tolerance = max(tolerance, ERRORS * ap_difference_error(trained, opened, split))
    if not expected_ap - ap <= tolerance:
        accepted.unlink(missing_ok=True)
        raise ConversionError(
            f"{candidate}: AP {ap:.4f} ({used}: {opened.arithmetic}), but the fake-quantized network that was "
            f"trained has {expected_ap:.4f}; expected at most {tolerance:.4f} less, {ERRORS:g} standard errors of the "
            f"difference on these {len(split.images)} images. The file is kept under this name for `edgedet inspect`; "
            f"there is no {MODEL_FILE}. Please report it with the checkpoint"
        )
    absent = "" if used == runtime else "; no LiteRT installed, so the reference kernels themselves were not run"
    return FileCheck(candidate, ap, tolerance, f"{used}: {opened.arithmetic}{absent}")
