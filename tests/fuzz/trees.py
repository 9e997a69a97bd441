"""Damage to values of JSON, TOML and pickles: what is meant as one kind becomes another; not a test itself."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

TEXTS = (
    "",
    "x",
    "a\x00b",
    "\x1b[31m\x07\x7f",
    '"\\*/??/',
    "100\nint evil(void) { return 1; }",
    "\ud800",
    "é\u2028\U0001f600",
    "../../etc/passwd",
    "y" * 20_000,
)
NUMBERS = (
    0,
    -1,
    1,
    2,
    3,
    255,
    256,
    4096,
    2**31 - 1,
    2**31,
    2**63 - 1,
    2**63,
    2**64,
    10**18,
    -(10**30),
    10**400,
    1.5,
    -0.0,
    1e-300,
    1e300,
    float("nan"),
    float("inf"),
    -float("inf"),
)


def odd_value(rng: np.random.Generator) -> Any:
    """A value that is seldom meant."""
    match int(rng.integers(8)):
        case 0:
            return bool(rng.integers(2))
        case 1:
            return None
        case 2 | 3:
            return NUMBERS[int(rng.integers(len(NUMBERS)))]
        case 4:
            return TEXTS[int(rng.integers(len(TEXTS)))]
        case 5:
            return [odd_value(rng) for _ in range(int(rng.integers(4)))]
        case 6:
            return {TEXTS[int(rng.integers(5))]: odd_value(rng) for _ in range(int(rng.integers(3)))}
        case _:
            value: Any = 1
            for _ in range(int(rng.choice([3, 70, 300]))):
                value = [value] if rng.random() < 0.7 else {"a": value}
            return value


def places(tree: Any) -> list[tuple[Any, Any]]:
    """(dict or list, key or index) of every value inside a tree."""
    found: list[tuple[Any, Any]] = []
    open_trees, seen = [tree], set()  # parts may be shared, so often that to visit them each time has no end
    while open_trees:
        part = open_trees.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
        for key in keys:
            found.append((part, key))
            open_trees.append(part[key])
    return found


def _copied(value: Any) -> Any:
    """A copy, or the value itself where it holds what can't be copied: a nested tensor."""
    try:
        return copy.deepcopy(value)
    except NotImplementedError:
        return value


def damage_tree(rng: np.random.Generator, tree: Any, odd: Any = odd_value) -> Any:
    """A copy with one to three values changed, moved, repeated or taken out.

    Args:
        rng: decides what.
        tree: dicts and lists of anything.
        odd: makes a value from a generator.
    """
    tree = copy.deepcopy(tree)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        found = places(tree)
        if not found:
            break
        part, key = found[int(rng.integers(len(found)))]
        match int(rng.integers(8)):
            case 0:
                del part[key]
            case 1:
                other, other_key = found[int(rng.integers(len(found)))]
                part[key] = _copied(other[other_key])
            case 2 if isinstance(part, dict):
                part[TEXTS[int(rng.integers(len(TEXTS)))]] = part.pop(key)
            case 2 | 3 if isinstance(part, list):
                part.insert(key, _copied(part[key]))
            case 4:
                part[key] = [part[key]]
            case 5 if isinstance(part[key], int | float) and not isinstance(part[key], bool):
                part[key] = part[key] + type(part[key])(rng.choice([-1, 1]))
            case _:
                part[key] = odd(rng)
    return tree


def damage_bytes(rng: np.random.Generator, data: bytes, front: int | None = None) -> bytes:
    """A copy with one to a few bytes changed, lost, repeated or cut off.

    Args:
        rng: decides what.
        data: not empty.
        front: bytes that most changes happen in; None: all.
    """
    changed = bytearray(data)
    for _ in range(int(rng.choice([1, 1, 2, 4, 16]))):
        if not changed:
            break
        most = len(changed) if front is None or rng.random() < 0.2 else min(front, len(changed))
        at = int(rng.integers(most))
        match int(rng.integers(6)):
            case 0:
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                changed[at] = int(rng.integers(256))
            case 2:
                changed[at : at + 4] = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])).to_bytes(4, "little")
            case 3:
                changed[at : at + 4] = int(rng.choice([0, 1, 30_000, 2**31 - 1, 2**32 - 1])).to_bytes(4, "big")
            case 4:
                del changed[at : at + int(rng.integers(1, 16))]
            case _:
                changed[at:at] = changed[at : at + int(rng.integers(1, 16))]
    return bytes(changed[: int(rng.integers(len(changed) + 1))] if rng.random() < 0.05 else changed)
