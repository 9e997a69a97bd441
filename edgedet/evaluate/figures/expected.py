"""Where precision, recall and F1 of other pictures should lie when thresholds were fitted on these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgedet.evaluate.figures.matches import Matches
from edgedet.evaluate.figures.operating_point import LOWEST, Aim, propose

ROUNDS = 400  # of the bootstrap; the ends then vary by about a tenth of the interval's half
_INSIDE = 0.95
Interval = tuple[float, float]


@dataclass(frozen=True)
class Expected:
    """95 % intervals, over all classes together, of pictures of the same kind that took no part in the fit."""

    images: int  # how many such pictures
    f1: Interval
    precision: Interval
    recall: Interval

    def of(self, aim: Aim) -> Interval:
        """Of the figure that the thresholds were chosen for."""
        return {"f1": self.f1, "precision": self.precision, "recall": self.recall}[aim.kind]


def expected_on_others(
    matches: Sequence[Matches], aim: Aim, otherwise: Sequence[float], images: int, seed: int = 0, rounds: int = ROUNDS
) -> Expected:
    """State, before other pictures are looked at, where their figures should lie.

    Thresholds look better on the pictures that they were fitted on, and both sets of pictures are a sample. Each round
    of the bootstrap draws one set of as many pictures as there are here, fits thresholds to it, and draws `images`
    others, where these thresholds are used; how much the figures of the two differ is added to the figures of here
    (Efron's optimism, 1983, with its quantiles in place of its mean).

    What it can't know: that the network has learned these pictures by heart. Figures of others below the interval say
    so.

    Args:
        matches: of every class, on the pictures of the fit.
        aim: what the thresholds are chosen for.
        otherwise: threshold of each class where the aim is out of reach.
        images: number of the other pictures.
        seed: of the draws.
        rounds: of the bootstrap.
    Returns:
        Intervals within 0..1.
    """
    random = np.random.default_rng(seed)
    usable = [_from(one, min(LOWEST, least)) for one, least in zip(matches, otherwise, strict=True)]
    here = len(usable[0].objects)
    everyone = np.ones(here, np.int64)
    now = _figures(usable, _fit(usable, aim, otherwise), everyone)
    moved = np.zeros((rounds, len(now)))
    chances = np.full(here, 1 / here)
    for step in range(rounds):
        drawn, others = random.multinomial(here, chances), random.multinomial(images, chances)
        fitted = _fit([_drawn(one, drawn) for one in usable], aim, otherwise)
        moved[step] = _figures(usable, fitted, others) - _figures(usable, fitted, drawn)
    low, high = np.quantile(moved, [(1 - _INSIDE) / 2, (1 + _INSIDE) / 2], axis=0)
    ends = np.clip(np.stack([now + low, now + high], axis=1), 0.0, 1.0)
    return Expected(images, *((float(a), float(b)) for a, b in ends))


def _from(matches: Matches, least: float) -> Matches:
    """Without what no threshold keeps: a network gives hundreds of such boxes an image."""
    keep = matches.scores >= least
    return replace(matches, scores=matches.scores[keep], hits=matches.hits[keep], images=matches.images[keep])


def _drawn(matches: Matches, times: np.ndarray) -> Matches:
    """Each image so many times; which copy a detection is from makes no difference to a threshold."""
    again = np.repeat(np.arange(len(matches.scores)), times[matches.images])
    return Matches(
        matches.name, matches.scores[again], matches.hits[again], matches.images[again], matches.objects * times
    )


def _fit(matches: Sequence[Matches], aim: Aim, otherwise: Sequence[float]) -> list[float]:
    chosen = [propose(one, aim) for one in matches]
    return [old if new is None else new for old, new in zip(otherwise, chosen, strict=True)]


def _figures(matches: Sequence[Matches], thresholds: Sequence[float], times: np.ndarray) -> np.ndarray:
    """F1, precision and recall of all classes together, each image counted so many times; float64 (3,)."""
    hits = said = objects = 0
    for one, least in zip(matches, thresholds, strict=True):
        kept = times[one.images] * (one.scores >= least)
        said += int(kept.sum())
        hits += int(kept[one.hits].sum())
        objects += int(one.objects @ times)
    pairs = ((2 * hits, said + objects), (hits, said), (hits, objects))
    return np.array([part / total if total else 1.0 for part, total in pairs])
