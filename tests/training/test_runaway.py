from __future__ import annotations

import math

import pytest

from edgedet.errors import EdgedetError
from edgedet.training.runaway import LARGEST_RISE, LossWatch


def test_loss_watch_lets_learning_pass() -> None:
    watch = LossWatch("training", "train.lr", 0.1)
    for step, loss in enumerate((2.0, 150.0, 2.0 * LARGEST_RISE, 0.0)):
        watch.check(step, loss)


@pytest.mark.parametrize(
    ("losses", "gradient", "words"),
    [
        ((2.0, 200.1), 0.0, "the loss is 200.1, more than 100 times the 2 of the start at iteration 2: QAT diverged"),
        ((0.001, 9.9, 10.1), 0.0, "the loss is 10.1, more than 100 times the 0.1 of the start at iteration 3"),
        ((math.nan,), 0.0, "the loss is nan at iteration 1"),
        ((1.0,), math.inf, "the loss is 1.0 and its gradient inf at iteration 1"),
    ],
)
def test_loss_watch_stops_what_runs_away(losses: tuple[float, ...], gradient: float, words: str) -> None:
    watch = LossWatch("QAT", "`lr`", 0.5)
    for step, loss in enumerate(losses[:-1]):
        watch.check(step, loss)
    with pytest.raises(EdgedetError, match="lower `lr`") as stopped:
        watch.check(len(losses) - 1, losses[-1], gradient)
    assert words in str(stopped.value)
