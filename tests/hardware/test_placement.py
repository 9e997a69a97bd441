"""Placement, against sums by hand and against the slow way."""

from __future__ import annotations

from itertools import product

import numpy as np

from edgedet.hardware.board import Board, BoardFile, Core, Memory
from edgedet.hardware.placement import Need, place, room_for


def board(*memories: Memory) -> Board:
    return Board("b", BoardFile("B", "chip", Core("cortex-m4", "", 100.0), memories))


def memory(name: str, kind: str, size: int, *holds: str, external: bool = False, taken: int = 0) -> Memory:
    return Memory(name, kind, size, holds, "", external, taken, "something" if taken else "")


def needs(arena: int, weights: int, code: int, stack: int) -> tuple[Need, ...]:
    parts = zip(("arena", "weights", "code", "stack"), (arena, weights, code, stack), strict=True)
    return tuple(Need(role, size, "") for role, size in parts)


def test_place_one_flash_one_ram_counts_what_is_left() -> None:
    b = board(memory("flash", "flash", 1000, "code", "weights", taken=100), memory("ram", "ram", 500, "arena", "stack"))
    placed = place(b, needs(400, 700, 150, 60))
    assert [(item.memory.name, item.left_bytes) for item in placed] == [
        ("ram", 40), ("flash", 50), ("flash", 50), ("ram", 40),
    ]  # fmt: skip
    exact = place(b, needs(440, 750, 150, 60))
    assert [item.left_bytes for item in exact] == [0, 0, 0, 0]
    assert not any(item.missing_bytes for item in exact)
    over = place(b, needs(441, 750, 151, 60))
    assert [item.missing_bytes for item in over] == [1, 1, 1, 1]


def test_place_keeps_to_the_inside_while_it_fits() -> None:
    b = board(
        memory("sdram", "ram", 10_000, "arena", external=True),
        memory("sram", "ram", 500, "arena", "stack"),
        memory("flash", "flash", 1000, "code", "weights"),
    )
    assert place(b, needs(400, 1, 1, 1))[0].memory.name == "sram"
    assert place(b, needs(600, 1, 1, 1))[0].memory.name == "sdram"
    # The stack has no other place: together they are too much for the inside.
    assert place(b, needs(450, 1, 1, 100))[0].memory.name == "sdram"


def test_place_lacks_no_more_than_any_other_way() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        sizes = rng.integers(100, 1000, 4)
        b = board(
            memory("f", "flash", int(sizes[0]), "code", "weights"),
            memory("q", "flash", int(sizes[1]), "weights", external=True),
            memory("a", "ram", int(sizes[2]), "arena", "stack", "code"),
            memory("d", "ram", int(sizes[3]), "stack", "arena"),
        )
        asked = needs(*(int(size) for size in rng.integers(50, 900, 4)))
        least = min(_missing(b, asked, names) for names in product("ad", "fq", "fa", "ad"))
        assert sum({item.memory.name: item.missing_bytes for item in place(b, asked)}.values()) == least


def _missing(b: Board, asked: tuple[Need, ...], names: tuple[str, ...]) -> int:
    used = dict.fromkeys("fqad", 0)
    for need, name in zip(asked, names, strict=True):
        used[name] += need.bytes
    return sum(max(0, used[m.name] - m.bytes) for m in b.memories)


def test_room_for_is_what_the_others_leave() -> None:
    b = board(
        memory("flash", "flash", 1000, "code", "weights"),
        memory("sram", "ram", 500, "arena", "stack"),
        memory("tcm", "ram", 100, "stack", "arena"),
    )
    found, room = room_for(b, "arena", needs(9999, 10, 10, 60))
    assert (found.name, room) == ("sram", 500)  # the stack goes into the other one
    found, room = room_for(b, "arena", needs(9999, 10, 10, 160))
    assert (found.name, room) == ("sram", 340)
