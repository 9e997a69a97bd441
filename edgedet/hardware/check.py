"""Whether a model fits a board: the verdict with everything that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgedet.graph.graph import Graph
from edgedet.hardware.board import Board
from edgedet.hardware.firmware_rules import broken_rules
from edgedet.hardware.needs import ARENA, WEIGHTS
from edgedet.hardware.placement import Need, Placed, place
from edgedet.hardware.remedies import Remedy
from edgedet.hardware.speed import Time, Work, estimate
from edgedet.notebook import html_table, short


@dataclass(frozen=True)
class BoardCheck:
    """One model on one board."""

    board: Board
    placed: tuple[Placed, ...]
    time: Time
    broken: tuple[str, ...]  # rules of ready-made firmware for the board
    remedies: tuple[Remedy, ...] = ()
    idle_npu: str = ""  # of the board, where the target leaves it idle, and the command that uses it; empty: none

    @property
    def fits(self) -> bool:
        """Whether every part has its memory."""
        return not any(item.missing_bytes for item in self.placed)

    @property
    def missing(self) -> dict[str, int]:
        """Memory -> bytes that it lacks."""
        return {item.memory.name: item.missing_bytes for item in self.placed if item.missing_bytes}

    def part(self, role: str) -> Placed:
        """The part with a role."""
        return next(item for item in self.placed if item.need.role == role)

    def verdict(self) -> str:
        """One sentence."""
        if self.fits:
            arena = self.part(ARENA)
            return f"fits: {arena.left_bytes:,} bytes of {arena.memory.name} are left beside the arena"
        lacks = []
        for name, missing in self.missing.items():
            parts = [item.need.role for item in self.placed if item.memory.name == name]
            lacks.append(f"{name} lacks {missing:,} bytes for {' and '.join(parts)}")
        return f"does not fit: {'; '.join(lacks)}"

    def __repr__(self) -> str:
        return f"<BoardCheck {short(self.board.name)}: {'fits' if self.fits else 'does not fit'}>"

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        return {
            "board": self.board.name,
            "fits": self.fits,
            "verdict": self.verdict(),
            "missing": self.missing,
            "parts": [item.to_json() for item in self.placed],
            "time": self.time.to_json(),
            "firmware": {"contract": self.board.file.firmware.contract, "broken": list(self.broken)},
            "remedies": [remedy.to_json() for remedy in self.remedies],
            "idle_npu": self.idle_npu or None,
        }


@dataclass(frozen=True)
class CheckReport:
    """One model on some boards."""

    model: str  # file name
    target: str
    input: str  # shape, or shapes
    checks: tuple[BoardCheck, ...]

    @property
    def fits(self) -> bool:
        """Whether it fits all of them."""
        return all(check.fits for check in self.checks)

    def __repr__(self) -> str:
        fitting = sum(check.fits for check in self.checks)
        return f"<CheckReport {short(self.model)} ({self.target}): fits {fitting} of {len(self.checks)} boards>"

    def _repr_html_(self) -> str:
        rows = [(check.board.name, check.verdict(), check.time.text()) for check in self.checks]
        return html_table(repr(self)[1:-1], rows, ("board", "memory", "time"))

    def __str__(self) -> str:
        from edgedet.hardware.text import report_text

        return report_text(self)

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        return {
            "model": self.model,
            "target": self.target,
            "input": self.input,
            "fits": self.fits,
            "boards": [check.to_json() for check in self.checks],
        }


def check_needs(
    board: Board, needs: Sequence[Need], works: Sequence[Work] | Time | str, graph: Graph, foreign: bool = False
) -> BoardCheck:
    """Place what a model needs on a board, estimate its time, and look at the rules of ready-made firmware.

    Args:
        board: to check.
        needs: each role once.
        works: of the steps; or an estimate of another's, or why there is none.
        graph: as the file holds it.
        foreign: no network of edgedet's.
    """
    placed = place(board, needs)
    slow = [item.memory.name for item in placed if item.memory.external and item.need.role in (ARENA, WEIGHTS)]
    match works:
        case Time():
            time = works
        case str():
            time = Time(None, 0.0, None, None, works)
        case _:
            time = estimate(works, board, list(dict.fromkeys(slow)), foreign)
    return BoardCheck(board, placed, time, broken_rules(board.file.firmware.contract, graph))
