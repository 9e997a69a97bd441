"""The file that QAT makes must have the AP that QAT printed; otherwise it does not get its name."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.data.coco.split import CocoSplit
from edgedet.evaluate.ap_bootstrap import ap_difference_error
from edgedet.evaluate.evaluator import evaluate
from edgedet.outputs.failures import naming_output
from edgedet.outputs.workshop import workshop
from edgedet.runtimes.open import open_runtime
from edgedet.runtimes.protocol import Runtime

MODEL_FILE = "model_int8.tflite"
REJECTED_FILE = "model_int8.rejected.tflite"
CHECK_RUNTIMES = ("ref", "sim")
ERRORS = 3.0  # standard errors of the difference that chance explains
AP_TOLERANCE = 0.005  # between the network that was trained and the file; larger on tiny splits, see `ap_tolerance`


@dataclass(frozen=True)
class FileCheck:
    """What measuring a file gave."""

    ap: float
    tolerance: float  # AP, that it may be below the expected one
    arithmetic: str  # which arithmetic and package measured it
    refusal: str = ""  # why it does not get its name; empty: it gets it

    @property
    def name(self) -> str:
        """What the file is to be called."""
        return REJECTED_FILE if self.refusal else MODEL_FILE


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
    """Measure whether a model may get its name: unless its AP is lower than chance explains.

    Args:
        data: bytes of the `.tflite`.
        out: folder that it is for; measured out of sight beside it.
        runtime: `ref` or `sim`; without an interpreter package, `ref` becomes `sim` (the same arithmetic), and
            `arithmetic` says so.
        split: images to measure on.
        expected_ap: of the fake-quantized network on the same images.
        trained: that network, run on the images once more when the file's AP is lower by more than `ap_tolerance`:
            the tolerance is then `ERRORS` standard errors of the difference, if that is more.
    Returns:
        What was measured, and the name that the file gets.
    Raises:
        OutputError: there is no room for the file.
    """
    available = any(importlib.util.find_spec(name) for name in ("ai_edge_litert", "tflite_runtime"))
    used = runtime if available or runtime != "ref" else "sim"
    with naming_output(out), workshop(out / MODEL_FILE) as folder:
        (folder / MODEL_FILE).write_bytes(data)
        opened = open_runtime(folder / MODEL_FILE, used)
        ap, tolerance = evaluate(opened, split).ap.ap, ap_tolerance(split)
        if not expected_ap - ap <= tolerance:
            tolerance = max(tolerance, ERRORS * ap_difference_error(trained, opened, split))
    refusal = ""
    if not expected_ap - ap <= tolerance:
        refusal = (
            f"AP {ap:.4f} ({used}: {opened.arithmetic}), but the fake-quantized network that was trained has "
            f"{expected_ap:.4f}; expected at most {tolerance:.4f} less, {ERRORS:g} standard errors of the difference "
            f"on these {len(split.images)} images"
        )
    absent = "" if used == runtime else "; no LiteRT installed, so the reference kernels themselves were not run"
    return FileCheck(ap, tolerance, f"{used}: {opened.arithmetic}{absent}", refusal)
