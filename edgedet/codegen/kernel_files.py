"""Which of the files in kernels/ a generated module needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from edgedet.errors import ToolchainError

_INCLUDE = re.compile(r'#\s*include\s*"([^"]+)"')
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_NAME = re.compile(r"\bedk_\w+")


def kernel_files(root: Path, functions: Iterable[str], headers: Iterable[str] = ()) -> dict[str, str]:
    """Sources and headers that define some functions and everything they use.

    One public function stands in one file of its name in src/, so that a name that has a file there needs it.

    Args:
        root: folder with include/ and src/.
        functions: names, for example edk_conv_s8.
        headers: further headers of include/.
    Returns:
        Path relative to `root` -> text, sorted.
    Raises:
        ToolchainError: a function has no source, or an included header is missing.
    """
    found: dict[str, str] = {}
    waiting = [f"src/{name}.c" for name in functions] + [f"include/{name}" for name in headers]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = (root / name).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ToolchainError(
                f"{root / name} is missing: this installation is incomplete; reinstall edgedet"
            ) from error
        waiting += _needed_by(root, name, found[name])
    return dict(sorted(found.items()))


def _needed_by(root: Path, name: str, text: str) -> list[str]:
    needed = []
    for header in _INCLUDE.findall(text):
        places = [place for place in (f"src/{header}", f"include/{header}") if (root / place).is_file()]
        if not places:
            raise ToolchainError(f"{root / name} includes {header!r}, which is in neither src/ nor include/")
        needed.append(places[0])
    if name.startswith("src/"):  # public headers only declare
        words = set(_NAME.findall(_INCLUDE.sub(" ", _COMMENT.sub(" ", text))))  # a header's name calls nothing
        needed += [f"src/{word}.c" for word in sorted(words) if (root / "src" / f"{word}.c").is_file()]
    return needed
