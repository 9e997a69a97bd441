"""Texts and numbers from outside, written into files of other languages: one function for each kind of place.

Every generator takes what a model, a data set or a path says through here. Nothing is lost where the language can hold
it (strings of C and JSON, XML); where it can't (comments, identifiers, words of a Makefile), what does not belong there
is replaced or refused.
"""

from __future__ import annotations

import html
import json
import math
import numbers
import re
import struct
from collections.abc import Iterable
from typing import Any

from edgedet.errors import ConversionError

# XML 1.0 holds no other characters, not even as references.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_IDENTIFIER = re.compile("[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_PATH = re.compile("[A-Za-z0-9_][A-Za-z0-9_./-]{0,254}", re.ASCII)


def c_string(text: str) -> str:
    """String constant of C and C++, UTF-8, quotes included.

    Three-digit octal escapes end by themselves, so that no following character can join them as it would a hexadecimal
    escape; a question mark is escaped because of trigraphs.

    Args:
        text: any text; half surrogates become question marks.
    Returns:
        ASCII source.
    """
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')
    encoded = text.encode("utf-8", "replace")
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in encoded) + '"'


def c_comment(text: str, characters: int = 80) -> str:
    """Text inside a comment of either kind of C and C++, or of CMake and Make.

    Args:
        text: any text.
        characters: the most that are kept.
    Returns:
        One line of letters, digits and harmless signs, a question mark for each other. No end or start of a comment, no
        backslash and no trigraph (two question marks), which would join the next line to it.
    """
    kept = "".join(c if c.isascii() and (c.isalnum() or c in " _.:;,-+/()[]=") else "?" for c in text)
    for pair in ("//", "??"):
        while pair in kept:
            kept = kept.replace(pair, pair[0])
    return kept[:characters]


def c_identifier(name: str) -> str:
    """A name as part of an identifier of C; it is made by us, and refused when it is not.

    Raises:
        ConversionError: other characters than letters, digits and underscores.
    """
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise ConversionError(f"{name!r:.60} can't be a name in C: expected letters, digits and underscores")
    return name


def c_float(value: float) -> str:
    """Float constant that reads back as exactly float32(value), in C99 and C++17.

    Args:
        value: finite, and so is its float32.
    Returns:
        Hexadecimal literal, for example `0x1.8p-1f`.
    Raises:
        ConversionError: it is not finite.
    """
    try:
        return f"{c_double(struct.unpack('<f', struct.pack('<f', value))[0])}f"
    except OverflowError as error:
        raise ConversionError(f"{value!r} is larger than a float of C holds") from error


def c_double(value: float) -> str:
    """Double constant that reads back as exactly `value`, in C99 and C++17.

    Args:
        value: finite.
    Returns:
        Hexadecimal literal, for example `0x1.8p-1`.
    Raises:
        ConversionError: it is not finite.
    """
    if not math.isfinite(value):
        raise ConversionError(f"{value!r} can't be a number in C: expected a finite one")
    mantissa, exponent = float(value).hex().split("p")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{exponent}"


def c_decimal(value: float) -> str:
    """Float constant that reads back as exactly float32(value), in every C and C++: for headers.

    C++ before C++17 has no hexadecimal constants of floating point. Nine digits name one float32.

    Args:
        value: finite, and so is its float32.
    Returns:
        Decimal literal, for example `0.75f`.
    Raises:
        ConversionError: it is not finite.
    """
    text = f"{float.fromhex(c_float(value)[:-1]):.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def manifest_text(text: str, characters: int = 80) -> str:
    """Text in a manifest of a builder: YAML, JSON, TOML, INI, XML, CMake, Kconfig, Markdown, quoted or not.

    Args:
        text: any text.
        characters: the most that are kept.
    Returns:
        One line of letters, digits, spaces and ` _.,+-`, which none of these languages reads as anything but text
        inside a value, and an `x` for each other character; not empty, no space at either end.
    """
    kept = "".join(c if c.isascii() and (c.isalnum() or c in " _.,+-") else "x" for c in text)[:characters]
    return kept.strip(" -") or "none"


def template_value(value: Any) -> Any:
    """What a template of C, CMake or Make may print: the last check in front of the file.

    Args:
        value: of a `{{ }}`.
    Returns:
        The same.
    Raises:
        ConversionError: a truth value, a number that is not finite or has more than 64 bits, or a text with other
            characters than ASCII's printable ones and line ends, which no function of this module makes.
    """
    if isinstance(value, str):
        sound = value.isascii() and value.replace("\n", "").replace("\t", "").isprintable()
    elif isinstance(value, numbers.Integral):  # NumPy's, too
        sound = not isinstance(value, bool) and int(value).bit_length() <= 64
    else:
        sound = isinstance(value, float) and math.isfinite(value)
    if not sound:
        raise ConversionError(f"{repr(value)[:60]} can't be written into source code: expected a number or plain text")
    return value


def build_words(paths: Iterable[str]) -> tuple[str, ...]:
    """Paths as words of a Makefile or a CMakeLists.txt; they are made by us, and refused when they are not.

    Raises:
        ConversionError: other characters than letters, digits, `_ . / -`, which both tools take as they are.
    """
    words = tuple(paths)
    for word in words:
        if not _PATH.fullmatch(word):
            raise ConversionError(f"{word!r:.60} can't be a file of a build: expected letters, digits and _ . / -")
    return words


def xml_text(text: str) -> str:
    """Text or attribute of XML and SVG; characters that XML can't hold become U+FFFD, the replacement character."""
    return html.escape(_NOT_XML.sub("\ufffd", text))


def html_text(text: str) -> str:
    """Text or attribute of HTML; control characters and half surrogates become U+FFFD as in XML."""
    return xml_text(text)


def is_xml(text: str) -> bool:
    """True when XML can hold every character of a text."""
    return _NOT_XML.search(text) is None


def json_text(value: Any, indent: int | None = 1) -> str:
    """JSON of a report, with a line end.

    Args:
        value: dicts, lists, tuples, text, numbers, truth values, None.
        indent: columns; None: all on one line.
    Returns:
        ASCII; a number that is not finite, which JSON can't hold, is null.
    """
    try:
        return json.dumps(value, indent=indent, allow_nan=False) + "\n"
    except ValueError:
        return json.dumps(_finite(value), indent=indent, allow_nan=False) + "\n"


def script_json(value: Any) -> str:
    """JSON inside a `<script type="application/json">` of HTML: `json_text` on one line without `<`, `>` and `&`.

    Args:
        value: as of `json_text`.
    Returns:
        ASCII; a script element can't end inside it, and JSON.parse gives the same back.
    """
    text = json_text(value, None)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
