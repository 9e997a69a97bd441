"""A board: its processor, its memories and what its firmware expects, from one TOML with a source for each figure."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgedet.config import read_toml
from edgedet.errors import ConfigError, meant, require_one_of
from edgedet.notebook import Brief, short
from edgedet.npu.cores import NPU_TARGETS, PRESETS
from edgedet.resources import resource_dir
from edgedet.typed import build, check_fields, shown, within

# Processor -> which path of the C kernels it runs: kernels/src/edk_target.h decides it when they are compiled.
PATHS = {
    "cortex-m0plus": "plain",
    "cortex-m3": "plain",
    "cortex-m4": "dsp",
    "cortex-m7": "dsp",
    "cortex-m33": "dsp",
    "cortex-m55": "mve",
    "cortex-m85": "mve",
    "riscv32": "plain",
    "xtensa-lx7": "plain",
    "other": "plain",
}
KINDS = ("flash", "ram")
ROLES = ("code", "weights", "arena", "stack")  # what a memory may hold
CONTRACTS = ("", "sscma-micro")
ASSUMED = "assumed: "  # begins the source of a figure that no document was found for
_LARGEST_BYTES = 10**10  # a typing error lies above
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def _check(part: Any) -> None:
    """Types of all fields, and texts that a terminal shows as they are.

    Raises:
        ConfigError: a wrong type, or a control character.
    """
    check_fields(part)
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, str) and not value.isprintable():
            raise ConfigError(
                f"{field.name}: expected a text without line ends and control characters, got {value!r:.80}"
            )


@dataclass(frozen=True)
class Core:
    """The processor that runs the network."""

    name: str  # one of PATHS
    source: str = ""
    clock_mhz: float | None = None  # None: emulated

    def __post_init__(self) -> None:
        _check(self)
        require_one_of("core.name", self.name, tuple(PATHS))
        if self.clock_mhz is not None:
            within("core.clock_mhz", self.clock_mhz, 0.1, 10_000)

    @property
    def path(self) -> str:
        """plain, dsp or mve."""
        return PATHS[self.name]


@dataclass(frozen=True, repr=False)
class Memory(Brief):
    """One memory, or several that lie side by side."""

    name: str
    kind: str  # flash | ram
    bytes: int
    holds: tuple[str, ...]  # of ROLES
    source: str = ""
    external: bool = False  # behind a serial bus or a memory controller: slower than the processor
    taken_bytes: int = 0  # not to be had by a firmware with the model
    taken_by: str = ""
    taken_source: str = ""

    def __post_init__(self) -> None:
        _check(self)
        if not _NAME.fullmatch(self.name):
            raise ConfigError(f"memory.name must be lower-case letters, digits and _, got {self.name[:80]!r}")
        where = f"memory {self.name}"
        require_one_of(f"{where}: kind", self.kind, KINDS)
        if not self.holds or len(set(self.holds)) != len(self.holds):
            raise ConfigError(f"{where}: holds must name some of {', '.join(ROLES)}, each once, got {list(self.holds)}")
        for role in self.holds:
            require_one_of(f"{where}: holds", role, ROLES)
            if self.kind == "flash" and role in ("arena", "stack"):
                raise ConfigError(f"{where}: holds: flash can't hold the {role}, which is written to")
        within(f"{where}: bytes", self.bytes, 1, _LARGEST_BYTES)
        within(f"{where}: taken_bytes", self.taken_bytes, 0, self.bytes)
        if bool(self.taken_bytes) != bool(self.taken_by):
            raise ConfigError(f"{where}: taken_bytes and taken_by belong together, found one without the other")

    @property
    def free_bytes(self) -> int:
        """What a firmware with the model can have."""
        return self.bytes - self.taken_bytes


@dataclass(frozen=True)
class Npu:
    """A processor for networks beside the core."""

    name: str
    source: str = ""
    vela: str = ""  # Vela's name of it; empty: Vela does not compile for it
    preset: str = ""  # of `npu.cores.PRESETS`: clock and memory that Vela is told; empty: Vela's of a microcontroller

    def __post_init__(self) -> None:
        _check(self)
        if self.vela:
            require_one_of("npu.vela", self.vela, NPU_TARGETS)
        if self.preset:
            require_one_of("npu.preset", self.preset, tuple(PRESETS))
            if (target := PRESETS[self.preset].target) != self.vela:
                raise ConfigError(f"npu.preset {self.preset} is one of {target}, found npu.vela {self.vela or 'empty'}")


@dataclass(frozen=True)
class Firmware:
    """What ready-made firmware for a board expects of a model."""

    contract: str  # one of CONTRACTS
    source: str = ""

    def __post_init__(self) -> None:
        _check(self)
        require_one_of("firmware.contract", self.contract, CONTRACTS)


@dataclass(frozen=True, repr=False)
class BoardFile(Brief):
    """One board TOML."""

    title: str
    chip: str
    core: Core
    memory: tuple[Memory, ...]
    npu: Npu | None = None
    firmware: Firmware = Firmware("")

    def __post_init__(self) -> None:
        _check(self)
        if not 1 <= len(self.memory) <= 16:
            raise ConfigError(f"memory: expected 1 to 16 of them, got {len(self.memory)}")
        names = [memory.name for memory in self.memory]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"memory: {name} stands there {names.count(name)} times")
        for role in ROLES:
            if not any(role in memory.holds for memory in self.memory):
                raise ConfigError(f"memory: none holds the {role}; add it to `holds` of one")


@dataclass(frozen=True)
class Board:
    """A board with its name."""

    name: str  # of the file, without .toml
    file: BoardFile
    path: str = ""  # of a file of the user's own; empty: one that edgedet brings

    @property
    def word(self) -> str:
        """What `load_board` finds it by again."""
        return self.path or self.name

    def __repr__(self) -> str:
        return f"<Board {short(self.name)}>"

    @property
    def core(self) -> Core:
        """Its processor."""
        return self.file.core

    @property
    def memories(self) -> tuple[Memory, ...]:
        """Its memories, the one to prefer first."""
        return self.file.memory

    def free_bytes(self, kind: str) -> int:
        """Sum of what firmware can have of the memories of a kind."""
        return sum(memory.free_bytes for memory in self.memories if memory.kind == kind)

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict: name, fast path, and everything in the file."""
        content = asdict(self.file)
        content["core"]["path"] = self.core.path
        for memory, entry in zip(self.memories, content["memory"], strict=True):
            entry["free_bytes"] = memory.free_bytes
        return {"name": self.name, **content}

    def sources(self) -> tuple[tuple[str, str], ...]:
        """(figure, its source) of everything that the file claims."""
        found = [("core", self.core.source)]
        found += [(f"memory {memory.name}", memory.source) for memory in self.memories]
        found += [(f"memory {m.name}: taken", m.taken_source) for m in self.memories if m.taken_bytes]
        if self.file.npu is not None:
            found.append(("npu", self.file.npu.source))
        if self.file.firmware.contract:
            found.append(("firmware", self.file.firmware.source))
        return tuple(found)


