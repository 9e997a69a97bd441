"""The configuration text inside a checkpoint, read as values; nothing of it is run.

MMEngine stores its whole configuration as Python source (`meta.cfg`): assignments of literals and `dict(...)`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from edgedet.exchange.checkpoints.pickle_reader import Foreign

_MAX_TEXT = 2**22  # bytes; ten times the longest seen
_MAX_VALUES = 100_000  # of a configuration; the published ones have about 1,000
_UNKNOWN = "<not a literal>"


@dataclass(frozen=True, eq=False)
class TrainingConfig:
    """What a checkpoint says about the network and its data; empty where it says nothing."""

    values: dict[str, Any]  # top-level names of the configuration text
    class_names: tuple[str, ...]

    def get(self, path: str, default: Any = None) -> Any:
        """Value under keys joined by dots, such as `model.backbone.act_cfg.type`; `default` when there is none."""
        value: Any = self.values
        for key in path.split("."):
            if not isinstance(value, dict) or key not in value:
                return default
            value = value[key]
        return value

    @property
    def has_model(self) -> bool:
        """True when the network is described."""
        return isinstance(self.get("model.backbone"), dict)


def read_config(root: Any) -> TrainingConfig:
    """Configuration and class names of a checkpoint.

    Args:
        root: content of the file, as `open_torch_file` gives it.
    """
    meta = plain(root.get("meta")) if isinstance(root, dict) else None
    meta = meta if isinstance(meta, dict) else {}
    text = meta.get("cfg", meta.get("config"))
    values = parse_config(text) if isinstance(text, str) else text
    values = values if isinstance(values, dict) and _is_small(values) else {}
    config = TrainingConfig(values, ())
    places = (
        meta.get("dataset_meta"),
        meta,
        *(config.get(f"{loader}.dataset.metainfo") for loader in ("train_dataloader", "val_dataloader")),
        config.get("metainfo"),
    )
    for place in places:
        for key in ("classes", "CLASSES"):
            names = plain(place).get(key) if isinstance(plain(place), dict) else None
            names = (names,) if isinstance(names, str) else names
            if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
                return TrainingConfig(values, tuple(names))
    return config


def _is_small(value: Any) -> bool:
    """False for values of a pickle that share their parts so often that they have no end as text."""
    left, open_values = _MAX_VALUES, [value]
    while open_values and left > 0:
        item = open_values.pop()
        left -= 1
        open_values += item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ()
    return not open_values


def plain(value: Any) -> Any:
    """A Foreign that is a kind of dict or list as such, and everything inside it; other values as they are."""
    seen: dict[int, Any] = {}
    return _plain(value, seen, 0)


def _plain(value: Any, seen: dict[int, Any], depth: int) -> Any:
    if depth > 64:  # deeper than any configuration
        return _UNKNOWN
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, Foreign) and value.items:
        value_items: Any = value.items
    elif isinstance(value, Foreign):
        return value.elements or value
    else:
        value_items = value
    if not isinstance(value_items, dict):
        return value
    made: dict[Any, Any] = {}
    seen[id(value)] = made
    for key, item in value_items.items():
        made[key] = _plain(item, seen, depth + 1)
    return made


def parse_config(text: str) -> dict[str, Any]:
    """Top-level assignments of a configuration text.

    Args:
        text: Python source.
    Returns:
        Names and values; what is no literal is left out, or a placeholder inside a list or dict. Empty when the text is
        no Python.
    """
    if len(text) > _MAX_TEXT:
        return {}
    try:
        tree = ast.parse(text)
        return {
            target.id: _value(statement.value)
            for statement in tree.body
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a text that no parser takes is no configuration
        return {}


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value):
            return value
        case ast.List(elements) | ast.Tuple(elements):
            return [_value(element) for element in elements]
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as number)):
            return -number
        case ast.Dict(keys, values):
            return {
                _value(key): _value(v) for key, v in zip(keys, values, strict=True) if isinstance(key, ast.Constant)
            }
        case ast.Call(ast.Name("dict"), [], keywords):
            return {keyword.arg: _value(keyword.value) for keyword in keywords if keyword.arg is not None}
    return _UNKNOWN
