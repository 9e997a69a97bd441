from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgedet.codegen.memory.offsets import ALIGNMENT, Lifetime, aligned, lower_bound, place


def overlaps(items: list[Lifetime], offsets: tuple[int, ...]) -> list[tuple[int, int]]:
    """Pairs that are alive at once and share a byte; the slow and obvious way."""
    found = []
    for i, j in itertools.combinations(range(len(items)), 2):
        steps = set(range(items[i].first, items[i].last + 1)) & set(range(items[j].first, items[j].last + 1))
        first = set(range(offsets[i], offsets[i] + items[i].size_bytes))
        if steps and first & set(range(offsets[j], offsets[j] + items[j].size_bytes)):
            found.append((i, j))
    return found


def random_items(seed: int, count: int) -> list[Lifetime]:
    rng = np.random.default_rng(seed)
    items = []
    for _ in range(count):
        first = int(rng.integers(0, 20))
        items.append(Lifetime(int(rng.integers(1, 400)), first, first + int(rng.geometric(0.4))))
    return items


@pytest.mark.parametrize("seed", range(8))
def test_place_random_lifetimes_share_no_byte_and_end_inside(seed: int) -> None:
    items = random_items(seed, 40)
    offsets, total = place(items)
    assert not overlaps(items, offsets)
    assert all(offset % ALIGNMENT == 0 for offset in offsets)
    assert total == max(offset + aligned(item.size_bytes) for offset, item in zip(offsets, items, strict=True))
    assert lower_bound(items)[0] <= total <= 1.12 * lower_bound(items)[0]


@pytest.mark.parametrize("seed", range(6))
def test_place_small_instances_reach_the_optimum(seed: int) -> None:
    items = random_items(100 + seed, 6)
    best = min(first_fit_total(items, order) for order in itertools.permutations(range(6)))
    assert place(items)[1] <= best


def first_fit_total(items: list[Lifetime], order: tuple[int, ...]) -> int:
    """First fit in one order, byte by byte in steps of the alignment. Some order gives the optimum."""
    offsets: dict[int, int] = {}
    for i in order:
        size, position = aligned(items[i].size_bytes), 0
        while any(
            items[j].first <= items[i].last
            and items[i].first <= items[j].last
            and position < offset + aligned(items[j].size_bytes)
            and offset < position + size
            for j, offset in offsets.items()
        ):
            position += ALIGNMENT
        offsets[i] = position
    return max(offset + aligned(items[i].size_bytes) for i, offset in offsets.items())


def test_place_same_input_gives_same_offsets() -> None:
    items = random_items(3, 60)
    assert place(items, seed=5) == place(items, seed=5)


def test_place_nothing_takes_nothing() -> None:
    assert place([]) == ((), 0)
    assert lower_bound([]) == (0, 0)


def test_lower_bound_names_the_first_step_of_the_peak() -> None:
    items = [Lifetime(16, 0, 2), Lifetime(32, 1, 1), Lifetime(16, 2, 3)]
    assert lower_bound(items) == (48, 1)
