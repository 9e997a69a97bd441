"""Which part of a model goes into which memory of a board, and how much is left or missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from edgedet.hardware.board import Board, Memory
from edgedet.notebook import Brief


@dataclass(frozen=True)
class Need:
    """One part of a model on the chip."""

    role: str  # one of hardware.board.ROLES
    bytes: int  # with the error: what must be there
    basis: str  # exact, measured, or why not


@dataclass(frozen=True, repr=False)
class Placed(Brief):
    """A part in a memory."""

    need: Need
    memory: Memory
    left_bytes: int  # of the memory when everything is placed; negative: so many are missing

    @property
    def missing_bytes(self) -> int:
        """What the memory lacks for this and everything else that lies there; 0 when it fits."""
        return max(0, -self.left_bytes)

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        return {
            "role": self.need.role,
            "bytes": self.need.bytes,
            "basis": self.need.basis,
            "memory": self.memory.name,
            "memory_kind": self.memory.kind,
            "memory_free_bytes": self.memory.free_bytes,
            "external": self.memory.external,
            "left_bytes": self.left_bytes,
        }


def place(board: Board, needs: Sequence[Need]) -> tuple[Placed, ...]:
    """Find a memory for every part.

    All ways are tried. The best lacks the fewest bytes, then uses no external memory where it can, then takes the
    memories in the order of the board's file.

    Args:
        board: every role has a memory there.
        needs: parts, each role once.
    Returns:
        Each part in its memory, in the order of `needs`.
    """
    choices = [[memory for memory in board.memories if need.role in memory.holds] for need in needs]
    order = {memory.name: number for number, memory in enumerate(board.memories)}

    def cost(memories: Sequence[Memory]) -> tuple[int, int, int]:
        left = _left(needs, memories)
        missing = sum(max(0, -size) for size in left.values())
        return missing, sum(memory.external for memory in memories), sum(order[memory.name] for memory in memories)

    best = min(product(*choices), key=cost)
    left = _left(needs, best)
    return tuple(Placed(need, memory, left[memory.name]) for need, memory in zip(needs, best, strict=True))


def room_for(board: Board, role: str, needs: Sequence[Need]) -> tuple[Memory, int]:
    """The memory that leaves the most room for a part, with everything else placed as well as it goes.

    Args:
        board: to look at.
        role: of the part.
        needs: all parts; the size of the one with that role does not matter.
    Returns:
        (memory, bytes that the part may take there).
    """
    others = [need for need in needs if need.role != role]
    best: tuple[Memory, int] | None = None
    for memory in board.memories:
        if role not in memory.holds:
            continue
        low, high = 0, memory.free_bytes
        if not _fits_beside(board, others, memory, 0):
            continue
        while low < high:  # the most that leaves room for the others
            middle = (low + high + 1) // 2
            low, high = (middle, high) if _fits_beside(board, others, memory, middle) else (low, middle - 1)
        if best is None or low > best[1]:
            best = memory, low
    if best is not None:
        return best
    largest = max((m for m in board.memories if role in m.holds), key=lambda memory: memory.free_bytes)
    return largest, largest.free_bytes


def _fits_beside(board: Board, others: Sequence[Need], memory: Memory, taken: int) -> bool:
    """Whether all others find a place while so many bytes of a memory are taken."""
    choices = [[choice for choice in board.memories if need.role in choice.holds] for need in others]
    for memories in product(*choices):
        left = _left(others, memories)
        left[memory.name] = left.get(memory.name, memory.free_bytes) - taken
        if min(left.values()) >= 0:
            return True
    return False


def _left(needs: Sequence[Need], memories: Sequence[Memory]) -> dict[str, int]:
    """Name of a memory -> what is left of it."""
    left = {memory.name: memory.free_bytes for memory in memories}
    for need, memory in zip(needs, memories, strict=True):
        left[memory.name] -= need.bytes
    return left
