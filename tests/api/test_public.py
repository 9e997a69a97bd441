"""The door of the Python API: NumPy's numbers, missing packages, what the system refuses."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgedet
from edgedet.api.predictions import BrokenPicture, BrokenPicturesError, Predictions
from edgedet.api.public import public
from edgedet.errors import BrokenImagesError, EdgedetError, Interrupted, ToolchainError


@public
def taken(*values: Any, **named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return values, named


@pytest.mark.parametrize(
    ("given", "kind"),
    [(np.int64(3), int), (np.uint8(3), int), (np.float32(0.5), float), (np.bool_(True), bool), (np.str_("a"), str)],
)
def test_numpys_scalars_become_pythons(given: Any, kind: type) -> None:
    ((first,), named) = taken(given, by_name=given)
    assert type(first) is kind
    assert type(named["by_name"]) is kind
    assert first == named["by_name"] == given


def test_numpys_scalars_in_lists_and_dicts_become_pythons() -> None:
    for sides in ((np.int64(96), 64), [np.int64(96), 64]):
        (found,), _ = taken(sides)
        assert type(found) is type(sides)
        assert [(type(side), side) for side in found] == [(int, 96), (int, 64)]
    (values,), _ = taken({"lr": np.float64(0.5), "steps": [np.int64(1)], "name": "x"})
    assert values == {"lr": 0.5, "steps": [1], "name": "x"}
    assert type(values["steps"][0]) is int


def test_everything_else_stays_the_same_object() -> None:
    pixels, pictures, text = np.zeros((4, 4, 3), np.uint8), [np.zeros((4, 4, 3), np.uint8)], "a"
    values, _ = taken(pixels, pictures, text, None)
    assert values[0] is pixels
    assert values[1] is pictures
    assert values[2] is text


def test_a_missing_package_gives_the_command_that_installs_it() -> None:
    @public
    def needs_torch() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch.nn")

    @public
    def needs_something_else() -> None:
        raise ModuleNotFoundError("No module named 'of_the_user'", name="of_the_user")

    with pytest.raises(ToolchainError, match=r'^torch is not installed, .*: pip install "edgedet\[train\]"$'):
        needs_torch()
    with pytest.raises(ModuleNotFoundError, match="of_the_user"):
        needs_something_else()


def test_what_the_system_refuses_is_one_sentence_with_the_file() -> None:
    @public
    def reads() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "photos/a.png")

    with pytest.raises(EdgedetError, match=r"^photos/a\.png: Permission denied$"):
        reads()


def test_who_stops_a_call_is_told_which_and_it_stays_a_keyboard_interrupt() -> None:
    @public
    def inner() -> None:
        raise KeyboardInterrupt

    @public
    def outer() -> None:
        inner()

    with pytest.raises(KeyboardInterrupt, match=r"^outer was stopped$") as caught:
        outer()
    assert isinstance(caught.value, Interrupted)


def test_a_training_that_is_stopped_says_how_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = pytest.importorskip("edgedet.training.loop")
    (tmp_path / "data").mkdir()

    def stopped(request: Any, saved: Any) -> None:
        request.out.mkdir()
        if request.seed:
            (request.out / "last.pt").write_bytes(b"an epoch")
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", stopped)
    with pytest.raises(Interrupted, match=r"^train was stopped before the end of an epoch: nothing was saved$"):
        edgedet.train("rtmdet_pico_relu6", tmp_path / "data", tmp_path / "a")
    with pytest.raises(Interrupted, match=r"the same call with out='.*b', resume=True goes on after the last epoch"):
        edgedet.train("rtmdet_pico_relu6", tmp_path / "data", tmp_path / "b", seed=1)


def test_the_call_of_the_user_says_that_it_was_stopped() -> None:
    @public
    def inner() -> None:
        raise KeyboardInterrupt

    @public
    def outer() -> None:
        inner()

    for call, name in ((outer, "outer"), (inner, "inner"), (outer, "outer")):
        with pytest.raises(Interrupted, match=f"^{name} was stopped$"):
            call()


def test_a_reader_that_went_away_is_no_error_of_the_call() -> None:
    @public
    def writes() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        writes()


def test_errors_that_carry_something_come_back_from_a_worker_process() -> None:
    broken = BrokenPicture(Path("b.png"), "b.png: is no picture")
    error = pickle.loads(pickle.dumps(BrokenPicturesError(Predictions([], [broken]))))
    assert (error.results, error.broken) == ([], (broken,))
    assert "b.png: is no picture" in str(error)
    images = BrokenImagesError("folder", 3, ["a.png: is empty"])
    assert str(pickle.loads(pickle.dumps(images))) == str(images)
