"""Annotation files that several splits share are parsed once, for as long as a caller says."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

Read = TypeVar("Read")

# What was read inside the block; None: outside of one, where every call reads anew.
_MEMORY: ContextVar[dict[Hashable, Any] | None] = ContextVar("memory", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """Inside the block `once` gives what it read before; blocks inside it share that.

    Meant for the loading of several splits: what was read is held until the end of the outermost block.
    """
    if _MEMORY.get() is not None:
        yield
        return
    token = _MEMORY.set({})
    try:
        yield
    finally:
        _MEMORY.reset(token)


def once(key: Hashable, read: Callable[[], Read]) -> Read:
    """What `read` gives, or gave for the same key.

    Args:
        key: names what is read: a word for the reader, and a path.
        read: its result must not be changed by who gets it.
    """
    memory = _MEMORY.get()
    if memory is None:
        return read()
    if key not in memory:
        memory[key] = read()
    found: Read = memory[key]
    return found
