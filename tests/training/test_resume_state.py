"""A last.pt of somebody else: its settings may be anything."""

from __future__ import annotations

from typing import Any

import pytest

from edgedet.training.resume import fitted_by_recipe


@pytest.mark.parametrize("before", [None, 7, [], {}, {"train": None}, {"train": [1]}, {"train": {"lr": 0.1}}])
def test_fitted_by_recipe_of_no_settings_is_false(before: Any) -> None:
    assert not fitted_by_recipe(before)


def test_fitted_by_recipe_goes_by_the_key_of_the_rule() -> None:
    assert fitted_by_recipe({"train": {"reference_batch": 0}})
