"""Typed, bounded fields of frozen dataclasses: the one reader of TOML, of metadata and of checkpoints.

What a file or a caller says reaches the rest of the program only through here: a field has its type (true is no
number), numbers are finite, texts can be written as UTF-8, and everything has a largest size. Ranges of single fields
stand in the `__post_init__` of their dataclass, which calls `check_fields` first, so that options and `replace` pass
the same checks.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Collection
from numbers import Integral
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from edgedet.errors import ConfigError, meant

T = TypeVar("T")
MAX_WHOLE = 2**64  # exclusive, of either sign: ids of data sets may use all 64 bits
MAX_CHARACTERS = 10_000  # of one text
MAX_ITEMS = 4_000_000  # of one list: anchors of a million boxes
_MAX_PLAIN = 500_000  # values that JSON can hold; the history of a thousand epochs has some ten thousand
_MAX_DEPTH = 64  # of lists and dicts inside each other
_SHOWN_CHARACTERS = 60


def build(cls: type[T], table: Any, where: str) -> T:
    """Build a (nested) frozen dataclass from a dict, rejecting unknown keys, missing keys and wrong types.

    Args:
        cls: the dataclass.
        table: what TOML, JSON or a checkpoint gave.
        where: file and key path for messages.
    Returns:
        An instance of `cls`.
    Raises:
        ConfigError: what does not fit, with the key.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table, got {shown(table)}")
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    names = [f.name for f in fields]
    needed = {f.name for f in fields if f.default is dataclasses.MISSING}
    present = {key for key in table if isinstance(key, str)}
    strangers = [
        key if isinstance(key, str) and key.isidentifier() else shown(key) for key in table if key not in names
    ]
    for problem, keys in (("unknown", sorted(strangers)), ("missing", sorted(needed - present))):
        if keys:
            near = meant(keys[0], names) if problem == "unknown" else ""
            more = f" and {len(keys) - 8} more" if len(keys) > 8 else ""
            raise ConfigError(
                f"{where}: {problem} keys {', '.join(keys[:8])}{more}{near}; expected {', '.join(sorted(names))}"
            )
    hints = get_type_hints(cls)
    values = {name: _coerce(hints[name], table[name], f"{where}: {name}") for name in names if name in table}
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def check_fields(instance: object) -> None:
    """Check the types of all fields of a dataclass; for its `__post_init__`.

    Raises:
        ConfigError: a field has another type, is not finite, too long, or no text that UTF-8 can write.
    """
    hints = get_type_hints(type(instance))
    for field in dataclasses.fields(instance):  # type: ignore[arg-type]
        _coerce(hints[field.name], getattr(instance, field.name), field.name)


def require_whole(least: int = 0, **values: object) -> None:
    """Raises ConfigError when an argument that is not None is no whole number, or below `least`; names are the keys."""
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or value < least):
            raise ConfigError(f"`{name}` {shown(value)}: expected a whole number, at least {least}")


def require_threshold(**values: Any) -> None:
    """Raises ConfigError when an argument that is not None is no number with 0 <= t < 1; names are the keys."""
    for name, value in values.items():
        if value is not None and not (is_number(value) and 0 <= value < 1):
            raise ConfigError(f"`{name}` {shown(value)}: expected a number with 0 <= t < 1")


def require_given(**values: object) -> None:
    """Raises ConfigError when an argument that has no meaning as None is None; names are the keys."""
    for name, value in values.items():
        if value is None:
            raise ConfigError(f"`{name}` None: expected a value; leave `{name}` out for the usual one")


def require_one(name: str, value: object, allowed: Collection[str]) -> None:
    """Raises ConfigError, with the choices, when an argument is none of them; `name` is that of the argument."""
    if isinstance(value, str) and value in allowed:
        return
    near = meant(value, allowed) if isinstance(value, str) else ""
    raise ConfigError(f"`{name}` {shown(value)}: expected one of {', '.join(allowed)}{near}")


def require_text(**values: object) -> None:
    """Raises ConfigError when an argument that is not None is no string; names are the keys."""
    for name, value in values.items():
        if value is not None and not isinstance(value, str):
            raise ConfigError(f"`{name}` {shown(value)}: expected a string")


