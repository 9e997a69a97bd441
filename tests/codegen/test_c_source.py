from __future__ import annotations

import re
import struct

import numpy as np
import pytest

from edgedet.codegen.c_source import byte_rows, decimal_literal, float_literal, int8_rows, string_literal


def test_byte_rows_all_bytes_read_back() -> None:
    data = bytes(range(256)) + b"TFL3"
    text = byte_rows(data)
    assert bytes(int(item, 16) for item in re.findall(r"0x([0-9a-f]{2}),", text)) == data
    assert len(text.splitlines()) == 17
    assert max(map(len, text.splitlines())) <= 100


def test_byte_rows_empty_gives_nothing() -> None:
    assert byte_rows(b"") == ""


def test_int8_rows_extremes_read_back_in_row_major_order() -> None:
    values = np.array([[-128, -1, 0], [1, 2, 127]], np.int8)
    assert int8_rows(values) == "    -128,-1,0,1,2,127,"


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5, -58.395, 1e-8, 1 / 255, 3.4e38, 1.4e-45, 0.1, 255.0])
def test_float_literal_reads_back_as_the_same_float32(value: float) -> None:
    literal = float_literal(value)
    assert re.fullmatch(r"-?0x[01](\.[0-9a-f]+)?p[+-]\d+f", literal)
    assert struct.pack("f", float.fromhex(literal[:-1])) == struct.pack("f", np.float32(value))


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("mask", '"mask"'),
        ('a"b\\', '"a\\042b\\134"'),
        ("é1", '"\\303\\2511"'),
        ("??/", '"\\077\\077/"'),
        ("a\nb", '"a\\012b"'),
        ("", '""'),
    ],
)
def test_string_literal_special_characters_are_escaped(text: str, literal: str) -> None:
    assert string_literal(text) == literal


@pytest.mark.parametrize("value", [0.0, 1.0, 1 / 255, 0.1, 16777216.0, 1e-38, 3.4028234e38, -0.031, 123456.789])
def test_decimal_literal_names_exactly_one_float32(value: float) -> None:
    text = decimal_literal(value)
    assert text.endswith("f")
    assert "." in text or "e" in text
    assert "x" not in text
    assert np.float32(text[:-1]) == np.float32(value)
