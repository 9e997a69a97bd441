"""Image files whose name the annotations write in another way than the disk."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from edgedet.errors import DataError


class FileNames:
    r"""Files below a folder, found by the names that annotations give them.

    Exporters and archives change names: accents as one or two code points (NFC, NFD), bytes of latin-1 where a
    file system has UTF-8, %20 for a blank, \ for /. A file that has exactly the stated name wins; otherwise the only
    one that has the same name when such differences are taken away.

    Args:
        root: folder that the names start from.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[Path, dict[str, list[str]]] = {}  # folder -> plain name -> its names

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
        found = self._similar(self.root, plain_name(name).split("/"))
        if len(found) > 1:
            choices = " and ".join(sorted(ascii(str(path.relative_to(self.root))) for path in found))
            raise DataError(
                f"{where}: there is no file {name!a}, but {choices}, which differ from it only in how they are "
                "written; rename the one that is meant"
            )
        return (found[0], True) if found else (exact, False)

    def _similar(self, folder: Path, parts: list[str]) -> list[Path]:
        """Files below a folder with these plain names."""
        there = self._plain_names(folder)
        whole = [folder / name for name in there.get("/".join(parts), ())]
        if len(parts) == 1:
            return whole
        below = [path for name in there.get(parts[0], ()) for path in self._similar(folder / name, parts[1:])]
        return whole + below

    def _plain_names(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listed:
            names: dict[str, list[str]] = {}
            try:
                for name in os.listdir(folder):
                    names.setdefault(plain_name(name), []).append(name)
            except OSError:  # no folder, or none that may be read: nothing is found there
                names.clear()
            self._listed[folder] = names
        return self._listed[folder]


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
    like = difflib.get_close_matches(path.name, names, 1, 0.8)
    return f" (that folder has {like[0]!a})" if like else ""


def plain_name(name: str) -> str:
    """A name without differences of writing: NFC, / between folders, no %20, bytes that are not UTF-8 as latin-1."""
    name = unquote(name, errors="surrogateescape").replace("\\", "/")
    if any("\udc80" <= character <= "\udcff" for character in name):
        name = name.encode("utf-8", "surrogateescape").decode("latin-1") if _only_bytes(name) else name
    return unicodedata.normalize("NFC", name)


def _only_bytes(name: str) -> bool:
    """True when what is not ASCII are bytes that no UTF-8 text holds: the whole name is then in latin-1."""
    return all(character < "\x80" or "\udc80" <= character <= "\udcff" for character in name)