def require_truth(**values: object) -> None:
    """Raises ConfigError when an argument is neither True nor False; names are the keys."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ConfigError(f"`{name}` {shown(value)}: expected True or False")


def require_numbers(**values: object) -> None:
    """Raises ConfigError when an argument that is not None is no finite number; names are the keys."""
    for name, value in values.items():
        if value is not None and not is_number(value):
            raise ConfigError(f"`{name}` {shown(value)}: expected a number")


def within(name: str, value: float, low: float, high: float) -> None:
    """Raises ConfigError when a number lies outside of low..high; also when it is none at all."""
    if not low <= value <= high:
        raise ConfigError(f"{name} must be in {low:g}..{high:g}, got {shown(value)}")


def shown(value: Any) -> str:
    """A value as a message shows it: short, in one line, whatever it is; tensors and other objects by their type."""
    if isinstance(value, bool | float | types.NoneType):
        return repr(value)
    if isinstance(value, int):
        # Python refuses to print numbers of more than some thousand digits.
        return repr(value) if value.bit_length() <= 128 else f"a whole number of {value.bit_length()} bits"
    if isinstance(value, str | bytes):
        text = repr(value[:_SHOWN_CHARACTERS])
        return text if len(value) <= _SHOWN_CHARACTERS else f"{text}... ({len(value)} long)"
    if isinstance(value, list | tuple) and len(value) <= 8 and not any(isinstance(v, list | tuple) for v in value):
        return f"[{', '.join(map(shown, value))}]"
    size = f" of {len(value)}" if isinstance(value, list | tuple | dict) else ""
    return f"a {type(value).__name__}{size}"


def is_number(value: Any) -> bool:
    """True for a finite number of at most 64 bits; true and false are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -MAX_WHOLE < value < MAX_WHOLE if isinstance(value, int) else math.isfinite(value)


def is_text(value: Any) -> bool:
    """True for a str of bounded length that UTF-8 can write: no half of a surrogate pair."""
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def require_plain(value: Any, where: str) -> None:
    """Make sure that a value is what JSON can hold, and not much of it.

    A pickle can share parts, so that a small file becomes without end when it is written or compared: parts count each
    time that they are met.

    Args:
        value: any.
        where: file and key, for the message.
    Raises:
        ConfigError: it holds anything but dicts with keys of text, lists, tuples, text, finite numbers, truth values
            and None; or too much, or too deep.
    """
    left, open_values = _MAX_PLAIN, [(value, 0)]
    while open_values:
        item, depth = open_values.pop()
        left -= 1
        if left < len(open_values) or depth > _MAX_DEPTH:
            raise ConfigError(f"{where}: holds too much: more than {_MAX_PLAIN} values, or deeper than {_MAX_DEPTH}")
        if isinstance(item, dict):
            open_values += [(part, depth + 1) for pair in item.items() for part in pair]
            sound = all(isinstance(key, str) for key in item)
        elif isinstance(item, list | tuple):
            open_values += [(part, depth + 1) for part in item]
            sound = True
        else:
            sound = (
                item is None
                or isinstance(item, bool)
                or (isinstance(item, int) and item.bit_length() <= 64)
                or (isinstance(item, float) and math.isfinite(item))
                or is_text(item)
            )
        if not sound:
            raise ConfigError(f"{where}: expected text, finite numbers, lists and dicts of text, found {shown(item)}")


def _coerce(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`; whole numbers become floats where floats are meant, lists become tuples."""
    if get_origin(kind) is types.UnionType:  # X | None; TOML has no None
        if value is None:
            return None
        kind = next(k for k in get_args(kind) if k is not types.NoneType)
    if dataclasses.is_dataclass(kind):
        return value if isinstance(value, kind) else build(kind, value, where)  # type: ignore[arg-type]
    if get_origin(kind) is tuple:
        return _coerce_items(kind, value, where)
    if kind is float:
        return _coerce_float(value, where)
    if kind is str and isinstance(value, str) and not is_text(value):
        raise ConfigError(
            f"{where}: expected at most {MAX_CHARACTERS} characters that UTF-8 can write, got {shown(value)}"
        )
    if kind is int and isinstance(value, int) and not -MAX_WHOLE < value < MAX_WHOLE:
        raise ConfigError(f"{where}: expected a whole number of at most 64 bits, got {shown(value)}")
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f"{where}: expected {kind.__name__}, got {shown(value)}")
    return value


def _coerce_float(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{where}: expected float, got {shown(value)}")
    if not is_number(value):
        raise ConfigError(f"{where}: expected a finite number, got {shown(value)}")
    return float(value)


def _coerce_items(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, got {shown(value)}")
    kinds = [k for k in get_args(kind) if not isinstance(k, types.EllipsisType)]
    if len(kinds) != len(get_args(kind)):  # any number of one kind
        if len(value) > MAX_ITEMS:
            raise ConfigError(f"{where}: expected at most {MAX_ITEMS} values, got {len(value)}")
        kinds *= len(value)
    if len(value) != len(kinds):
        raise ConfigError(f"{where}: expected {len(kinds)} values, got {shown(value)}")
    return tuple(_coerce(k, v, where) for k, v in zip(kinds, value, strict=True))
