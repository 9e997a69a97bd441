"""The table of operators as a person reads it: for a terminal, and as docs/operators.md."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Sequence

from edgedet.errors import ConfigError
from edgedet.graph.operator_table import OperatorSupport, Trait, known_operators
from edgedet.terminal import COLUMNS

_HEAD = ("operator", "reader", "simulator", "C kernels", "TFLite Micro", "limits")
_LEGEND = (
    ("reader", "the operator's options are read, checked and written; others are carried and shown as they are"),
    ("simulator", "activations that `--runtime simulator` computes, bit-exact with TFLite Micro"),
    ("C kernels", "the same for generated C: target c99, `--runtime c99` and on the chip"),
    ("int16", "int16 activations with int8 weights, 16x8"),
    ("border", "other types at inputs and outputs of a model: float32, uint8, or between int8 and int16"),
    ("shapes", "arithmetic on int32 shapes, computed once when a file is loaded (`graph/prepare/fold_shapes.py`)"),
    ("TFLite Micro", "method of its resolver, which target tflm writes; `-`: it has no kernel"),
)


def select_operators(kinds: Sequence[str]) -> tuple[OperatorSupport, ...]:
    """Rows of some operators.

    Args:
        kinds: names in TFLite's BuiltinOperator, in any case; empty: all that are known.
    Returns:
        In order of the names that were asked for, or of the alphabet.
    Raises:
        ConfigError: a name that neither edgedet nor TFLite Micro knows.
    """
    known = {row.kind.upper(): row for row in known_operators()}
    for kind in kinds:
        if kind.upper() not in known:
            near = difflib.get_close_matches(kind.upper(), known, 3)
            hint = f"similar names: {', '.join(near)}" if near else "`edgedet operators` lists all"
            raise ConfigError(f"operator {kind!r}: expected a name of TFLite's, as CONV_2D; {hint}")
    return tuple(known[kind.upper()] for kind in kinds) if kinds else tuple(known.values())


def table_text(rows: Sequence[OperatorSupport]) -> str:
    """Aligned columns for a terminal.

    Args:
        rows: of `select_operators`. Of more than one row, those that only TFLite Micro has become one line at the end.
    Returns:
        Lines with a trailing newline.
    """
    mine, others = _split(rows)
    lines = []
    if mine:
        cells = [_HEAD, *(_cells(row) for row in mine)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD) - 1)]
        for line in cells:
            columns = (text.ljust(width) for text, width in zip(line, (*widths, 0), strict=True))
            lines.append("  ".join(columns).rstrip())
    if others:
        lines += _others(others, "TFLite Micro runs, and edgedet only shows and passes on (convert, target tflm): ")
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """docs/operators.md."""
    mine, others = _split(known_operators())
    lines = [
        "# Operators",
        "",
        "Made by `edgedet operators --markdown` from edgedet/graph/operator_table.py. Don't edit by hand.",
        "",
        *(f"- **{name}**: {meaning}" for name, meaning in _LEGEND),
        "",
        "| " + " | ".join(_HEAD) + " |",
        "| " + " | ".join("---" for _ in _HEAD) + " |",
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in _cells(row)) + " |" for row in mine),
        "",
        *_others(others, "TFLite Micro runs, and edgedet only shows and passes on (`convert`, target tflm): "),
    ]
    return "\n".join(lines) + "\n"


def _split(rows: Sequence[OperatorSupport]) -> tuple[list[OperatorSupport], list[OperatorSupport]]:
    """(rows that edgedet reads or runs, those that only TFLite Micro has)."""
    mine = [row for row in rows if row.reader or row.simulator or row.c or row.traits]
    return mine, [row for row in rows if row not in mine]


def _others(rows: Sequence[OperatorSupport], lead: str) -> list[str]:
    return textwrap.wrap(lead + ", ".join(row.kind for row in rows), COLUMNS)


def _cells(row: OperatorSupport) -> tuple[str, ...]:
    folded = ("shapes",) if Trait.ON_SHAPES in row.traits else ()
    return (
        row.kind,
        "yes" if row.reader else "-",
        ", ".join((*row.simulator, *folded)) or "-",
        ", ".join((*row.c, *folded)) or "-",
        row.tflm or "-",
        row.limits,
    )
