"""What a table of AP says, in sentences: each with its evidence and what to try."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.contracts import PreprocessSpec
from edgedet.data.coco.split import ImageRecord
from edgedet.evaluate.figures.coco_ap import ApResult
from edgedet.evaluate.figures.operating_point import Operation
from edgedet.notebook import Brief

NOTHING_AP = 0.01  # below: as good as untrained
LOOSE_RATIO = 0.5  # AP75 / AP50 below which boxes fit loosely; 0.6 to 0.8 is usual of COCO detectors
LOOSE_AP50 = 0.3  # below it, loose boxes are not the first worry
SMALL_RATIO = 0.5  # AP of small / AP of large objects
SMALL_SIDE_PX = 16  # two cells of the finest level, stride 8: what a detector of this family finds well
BEHIND_RATIO = 0.6  # AP of a class / AP of the best class
RANKED_RATIO = 1.6  # AR / AP: objects are located, but ranked or named wrongly
RANKED_AR = 0.3
WIDE_INTERVAL = 0.1  # of F1, 95 %
FEW_IMAGES = 10  # a bootstrap over fewer knows too little of others: over one it gives an interval without width
F1_GAIN = 0.02  # of another threshold
_STEP_PX = 32
_MOST_NAMED = 5  # classes in a sentence


@dataclass(frozen=True, repr=False)
class Sentence(Brief):
    """One thing that the numbers say."""

    says: str
    evidence: str
    try_this: str

    def text(self) -> str:
        """One paragraph."""
        return f"{self.says} ({self.evidence}). Try: {self.try_this}."


def read_ap(
    ap: ApResult, operation: Operation, records: Sequence[ImageRecord], preprocess: PreprocessSpec
) -> tuple[Sentence, ...]:
    """Read a table of AP as an experienced colleague would.

    Args:
        ap: the table.
        operation: precision and recall at thresholds, of the same images.
        records: these images with their objects.
        preprocess: of the model; how large objects are at its input.
    Returns:
        What stands out, the most important first; often nothing.
    """
    nothing = finds_nothing(ap.ap)
    if nothing is not None:
        return (nothing, *_few(operation, len(records)))
    rules = (
        _loose(ap),
        _small(ap, records, preprocess),
        _behind(ap, operation, records, preprocess),
        _ranked(ap),
        _threshold(operation),
        _few(operation, len(records)),
    )
    return tuple(sentence for rule in rules for sentence in rule)


def finds_nothing(ap: float) -> Sentence | None:
    """What to say about a network that is as good as untrained; None: it is not.

    Args:
        ap: 0..1; negative: not measured.
    """
    if not 0 <= ap < NOTHING_AP:
        return None
    return Sentence(
        "The model finds next to nothing",
        f"AP {ap:.3f}",
        "more epochs where it was hardly trained; else look whether pixels and outputs mean what the contract says: "
        "`edgedet contract`, and `edgedet data show` for the boxes",
    )


def _loose(ap: ApResult) -> Iterator[Sentence]:
    if ap.ap50 >= LOOSE_AP50 and ap.ap75 < LOOSE_RATIO * ap.ap50:
        yield Sentence(
            "Objects are found, but their boxes fit loosely",
            f"AP50 {ap.ap50:.3f}, AP75 {ap.ap75:.3f}",
            "more epochs, a larger `imgsz`, and `edgedet data show` to see whether the labels themselves are tight",
        )


def _small(ap: ApResult, records: Sequence[ImageRecord], preprocess: PreprocessSpec) -> Iterator[Sentence]:
    largest = max(ap.ap_medium, ap.ap_large)
    sides = input_sides(records, preprocess)
    if ap.ap_small < 0 or largest <= 0 or ap.ap_small >= SMALL_RATIO * largest or not len(sides):
        return
    small = float(np.mean(sides < SMALL_SIDE_PX))
    if not small:
        return
    yield Sentence(
        "Small objects are missed",
        f"AP small {ap.ap_small:.3f}, larger ones {largest:.3f}; {100 * small:.0f} % of the objects have a side below "
        f"{SMALL_SIDE_PX} px at the input of {preprocess.width}x{preprocess.height}",
        _larger_input(sides, preprocess),
    )


def _larger_input(sides: np.ndarray, preprocess: PreprocessSpec) -> str:
    """What to try so that half of the small objects are no longer small; sides: px at the input."""
    factor = SMALL_SIDE_PX / max(1.0, float(np.median(sides[sides < SMALL_SIDE_PX])))
    width, height = (math.ceil(side * factor / _STEP_PX) * _STEP_PX for side in (preprocess.width, preprocess.height))
    cost = width * height / (preprocess.width * preprocess.height)
    return f"`imgsz` {width}x{height}, which costs {cost:.1f} times the operations, or pictures cut into tiles"


def _behind(
    ap: ApResult, operation: Operation, records: Sequence[ImageRecord], preprocess: PreprocessSpec
) -> Iterator[Sentence]:
    """Classes whose AP lags, by what the objects say about the reason: their size, their number, or neither."""
    measured = [(label, row) for label, row in enumerate(ap.per_class) if row.ap >= 0]
    objects = {point.name: point.objects for point in operation.now}
    _, best = max(measured, key=lambda one: one[1].ap, default=(0, None))
    if best is None:
        return
    most = objects.get(best.name, 0)
    sides, labels = (
        input_sides(records, preprocess),
        np.concatenate([np.zeros(0, np.int64), *(r.labels for r in records)]),
    )
    tiny, few, other = list[str](), list[str](), list[str]()
    for label, row in measured:
        if row.ap >= BEHIND_RATIO * best.ap:
            continue
        says = f"{row.name} AP {row.ap:.3f} of {objects.get(row.name, 0)} objects"
        side = float(np.median(sides[labels == label])) if (labels == label).any() else math.inf
        if side < SMALL_SIDE_PX:
            tiny.append(f"{says}, half of them with a side of at most {side:.0f} px at the input")
        else:
            (few if 2 * objects.get(row.name, 0) < most else other).append(says)
    compared = f"; {best.name} AP {best.ap:.3f} of {most}"
    if tiny:
        yield Sentence(
            "Classes of small objects are far behind",
            "; ".join(tiny[:_MOST_NAMED]) + compared,
            _larger_input(sides, preprocess),
        )
    if few:
        yield Sentence(
            "Classes of few objects are far behind",
            ", ".join(few[:_MOST_NAMED]) + compared,
            "more pictures of them; `edgedet data check` says how many the training has",
        )
    if other:
        yield Sentence(
            "Some classes are far behind, though they are neither small nor few",
            ", ".join(other[:_MOST_NAMED]) + compared,
            "`edgedet data show` to see whether they are labelled completely and alike; the worst pictures of the "
            "report show what is missed or mistaken",
        )


def _ranked(ap: ApResult) -> Iterator[Sentence]:
    recall = ap.stats[8]
    if recall >= RANKED_AR and recall > RANKED_RATIO * ap.ap:
        yield Sentence(
            "Objects are located, but false alarms score as high, or the class is wrong",
            f"AR {recall:.3f}, AP {ap.ap:.3f}",
            "more training pictures of what is mistaken for an object, without labels where there is none",
        )


def _threshold(operation: Operation) -> Iterator[Sentence]:
    now, proposed = operation.now[-1], operation.proposed[-1]
    if len({point.score_threshold for point in operation.now[:-1]}) > 1:
        return  # classes have thresholds of their own: one for all would undo them
    if operation.aim == "the best F1" and proposed is not None and proposed.f1 > now.f1 + F1_GAIN:
        kind = "low" if proposed.score_threshold > now.score_threshold else "high"
        yield Sentence(
            f"The score threshold is too {kind} for these pictures",
            f"F1 {now.f1:.3f} at {now.score_threshold:g}, {proposed.f1:.3f} at {proposed.score_threshold:g}",
            f"`edgedet contract FILE.tflite --score-threshold {proposed.score_threshold} --out NEW.tflite`, with "
            "the threshold found on training pictures (`split` train)",
        )


def _few(operation: Operation, images: int) -> Iterator[Sentence]:
    interval = operation.now[-1].f1_interval
    if images < FEW_IMAGES:
        yield Sentence(
            "These are too few pictures to say how good the model is",
            f"{images} of at least {FEW_IMAGES}",
            "more pictures in this split",
        )
    elif interval is not None and interval[1] - interval[0] > WIDE_INTERVAL:
        yield Sentence(
            "These are few pictures: smaller differences mean nothing",
            f"F1 of other {images} pictures of the kind would lie in {interval[0]:.3f}..{interval[1]:.3f}",
            "more pictures in this split before models are compared by it",
        )


def input_sides(records: Sequence[ImageRecord], preprocess: PreprocessSpec) -> np.ndarray:
    """The shorter side of every object at the network's input, px, float64 (objects,)."""
    sides = [np.zeros(0)]
    for record in records:
        size = record.boxes[:, 2:].astype(np.float64) - record.boxes[:, :2]
        scale = np.array([preprocess.width / record.width, preprocess.height / record.height])
        if preprocess.resize == "letterbox":
            scale = np.full(2, scale.min())
        sides.append((size * scale).min(axis=1, initial=np.inf) if len(size) else np.zeros(0))
    return np.concatenate(sides)
