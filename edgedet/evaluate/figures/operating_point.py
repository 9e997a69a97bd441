"""The score threshold that a device works at: precision, recall and F1 there, and where a better one lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from edgedet.contracts import OutputSpec
from edgedet.errors import ConfigError
from edgedet.evaluate.figures.matches import Matches
from edgedet.notebook import Brief
from edgedet.typed import shown

ALL = "all"  # name of the row over all classes
LOWEST, HIGHEST = 0.01, 0.99  # thresholds that are proposed
_DIGITS = 4  # of a threshold; a step of an int8 logit changes a score by about 0.01
_ROUNDS = 1000  # of the bootstrap
_INSIDE = 0.95  # part of its rounds that the interval holds


@dataclass(frozen=True)
class Aim:
    """What a threshold is chosen for."""

    kind: str = "f1"  # f1: the highest; precision, recall: at least `target`, by the lowest, the highest threshold
    target: float = 0.0  # 0..1, of precision and recall

    @classmethod
    def parse(cls, text: str) -> Aim:
        """`f1`, `precision=0.9` or `recall=0.9`. Raises ConfigError for anything else."""
        expected = "expected f1, precision=P or recall=R, with numbers in (0, 1]"
        if not isinstance(text, str):
            raise ConfigError(f"`operating_point` {shown(text)}: {expected}")
        kind, sign, number = text.strip().partition("=")
        try:
            target = float(number) if sign else 0.0
        except ValueError:
            target = -1.0
        if (kind == "f1" and not sign) or (kind in ("precision", "recall") and 0.0 < target <= 1.0):
            return cls(kind, target)
        raise ConfigError(f"`operating_point` {text!r}: {expected}")

    def __str__(self) -> str:
        return "the best F1" if self.kind == "f1" else f"{self.kind} {self.target:g}"


@dataclass(frozen=True, repr=False)
class OperatingPoint(Brief):
    """How a class (or all together) is found at a score threshold, by an IoU of 0.50."""

    name: str  # of the class, or `ALL`
    score_threshold: float
    objects: int
    hits: int
    false_alarms: int
    # 95 % by a bootstrap over the images; None of the first two: nothing is detected, no draw tells anything.
    f1_interval: tuple[float, float] | None
    precision_interval: tuple[float, float] | None = None
    recall_interval: tuple[float, float] = (0.0, 1.0)

    @property
    def precision(self) -> float | None:
        """Part of the detections that are right; None when there is none."""
        return self.hits / (self.hits + self.false_alarms) if self.hits + self.false_alarms else None

    @property
    def recall(self) -> float:
        """Part of the objects that are found; 1.0 when there is none to find."""
        return self.hits / self.objects if self.objects else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of the two; 1.0 when there is neither object nor detection."""
        return _f1(self.hits, self.false_alarms, self.objects)


def together(matches: Sequence[Matches]) -> Matches:
    """All classes as one, named `ALL`; each detection was matched within its class."""
    order = np.argsort(-np.concatenate([one.scores for one in matches]), kind="stable")
    return Matches(
        ALL,
        np.concatenate([one.scores for one in matches])[order],
        np.concatenate([one.hits for one in matches])[order],
        np.concatenate([one.images for one in matches])[order],
        np.sum([one.objects for one in matches], axis=0),
    )


def at_threshold(matches: Matches, score_threshold: float, seed: int = 0) -> OperatingPoint:
    """Count hits and false alarms of the detections at or above a threshold.

    Args:
        matches: of a class, or of all.
        score_threshold: 0..1.
        seed: of the bootstrap.
    """
    kept = matches.scores >= score_threshold
    hits = int(matches.hits[kept].sum())
    f1, precision, recall = _intervals(matches, kept, seed)
    return OperatingPoint(
        matches.name,
        score_threshold,
        int(matches.objects.sum()),
        hits,
        int(kept.sum()) - hits,
        f1 if kept.any() else None,
        precision if kept.any() else None,
        recall,
    )