def available_boards() -> tuple[str, ...]:
    """Names of the boards that edgedet knows."""
    return tuple(sorted(path.stem for path in (resource_dir("firmware_export") / "boards").glob("*.toml")))


def load_board(name_or_path: str) -> Board:
    """Read a board.

    Args:
        name_or_path: name of a board that edgedet knows (`nicla_vision`) or path of a TOML file of your own.
    Returns:
        The validated board.
    Raises:
        ConfigError: no such board, broken TOML, unknown or missing key, wrong type or range.
    """
    if not isinstance(name_or_path, str | Path):
        raise ConfigError(f"`board` {shown(name_or_path)}: expected the name of a board, or the path of a .toml file")
    path, own = Path(name_or_path), str(name_or_path)
    if path.suffix.lower() != ".toml":
        names = available_boards()
        if name_or_path not in names:
            near = _near(name_or_path, names)
            raise ConfigError(
                f"`board` {shown(name_or_path)}: no such board{near}; expected one of {', '.join(names)}, or the path "
                "of a .toml file"
            )
        path, own = resource_dir("firmware_export") / "boards" / f"{name_or_path}.toml", ""
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected a board's .toml (docs/boards.md has one as an example)")
    return Board(path.stem, build(BoardFile, read_toml(path), str(path)), own)


def all_boards() -> tuple[Board, ...]:
    """All boards that edgedet knows, by name."""
    return tuple(load_board(name) for name in available_boards())


def board_keys() -> dict[str, tuple[str, ...]]:
    """Section -> keys of a board file, for its documentation."""
    sections = {"": BoardFile, "core": Core, "memory": Memory, "npu": Npu, "firmware": Firmware}
    return {name: tuple(field.name for field in fields(cls)) for name, cls in sections.items()}


def _near(name: str, names: tuple[str, ...]) -> str:
    """What an unknown name may have meant: another spelling, or the chip of a board."""
    words = {board.name: f"{board.name} {board.file.title} {board.file.chip}".lower() for board in all_boards()}
    found = [board for board, text in words.items() if len(name) >= 4 and name.lower() in text]
    if found:
        return f" (did you mean {' or '.join(repr(board) for board in found)}?)"
    return meant(re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"), names)
