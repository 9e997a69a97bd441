"""Where buffers with known lifetimes go in one arena: offline dynamic storage allocation, deterministic."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 16  # bytes; one MVE vector, and more than any C type of the kernels needs
_SEARCH_ROUNDS = 400  # placements tried when no plain order reaches the bound; a few seconds for 150 buffers at worst


@dataclass(frozen=True)
class Lifetime:
    """A buffer before it has a place."""

    size_bytes: int  # > 0
    first: int  # step that writes it first
    last: int  # step that reads it last, included


def aligned(size_bytes: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def lower_bound(lifetimes: Sequence[Lifetime]) -> tuple[int, int]:
    """Largest sum of buffers alive at once, sizes aligned: no arena can be smaller.

    Returns:
        (bytes, step where it is reached); (0, 0) without buffers.
    """
    steps = max((item.last for item in lifetimes), default=-1) + 1
    change = [0] * (steps + 1)
    for item in lifetimes:
        change[item.first] += aligned(item.size_bytes)
        change[item.last + 1] -= aligned(item.size_bytes)
    best, best_step, live = 0, 0, 0
    for step in range(steps):
        live += change[step]
        if live > best:
            best, best_step = live, step
    return best, best_step


def place(lifetimes: Sequence[Lifetime], seed: int = 0) -> tuple[tuple[int, ...], int]:
    """Give every buffer an offset so that no two that live at once overlap.

    First fit in several orders, then a local search that moves buffers at the top of the arena to the front of the
    order; it ends when the lower bound is reached.

    Args:
        lifetimes: of the buffers.
        seed: of the search; the same input and seed give the same offsets.
    Returns:
        (offsets in bytes, multiples of ALIGNMENT, one per buffer; size of the arena).
    """
    if not lifetimes:
        return (), 0
    bound, _ = lower_bound(lifetimes)
    neighbours = _neighbours(lifetimes)
    sizes = [aligned(item.size_bytes) for item in lifetimes]
    best: tuple[int, list[int], list[int]] | None = None
    for order in _orders(lifetimes):
        offsets, total = _first_fit(order, sizes, neighbours)
        if best is None or total < best[0]:
            best = (total, order, offsets)
        if total == bound:
            break
    assert best is not None
    rng = random.Random(seed)
    for _ in range(_SEARCH_ROUNDS):
        if best[0] == bound:
            break
        order = _moved(best, sizes, neighbours, rng)
        offsets, total = _first_fit(order, sizes, neighbours)
        if total <= best[0]:
            best = (total, order, offsets)
    return tuple(best[2]), best[0]


def _neighbours(lifetimes: Sequence[Lifetime]) -> list[list[int]]:
    """For every buffer, those that are alive at the same time as it."""
    return [
        [j for j, other in enumerate(lifetimes) if j != i and other.first <= item.last and item.first <= other.last]
        for i, item in enumerate(lifetimes)
    ]


def _orders(lifetimes: Sequence[Lifetime]) -> list[list[int]]:
    """Orders of placement that are good for different kinds of graphs."""
    _, peak = lower_bound(lifetimes)

    def orders_of(item: Lifetime) -> tuple[tuple[int, ...], ...]:
        size, span = item.size_bytes, item.last - item.first + 1
        return (
            (-size, item.first),
            (not item.first <= peak <= item.last, -size, item.first),
            (-span, -size, item.first),
            (-size * span, item.first),
            (item.first, -size),
            (-item.last, -size),
        )

    keys = [orders_of(item) for item in lifetimes]
    return [
        sorted(range(len(lifetimes)), key=lambda index, number=number: keys[index][number])  # type: ignore[misc]
        for number in range(len(keys[0]))
    ]


def _first_fit(
    order: Sequence[int], sizes: Sequence[int], neighbours: Sequence[Sequence[int]]
) -> tuple[list[int], int]:
    """Lowest free offset for each buffer in turn."""
    offsets = [-1] * len(sizes)
    total = 0
    for index in order:
        taken = sorted((offsets[j], offsets[j] + sizes[j]) for j in neighbours[index] if offsets[j] >= 0)
        position = 0
        for start, end in taken:
            if position + sizes[index] <= start:
                break
            position = max(position, end)
        offsets[index] = position
        total = max(total, position + sizes[index])
    return offsets, total


def _moved(
    best: tuple[int, list[int], list[int]],
    sizes: Sequence[int],
    neighbours: Sequence[Sequence[int]],
    rng: random.Random,
) -> list[int]:
    """The best order with a buffer at the top of the arena, or a neighbour of it, moved forward."""
    total, order, offsets = best
    top = [i for i in order if offsets[i] + sizes[i] == total]
    chosen = rng.choice(top)
    if rng.random() < 0.5 and neighbours[chosen]:
        chosen = rng.choice(neighbours[chosen])
    changed = [i for i in order if i != chosen]
    changed.insert(rng.randrange(len(changed) + 1), chosen)
    return changed
