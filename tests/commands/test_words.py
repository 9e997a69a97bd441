"""Words that people type, and what they lead to."""

from __future__ import annotations

import argparse

import pytest

from edgedet.commands.main import main
from edgedet.options import byte_count, split_name


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["val"], "evaluate"),
        (["test"], "evaluate"),
        (["quantise"], "quantize"),
        (["data", "chek"], "check"),
        (["deploy", "m.tflite", "--out", "d", "--target", "c9"], "c99"),
    ],
)
def test_main_wrong_word_leads_to_the_right_one(
    argv: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert f"; did you mean {meant}?; `edgedet" in capsys.readouterr().err


def test_split_name_takes_val_as_valid() -> None:
    assert [split_name(text) for text in ("val", "valid", "test")] == ["valid", "valid", "test"]


def test_byte_count_takes_binary_units() -> None:
    assert [byte_count(t) for t in ("200k", "200KiB", "200 ", "1M", "200kb")] == [204800, 204800, 200, 1048576, 204800]
    for text in ("", "0", "k", "-1", "1.5k", "1g"):
        with pytest.raises(argparse.ArgumentTypeError, match="expected bytes"):
            byte_count(text)