def figure_text(value: float | None) -> str:
    """A figure for people, a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """The ends of an interval for people, a dash where there is none."""
    return "-" if interval is None else f"{interval[0]:.3f}..{interval[1]:.3f}"


def at_thresholds(matches: Sequence[Matches], thresholds: Sequence[float], seed: int = 0) -> tuple[OperatingPoint, ...]:
    """Every class at a threshold of its own, and all of them together.

    Args:
        matches: of every class.
        thresholds: of each, 0..1.
        seed: of the bootstrap.
    Returns:
        A point for each class, then `ALL`, whose `score_threshold` is the lowest.
    """
    kept = [_kept(one, least) for one, least in zip(matches, thresholds, strict=True)]
    points = [at_threshold(one, least, seed) for one, least in zip(matches, thresholds, strict=True)]
    everything = at_threshold(together(kept), 0.0, seed)
    return (*points, replace(everything, score_threshold=min(thresholds)))


def _kept(matches: Matches, least: float) -> Matches:
    """The detections at or above a threshold."""
    keep = matches.scores >= least
    return replace(matches, scores=matches.scores[keep], hits=matches.hits[keep], images=matches.images[keep])


def propose(matches: Matches, aim: Aim) -> float | None:
    """Find the score threshold that serves an aim best on these images.

    It lies near the middle between the last score that is kept and the first that is not, where neither moves it: at
    the decimal of the fewest digits (4 or more) that still parts the two, so that it survives printing and typing.

    Args:
        matches: of a class, or of all.
        aim: what to choose it for.
    Returns:
        Threshold, LOWEST..HIGHEST; None when no threshold reaches the aim (of F1: more than 0), or there is nothing to
        find.
    """
    objects = int(matches.objects.sum())
    usable = (matches.scores >= LOWEST) & (matches.scores <= HIGHEST)
    scores = matches.scores
    ends = np.flatnonzero(np.append(scores[1:] < scores[:-1], True)) if len(scores) else np.zeros(0, np.int64)
    ends = ends[usable[ends]] if len(ends) else ends
    if not objects or not len(ends):
        return None
    hits = np.cumsum(matches.hits)[ends].astype(np.float64)
    kept = ends + 1.0
    precision, recall = hits / kept, hits / objects
    if aim.kind == "f1":
        best = int(np.argmax(2 * hits / (kept + objects)))
        if not hits[best]:
            return None  # no detection is right: every threshold is as bad
    else:
        reached = np.flatnonzero((precision if aim.kind == "precision" else recall) >= aim.target)
        if not len(reached):
            return None
        best = int(reached[-1] if aim.kind == "precision" else reached[0])
    last = float(scores[ends[best]])
    below = float(scores[ends[best] + 1]) if ends[best] + 1 < len(scores) else LOWEST
    return _decimal(last, below)


def _decimal(last: float, below: float) -> float:
    """A short decimal t, below < t <= last, near the middle; LOWEST <= last <= HIGHEST, and so is t."""
    middle = max(LOWEST, (last + below) / 2)
    for digits in range(_DIGITS, 18):
        short = round(middle, digits)
        if below < short <= last:
            return short
    return last  # neighbours among the numbers


def _f1(hits: float, false_alarms: float, objects: float) -> float:
    total = hits + false_alarms + objects
    return 2 * hits / total if total else 1.0


def _intervals(matches: Matches, kept: np.ndarray, seed: int) -> list[tuple[float, float]]:
    """95 % of F1, precision and recall over draws of as many images, with replacement."""
    images = len(matches.objects)
    if not images:
        return [(0.0, 1.0)] * 3
    found = np.bincount(matches.images[kept], minlength=images).astype(np.float64)
    right = np.bincount(matches.images[kept & matches.hits], minlength=images).astype(np.float64)
    draws = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), _ROUNDS).astype(np.float64)
    hits, said, there = draws @ right, draws @ found, draws @ matches.objects
    figures = ((2 * hits, said + there), (hits, said), (hits, there))
    ends = [(1 - _INSIDE) / 2, (1 + _INSIDE) / 2]
    intervals = []
    for part, total in figures:
        low, high = np.quantile(np.where(total > 0, part / np.maximum(total, 1), 1.0), ends)
        intervals.append((float(low), float(high)))
    return intervals


@dataclass(frozen=True, repr=False)
class Operation(Brief):
    """How a model is found to work at its own threshold, and at those that would serve an aim better."""

    aim: str
    now: tuple[OperatingPoint, ...]  # each class, then all, at the model's threshold
    proposed: tuple[OperatingPoint | None, ...]  # the same rows, each at a threshold of its own; None: out of reach
    # All classes, each at the threshold proposed for it; where none is, at that of the model.
    proposed_together: OperatingPoint | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict; rows have precision, recall and F1, too."""
        return {
            "aim": self.aim,
            "now": [_to_json(point) for point in self.now],
            "proposed": [None if point is None else _to_json(point) for point in self.proposed],
            "proposed_together": None if self.proposed_together is None else _to_json(self.proposed_together),
        }

    def text(self) -> str:
        """A table for the terminal, newline at the end."""
        width = max(len(point.name) for point in self.now)
        head = f"  {'':{width}}  precision  recall     F1  95 % of F1   objects  found  false alarms"
        least = {point.score_threshold for point in self.now}
        where = f"threshold {self.now[-1].score_threshold:g}" if len(least) == 1 else "thresholds of each class"
        lines = [f"at the model's score {where}, IoU 0.50:", head]
        lines += [
            _row(point, width) + (f"  at {point.score_threshold:.3f}" if len(least) > 1 and point.name != ALL else "")
            for point in self.now
        ]
        lines.append(f"score thresholds for {self.aim}:")
        for point, before in zip(self.proposed, self.now, strict=True):
            if point is None:
                does = "finds an object" if self.aim == str(Aim()) else "reaches it"
                why = f"no threshold from {LOWEST:g} to {HIGHEST:g} {does}" if before.objects else "no objects here"
                lines.append(f"  {before.name:{width}}  {why}")
                continue
            lines.append(
                f"  {point.name:{width}}  {point.score_threshold:.3f}: precision {figure_text(point.precision)}, "
                f"recall {point.recall:.3f}, F1 {point.f1:.3f} (now {before.f1:.3f})"
            )
        both = self.proposed_together
        if both is not None and len(self.now) > 2:  # of more than one class
            lines.append(
                f"  each class at its own: precision {figure_text(both.precision)}, recall {both.recall:.3f}, "
                f"F1 {both.f1:.3f}"
            )
        return "\n".join(lines) + "\n"


