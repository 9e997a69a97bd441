"""The interval that is stated of other pictures holds them as often as it says, whatever was fitted."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.evaluate.figures.expected import expected_on_others
from edgedet.evaluate.figures.matches import Matches
from edgedet.evaluate.figures.operating_point import Aim, at_thresholds, propose

OLD = 0.25


def pictures(random: np.random.Generator, images: int, name: str = "a") -> Matches:
    """Detections of a detector whose scores mean something, of pictures of which some are hard."""
    ease = np.repeat(random.beta(4, 2, images), 6)
    scores = random.beta(2, 2, 6 * images)
    hits = random.random(6 * images) < scores * ease
    order = np.argsort(-scores, kind="stable")
    where = np.repeat(np.arange(images), 6)
    objects = np.bincount(where[hits], minlength=images) + random.integers(0, 3, images)
    return Matches(name, scores[order], hits[order], where[order], objects)


@pytest.mark.parametrize(("text", "kind"), [("f1", "f1"), ("precision=0.5", "precision"), ("recall=0.4", "recall")])
def test_other_pictures_lie_in_the_interval_as_often_as_it_says(text: str, kind: str) -> None:
    """120 times: 30 pictures to fit on, 20 others. 95 % are promised; with 30 pictures a bootstrap gives a little less.

    Binomial: of 120 draws at 0.95, fewer than 104 happen once in 2,000 times.
    """
    random, aim, inside = np.random.default_rng(5), Aim.parse(text), 0
    for turn in range(120):
        here, others = pictures(random, 30), pictures(random, 20)
        low, high = expected_on_others([here], aim, [OLD], 20, seed=turn, rounds=100).of(aim)
        value = getattr(at_thresholds([others], [propose(here, aim) or OLD])[-1], kind)
        inside += low <= value <= high
    assert inside >= 104


def test_expectation_is_centred_below_what_the_pictures_of_the_fit_give() -> None:
    """A threshold that was fitted to 8 pictures looks better there than it is."""
    random, aim, lower = np.random.default_rng(1), Aim("f1"), 0
    for turn in range(20):
        here = pictures(random, 8)
        low, high = expected_on_others([here], aim, [OLD], 1000, seed=turn, rounds=100).f1
        lower += (low + high) / 2 < at_thresholds([here], [propose(here, aim) or OLD])[-1].f1
    assert lower >= 16


def test_more_other_pictures_give_a_narrower_interval_that_a_seed_repeats() -> None:
    here = [pictures(np.random.default_rng(seed), 40, name) for seed, name in enumerate("ab")]
    few, many = (expected_on_others(here, Aim("f1"), [OLD, OLD], images, seed=3) for images in (5, 500))
    assert few.f1[1] - few.f1[0] > 1.5 * (many.f1[1] - many.f1[0])
    assert many == expected_on_others(here, Aim("f1"), [OLD, OLD], 500, seed=3)
    assert (few.images, many.images) == (5, 500)


def test_nothing_to_fit_keeps_the_thresholds_and_stays_within_bounds() -> None:
    none = Matches("a", np.zeros(0), np.zeros(0, bool), np.zeros(0, np.int64), np.array([2, 0, 1]))
    assert expected_on_others([none], Aim("f1"), [OLD], 4).f1 == (0.0, 0.0)
    perfect = Matches("a", np.array([0.9, 0.8]), np.array([True, True]), np.array([0, 1]), np.array([1, 1]))
    assert expected_on_others([perfect], Aim("f1"), [OLD], 4).f1 == (1.0, 1.0)
