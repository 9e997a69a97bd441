"""What the generated C was measured to take: code, stack and instructions, from firmware_export/boards/measured.json.

`bench/board_costs.py` makes the file: it compiles every kernel and whole modules with arm-none-eabi-gcc and counts
their instructions under QEMU.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from edgedet.resources import resource_dir
from edgedet.typed import build, check_fields


@dataclass(frozen=True)
class FileSize:
    """A kernel, or a struct of parameters."""

    name: str
    bytes: int

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class StepCost:
    """Instructions of the steps of a class: per_mac * MACs + per_output * elements written + per_call."""

    name: str  # kind, with the filter's sides and the stride where there is a filter
    per_mac: float
    per_output: float
    per_call: float
    steps: int  # measured

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class CoreCosts:
    """One processor."""

    name: str  # as in `hardware.board.PATHS`
    kernels: tuple[FileSize, ...]  # code of each source file
    call_bytes: float  # code of model.c for each call of a kernel
    model_bytes: float  # of model.c, what does not depend on the calls
    run_bytes: int  # largest run.c
    stack_bytes: int  # largest of edgedet_run() and edgedet_invoke(), with all that they call
    code_error: float  # largest relative error of the whole module's code, over the networks measured
    steps: tuple[StepCost, ...]
    instructions_error: float  # largest relative error of a network's instructions, that network left out of the fit
    foreign_error: float = 0.0  # the same of the networks of other makers that were tried
    cycles_per_instruction: tuple[float, ...] = ()  # lowest and highest of the networks; empty: not modelled

    def __post_init__(self) -> None:
        check_fields(self)

    def kernel_bytes(self, name: str) -> int | None:
        """Code of a source file of kernels/src, without `.c`; None: not measured."""
        return next((kernel.bytes for kernel in self.kernels if kernel.name == name), None)

    def step(self, name: str) -> StepCost | None:
        """Cost of a class of steps; None: not measured."""
        return next((step for step in self.steps if step.name == name), None)


@dataclass(frozen=True)
class ShippedModel:
    """What a shipped network takes at an input size, with three classes, target c99."""

    name: str
    width: int  # px, and height
    macs: int
    arena_bytes: int
    constant_bytes: int

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Measured:
    """Everything in the file."""

    command: str
    commit: str
    tools: str  # compiler, emulator, model of the processors
    networks: tuple[str, ...]  # that were measured
    params: tuple[FileSize, ...]  # structs of parameters, on a 32-bit processor
    cores: tuple[CoreCosts, ...]
    models: tuple[ShippedModel, ...]

    def __post_init__(self) -> None:
        check_fields(self)

    def core(self, name: str) -> CoreCosts | None:
        """Costs of a processor; None: not measured."""
        return next((core for core in self.cores if core.name == name), None)

    def params_bytes(self, name: str) -> int | None:
        """Size of a struct of parameters; None: not measured."""
        return next((struct.bytes for struct in self.params if struct.name == name), None)


@cache
def measured() -> Measured:
    """The measurements that travel with edgedet.

    Raises:
        ConfigError: the file is damaged.
        ToolchainError: this installation is incomplete.
    """
    path = resource_dir("firmware_export") / "boards" / "measured.json"
    return build(Measured, json.loads(path.read_text(encoding="utf-8")), str(path))
