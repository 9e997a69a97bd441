from __future__ import annotations

import re

import numpy as np

from edgedet.codegen.c_source import byte_rows, int8_rows


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
