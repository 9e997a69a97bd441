"""The name of a generated module, with which everything in it begins."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgedet.errors import ConfigError
from edgedet.typed import shown

_PATTERN = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST = 32  # characters: with the longest ending, C99's 63 significant characters are enough
# The kernels' prefix, and words that C, C++ or the C library would read another way.
_TAKEN = re.compile(
    r"edk|auto|bool|break|case|char|class|const|continue|default|delete|do|double|else|enum|errno|"
    r"explicit|export|extern|false|float|for|friend|goto|if|inline|int|long|main|namespace|new|operator|"
    r"private|protected|public|register|return|short|signed|sizeof|static|std|struct|switch|template|this|"
    r"throw|true|try|typedef|union|unsigned|using|virtual|void|volatile|while|mem|str|wcs"
)
# Targets of CMake and of Make, the shared library of the kernels, and libraries of the tool chain.
_TARGETS = frozenset(
    ("all", "clean", "depend", "edit_cache", "edgedet", "edgedet_kernels", "help", "install", "list_install_components",
     "package", "package_source", "rebuild_cache", "selftest", "test", "c", "gcc", "m", "nosys", "pthread", "rt",
     "con", "prn", "aux", "nul")  # the last four: devices of Windows, which no file or folder can be called after
)  # fmt: skip


@dataclass(frozen=True)
class ModuleName:
    """How the symbols, macros, files and build targets of a module begin; without a name all modules are the same."""

    prefix: str = "edgedet"  # of symbols and of the library
    stem: str = ""  # of files: empty, or the prefix and an underscore

    @property
    def macro(self) -> str:
        """Prefix of macros and header guards."""
        return self.prefix.upper()

    @property
    def camel(self) -> str:
        """Prefix of types and functions of C++."""
        return "".join(word.capitalize() for word in self.prefix.split("_"))

    @property
    def unit(self) -> str:
        """Name where those of a whole system live: components of ESP-IDF, libraries and options of Zephyr."""
        return f"edgedet_{self.prefix}" if self.stem else self.prefix

    @property
    def is_given(self) -> bool:
        """Whether several such modules fit one image."""
        return bool(self.stem)


UNNAMED = ModuleName()


def module_name(name: str | None) -> ModuleName:
    """Check a name.

    Args:
        name: lower-case C identifier; None: the module has none.
    Raises:
        ConfigError: not such a name, too long, or one that belongs to C or to the kernels.
    """
    if name is None:
        return UNNAMED
    sound = isinstance(name, str) and _PATTERN.fullmatch(name) and len(name) <= _LONGEST and name not in _TARGETS
    if not sound or _TAKEN.fullmatch(name.split("_")[0]):
        raise ConfigError(
            f"`name` {shown(name)}: expected 1 to {_LONGEST} lower-case letters, digits and single underscores that "
            "begin with a letter, and not with a word of C or `edk`, since C symbols begin with it, and are no target "
            "or library of the build"
        )
    return ModuleName(name, f"{name}_")
