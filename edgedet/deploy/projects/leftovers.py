"""What lies in a project besides what `deploy` wrote: made by its builder, the user's settings, or a stranger."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from edgedet.outputs.names import is_hidden_part

SDKCONFIG, SDKCONFIG_DEFAULTS = "sdkconfig", "sdkconfig.defaults"
# Made again by the next build, so it goes with the deployment: of make, CMake, west, idf.py, pio, arduino-cli.
_MADE_AGAIN = (
    "build/*",
    ".pio/build/*",
    "examples/Detect/build/*",
    "twister-out*/*",
    "sdkconfig.old",
    "compile_commands.json",
)
_BUILD_FOLDER = re.compile(r"build[-_.][^/]+")  # another one of CMake, recognized by its cache
# The user's, or pinned and fetched for him: it stays. So do names that begin with a dot (version control, editors).
_STAYS = {
    "esp-idf": ("sdkconfig", "sdkconfig.*", "dependencies.lock", "dependencies.lock.*", "managed_components/*"),
    "platformio": ("include/*", "test/*", "lib/README", "boards/*"),  # `pio project init` makes them
    "zephyr": ("boards/*", "socs/*", "app.overlay"),
}
_OPTION = re.compile(r"(?:# )?CONFIG_(\w+)(?:=| is not set)")
_UNTOUCHED = "# default:"  # of esp-idf-kconfig from version 3 on: the next line is no choice of the user
_FLASH_SIZE = "ESPTOOLPY_FLASHSIZE"  # a choice of several options, and a text that follows from it


@dataclass(frozen=True)
class Leftovers:
    """Files of a folder that are not in its manifest."""

    staying: tuple[str, ...]  # carried over into the next deployment
    strangers: tuple[str, ...]  # nobody knows whose


def leftovers(out: Path, written: frozenset[str], kind: str | None) -> Leftovers:
    """Sort what lies in a deployment and was not written by it.

    Args:
        out: the folder.
        written: files of its manifest, with slashes.
        kind: of its project; None: the module alone.
    Returns:
        What stays and what is unknown, sorted; what builders make again is in neither.
    """
    staying: list[str] = []
    strangers: list[str] = []
    for name in _names(out) - written:
        if _is_made_again(out, name) or is_hidden_part(PurePosixPath(name).parts[0]):
            continue
        patterns = _STAYS.get(kind or "", ())
        stays = name.startswith(".") or any(fnmatchcase(name, pattern) for pattern in patterns)
        if stays or not _is_folder(out / name):
            (staying if stays else strangers).append(name)
    return Leftovers(tuple(sorted(staying)), tuple(sorted(strangers)))


def _names(out: Path) -> set[str]:
    """All files, links to whatever and empty folders, relative to the folder."""
    found = set[Path]()
    for place, folders, files in os.walk(out):
        here = Path(place)
        found.update(here / name for name in (*files, *(name for name in folders if (here / name).is_symlink())))
        if not folders and not files and here != out:
            found.add(here)
    return {path.relative_to(out).as_posix() for path in found}


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_made_again(out: Path, name: str) -> bool:
    if any(fnmatchcase(name, pattern) for pattern in _MADE_AGAIN):
        return True
    first = PurePosixPath(name).parts[0]
    is_build = _BUILD_FOLDER.fullmatch(first) is not None and (out / first / "CMakeCache.txt").is_file()
    return is_build and not (out / first / "CMakeLists.txt").exists()


def carried_sdkconfig(sdkconfig: str, old_defaults: str, new_defaults: str) -> tuple[str, tuple[str, ...]]:
    """What ESP-IDF's settings are to be after a deployment: the user's own stay, those of the deployment follow it.

    ESP-IDF takes sdkconfig.defaults for options that sdkconfig does not have, so an option that the user left as the
    earlier deployment set it is taken out where the new one sets it otherwise.

    Args:
        sdkconfig: as `idf.py menuconfig` left it.
        old_defaults, new_defaults: sdkconfig.defaults of both deployments.
    Returns:
        The text, and a sentence for each option of the user's that differs from what the new deployment asks for.
    """
    old, new, chosen = _options(old_defaults), _options(new_defaults), _options(sdkconfig)
    dropped, notes = set(), []
    for name in sorted(new):
        if old.get(name) == new[name] or chosen.get(name, new[name]) == new[name]:
            continue
        if chosen[name] == old.get(name):
            dropped.add(name)
        else:
            notes.append(
                f"{SDKCONFIG}: CONFIG_{name} stays {chosen[name]}, which is yours; this model asks for {new[name]}"
            )
    lines: list[str] = []
    for line in sdkconfig.splitlines(keepends=True):
        if _key(line) not in dropped:
            lines.append(line)
        elif lines and lines[-1].strip() == _UNTOUCHED:
            lines.pop()
    return "".join(lines), tuple(notes)


def _options(text: str) -> dict[str, str]:
    """Option -> value as written; the size of the flash as one option."""
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"CONFIG_(\w+)=(.*)", line.strip())
        if match is None:
            continue
        name, value = match[1], match[2]
        if (size := re.fullmatch(rf"{_FLASH_SIZE}_(\d+MB)", name)) and value == "y":
            found[_FLASH_SIZE] = size[1]
        elif _key(line) != _FLASH_SIZE:
            found[name] = value
    return found


def _key(line: str) -> str:
    """The option that a line is about; empty: none."""
    match = _OPTION.match(line)
    if match is None:
        return ""
    return _FLASH_SIZE if match[1].startswith(_FLASH_SIZE) else match[1]
