"""XML of strangers as a small tree with line numbers.

ElementTree keeps no line for an error message, and expands entities. Here a document type is refused: annotation files
have none, and entities (billion laughs, external files) need one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from edgedet.errors import DataError
from edgedet.fileio import read_bytes

_MAX_DEPTH = 64


@dataclass
class Element:
    """One element, filled while the file is read."""

    tag: str
    where: str  # file:line
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> list[Element]:
        """Direct children of this name."""
        return [child for child in self.children if child.tag == tag]

    def one(self, tag: str) -> Element | None:
        """First direct child of this name."""
        return next((child for child in self.children if child.tag == tag), None)

    def child(self, tag: str) -> Element:
        """First direct child of this name; DataError when there is none."""
        found = self.one(tag)
        if found is None:
            raise DataError(f"{self.where}: <{self.tag}> has no <{tag}>; correct the annotation file")
        return found

    def word(self, tag: str, default: str = "") -> str:
        """Text of the first child of this name, without spaces around it."""
        found = self.one(tag)
        return default if found is None else found.text.strip()

    def attribute(self, name: str) -> str:
        """Value of an attribute; DataError when it is absent."""
        if name not in self.attributes:
            raise DataError(f"{self.where}: <{self.tag}> has no attribute {name!r}; correct the annotation file")
        return self.attributes[name]


def number(text: str, what: str, where: str) -> float:
    """A finite number; DataError otherwise.

    Args:
        text: as written.
        what: its name, for the message.
        where: file and line.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{where}: {what} must be a number, found {text.strip()[:40]!r}; correct the annotation file")
    return value


def read_xml(path: Path) -> Element:
    """Read an XML file.

    Args:
        path: the file.
    Returns:
        Its root.
    Raises:
        DataError: it can't be read, is not well-formed, nests too deep, or declares a document type.
    """
    stack = [Element("", str(path), {})]
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        if len(stack) > _MAX_DEPTH:
            raise DataError(f"{path}:{parser.CurrentLineNumber}: elements nest more than {_MAX_DEPTH} deep")
        element = Element(tag, f"{path}:{parser.CurrentLineNumber}", attributes)
        stack[-1].children.append(element)
        stack.append(element)

    def end(_tag: str) -> None:
        stack.pop()

    def characters(text: str) -> None:
        stack[-1].text += text

    def refuse(*_declaration: object) -> None:
        raise DataError(
            f"{path}:{parser.CurrentLineNumber}: declares a document type, which annotation files don't need and which "
            "can hold entities; remove it if you trust the file"
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = characters, refuse
    parser.buffer_text = True
    try:
        parser.Parse(read_bytes(path), True)
    except (expat.ExpatError, ValueError, LookupError) as error:  # ValueError, LookupError: encodings
        line = f":{error.lineno}" if isinstance(error, expat.ExpatError) else ""
        raise DataError(f"{path}{line}: not valid XML ({error}); export the annotations again") from error
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); check the file") from error
    return stack[0].children[0]
