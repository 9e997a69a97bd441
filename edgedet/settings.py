"""Every key of a model file, which `--set` changes: meaning, unit and what the shipped models say.

The meanings are those of the docstrings in `edgedet.config`, so that there is one text for who reads the code, who
types `edgedet settings`, and who reads docs/settings.md.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args, get_type_hints

from edgedet.config import ModelFile, available_models, load_model_file
from edgedet.terminal import COLUMNS

_ENTRY = re.compile(r"(\w+): (.*) \[([^\[\]]+)\]$")
_TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    tuple[float, ...]: "list of numbers",
}
_INTRODUCTION = """\
# Settings: the keys of `--set`

Made by `edgedet settings --markdown` from edgedet/config.py and models/. Don't edit by hand.

`--set KEY=VALUE` of `edgedet train` and `edgedet models` changes a key of the model file; `edgedet settings MODEL` says
what one model says. The section may be left out where only one has the key: `--set lr=0.002`, `--set train.epochs=50`.
Values are written as in TOML, words without quotes: `--set activation=relu6`, `--set 'mean=[127.5]'`. From Python:
`edgedet.train(..., settings={"train.lr": 0.002})`. An unknown key or a value out of range is an error before anything
is loaded. For more than a few keys, copy the file from `models/` and give its path in place of the name.

Default: what most of the shipped models say, then those that say something else.
"""
_SECTIONS = {
    "model": "The network. A checkpoint keeps what it was trained with.",
    "preprocess": "From picture to input; it becomes part of the contract that goes to the chip.",
    "train": "`edgedet train`. Epochs, rate and averaging follow `--batch` unless given: [training.md](training.md).",
    "about": "For people.",
    "qat": "Fine-tuning by `edgedet quantize --recipe MODEL`; only `rtmdet_nano_relu_q` has this section.",
}


@dataclass(frozen=True)
class Setting:
    """One key of the model files."""

    section: str
    name: str
    kind: str  # type, in words
    meaning: str
    unit: str  # unit, range or choices
    values: tuple[tuple[str, str], ...]  # (model, value as TOML writes it); a model without the section is absent

    @property
    def key(self) -> str:
        """As `--set` takes it."""
        return f"{self.section}.{self.name}"

    def default(self) -> str:
        """The value of most models, then the others."""
        counts = Counter(value for _, value in self.values)
        usual = max(counts, key=lambda value: counts[value])  # the first of equals
        if counts[usual] == 1 < len(counts):
            return "each model's own"
        others: dict[str, list[str]] = {}
        for model, value in self.values:
            if value != usual:
                others.setdefault(value, []).append(model)
        return "; ".join([usual, *(f"{value} in {', '.join(names)}" for value, names in others.items())])

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        names = ("key", "kind", "meaning", "unit")
        return {**{name: getattr(self, name) for name in names}, "values": dict(self.values)}


def known_settings(models: Sequence[str] = ()) -> tuple[Setting, ...]:
    """All keys, in the order of the model files.

    Args:
        models: names of shipped models or paths of TOML files; empty: all that ship.
    Raises:
        ConfigError: no such model, or one that is wrong.
    """
    files = {name: load_model_file(name) for name in models or available_models()}
    found = []
    for section in fields(ModelFile):
        kind = next(cls for cls in (*get_args(_hint(section.name)), _hint(section.name)) if cls is not type(None))
        meanings = _meanings(kind)
        hints = get_type_hints(kind)
        for field in fields(kind):
            meaning, unit = meanings[field.name]
            tables = ((name, getattr(file, section.name)) for name, file in files.items())
            values = tuple((name, _as_toml(getattr(table, field.name))) for name, table in tables if table is not None)
            if values:
                kind_words = _TYPES[hints[field.name]]
                found.append(Setting(section.name, field.name, kind_words, meaning, unit, values))
    return tuple(found)


def settings_text(settings: Sequence[Setting]) -> str:
    """For a terminal: of one model its values, of several the default and the exceptions."""
    lines = []
    for setting in settings:
        lines.append(f"{setting.key} = {setting.default()}")
        lines += textwrap.wrap(
            f"{setting.meaning} [{setting.unit}]", COLUMNS, initial_indent="    ", subsequent_indent="    "
        )
    return "\n".join(lines) + "\n"


def settings_markdown() -> str:
    """docs/settings.md."""
    lines = [_INTRODUCTION]
    for section, text in _SECTIONS.items():
        lines += [f"## {section}\n", f"{text}\n", "| key | meaning | unit, range or choice | default |"]
        lines.append("| --- | --- | --- | --- |")
        for setting in known_settings():
            if setting.section == section:
                unit = setting.unit.replace(" | ", ", ")
                lines.append(f"| `{setting.name}` | {setting.meaning} | {unit} | {setting.default()} |")
        lines.append("")
    return "\n".join(lines)


def _hint(name: str) -> Any:
    return get_type_hints(ModelFile)[name]


def _meanings(cls: type) -> dict[str, tuple[str, str]]:
    """Field -> (meaning, unit), from the section `Attributes:` of the docstring."""
    text = inspect.getdoc(cls) or ""
    entries: list[str] = []
    for line in text.partition("Attributes:\n")[2].splitlines():
        if re.match(r"    \w", line):
            entries.append(line.strip())
        elif line.strip():
            entries[-1] += f" {line.strip()}"
    parsed = (_ENTRY.match(entry) for entry in entries)
    return {match[1]: (match[2].rstrip("."), match[3]) for match in parsed if match}


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f"{number:g}" for number in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
