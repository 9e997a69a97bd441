"""Ethos-U configurations, what Vela is told about the memory around one, and boards whose figures are known."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgedet.errors import ConfigError, meant
from edgedet.fileio import as_path
from edgedet.npu.vela_file import MODE, SYSTEM, arm_sections, check_vela_file
from edgedet.resources import resource_dir
from edgedet.typed import require_one, require_text, shown

# As Vela 5.2 calls its accelerator configurations; the number is that of 8-bit multiply-accumulates a cycle.
NPU_TARGETS = (
    "ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512",
    "ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048",
)  # fmt: skip
ARM_CONFIG = "Arm/vela.ini"  # comes with Vela
# Sections of it that stand for a microcontroller: SRAM, and a flash that the constants stay in.
_SYSTEMS = {
    "u55": "Ethos_U55_High_End_Embedded",
    "u65": "Ethos_U65_Embedded",
    "u85": "Ethos_U85_SYS_Flash_High",
}
MEMORY_MODES = {  # of Vela's file -> where constants, activations and the NPU's cache are
    "Sram_Only": "everything in SRAM, the model too",
    "Shared_Sram": "model in flash, activations in SRAM",
    "Dedicated_Sram": "model and activations in DRAM, SRAM as the NPU's cache; U65 and U85",
    "Dedicated_Sram_256KB": "the same with 256 KiB of SRAM",
    "Dedicated_Sram_384KB": "the same with 384 KiB of SRAM",
    "Dedicated_Sram_512KB": "the same with 512 KiB of SRAM",
}
DEFAULT_MODE = "Shared_Sram"
OPTIMISE = ("performance", "size")
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,80}")


@dataclass(frozen=True)
class Preset:
    """An NPU with the clock and the memory of a board, as a file for Vela describes them, and where these are from.

    The board's own file names it; everything else about the board stands there.
    """

    name: str
    target: str
    ini: str  # in firmware_export/ethos_u
    system_config: str
    memory_mode: str
    sources: tuple[str, ...]


GROVE = "grove-vision-ai-v2"
PRESETS = {
    GROVE: Preset(
        name=GROVE,
        target="ethos-u55-64",
        ini="grove-vision-ai-v2.ini",
        system_config="Grove_Vision_AI_V2",
        memory_mode="Grove_Vision_AI_V2",
        sources=(
            "clock and memory: files.seeedstudio.com/sscma/configs/vela_config.ini, as printed in "
            "wiki.seeedstudio.com/ma_deploy_yolov8",
        ),
    ),
}


@dataclass(frozen=True)
class NpuOptions:
    """What a user chooses; None: the preset's, else what stands for a microcontroller."""

    memory_mode: str | None = None
    system_config: str | None = None
    vela_config: Path | None = None  # Vela's .ini with these sections; None: the preset's, else the one of Vela
    preset: str | None = None  # one of PRESETS
    optimise: str = "performance"  # or "size": as little SRAM as Vela can
    vela: Path | None = None  # Vela's program, of another Python environment; None: this one's

    def __post_init__(self) -> None:
        require_text(memory_mode=self.memory_mode, system_config=self.system_config, preset=self.preset)
        require_one("optimise", self.optimise, OPTIMISE)
        for name in ("vela_config", "vela"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_path(getattr(self, name), name))


@dataclass(frozen=True)
class NpuSetup:
    """What Vela is told."""

    target: str
    config: str  # path of an .ini, or ARM_CONFIG
    system_config: str
    memory_mode: str
    optimise: str
    vela: Path | None
    preset: Preset | None = None

    @property
    def family(self) -> str:
        """Of the NPU: u55, u65 or u85."""
        return family_of(self.target)

    @property
    def macs(self) -> int:
        """8-bit multiply-accumulates a cycle."""
        return int(self.target.split("-")[2])


def family_of(target: str) -> str:
    """u55, u65 or u85."""
    return target.split("-")[1]


