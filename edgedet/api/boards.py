"""The boards that edgedet knows."""

from __future__ import annotations

from edgedet.api.public import public
from edgedet.hardware.board import Board, all_boards


@public
def boards() -> tuple[Board, ...]:
    """The boards that edgedet knows: processor, memories, NPU, firmware, and a source for each figure.

    Returns:
        By name; `board.name` is what `Model.check` and `Model.deploy` take.
    """
    return all_boards()
