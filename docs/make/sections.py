"""Docstrings of this package have no blank lines between their sections; the reader of Google's style wants them."""

from __future__ import annotations

import re
from typing import Any

import griffe

_SECTION = re.compile(r"\n(?=(?:Args|Returns|Raises|Yields|Attributes):\n)")
_SOURCE = re.compile(r"\n(?=Source: )")


class BlankLines(griffe.Extension):
    """Puts a blank line in front of each section, before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Of every module, class, function and attribute."""
        if obj.docstring is not None:
            text = _SECTION.sub("\n\n", f"\n{obj.docstring.value}").removeprefix("\n")
            obj.docstring.value = _SOURCE.sub("\n\n", text)
