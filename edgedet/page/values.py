"""What a page says, for programs: its sentences and tables; charts and pictures are left out."""

from __future__ import annotations

import math
from typing import Any

from edgedet.page.blocks import Cell, Page, Section, Table


def page_values(page: Page) -> dict[str, Any]:
    """JSON-able dict of a page."""
    return {
        "title": page.title,
        "verdict": page.verdict,
        "facts": dict(page.facts),
        "sections": [_section(section) for section in page.sections],
        "notes": list(page.notes),
    }


def _section(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "texts": list(section.texts),
        "tables": [_table(table) for table in section.tables],
        "pictures": [picture.caption for picture in section.pictures],
        **({"command": section.command} if section.command else {}),
    }


def _table(table: Table) -> dict[str, Any]:
    rows = [[_value(cell) for cell in row] for row in table.rows]
    return {"caption": table.caption, "head": list(table.head), "rows": rows}


def _value(cell: Cell) -> str | float | None:
    """The number of a cell, whole; None for a dash; else its text."""
    if cell.value is None:
        return cell.text
    return cell.value if math.isfinite(cell.value) else None
