"""The door of the Python API: NumPy's numbers, missing packages, what the system refuses."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest

from edgedet.api.public import public
from edgedet.errors import EdgedetError, ToolchainError


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
