"""Options of Arm's NPU, for the commands that compile for one."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgedet.npu.cores import MEMORY_MODES, OPTIMISE, PRESETS, NpuOptions

_NAMES = ("preset", "memory_mode", "system_config", "vela_config", "optimise", "vela")


def add_npu_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `NpuOptions`, all of them left out by default."""
    group = parser.add_argument_group("targets ethos-u..., compiled by Vela (extra `vela`)")
    group.add_argument("--preset", choices=tuple(PRESETS), help="a board: target, clock and memory")
    group.add_argument(
        "--memory-mode",
        metavar="MODE",
        help=f"{', '.join(MEMORY_MODES)}, or one of --vela-config (default: Shared_Sram: model in flash)",
    )
    group.add_argument(
        "--system-config", metavar="NAME", help="clock and bandwidths: a section of Vela's file, or of --vela-config"
    )
    group.add_argument("--vela-config", type=Path, metavar="FILE", help="Vela's .ini for a board of your own")
    group.add_argument("--optimise", choices=OPTIMISE, help="performance (default), or as little SRAM as Vela can")
    group.add_argument("--vela", type=Path, metavar="PROGRAM", help="`vela` of another Python environment")


def npu_words(npu: NpuOptions | None) -> list[str]:
    """The options again, as they were given."""
    usual = NpuOptions()
    given = [] if npu is None else [(name, getattr(npu, name)) for name in _NAMES]
    changed = [(name, value) for name, value in given if value != getattr(usual, name)]
    return [word for name, value in changed for word in (f"--{name.replace('_', '-')}", str(value))]


def npu_options(args: argparse.Namespace) -> NpuOptions | None:
    """What was chosen; None: none of these options was given."""
    given = {name: getattr(args, name) for name in _NAMES if getattr(args, name) is not None}
    return NpuOptions(**given) if given else None
