"""What names the classes and images of a YOLO data set: Ultralytics' YAML file, or Darknet's `obj.data`.

The YAML file comes from strangers: every scalar is read as text (so that a class `no` stays "no"), tags mean nothing,
and aliases, which can name a value a billion times, are refused. Its key `download`, which Ultralytics runs as code, is
ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from edgedet.errors import DataError
from edgedet.texts import read_text

YAML_SUFFIXES = (".yaml", ".yml")
_KEYS = {"train": ("train",), "valid": ("val", "valid"), "test": ("test",)}
_MAX_BYTES = 1 << 20  # a list of class names; larger files are something else


@dataclass(frozen=True)
class YoloSet:
    """What a YOLO data set says about itself."""

    path: Path  # the file
    names: tuple[str, ...]  # by class index
    splits: dict[str, tuple[str, ...]]  # split -> folders or list files, as written
    root: str = ""  # what relative paths start from; relative to the file's folder
    keypoint_values: int = 0  # numbers behind the box of every object, in pose data sets


def read_yaml(path: Path) -> YoloSet | None:
    """Read Ultralytics' data set file.

    Args:
        path: the YAML file.
    Returns:
        Its content; None for a YAML file that describes no data set (it has no `names`, or no split).
    Raises:
        DataError: not YAML, or a key of a data set is wrong.
    """
    content = _load(path)
    if not isinstance(content, dict) or "names" not in content:
        return None
    splits = {split: _paths(path, content, keys) for split, keys in _KEYS.items()}
    splits = {split: paths for split, paths in splits.items() if paths}
    if not splits:
        return None
    names = _names(path, content["names"])
    if "nc" in content and content["nc"] != str(len(names)):
        raise DataError(
            f"{path}: 'nc' is {str(content['nc'])[:40]}, but 'names' lists {len(names)}; correct one of them"
        )
    root = content.get("path", "")
    if not isinstance(root, str):
        raise DataError(f"{path}: 'path' must be the name of a folder, found {type(root).__name__}")
    return YoloSet(path, names, splits, root, _keypoint_values(path, content.get("kpt_shape")))


def _load(path: Path) -> Any:
    """Lists, mappings and texts of a YAML file."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path}: has more than {_MAX_BYTES:,} bytes; expected the YAML file of a data set")
        text = read_text(path)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    try:
        for event in yaml.parse(text, yaml.BaseLoader):
            if isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line + 1 if event.start_mark else "?"
                raise DataError(f"{path}:{line}: uses an alias (*{event.anchor}); write the value out")
        return yaml.load(text, yaml.BaseLoader)  # makes lists, mappings and texts only
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise DataError(f"{path}{at}: can't be read as YAML: {problem}; correct the file") from error


def _names(path: Path, value: Any) -> tuple[str, ...]:
    """Class names by index, from a list or from index: name."""
    if isinstance(value, dict):
        expected = [str(index) for index in range(len(value))]
        if sorted(value, key=str) != sorted(expected):
            raise DataError(f"{path}: 'names' must number its classes from 0 on, found {sorted(value, key=str)[:8]}")
        value = [value[index] for index in expected]
    if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
        raise DataError(f"{path}: 'names' must be a list of class names, or a mapping from 0, 1, ... to names")
    return unique_names(value, path)


def unique_names(names: list[str], path: Path) -> tuple[str, ...]:
    """Class names as a tuple; DataError when one appears twice."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{path}: the class name {repeated[0]!r} appears twice; rename one of them")
    return tuple(names)


def _paths(path: Path, content: dict[Any, Any], keys: tuple[str, ...]) -> tuple[str, ...]:
    """The value of the first key that is there: a path, or a list of them."""
    value: Any = next((content[key] for key in keys if content.get(key)), [])
    paths = [value] if isinstance(value, str) else value
    if not isinstance(paths, list) or not all(isinstance(entry, str) for entry in paths):
        raise DataError(f"{path}: '{keys[0]}' must be a folder of images, a .txt list of images, or a list of these")
    return tuple(entry for entry in paths if entry.strip())


def _keypoint_values(path: Path, shape: Any) -> int:
    """Numbers of all keypoints of an object; 0 where the data set has none."""
    if shape is None:
        return 0
    fits = isinstance(shape, list) and len(shape) == 2 and all(str(number).isdecimal() for number in shape)
    if not fits or shape[1] not in ("2", "3"):
        raise DataError(f"{path}: 'kpt_shape' must be [number of keypoints, 2 or 3], found {str(shape)[:40]}")
    return int(shape[0]) * int(shape[1])


def read_darknet(path: Path) -> YoloSet:
    """Read Darknet's `obj.data`, which CVAT writes for "YOLO 1.1": lines of key = value.

    Args:
        path: the file.
    Returns:
        Its content.
    Raises:
        DataError: no `names`, or the file that it names is missing.
    """
    pairs = [line.partition("=") for line in read_lines(path)]
    values = {key.strip(): value.strip() for key, separator, value in pairs if separator}
    if "names" not in values:
        raise DataError(f"{path}: no line 'names = FILE'; expected Darknet's description of a data set")
    candidates = candidates_of(values["names"], path.parent, path.parent)
    names = next((candidate for candidate in candidates if candidate.is_file()), None)
    if names is None:
        raise DataError(f"{path}: names = {values['names']}: there is no such file; put it back")
    splits: dict[str, tuple[str, ...]] = {
        split: (values[key],) for split, keys in _KEYS.items() for key in keys if values.get(key)
    }
    return YoloSet(path, read_names(names), splits)


def read_names(path: Path) -> tuple[str, ...]:
    """Class names of `classes.txt` or `obj.names`: one a line; empty lines at the end don't count."""
    lines = [line.strip() for line in read_lines(path)]
    while lines and not lines[-1]:
        lines.pop()
    if not lines or not all(lines):
        raise DataError(f"{path}: expected one class name a line, found {'an empty line' if lines else 'no line'}")
    return unique_names(lines, path)


def read_lines(path: Path) -> list[str]:
    """Lines of a text file; DataError when it can't be read or is no UTF-8."""
    try:
        return read_text(path).splitlines()
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); check the file") from error


def candidates_of(text: str, *folders: Path) -> list[Path]:
    """Where a path that was written on another computer may lie here, the likeliest first.

    Args:
        text: as written; a backslash separates folders, too.
        folders: that relative paths may start from.
    Returns:
        The path itself from each folder; then without leading `../`, as Roboflow's `../train/images` lies beside its
        file; then without its first folder, as CVAT's lists begin with `data/`.
    """
    path = Path(text.strip().replace("\\", "/"))
    if path.is_absolute():
        return [path]
    found = [folder / path for folder in folders]
    parts = list(path.parts)
    while parts and parts[0] == "..":
        parts.pop(0)
    if len(parts) < len(path.parts):
        found += [folder.joinpath(*parts) for folder in folders]
    elif len(parts) > 1:
        found += [folder.joinpath(*parts[1:]) for folder in folders]
    return found