def operation_of(matches: Sequence[Matches], thresholds: Sequence[float], aim: Aim) -> Operation:
    """Precision, recall and F1 of every class and of all together.

    Args:
        matches: of every class; detections from low scores on, or there is nothing to choose a threshold from.
        thresholds: the model's, of each class.
        aim: what to propose thresholds for.
    """
    rows = (*matches, together(matches))
    chosen = [propose(one, aim) for one in rows]
    fitted = [old if new is None else new for old, new in zip(thresholds, chosen[:-1], strict=True)]
    return Operation(
        str(aim),
        at_thresholds(matches, thresholds),
        tuple(None if t is None else at_threshold(one, t) for one, t in zip(rows, chosen, strict=True)),
        at_thresholds(matches, fitted)[-1],
    )


def thresholds_of(outputs: OutputSpec, class_names: Sequence[str]) -> tuple[float, ...]:
    """A model's thresholds for the classes of a data set; of a class that it does not know, its lowest."""
    known = dict(zip(outputs.class_names, outputs.thresholds, strict=True))
    return tuple(known.get(name, outputs.score_threshold) for name in class_names)


def _to_json(point: OperatingPoint) -> dict[str, Any]:
    return {**asdict(point), "precision": point.precision, "recall": point.recall, "f1": point.f1}


def _row(point: OperatingPoint, width: int) -> str:
    return (
        f"  {point.name:{width}}  {figure_text(point.precision):>9}  {point.recall:6.3f}  {point.f1:5.3f}  "
        f"{interval_text(point.f1_interval):12}"
        f"  {point.objects:7,}  {point.hits:5,}  {point.false_alarms:12,}"
    )
