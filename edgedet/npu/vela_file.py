"""Files of Vela with systems (clock, memories) and memory modes: read and checked before the compiler reads them."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from pathlib import Path

from edgedet.errors import ConfigError, meant
from edgedet.texts import read_text

SYSTEM, MODE = "System_Config", "Memory_Mode"
_AREAS = ("Sram", "Dram", "OnChipFlash", "OffChipFlash")
_PORTS = ("Axi0", "Axi1")
_NUMBERS = ("burst_length", "ports_used", "read_latency", "write_latency", "max_reads", "max_writes")
_MOST_DEPTH = 8  # of sections that inherit


def arm_sections(kind: str) -> tuple[str, ...]:
    """Names of the systems or memory modes of the file that comes with this environment's Vela; empty without Vela."""
    spec = importlib.util.find_spec("ethosu")
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    for place in places:
        path = Path(place) / "config_files" / "Arm" / "vela.ini"
        if path.is_file():
            return sections_of(_parsed(path), kind)
    return ()


def sections_of(parser: ConfigParser, kind: str) -> tuple[str, ...]:
    """Names behind the dot of `[System_Config.X]` or `[Memory_Mode.X]`."""
    return tuple(name.removeprefix(f"{kind}.") for name in parser.sections() if name.startswith(f"{kind}."))


def vela_text(path: Path) -> str:
    """A file as Vela takes it: without the mark that Windows' editor puts at the start of UTF-8.

    Raises:
        ConfigError: it can't be read, or is no text.
    """
    try:
        return read_text(path)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def check_vela_file(path: Path, system: str | None, mode: str | None) -> tuple[str, str]:
    """Check a user's file, so that its faults are not said of the model.

    Args:
        path: of the file.
        system, mode: to be taken of it; None: not named.
    Returns:
        Both.
    Raises:
        ConfigError: no such file or section; a key or a value that Vela does not know, or no clock or ports, without
            which it would count with 1 Hz.
    """
    if path.suffix.lower() != ".ini":
        raise ConfigError(f"{path}: Vela takes configuration files that end with .ini only")
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected Vela's configuration with the system and the memory mode")
    parser = _parsed(path)
    if system is None or mode is None:
        raise ConfigError(
            f"{path} may hold several systems and memory modes: name one of each with `system_config` "
            f"({', '.join(sections_of(parser, SYSTEM)) or 'it has none'}) and `memory_mode` "
            f"({', '.join(sections_of(parser, MODE)) or 'it has none'})"
        )
    for option, kind, name in (("system_config", SYSTEM, system), ("memory_mode", MODE, mode)):
        if not parser.has_section(f"{kind}.{name}"):
            known = sections_of(parser, kind)
            raise ConfigError(
                f"{path}: no section [{kind}.{name}] for `{option}`{meant(name, known)}; it has "
                f"{', '.join(known) or 'none of that kind'}"
            )
    found = _checked(parser, path, f"{SYSTEM}.{system}", _system_rules())
    for key in ("core_clock", "axi0_port", "axi1_port"):
        if key not in found:
            raise ConfigError(f"{path}: [{SYSTEM}.{system}] has no {key}; Vela's estimate needs it")
    _checked(parser, path, f"{MODE}.{mode}", _mode_rules())
    return system, mode


def _parsed(path: Path) -> ConfigParser:
    parser = ConfigParser()
    try:
        parser.read_string(vela_text(path), str(path))
    except ConfigParserError as error:
        raise ConfigError(f"{path}: not a configuration file of Vela ({_words(error)})") from error
    return parser


_Rule = tuple[Callable[[str], bool], str]


def _system_rules() -> dict[str, _Rule]:
    area = (lambda text: text in _AREAS, f"one of {', '.join(_AREAS)}")
    whole = (lambda text: text.isascii() and text.isdecimal(), "a whole number")
    positive = (_is_positive, "a positive number")
    rules: dict[str, _Rule] = {"core_clock": positive, "axi0_port": area, "axi1_port": area}
    for name in _AREAS:
        rules |= {f"{name}_clock_scale": positive} | {f"{name}_{number}": whole for number in _NUMBERS}
    return rules


def _mode_rules() -> dict[str, _Rule]:
    port = (lambda text: text in _PORTS, " or ".join(_PORTS))
    whole = (lambda text: text.isascii() and text.isdecimal(), "a whole number")
    return {"const_mem_area": port, "arena_mem_area": port, "cache_mem_area": port, "arena_cache_size": whole}


def _is_positive(text: str) -> bool:
    try:
        return 0.0 < float(text) < 1e12
    except ValueError:
        return False


def _checked(parser: ConfigParser, path: Path, section: str, rules: dict[str, _Rule]) -> set[str]:
    """Keys of a section and of those that it inherits, all checked; in lower case, as the parser has them."""
    known = {key.lower(): (key, rule) for key, rule in rules.items()}
    found = set[str]()
    for _ in range(_MOST_DEPTH):
        for key in parser.options(section):
            if key == "inherit":
                continue
            if key not in known:
                raise ConfigError(f"{path}: [{section}]: unknown key {key!r}{meant(key, [*known, 'inherit'])}")
            name, (is_right, expected) = known[key]
            value = _value(parser, path, section, key)
            if not is_right(value):
                raise ConfigError(f"{path}: [{section}]: {name} must be {expected}, got {value[:60]!r}")
            found.add(key)
        if not parser.has_option(section, "inherit"):
            return found
        above = _value(parser, path, section, "inherit")
        if not parser.has_section(above):
            raise ConfigError(
                f"{path}: [{section}] inherits {above!r}, which is no section of the file"
                f"{meant(above, parser.sections())}"
            )
        section = above
    raise ConfigError(f"{path}: [{section}]: sections inherit from each other more than {_MOST_DEPTH} times")


def _value(parser: ConfigParser, path: Path, section: str, key: str) -> str:
    try:
        return parser.get(section, key)
    except ConfigParserError as error:  # a % that refers to nothing
        raise ConfigError(f"{path}: [{section}]: {key}: {_words(error)}") from error


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
