"""How the table of operators is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.errors import ConfigError
from edgedet.graph.operator_text import markdown, select_operators, table_text

REPO = Path(__file__).resolve().parents[2]


def test_markdown_is_what_docs_hold() -> None:
    text = (REPO / "docs" / "operators.md").read_text(encoding="utf-8")
    assert text == markdown(), "run: edgedet operators --markdown > docs/operators.md"


def test_select_operators_takes_any_case_and_keeps_the_order() -> None:
    assert [row.kind for row in select_operators(["mul", "CONV_2D"])] == ["MUL", "CONV_2D"]


def test_select_operators_unknown_kind_names_similar_ones() -> None:
    with pytest.raises(ConfigError, match=r"operator 'CONV2D': .*similar names: .*CONV_2D"):
        select_operators(["CONV2D"])


def test_table_text_aligns_columns_and_ends_with_limits() -> None:
    head, first, second = table_text(select_operators(["RELU", "MAX_POOL_2D"])).splitlines()
    column = head.index("TFLite Micro")
    assert (first[column:], second[column:]) == ("AddRelu", "AddMaxPool2D")
    assert head.split()[:3] == ["operator", "reader", "simulator"]


def test_table_text_of_an_operator_that_only_tflm_has_is_one_line() -> None:
    (line,) = table_text(select_operators(["COS"])).splitlines()
    assert line.endswith("(convert, target tflm): COS")
