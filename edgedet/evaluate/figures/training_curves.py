"""What the curves of a training say, in sentences: each with its evidence and what to try."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

from edgedet.evaluate.figures.reading import Sentence

FEWEST = 5  # epochs; of fewer nothing can be said
RISING_AP = 0.005  # in the last tenth
FALLING_LOSS = 0.03  # part of it, in the last quarter: twice what it wavers from epoch to epoch
JUMP = 1.5  # loss / loss of the epoch before; the means of whole epochs waver by a few per cent
LOST_AP = 0.02  # since the best measurement; less is noise on some hundred images
LOST_PART = 0.05  # of the best AP
LEARNED = 0.6  # loss at the end / at the start above which little was learned; 0.3 to 0.4 is usual
LOW_AP = 0.2
_LONG = 10  # epochs from which on a level curve means something


class EpochLike(Protocol):
    """One epoch of a history."""

    @property
    def epoch(self) -> int:
        """1-based."""

    @property
    def loss(self) -> float:
        """Mean over the training images."""

    @property
    def lr(self) -> float | None:
        """Learning rate at its end; None: not recorded."""

    @property
    def ap(self) -> float | None:
        """On the validation images; None: not measured after this epoch."""


def read_training(history: Sequence[EpochLike], settled: bool = False, resumes: bool = True) -> tuple[Sentence, ...]:
    """Read loss and AP over the epochs as an experienced colleague would.

    Args:
        history: every epoch, in order.
        settled: the run ended because AP no longer rose: the rise that comes with the falling rate does not count.
        resumes: a run of this kind can be extended; False: it has to be made again with more epochs.
    Returns:
        What stands out, the most important first; nothing of a run that is too short to tell.
    """
    if len(history) < FEWEST:
        return ()
    sentences = [*_jumps(history), *_overfits(history, resumes)]
    if not sentences and not settled:
        sentences += [*_goes_on(history, resumes)]
    if not sentences:
        sentences += [*_level(history)]
    return tuple(sentences)


def still_learns(history: Sequence[EpochLike]) -> bool:
    """True for a run that is too short to tell, or whose AP or loss still became better at the end."""
    return len(history) < FEWEST or any(_goes_on(history, True))


def _measured(history: Sequence[EpochLike]) -> list[tuple[int, float]]:
    """Epochs (1-based) whose AP is known, with it; -1 means that no image shows an object."""
    return [(one.epoch, one.ap) for one in history if one.ap is not None and one.ap >= 0]


def _loss_at(history: Sequence[EpochLike], part: float) -> EpochLike:
    """The last epoch of a part (0..1) of the run."""
    return history[max(1, round(part * len(history))) - 1]


def _jumps(history: Sequence[EpochLike]) -> Iterator[Sentence]:
    pairs = pairwise(history)
    jumps = [(before, after) for before, after in pairs if after.loss > JUMP * before.loss > 0]
    if not jumps:
        return
    before, after = max(jumps, key=lambda pair: pair[1].loss / pair[0].loss)
    rate = max((one.lr for one in history if one.lr is not None), default=None)
    often = "once" if len(jumps) == 1 else f"{len(jumps)} times"
    highest = "" if rate is None else f"; highest learning rate {rate:.2g}"
    lower = "a third of the learning rate" if rate is None else f"lr={rate / 3:.1g}, a third of it"
    yield Sentence(
        "The loss jumps: the learning rate is too high",
        f"{often} by more than {100 * (JUMP - 1):.0f} %; {before.loss:.3f} in epoch {before.epoch}, {after.loss:.3f} "
        f"in epoch {after.epoch}{highest}",
        f"the same training with {lower}",
    )


def _overfits(history: Sequence[EpochLike], keeps_best: bool) -> Iterator[Sentence]:
    measured = _measured(history)
    if len(measured) < 3:
        return
    best_epoch, best = max(measured, key=lambda pair: pair[1])
    later = [ap for epoch, ap in measured if epoch > best_epoch]
    if len(later) < 2 or max(later[-2:]) > best - max(LOST_AP, LOST_PART * best):
        return  # one low measurement is no trend
    then, last = next(one for one in history if one.epoch == best_epoch), history[-1]
    if last.loss < then.loss:
        yield Sentence(
            "AP falls while the loss on the training images goes on falling: the network learns these pictures by "
            "heart",
            f"AP {best:.3f} in epoch {best_epoch}, {later[-1]:.3f} in epoch {measured[-1][0]}; loss {then.loss:.3f}, "
            f"then {last.loss:.3f}",
            f"more training pictures, a smaller model, or `epochs` {best_epoch}"
            + (f"; best.pt is of epoch {best_epoch}" if keeps_best else ""),
        )


def _goes_on(history: Sequence[EpochLike], resumes: bool) -> Iterator[Sentence]:
    """AP that still rises; the loss instead, where AP was hardly measured."""
    epochs = len(history)
    measured = _measured(history)
    earlier = [pair for pair in measured[:-1] if pair[0] <= 0.9 * measured[-1][0]]
    more = f"`epochs` {epochs + max(1, epochs // 2)}"
    more += " with `resume` and this run as `out`, which goes on from here" if resumes else ", into another `out`"
    if earlier:
        (since, before), (_, now) = earlier[-1], measured[-1]
        if now - before > RISING_AP:
            yield Sentence(
                "AP still rose at the end: more epochs may give more",
                f"AP {before:.3f} after epoch {since}, {now:.3f} after epoch {measured[-1][0]}",
                more,
            )
        return
    then, last = _loss_at(history, 0.75), history[-1]
    if last.loss < (1 - FALLING_LOSS) * then.loss:
        yield Sentence(
            "The loss still fell at the end: more epochs may give more",
            f"loss {then.loss:.3f} in epoch {then.epoch}, {last.loss:.3f} in epoch {last.epoch}",
            more,
        )


def _level(history: Sequence[EpochLike]) -> Iterator[Sentence]:
    if len(history) < _LONG:
        return
    then, last, measured = _loss_at(history, 0.75), history[-1], _measured(history)
    if abs(last.loss - then.loss) > FALLING_LOSS * then.loss:
        return
    evidence = f"loss {then.loss:.3f} in epoch {then.epoch}, {last.loss:.3f} in epoch {last.epoch}"
    best = max((ap for _, ap in measured), default=None)
    if best is not None:
        evidence += f"; highest AP {best:.3f}"
    if best is not None and best < LOW_AP and last.loss > LEARNED * history[0].loss:
        yield Sentence(
            "The network can't even fit its training images (underfitting)",
            f"{evidence}; loss {history[0].loss:.3f} in epoch 1",
            "`edgedet data show` to see whether the boxes are right; then a larger model or `imgsz`, or another "
            "learning rate (train.lr)",
        )
        return
    yield Sentence(
        "Training has levelled off: more epochs would give little",
        evidence,
        "more training pictures, a larger `imgsz` or a larger model, if AP is too low",
    )
