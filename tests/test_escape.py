from __future__ import annotations

import json
import re
import struct
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from edgedet.errors import ConversionError
from edgedet.escape import (
    build_words,
    c_comment,
    c_decimal,
    c_double,
    c_float,
    c_identifier,
    c_string,
    html_text,
    json_text,
    template_value,
    xml_text,
)

HOSTILE = (
    "",
    "plain",
    "a\x00b",
    "".join(map(chr, range(1, 32))),
    '"); system("touch PWNED"); //',
    "*/ int evil; /*",
    "**//",
    "*\\\n/ int evil;",
    "??/\nint evil;",
    "trailing backslash \\",
    "??/",
    "\\u0022 \\N{DIGIT ONE}",
    "\u202eright to left\u2028line",
    "é\U0001f600\ufffe\uffff",
    "half \ud800 pair",
    "]]><script>alert(1)</script>&amp;'\"",
    "$(shell touch PWNED) ${X} @X@ #",
    "100\nint evil(void) { return 1; }",
    "\x85\x9b\x7f",
    "x" * 3000,
)


def random_texts(seed: int, count: int) -> list[str]:
    """Texts of signs that mean something somewhere, and of anything."""
    rng = np.random.default_rng(seed)
    signs = [*"\"'\\?/*<>&;#$(){}[]@`%\n\r\t\x00\x1b\x7f", "/*", "*/", "//", "??/", "]]>", "\ud800", "é", "\ufffe"]
    texts = []
    for _ in range(count):
        parts = [signs[i] for i in rng.integers(len(signs), size=int(rng.integers(1, 30)))]
        parts += [chr(int(c)) for c in rng.integers(1, 0x300, size=int(rng.integers(0, 10)))]
        texts.append("".join(parts[i] for i in rng.permutation(len(parts))))
    return texts


@pytest.mark.toolchain
@pytest.mark.parametrize(
    "compiler", [("gcc", "-std=c99"), ("gcc", "-std=c99", "-trigraphs"), ("g++", "-x", "c++", "-std=c++17")]
)
def test_c_texts_compile_and_come_back(tmp_path: Path, compiler: tuple[str, ...]) -> None:
    texts = [*HOSTILE, *random_texts(0, 200)]
    expected = [text.encode("utf-8", "replace") for text in texts]
    lines = ["#include <stdio.h>", "int main(void) {"]
    for text in texts:
        # A literal's size tells a byte 0 inside from its end.
        lines.append(f"    /* {c_comment(text)} */ fwrite({c_string(text)}, 1, sizeof({c_string(text)}), stdout);")
        lines.append(f"    // {c_comment(text)}")
    lines += ["    return 0;", "}"]
    source = tmp_path / "texts.c"
    source.write_text("\n".join(lines) + "\n", encoding="ascii")
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-overlength-strings"]
    subprocess.run([*compiler, *warnings, str(source), "-o", str(tmp_path / "texts")], check=True, timeout=120)
    result = subprocess.run([str(tmp_path / "texts")], capture_output=True, check=True, timeout=60)
    assert result.stdout == b"".join(text + b"\x00" for text in expected)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5, -58.395, 1e-8, 1 / 255, 3.4e38, 1.4e-45, 0.1, 255.0])
def test_c_float_reads_back_as_the_same_float32(value: float) -> None:
    literal = c_float(value)
    assert re.fullmatch(r"-?0x[01](\.[0-9a-f]+)?p[+-]\d+f", literal)
    assert struct.pack("f", float.fromhex(literal[:-1])) == struct.pack("f", np.float32(value))
    assert float.fromhex(c_double(value)) == value


@pytest.mark.parametrize("value", [0.0, 1.0, 1 / 255, 0.1, 16777216.0, 1e-38, 3.4028234e38, -0.031, 123456.789])
def test_c_decimal_names_exactly_one_float32(value: float) -> None:
    text = c_decimal(value)
    assert text.endswith("f")
    assert "." in text or "e" in text
    assert "x" not in text
    assert np.float32(text[:-1]) == np.float32(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_c_float_not_finite_raises(value: float) -> None:
    with pytest.raises(ConversionError):
        c_float(value)
    with pytest.raises(ConversionError):
        c_decimal(value)


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
def test_c_string_special_characters_are_escaped(text: str, literal: str) -> None:
    assert c_string(text) == literal


def test_xml_and_html_texts_parse_back() -> None:
    for text in [*HOSTILE, *random_texts(1, 300)]:
        escaped = xml_text(text)
        parsed = ElementTree.fromstring(f'<a b="{escaped}">{escaped}</a>'.encode())
        legal = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
        assert parsed.text == (re.sub("\r\n?", "\n", legal) or None)
        assert not set("<>\"'") & set(html_text(text))


def test_json_text_is_json_whatever_it_is_given() -> None:
    value = {"texts": [*HOSTILE], "numbers": (1.5, float("nan"), -float("inf"), 3, True, None)}
    text = json_text(value)
    found = json.loads(text.encode("ascii"), parse_constant=pytest.fail)
    assert found == {"texts": list(HOSTILE), "numbers": [1.5, None, None, 3, True, None]}


@pytest.mark.parametrize("name", ["", "1a", "a b", "a;", "a\n", "é", "a" * 200, "a-b"])
def test_c_identifier_made_by_somebody_else_is_refused(name: str) -> None:
    with pytest.raises(ConversionError):
        c_identifier(name)
    assert c_identifier("cls_8") == "cls_8"


@pytest.mark.parametrize("word", ["", "a b", "$(x)", "a;b", "-x", "/etc", "a\n", "a\\b", "a#b", "a'b"])
def test_build_words_made_by_somebody_else_are_refused(word: str) -> None:
    with pytest.raises(ConversionError):
        build_words(["model.c", word])
    assert build_words(["model.c", "kernels/src/edk_x.c"]) == ("model.c", "kernels/src/edk_x.c")


@pytest.mark.parametrize("value", [True, None, float("nan"), 2**65, "a\x00", "é", "\x1b[31m", [1], np.float32(1)])
def test_template_value_of_another_kind_is_refused(value: object) -> None:
    with pytest.raises(ConversionError, match="can't be written into source code"):
        template_value(value)
    for sound in (3, np.int64(3), 0.25, "text\n    more"):
        assert template_value(sound) == sound
