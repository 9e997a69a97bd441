"""What a page consists of: sections with sentences, tables, charts and pictures. The template knows only these."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field

OF_AP = (
    "AP is COCO's, IoU 0.50 to 0.95; small objects are below 32 x 32 px of the picture, large ones above 96 x 96 px. "
)


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    value: float | None = None  # numbers sort by it
    tint: float = 0.0  # 0..1, how much colour lies under it
    wrong: bool = False  # of another colour


@dataclass(frozen=True)
class Table:
    """A table whose heads sort it."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """A JPEG inside the page."""

    jpeg: bytes
    caption: str

    @property
    def source(self) -> str:
        """Data URI."""
        return f"data:image/jpeg;base64,{base64.b64encode(self.jpeg).decode()}"


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    texts: tuple[str, ...] = ()
    charts: tuple[str, ...] = ()  # SVG of edgedet.drawing
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    wide: bool = False  # pictures as pairs
    command: str = ""  # as typed
    beside: bool = False  # the chart, a small one, left of the tables


@dataclass(frozen=True)
class Page:
    """A whole page."""

    title: str
    verdict: str
    facts: tuple[tuple[str, str], ...]  # the numbers in large letters
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = field(default=())  # what is absent, and why
    about: str = OF_AP  # what its numbers are, at the end


def words(text: str) -> Cell:
    """A cell of text."""
    return Cell(text)


def number(value: float | None, digits: int = 3) -> Cell:
    """A cell of a number; COCO's -1 and what is no number become a dash."""
    if value is None or not math.isfinite(value) or value == -1:
        return Cell("–", -math.inf)
    return Cell(f"{value:,.{digits}f}", float(value))
