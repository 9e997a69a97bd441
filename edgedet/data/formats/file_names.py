"""Image files whose name the annotations write in another way than the disk."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

from edgedet.errors import DataError

_Rule: TypeAlias = Callable[[str], str]


class FileNames:
    r"""Files below a folder, found by the names that annotations give them.

    Exporters and archives change names: accents as one or two code points (NFC, NFD), bytes of latin-1 where a
    file system has UTF-8, %20 for a blank, \ for /. A file that has exactly the stated name wins; otherwise the only
    one that has the same name when such differences are taken away; otherwise the only one that Windows and macOS would
    open by it: upper and lower case and blanks at the ends left out.

    Args:
        root: folder that the names start from.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[tuple[Path, _Rule], dict[str, list[str]]] = {}  # folder, rule -> plain name -> its names

    def find(self, name: str, where: str) -> tuple[Path, bool]:
        """The file of a name.

        Args:
            name: as stated, relative to the root.
            where: file and entry, for errors.
        Returns:
            (path, whether it is written in another way); root / name when there is no such file.
        Raises:
            DataError: several files could be meant, or a name that no file system takes.
        """
        exact = self.root / name
        try:
            os.fsencode(name)
            if exact.exists():
                return exact, False
        except ValueError as error:
            raise DataError(
                f"{where}: file_name {name!a} holds half a character, expected text; fix the annotation file"
            ) from error
        except OSError:  # a name that is too long, for example
            return exact, False
        found = next(filter(None, (self._similar(self.root, plain(name).split("/"), plain) for plain in _RULES)), [])
        if len(found) > 1:
            choices = " and ".join(sorted(ascii(str(path.relative_to(self.root))) for path in found))
            raise DataError(
                f"{where}: there is no file {name!a}, but {choices}, which differ from it only in how they are "
                "written; rename the one that is meant"
            )
        return (found[0], True) if found else (exact, False)

    def _similar(self, folder: Path, parts: list[str], plain: _Rule) -> list[Path]:
        """Files below a folder with these plain names."""
        there = self._plain_names(folder, plain)
        whole = [folder / name for name in there.get("/".join(parts), ())]
        if len(parts) == 1:
            return whole
        below = [path for name in there.get(parts[0], ()) for path in self._similar(folder / name, parts[1:], plain)]
        return whole + below

    def _plain_names(self, folder: Path, plain: _Rule) -> dict[str, list[str]]:
        if (folder, plain) not in self._listed:
            names: dict[str, list[str]] = {}
            try:
                for name in os.listdir(folder):
                    names.setdefault(plain(name), []).append(name)
            except OSError:  # no folder, or none that may be read: nothing is found there
                names.clear()
            self._listed[folder, plain] = names
        return self._listed[folder, plain]


def find_in(folders: Sequence[FileNames], name: str, where: str) -> tuple[Path, bool] | None:
    """The file of a name in the first folder that has it, exactly if any has.

    Args:
        folders: in the order in which they are looked at.
        name: as stated, relative to them.
        where: file and entry, for errors.
    Returns:
        As `FileNames.find`; None when no folder has it.
    Raises:
        DataError: as of `FileNames.find`.
    """
    found = [folder.find(name, where) for folder in folders]
    there = [(path, differs) for path, differs in found if path.is_file()]
    return min(there, key=lambda entry: entry[1], default=None)


def nearest_name(path: Path) -> str:
    """What a message about a file that is not there adds: the name in its folder that is most like it; else nothing."""
    try:
        names = os.listdir(path.parent)
    except OSError:
        return ""
    like = difflib.get_close_matches(path.name, names, 1, 0.7)
    return f" (that folder has {like[0]!a})" if like else ""


def plain_name(name: str) -> str:
    """A name without differences of writing: NFC, / between folders, no %20, bytes that are not UTF-8 as latin-1."""
    name = unquote(name, errors="surrogateescape").replace("\\", "/")
    if any("\udc80" <= character <= "\udcff" for character in name):
        name = name.encode("utf-8", "surrogateescape").decode("latin-1") if _only_bytes(name) else name
    return unicodedata.normalize("NFC", name)


def loose_name(name: str) -> str:
    """A plain name without upper case, and without blanks at the ends of its parts."""
    return "/".join(part.strip() for part in plain_name(name).casefold().split("/"))


def _only_bytes(name: str) -> bool:
    """True when what is not ASCII are bytes that no UTF-8 text holds: the whole name is then in latin-1."""
    return all(character < "\x80" or "\udc80" <= character <= "\udcff" for character in name)


_RULES: tuple[_Rule, ...] = (plain_name, loose_name)  # the first by which a file is found counts
