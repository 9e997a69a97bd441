"""What would make a model fit a board: less RAM patch by patch, a smaller input, another network; all computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgedet.errors import EdgedetError
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model, int8_model
from edgedet.hardware.board import Board
from edgedet.hardware.measured import measured
from edgedet.hardware.needs import ARENA, WEIGHTS, c99_needs
from edgedet.hardware.placement import Need, Placed, place, room_for
from edgedet.hardware.resized import resized
from edgedet.runtimes.c_program import CProgram, make_program

_STEP = 32  # px: sides of RTMDet's inputs
_SMALLEST = 64  # px; below, the coarsest level has a single cell
_OTHER_MODELS = 3  # that are named


@dataclass(frozen=True)
class Remedy:
    """One way to make it fit."""

    kind: str  # ram | input | model
    text: str
    arena_bytes: int
    constant_bytes: int

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        return asdict(self)


def remedies(
    board: Board, graph: Graph, model: Int8Model | None, needs: Sequence[Need], log: Callable[[str], None] | None = None
) -> tuple[Remedy, ...]:
    """Look for ways to make a model fit as target c99.

    Args:
        board: that it does not fit.
        graph, model: the network; the model is None without contracts that C follows.
        needs: of the network.
        log: is told what is tried.
    Returns:
        What was found; each fits. Empty: nothing helps.
    """
    say = log or (lambda text: None)
    found = []
    placed = place(board, needs)
    if _lacks(placed, ARENA):
        say("a plan for less RAM")
        found += _less_ram(board, graph, model, needs)
    if model is not None and _lacks(placed, ARENA):
        say("smaller inputs")
        found += _smaller_input(board, model)
    say("other networks")
    return (*found, *_other_models(board, needs))


def _lacks(placed: Sequence[Placed], role: str) -> bool:
    return any(item.missing_bytes and item.need.role == role for item in placed)


def _less_ram(board: Board, graph: Graph, model: Int8Model | None, needs: Sequence[Need]) -> list[Remedy]:
    memory, room = room_for(board, ARENA, needs)
    made = _made(graph, model, room)
    if made is None or made.program.patches is None:
        return []
    fitting = c99_needs(made.program, model, board.core.name)
    if any(item.missing_bytes for item in place(board, fitting)):
        return []
    arena, patches = made.program.plan.arena_bytes, made.program.patches
    text = (
        f"`--ram {room}`: the first {patches.steps} steps run in {patches.rows} x {patches.columns} patches, the arena "
        f"takes {arena:,} bytes of {memory.name}; {100 * patches.overhead:.1f} % more multiply-accumulates, same codes"
    )
    return [Remedy("ram", text, arena, _size(fitting, WEIGHTS))]


def _made(graph: Graph, model: Int8Model | None, ram_bytes: int | None) -> CProgram | None:
    try:
        return make_program(graph, model, ram_bytes)
    except EdgedetError:  # no plan in so few bytes
        return None


def _smaller_input(board: Board, model: Int8Model) -> list[Remedy]:
    """The largest smaller input that fits, sides in proportion."""
    spec = model.preprocess
    for side in range(spec.width - _STEP, _SMALLEST - 1, -_STEP):
        height = round(spec.height * side / spec.width / _STEP) * _STEP
        graph = resized(model, side, height) if height >= _SMALLEST else None
        if graph is None:
            return []
        smaller = int8_model(graph, Path(model.path), b"")
        made = _made(graph, smaller, None)
        if made is None:
            return []
        needs = c99_needs(made.program, smaller, board.core.name)
        if not any(item.missing_bytes for item in place(board, needs)):
            arena = _size(needs, ARENA)
            text = (
                f"the same network trained and quantized at {side}x{height} px: arena {arena:,} bytes, weights as now "
                "(small objects will be missed sooner)"
            )
            return [Remedy("input", text, arena, _size(needs, WEIGHTS))]
    return []


def _other_models(board: Board, needs: Sequence[Need]) -> list[Remedy]:
    """Shipped networks that fit, the most multiply-accumulates first; each at its largest input."""
    found: dict[str, Remedy] = {}
    for row in sorted(measured().models, key=lambda row: -row.macs):
        if row.name in found:
            continue
        sizes = {ARENA: row.arena_bytes, WEIGHTS: row.constant_bytes}
        asked = [replace(need, bytes=sizes.get(need.role, need.bytes)) for need in needs]
        if any(item.missing_bytes for item in place(board, asked)):
            continue
        text = (
            f"{row.name} at {row.width}x{row.width} px: arena {row.arena_bytes:,} bytes, weights "
            f"{row.constant_bytes:,}, {row.macs / 1e6:,.0f} M multiply-accumulates (3 classes)"
        )
        found[row.name] = Remedy("model", text, row.arena_bytes, row.constant_bytes)
    return list(found.values())[:_OTHER_MODELS]


def _size(needs: Sequence[Need], role: str) -> int:
    return next(need.bytes for need in needs if need.role == role)
