"""How results show themselves in a notebook: one short line, and a small table of HTML.

Neither grows with a path, a name or a list. The HTML names no colour, so that it reads in light and in dark.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from edgedet.escape import html_text
from edgedet.typed import shown

MOST_ROWS = 20  # of one table
_PATH_CHARACTERS = 60
_REPR_CHARACTERS = 180
_CELL_CHARACTERS = 300
_TABLE = '<table style="border-collapse:collapse;color:inherit;background:none">'
_CELL = "text-align:left;color:inherit;background:none;padding:.15em .8em .15em 0"


class Brief:
    """Base of dataclasses, with `repr=False`: one short line, however many and long their fields are."""

    def __repr__(self) -> str:
        said, left = list[str](), _REPR_CHARACTERS - len(type(self).__name__)
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            text = f"{field.name}={_brief(getattr(self, field.name))}"
            if not field.repr or len(text) + 2 > left:
                continue
            said.append(text)
            left -= len(text) + 2
        more = ", ..." if len(said) < len(dataclasses.fields(self)) else ""  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(said)}{more})"


def _brief(value: object) -> str:
    if isinstance(value, Path):
        return repr(short_path(value))
    if dataclasses.is_dataclass(value):
        return f"a {type(value).__name__}"
    return one_line(shown(value))


def short_path(path: str | Path, characters: int = _PATH_CHARACTERS) -> str:
    """The end of a path, on one line: `...` stands for what is left out in front."""
    text = one_line(path)
    return text if len(text) <= characters else f"...{text[3 - characters :]}"


def short(text: str, characters: int = _PATH_CHARACTERS) -> str:
    """The beginning of a text, on one line: `...` stands for what is left out behind."""
    text = one_line(text)
    return text if len(text) <= characters else f"{text[: characters - 3]}..."


def one_line(text: object) -> str:
    """A text on one line; a question mark for what can't be printed, half surrogates among them."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(text))


def html_table(
    title: str, rows: Sequence[Sequence[object]], head: Sequence[str] = (), notes: Sequence[str] = ()
) -> str:
    """A table for `_repr_html_`.

    Args:
        title: one line above it.
        rows: cells as text or numbers; the first `MOST_ROWS` are shown, the others counted.
        head: names of the columns; empty: the first cell of each row names it.
        notes: sentences below.
    Returns:
        HTML of one `<div>`; everything from outside is escaped.
    """
    lines = [f"<div><strong>{_text(title)}</strong>{_TABLE}"]
    if head:
        lines.append(f"<thead><tr>{''.join(_cell('th', 'col', name) for name in head)}</tr></thead>")
    lines.append("<tbody>")
    for row in rows[:MOST_ROWS]:
        first, *rest = row
        named = _cell("td", "", first) if head else _cell("th", "row", first)
        lines.append(f"<tr>{named}{''.join(_cell('td', '', value) for value in rest)}</tr>")
    lines.append("</tbody></table>")
    if len(rows) > MOST_ROWS:
        notes = (f"{len(rows) - MOST_ROWS} more rows", *notes)
    left = [f"{len(notes) - MOST_ROWS} more notes"] if len(notes) > MOST_ROWS else []
    lines += [f"<div>{_text(note)}</div>" for note in (*notes[:MOST_ROWS], *left)]
    return "\n".join([*lines, "</div>"])


def _cell(tag: str, scope: str, value: object) -> str:
    said = f' scope="{scope}"' if scope else ""
    return f'<{tag}{said} style="{_CELL}">{_text(value)}</{tag}>'


def _text(value: object) -> str:
    return html_text(short(str(value), _CELL_CHARACTERS))
