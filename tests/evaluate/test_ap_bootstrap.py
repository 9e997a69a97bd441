from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_detector import write_toy_data, write_toy_model

from edgedet.data.paths import DataPaths
from edgedet.evaluate.ap_bootstrap import ap_difference_error
from edgedet.runtimes.open import open_runtime


class Blind:
    """The model, but it sees every second picture as black."""

    def __init__(self, inner: object) -> None:
        self._inner, self._turn = inner, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def invoke(self, x: np.ndarray) -> object:
        self._turn += 1
        return self._inner.invoke(x if self._turn % 2 else np.zeros_like(x))  # type: ignore[attr-defined]


def test_ap_difference_error_is_zero_for_equal_models_and_follows_the_seed(tmp_path: Path) -> None:
    model, _ = write_toy_model(tmp_path / "m.tflite"), write_toy_data(tmp_path / "data")
    split = DataPaths(tmp_path / "data").load("valid")
    runtime = open_runtime(model, "sim")
    assert ap_difference_error(runtime, runtime, split) == 0.0
    found = ap_difference_error(runtime, Blind(runtime), split, seed=3)
    assert found == ap_difference_error(runtime, Blind(runtime), split, seed=3)
    assert 0.01 < found < 0.5


def test_ap_difference_error_of_one_image_is_zero(tmp_path: Path) -> None:
    model, _ = write_toy_model(tmp_path / "m.tflite"), write_toy_data(tmp_path / "data")
    split = DataPaths(tmp_path / "data").load("valid")
    one = replace(split, images=split.images[:1])
    assert ap_difference_error(open_runtime(model, "sim"), open_runtime(model, "sim"), one) == pytest.approx(0)
