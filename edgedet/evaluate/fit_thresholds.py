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
from edgedet.evaluate.figures.expected import Expected, expected_on_others
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
class HeldOut:
    """What fitted thresholds give on pictures that took no part in the fit."""

    split: str
    points: tuple[OperatingPoint, ...]  # each class of the data, then all
    expected: Expected  # stated by the pictures of the fit alone


@dataclass(frozen=True)
class Fit:
    """Thresholds for an aim, and what they give on the images that they were fitted on, and on others."""

    aim: Aim
    split: str
    images: int
    thresholds: tuple[float, ...]  # of each class of the model
    kept: tuple[str, ...]  # classes that keep their threshold: nothing to find here, or the aim is out of reach
    before: tuple[OperatingPoint, ...]  # at the model's thresholds: each class of the data, then all
    after: tuple[OperatingPoint, ...]  # at these
    held_out: HeldOut | None = None  # None: no other pictures were given

    def why_kept(self, name: str) -> str:
        """Why a class keeps its threshold; empty: it has a new one."""
        if name not in self.kept:
            return ""
        objects = sum(point.objects for point in self.before[:-1] if point.name == name)
        if not objects:
            return "kept: no objects here"
        return "kept: no detection is right" if self.aim.kind == "f1" else "kept: no threshold reaches it"

    @property
    def holds(self) -> bool | None:
        """Whether other pictures give what was to be expected of them, or more; None: there are none."""
        if self.held_out is None:
            return None
        value = getattr(self.held_out.points[-1], self.aim.kind)
        return value is not None and value >= self.held_out.expected.of(self.aim)[0]


def fit_thresholds(
    runtime: Runtime,
    split: CocoSplit,
    aim: Aim,
    images: int = MOST_IMAGES,
    progress: Progress | None = None,
    valid: CocoSplit | None = None,
) -> Fit:
    """Choose the score threshold of each class.

    Args:
        runtime: the model.
        split: images and ground truth; classes are matched by name.
        aim: what the thresholds are chosen for.
        images: at most so many, drawn by the seed 0.
        progress: called after each image.
        valid: pictures that take no part: where their figures should lie is stated, then they are measured.
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
    old, new = thresholds_of(outputs, names), thresholds_of(outputs.with_thresholds(thresholds), names)
    held_out = None
    if valid is not None and valid.images:
        expected = expected_on_others(matches, aim, old, min(images, len(valid.images)))
        there = measure_thresholds(runtime, outputs.with_thresholds(thresholds), valid, images)
        held_out = HeldOut(valid.name, there, expected)
    return Fit(
        aim,
        split.name,
        count,
        thresholds,
        kept,
        at_thresholds(matches, old),
        at_thresholds(matches, new),
        held_out,
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
            note = f"  {fit.why_kept(name)}" if name in fit.kept else ""
            lines.append(f"  {name:{width}}  {self.before[place]:6.4f} {old} {new:7.4f}   {moved}{note}")
        lines.append(f"  {_counts('int8 before', fit.before, fit.split)}")
        lines.append(f"  {_counts('int8 now', fit.after, fit.split)}")
        if fit.held_out is not None:
            lines.append(f"  {_counts('int8 now', fit.held_out.points, fit.held_out.split)}")
        lines.append("  in brackets: 95 % by a bootstrap over the images")
        lines += [f"  {verdict}" for verdict in self.verdicts]
        return "\n".join(lines) + "\n"

    @property
    def verdicts(self) -> tuple[str, ...]:
        """A sentence for each form, float first, on whether its thresholds hold on the validation split."""
        fits = (("float", self.float_fit), ("int8", self.int8_fit))
        return tuple(_verdict(form, one, one.held_out) for form, one in fits if one is not None and one.held_out)

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        fit, other = self.int8_fit, self.float_fit
        return {
            "aim": str(fit.aim),
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
            "verdicts": list(self.verdicts),
            "held_out": None
            if fit.held_out is None
            else {
                "split": fit.held_out.split,
                "images": fit.held_out.expected.images,
                "int8": _held_out(fit),
                "float": None if other is None else _held_out(other),
            },
        }


def _held_out(fit: Fit) -> dict[str, Any] | None:
    held = fit.held_out
    if held is None:
        return None
    ends = {kind: list(getattr(held.expected, kind)) for kind in ("f1", "precision", "recall")}
    return {"now": _points(held.points), "expected": ends, "holds": fit.holds}


def _verdict(form: str, fit: Fit, held: HeldOut) -> str:
    """Whether thresholds hold on pictures that took no part, in a sentence."""
    kind = fit.aim.kind
    name = "F1" if kind == "f1" else kind
    low, high = held.expected.of(fit.aim)
    value = getattr(held.points[-1], kind)
    expected = f"{name} {figure_text(value)} on {held.split}, {low:.3f}..{high:.3f} expected of {held.expected.images}"
    if fit.holds:
        return f"{form}: the thresholds hold: {expected} other pictures"
    return (
        f"{form}: the thresholds do NOT hold: {expected} other pictures. The network knows its training pictures "
        f"better than others: `edgedet evaluate FILE --data DIR --split {held.split}` proposes thresholds on those, "
        "`edgedet contract FILE --class-thresholds T,T --out NEW.tflite` writes them"
    )


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
