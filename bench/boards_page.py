"""Writes the generated parts of docs/boards.md: boards and measurements, and the four networks on all boards.

    .venv/bin/python bench/boards_page.py

The networks have three classes, 192x192 px and drawn weights: what they need follows from shapes.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.fileio import atomic_write_text
from edgedet.graph.model import int8_model
from edgedet.hardware.board import Board, all_boards
from edgedet.hardware.check import BoardCheck, check_needs
from edgedet.hardware.needs import c99_needs
from edgedet.hardware.speed import works_of
from edgedet.hardware.text import markdown
from edgedet.quantize.skeleton import skeleton_graph
from edgedet.runtimes.c_program import make_program

PAGE = Path(__file__).resolve().parents[1] / "docs" / "boards.md"
MODELS = ("rtmdet_pico_relu6", "rtmdet_nano", "rtmdet_nano_relu", "rtmdet_nano_ncadc_relu6")
SIDE = 192  # px


def checks_of(name: str, boards: tuple[Board, ...], side: int = SIDE) -> list[BoardCheck]:
    """One network on the boards."""
    file = load_model_file(name)
    graph = skeleton_graph(file.model, file.preprocess.spec((side, side)), OutputSpec(("a", "b", "c")))
    model = int8_model(graph, Path(name))
    program = make_program(graph, model).program
    works = works_of(program)
    return [check_needs(board, c99_needs(program, model, board.core.name), works, graph) for board in boards]


def cell(check: BoardCheck) -> str:
    """Fits with the time, or what is missing."""
    if check.fits:
        time = check.time.short()
        return "fits" if time == "-" else f"fits, {time}"
    return "no: " + ", ".join(f"{name} {size:,}" for name, size in check.missing.items())


def models_table(models: tuple[str, ...], boards: tuple[Board, ...]) -> str:
    """Markdown; a row for each board."""
    columns = [checks_of(name, boards) for name in models]
    lines = ["| board | " + " | ".join(f"{name} {SIDE}" for name in models) + " |", "| --- " * (len(models) + 1) + "|"]
    for row in zip(*columns, strict=True):
        lines.append(f"| {row[0].board.name} | " + " | ".join(map(cell, row)) + " |")
    return "\n".join(lines) + "\n"


def put(page: str, mark: str, text: str) -> str:
    """The page with the text between the comments of a mark."""
    begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->"
    assert page.count(begin) == page.count(end) == 1
    return re.sub(f"{begin}.*?{end}", lambda _: begin + text + end, page, flags=re.DOTALL)


def main() -> int:
    """Write the page."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    boards = all_boards()
    page = put(PAGE.read_text(encoding="utf-8"), "boards", markdown(boards))
    atomic_write_text(PAGE, put(page, "models", models_table(MODELS, boards)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
