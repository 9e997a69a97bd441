"""Verdicts on curves of loss and AP: drawn ones of known kinds, and those of a real training."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.evaluate.figures.training_curves import read_training
from edgedet.page.run_files import Epoch


def _history(losses: list[float], aps: dict[int, float], lr: float | None = 0.006) -> tuple[Epoch, ...]:
    return tuple(Epoch(n, loss, loss / 2, loss / 2, aps.get(n), lr) for n, loss in enumerate(losses, start=1))


FALLING = [2.0 * 0.9**n for n in range(20)]
LEVEL = [*[2.0 * 0.8**n for n in range(8)], *[0.4 + 0.005 * (n % 2) for n in range(12)]]
STUCK = [2.0, 1.8, *[1.7 + 0.01 * (n % 2) for n in range(18)]]

CASES = {
    "AP rises": (FALLING, {5: 0.1, 10: 0.2, 15: 0.3, 20: 0.34}, ("AP still rose", "AP 0.300 after epoch 15, 0.340")),
    "AP measured once": (FALLING, {20: 0.3}, ("The loss still fell", "loss 0.458 in epoch 15, 0.270 in epoch 20")),
    "AP never measured": (FALLING, {}, ("The loss still fell", "`epochs` 30 with `resume`")),
    "AP of no objects": (FALLING, {20: -1.0, 10: -1.0, 15: -1.0}, ("The loss still fell", "epoch 20")),
    "AP level": (LEVEL, {10: 0.500, 15: 0.502, 20: 0.501}, ("Training has levelled off", "highest AP 0.502")),
    "overfitting": (FALLING, {5: 0.3, 10: 0.4, 15: 0.36, 20: 0.33}, ("by heart", "AP 0.400 in epoch 10, 0.330")),
    "underfitting": (STUCK, {10: 0.04, 15: 0.05, 20: 0.05}, ("(underfitting)", "loss 2.000 in epoch 1")),
    "jump": ([*FALLING[:9], 1.9, *FALLING[9:]], {20: 0.2}, ("The loss jumps", "0.861 in epoch 9, 1.900 in epoch 10")),
}


@pytest.mark.parametrize("case", CASES)
def test_drawn_curves_get_one_verdict_with_its_numbers(case: str) -> None:
    losses, aps, expected = CASES[case]
    (sentence,) = read_training(_history(losses, aps))
    for part in expected:
        assert part in sentence.text()


def test_jump_proposes_a_third_of_the_highest_rate() -> None:
    losses, aps, _ = CASES["jump"]
    assert read_training(_history(losses, aps))[0].try_this == "the same training with lr=0.002, a third of it"
    assert "a third of the learning rate" in read_training(_history(losses, aps, lr=None))[0].try_this


@pytest.mark.parametrize(
    ("losses", "aps"),
    [
        ([2.0, 1.0, 0.5, 3.0], {1: 0.5, 2: 0.3, 3: 0.2, 4: 0.1}),  # four epochs say nothing
        ([], {}),
        (LEVEL[:9], {3: 0.5, 6: 0.501, 9: 0.502}),  # level, but not long enough to know
        ([*FALLING[:10], *[1.3 * loss for loss in FALLING[10:]]], {10: 0.2, 20: 0.2}),  # a rise, but no jump
        (FALLING, {10: 0.40, 15: 0.41, 20: 0.38}),  # one low measurement is no trend
        (FALLING, {5: 0.40, 10: 0.405, 15: 0.395, 20: 0.395}),  # within the noise
        (FALLING[::-1], {5: 0.40, 10: 0.2, 15: 0.1, 20: 0.1}),  # AP and loss go wrong together: no overfitting
    ],
)
def test_curves_that_do_not_tell_get_no_verdict(losses: list[float], aps: dict[int, float]) -> None:
    assert read_training(_history(losses, aps)) == ()


def test_settled_run_is_not_told_to_go_on() -> None:
    losses, aps, _ = CASES["AP rises"]
    assert read_training(_history(losses, aps), settled=True) == ()


def test_run_that_can_not_be_extended_is_to_be_made_again() -> None:
    (sentence,) = read_training(_history(FALLING, {}), resumes=False)
    assert sentence.try_this == "`epochs` 30, into another `out`"


def test_history_of_the_shipped_checkpoint_says_that_ap_still_rose(repo_dir: Path) -> None:
    """A real training of 40 epochs, AP measured every tenth."""
    pytest.importorskip("torch")
    from edgedet.net.checkpoint import load_checkpoint
    from edgedet.training.log import EpochRecord

    info = load_checkpoint(repo_dir / "models" / "rtmdet_pico_relu6_synth.pt").info
    history = [EpochRecord(**row) for row in info["history"]]
    (sentence,) = read_training(history)
    assert sentence.says == "AP still rose at the end: more epochs may give more"
    assert sentence.evidence == "AP 0.181 after epoch 30, 0.198 after epoch 40"
    (sentence,) = read_training(history[:29])  # AP was measured twice by then, the last time in epoch 20
    assert sentence.evidence == "AP 0.047 after epoch 10, 0.131 after epoch 20"
