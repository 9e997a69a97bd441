"""The planner of a run, with histories made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgedet.config import load_model_file
from edgedet.training.course import Course, open_course, planned_course
from edgedet.training.schedule import learning_rate

CONFIG = replace(load_model_file("rtmdet_pico_relu6").train, epochs=100, eval_interval=10, close_mosaic=0.2)
OPEN = Course(epochs=500, hold=475, weak_from=475, open=True)


def every_ten(*aps: float) -> list[tuple[int, float]]:
    return [(10 * index, ap) for index, ap in enumerate(aps, start=1)]


def test_planned_course_falls_at_once_and_ends_without_mosaic() -> None:
    assert planned_course(CONFIG) == Course(epochs=100, hold=0, weak_from=80)
    assert planned_course(CONFIG).news(0) is None


@pytest.mark.parametrize(
    "aps",
    [
        (),
        (0.1,),
        (0.3, 0.29, 0.3),  # 20 epochs without a rise
        (0.1, 0.1, 0.1, 0.103),  # rises at the last moment
        (0.0,) * 9,  # finds nothing yet
        tuple(0.01 * index for index in range(1, 48)),
    ],
)
def test_open_course_goes_on_while_ap_rises(aps: tuple[float, ...]) -> None:
    assert open_course(CONFIG, every_ten(*aps)) == OPEN


def test_open_course_ends_after_the_patience() -> None:
    # Rises less than 0.002 do not count one by one, but together.
    aps = (0.3, 0.301, 0.3019, 0.2)
    course = open_course(CONFIG, every_ten(*aps))
    assert course == Course(epochs=65, hold=40, weak_from=40, waited=30, best=0.3)
    assert course.news(40) == "AP has not risen above 0.300 for 30 epochs: annealing over the last 25"
    assert course.news(39) is None
    assert course.news(41) is None
    slow = open_course(CONFIG, every_ten(0.3, 0.301, 0.3021, 0.3021, 0.303, 0.304))
    assert slow == Course(epochs=85, hold=60, weak_from=60, waited=30, best=0.3021)


def test_open_course_does_not_change_its_mind() -> None:
    """AP rises in the tail, as it should, and the last epoch is measured out of turn."""
    history = every_ten(0.3, 0.3, 0.3, 0.3)
    decided = open_course(CONFIG, history)
    assert open_course(CONFIG, [*history, (50, 0.4), (60, 0.41), (65, 0.42)]) == decided


def test_open_course_of_a_network_that_finds_nothing_is_as_long_as_a_planned_one() -> None:
    course = open_course(CONFIG, every_ten(*[0.0] * 12))
    assert (course.hold, course.epochs, course.open) == (100, 125, False)


def test_open_course_has_an_upper_bound() -> None:
    rising = every_ten(*(0.01 * index for index in range(1, 51)))
    course = open_course(CONFIG, rising)
    assert course == OPEN
    assert course.news(475) == "AP still rises, but 500 epochs are the most: annealing over the last 25"
    # A plateau that is noticed in the tail of the longest run changes nothing.
    assert open_course(CONFIG, [*rising[:45], *((epoch, 0.45) for epoch in range(460, 501, 10))]) == OPEN


def test_open_course_patience_is_at_least_three_measurements() -> None:
    seldom = replace(CONFIG, eval_interval=20)
    assert open_course(seldom, [(20, 0.3), (40, 0.3), (60, 0.3)]).open
    assert open_course(seldom, [(20, 0.3), (40, 0.3), (60, 0.3), (80, 0.3)]).hold == 80


def test_open_course_of_one_epoch() -> None:
    course = open_course(replace(CONFIG, epochs=1, eval_interval=1), [(epoch, 0.1) for epoch in range(1, 5)])
    assert (course.epochs, course.hold, course.open) == (5, 4, True)


def test_learning_rate_is_flat_until_hold_then_falls_to_the_floor() -> None:
    config = replace(CONFIG, lr=1.0, min_lr_ratio=0.1, warmup_fraction=0.1)
    rates = [learning_rate(step, 300, config, hold=200, planned=100) for step in range(300)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert set(rates[10:201]) == {1.0}
    assert rates[201:] == sorted(rates[201:], reverse=True)
    assert rates[250] == pytest.approx(0.55, abs=0.02)
    assert rates[-1] == pytest.approx(0.1)
