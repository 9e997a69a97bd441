from __future__ import annotations

import numpy as np
import pytest

from edgedet.errors import ConversionError
from edgedet.exchange.export.check import compare
from edgedet.exchange.export.tensorflow.output_match import match_outputs

A, B = np.array([[0.0, 1.0]]), np.array([[5.0, 6.0]])


def test_outputs_are_found_by_value_where_shapes_are_equal() -> None:
    assert match_outputs({"cls": A, "box": B}, [B + 1e-6, A]) == {"cls": 1, "box": 0}


def test_outputs_that_are_alike_are_refused() -> None:
    with pytest.raises(ConversionError, match="box can't be told from another: check on another one, with `image`"):
        match_outputs({"cls": A, "box": A}, [A, B])


def test_outputs_of_other_number_or_shape_are_refused() -> None:
    with pytest.raises(ConversionError, match="gave 1 outputs, expected 2: cls, box"):
        match_outputs({"cls": A, "box": B}, [A])
    with pytest.raises(ConversionError, match=r"no output of shape \(1, 2\) for cls"):
        match_outputs({"cls": A}, [np.zeros((2, 1))])


def test_compare_says_which_output_and_by_how_much() -> None:
    assert compare(["cls"], [A], [A + 1e-5], 1e-4, "sums") == (
        "largest difference 1e-05 of an output's largest value, 0.0001 allowed (sums)"
    )
    with pytest.raises(
        ConversionError, match=r"output box differs by 0\.17 of its largest value, allowed is 0\.1 \(sums\)"
    ):
        compare(["cls", "box"], [A, B], [A, B + 1.0], 0.1, "sums")
    with pytest.raises(ConversionError, match="output cls differs by nan"):
        compare(["cls"], [A], [A * np.nan], 0.1, "sums")
    with pytest.raises(ConversionError, match="gives 0 outputs, expected 1: cls"):
        compare(["cls"], [A], [], 0.1, "sums")
    with pytest.raises(ConversionError, match=r"output cls has shape \(2, 1\), expected \(1, 2\)"):
        compare(["cls"], [A], [A.T], 0.1, "sums")
