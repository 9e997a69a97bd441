"""Score thresholds of each class for an aim, fitted on pictures with labels, and how well they hold on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgedet.contracts import OutputSpec
from edgedet.data.coco.split import CocoSplit
from edgedet.evaluate.detect import detect_records
from edgedet.evaluate.evaluator import COCO_SCORE_THRESHOLD, match_classes
from edgedet.evaluate.figures.matches import Matches, match
from edgedet.evaluate.figures.operating_point import (
    Aim,
    OperatingPoint,
    at_thresholds,
    figure_text,
    interval_text,
    propose,
    thresholds_of,
)

if TYPE_CHECKING:
    from edgedet.progress import Progress
    from edgedet.runtimes.protocol import Runtime

MOST_IMAGES = 500  # what more would change is less than the intervals; the simulator needs 20 ms an image


@dataclass(frozen=True)
class Fit:
    """Thresholds for an aim, and what they give on the images that they were fitted on."""

    aim: str
    split: str
    images: int
    thresholds: tuple[float, ...]  # of each class of the model
    kept: tuple[str, ...]  # classes that keep their threshold: nothing to find here, or the aim is out of reach
    before: tuple[OperatingPoint, ...]  # at the model's thresholds: each class of the data, then all
    after: tuple[OperatingPoint, ...]  # at these


def fit_thresholds(
    runtime: Runtime, split: CocoSplit, aim: Aim, images: int = MOST_IMAGES, progress: Progress | None = None
) -> Fit:
    """Choose the score threshold of each class.

    Args:
        runtime: the model.
        split: images and ground truth; classes are matched by name.
        aim: what the thresholds are chosen for.
        images: at most so many, drawn by the seed 0.
        progress: called after each image.
    Returns:
        The thresholds; the contract's for classes without objects here, or that can't reach the aim.
    Raises:
        DataError: no class in common, or an image can't be read.
    """
    matches, names, count = _matches(runtime, split, images, progress)
    outputs = runtime.outputs
    found = {one.name: propose(one, aim) for one in matches}
    fitted = dict(zip(outputs.class_names, outputs.thresholds, strict=True))
    kept = tuple(name for name in outputs.class_names if found.get(name) is None)
    fitted |= {name: value for name, value in found.items() if value is not None and name in fitted}
    thresholds = tuple(fitted[name] for name in outputs.class_names)
    return Fit(
        str(aim),
        split.name,
        count,
        thresholds,
        kept,
        at_thresholds(matches, thresholds_of(outputs, names)),
        at_thresholds(matches, thresholds_of(outputs.with_thresholds(thresholds), names)),
    )


def measure_thresholds(
    runtime: Runtime, outputs: OutputSpec, split: CocoSplit, images: int = MOST_IMAGES
) -> tuple[OperatingPoint, ...]:
    """What the thresholds of a contract give on other images.

    Args:
        runtime: the model.
        outputs: contract with the thresholds.
        split: images and ground truth.
        images: at most so many, drawn by the seed 0.
    Returns:
        A point for each class of the data, then for all.
    """
    matches, names, _ = _matches(runtime, split, images, None)
    return at_thresholds(matches, thresholds_of(outputs, names))


def _matches(
    runtime: Runtime, split: CocoSplit, images: int, progress: Progress | None
) -> tuple[tuple[Matches, ...], tuple[str, ...], int]:
    """Matches of each common class, their names, and the number of images."""
    chosen, labels, _ = match_classes(runtime.outputs.class_names, split)
    order = np.random.default_rng(0).permutation(len(chosen.images))[:images]
    records = [chosen.images[index] for index in sorted(order.tolist())]
    found = {}
    for done, (record, seen) in enumerate(detect_records(runtime, records, COCO_SCORE_THRESHOLD, labels), start=1):
        found[record.image_id] = seen
        if progress is not None:
            progress(done, len(records))
    return match(chosen, found), chosen.class_names, len(records)


@dataclass(frozen=True)
class Refit:
    """Thresholds of the float network and of its int8 file, for one aim, on the same images."""

    class_names: tuple[str, ...]
    before: tuple[float, ...]  # of the contract, each class
    float_fit: Fit | None  # None: the float network can't be run here (ONNX)
    int8_fit: Fit  # its thresholds are those that the contract has now
    held_out: tuple[OperatingPoint, ...]  # int8 at these, on the validation split; empty: there is none
    held_out_split: str = ""

    def text(self) -> str:
        """A table for the terminal, newline at the end."""
        fit = self.int8_fit
        width = max(len(name) for name in (*self.class_names, "class"))
        lines = [
            f"score thresholds for {fit.aim}, fitted on {fit.images} images of {fit.split}, written into the contract:",
            f"  {'class':{width}}  before   float    int8   moved by int8",
        ]
        for place, name in enumerate(self.class_names):
            new, moved = fit.thresholds[place], "-"
            old = "      -"
            if self.float_fit is not None:
                moved = f"{new - self.float_fit.thresholds[place]:+.4f}"
                old = f"{self.float_fit.thresholds[place]:7.4f}"
            note = "  kept: nothing to find here, or out of reach" if name in fit.kept else ""
            lines.append(f"  {name:{width}}  {self.before[place]:6.4f} {old} {new:7.4f}   {moved}{note}")
        lines.append(f"  {_counts('int8 before', fit.before, fit.split)}")
        lines.append(f"  {_counts('int8 now', fit.after, fit.split)}")
        if self.held_out:
            lines.append(f"  {_counts('int8 now', self.held_out, self.held_out_split)}")
        lines.append("  in brackets: 95 % by a bootstrap over the images")
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        fit, other = self.int8_fit, self.float_fit
        return {
            "aim": fit.aim,
            "split": fit.split,
            "images": fit.images,
            "class_names": list(self.class_names),
            "before": list(self.before),
            "float": None if other is None else list(other.thresholds),
            "int8": list(fit.thresholds),
            "kept": list(fit.kept),
            "int8_before": _points(fit.before),
            "int8_now": _points(fit.after),
            "float_now": None if other is None else _points(other.after),
            "held_out": {"split": self.held_out_split, "int8_now": _points(self.held_out)} if self.held_out else None,
        }


def _counts(what: str, points: Sequence[OperatingPoint], split: str) -> str:
    point = points[-1]
    figures = (
        ("precision", point.precision, point.precision_interval),
        ("recall", point.recall, point.recall_interval),
        ("F1", point.f1, point.f1_interval),
    )
    parts = ", ".join(
        f"{name} {figure_text(value)}" + (f" ({interval_text(interval)})" if interval is not None else "")
        for name, value, interval in figures
    )
    return f"{what}, {split}: {parts}"


def _points(points: Sequence[OperatingPoint]) -> list[dict[str, Any]]:
    return [
        {
            "name": point.name,
            "score_threshold": point.score_threshold,
            "objects": point.objects,
            "precision": point.precision,
            "recall": point.recall,
            "f1": point.f1,
            "f1_interval": point.f1_interval and list(point.f1_interval),
            "precision_interval": point.precision_interval and list(point.precision_interval),
            "recall_interval": list(point.recall_interval),
        }
        for point in points
    ]