def choose_target(target: str | None, options: NpuOptions, default: str) -> str:
    """The target of a command line that may name a preset instead.

    Args:
        target: as given; None: left out.
        options: with the preset.
        default: without either.
    Raises:
        ConfigError: unknown preset, or one of another target.
    """
    if options.preset is None:
        return default if target is None else target
    return _preset(options.preset, target).target


def require_npu_options(npu: object) -> None:
    """Raises ConfigError when the argument `npu` is neither None nor `NpuOptions`."""
    if npu is not None and not isinstance(npu, NpuOptions):
        raise ConfigError(f"`npu` {shown(npu)}: expected edgedet.npu.cores.NpuOptions(preset='{GROVE}') or the like")


def npu_setup(target: str, options: NpuOptions) -> NpuSetup:
    """Fill in what is not chosen, and check it before Vela is started.

    Args:
        target: one of NPU_TARGETS.
        options: what is chosen.
    Raises:
        ConfigError: unknown target, preset or value; a system or memory mode of another NPU; a file that is no .ini.
    """
    if target not in NPU_TARGETS:
        raise _unknown("NPU", target, NPU_TARGETS)
    preset = None if options.preset is None else _preset(options.preset, target)
    if options.vela_config is not None:
        config = str(options.vela_config.absolute())
        system, mode = check_vela_file(options.vela_config, options.system_config, options.memory_mode)
    elif preset is not None:
        if options.system_config is not None or options.memory_mode is not None:
            raise ConfigError(
                f"preset {preset.name}, which a board may have named, brings system and memory mode; leave out "
                "`system_config` and `memory_mode`, or give them with a `vela_config` of your own, or leave out preset "
                f"and board and take target {target}"
            )
        config = str(resource_dir("firmware_export") / "ethos_u" / preset.ini)
        system, mode = preset.system_config, preset.memory_mode
    else:
        config = ARM_CONFIG
        system = options.system_config or _SYSTEMS[family_of(target)]
        mode = options.memory_mode or DEFAULT_MODE
        _check_arm(target, system, mode, is_own=options.vela is not None)
    return NpuSetup(target, config, system, mode, options.optimise, options.vela, preset)


def _unknown(what: str, word: str, known: Iterable[str]) -> ConfigError:
    return ConfigError(f"unknown {what} {word!r}: expected one of {', '.join(known)}{meant(word, known)}")


def _preset(name: str, target: str | None) -> Preset:
    """The preset, which has that target, if one is named."""
    if name not in PRESETS:
        raise _unknown("preset", name, PRESETS)
    preset = PRESETS[name]
    if target not in (None, preset.target):
        raise ConfigError(f"preset {name} has target {preset.target}, not {target}; leave one of them out")
    return preset


def _check_arm(target: str, system: str, mode: str, is_own: bool) -> None:
    """What Vela would take, or refuse in words that name no option.

    Args:
        target: the NPU.
        system, mode: of Arm's file.
        is_own: Vela is one of another environment, whose file is not known here.
    """
    family = family_of(target)
    modes = MEMORY_MODES if is_own else arm_sections(MODE) or tuple(MEMORY_MODES)
    if mode not in modes:
        raise _unknown("memory mode", mode, modes)
    if mode.startswith("Dedicated") and family == "u55":
        raise ConfigError(
            f"memory mode {mode} needs memory that the NPU can write beside its SRAM, which Ethos-U55 can't use; take "
            "Shared_Sram or Sram_Only, or an Ethos-U65 or U85"
        )
    if not _NAME.fullmatch(system):
        raise ConfigError(f"system {system!r} is no name of a section of Vela's file")
    start = f"Ethos_{family.upper()}_"
    known = () if is_own else tuple(name for name in arm_sections(SYSTEM) if name.startswith(start))
    if system.startswith(start) and (system in known or not known):
        return
    there = f"one of {', '.join(known)}" if known else f"a name that begins with {start}"
    raise ConfigError(
        f"system {system!r} is none of an Ethos-{family.upper()} in Vela's file {ARM_CONFIG}: expected {there}"
        f"{meant(system, known)}; for a board of your own give `vela_config`"
    )
