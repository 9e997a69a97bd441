"""The file that QAT makes must have the AP that QAT printed; otherwise it does not get its name."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path

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
ERRORS = 3.0  # standard errors of the difference that chance explains, of many images
# The same by Student's t (two-sided, 99.73 %) when the error itself comes from 2, 3, ... 11 images.
_FEW_ERRORS = (235.8, 19.2, 9.22, 6.62, 5.51, 4.90, 4.53, 4.28, 4.09, 3.96)
AP_TOLERANCE = (
    0.005  # always accepted between the network that was trained and the file: rounding of a step here and there
)


@dataclass(frozen=True)
class FileCheck:
    """What measuring a file gave."""

    ap: float
    tolerance: float  # AP, that it may be below the expected one
    arithmetic: str  # which arithmetic and package measured it
    refusal: str = ""  # why it does not get its name; empty: it gets it
    note: str = ""  # where the images show little: what could be wrong all the same; empty: nothing

    @property
    def name(self) -> str:
        """What the file is to be called."""
        return REJECTED_FILE if self.refusal else MODEL_FILE


def accepted_loss(error: float, images: int) -> float:
    """How much lower than expected an AP may be before it is more than chance.

    Float and integer arithmetic differ by a step here and there, which can move a detection across an IoU threshold.
    How much that matters on these images the images say themselves: `error` is of the difference on the same images,
    far smaller than that of either AP.

    Args:
        error: standard error of the difference, from a bootstrap over images.
        images: with objects, that it comes from; of fewer than two it says nothing.
    Returns:
        AP; 1 where the images can't show anything.
    """
    if images < 2:
        return 1.0
    few = images - 2 < len(_FEW_ERRORS)
    errors = _FEW_ERRORS[images - 2] if few else ERRORS * (1 + 3.2 / (images - 1))
    return min(1.0, max(AP_TOLERANCE, errors * error * math.sqrt(images / (images - 1))))


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
        trained: that network, run on the images once more when the file's AP is lower by more than `AP_TOLERANCE`:
            `accepted_loss` of the difference then decides.
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
        ap, tolerance, note = evaluate(opened, split).ap.ap, AP_TOLERANCE, ""
        lost = expected_ap - ap
        images = sum(bool((~record.crowd).any()) for record in split.images)
        if not lost <= tolerance:
            tolerance = accepted_loss(ap_difference_error(trained, opened, split), images)
            note = _little_evidence(lost, tolerance, images)
    refusal = ""
    if not lost <= tolerance:
        refusal = (
            f"AP {ap:.4f} ({used}: {opened.arithmetic}), but the fake-quantized network that was trained has "
            f"{expected_ap:.4f}; expected at most {tolerance:.4f} less: by the standard error of the difference, more "
            f"is no chance on these {images} images with objects"
        )
    absent = "" if used == runtime else "; no LiteRT installed, so the reference kernels themselves were not run"
    return FileCheck(ap, tolerance, f"{used}: {opened.arithmetic}{absent}", refusal, "" if refusal else note)


def _little_evidence(lost: float, tolerance: float, images: int) -> str:
    """What to say of a loss that may be chance."""
    limit = "any loss" if tolerance >= 1.0 else f"up to {tolerance:.4f}"
    return (
        f"the file's AP is {lost:.4f} below that of the trained network; on {images} images with objects chance "
        f"explains {limit}, so whether the file is worse is not shown: evaluate both on more images"
    )
