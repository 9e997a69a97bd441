"""Microcontrollers that QEMU emulates: how code is built for them, and how an image runs on them.

The emulator counts instructions, not cycles: with `-icount shift=0` each takes 1 ns of emulated time, so that a SysTick
tick of 25 MHz (mps2) is 40 instructions and one of 32 MHz (mps3-an547) 31.25. Measured on a loop of 1 M instructions.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.errors import ConfigError, ToolchainError
from edgedet.resources import resource_dir
from edgedet.runtimes.toolchain import require_program, run_program

COMPILER_PACKAGES = "gcc-arm-none-eabi libnewlib-arm-none-eabi"
EMULATOR_PACKAGE = "qemu-system-arm"
COMPILE_TIMEOUT_S = 600.0
_RUN_TIMEOUT_S = 120.0  # of one image; the slowest network of the tests takes 3 s
# -fno-if-conversion2: GCC 12.2 for Cortex-M55 can emit an instruction that its assembler rejects.
_COMMON_FLAGS = ("-mthumb", "-O2", "-std=gnu99", "-ffunction-sections", "-fdata-sections", "-fno-if-conversion2")
_LINK_FLAGS = ("-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs", "-Wl,--gc-sections", "-Wl,-z,noexecstack")


@dataclass(frozen=True)
class Board:
    """An emulated board."""

    cpu: str  # cortex-m4, ...
    machine: str  # of qemu-system-arm
    flags: tuple[str, ...]  # of the compiler
    linker_script: str
    instructions_per_tick: float


BOARDS = {
    board.cpu: board
    for board in (
        Board(
            "cortex-m4", "mps2-an386", ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"), "an386.ld", 40.0
        ),
        Board(
            "cortex-m7", "mps2-an500", ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"), "an500.ld", 40.0
        ),
        Board("cortex-m55", "mps3-an547", ("-mcpu=cortex-m55", "-mfloat-abi=hard"), "an547.ld", 31.25),
    )
}


@dataclass(frozen=True)
class Sizes:
    """Sections of a firmware image, bytes."""

    code: int  # vectors, instructions and their constants; start-up and semihosting included
    parameters: int  # of the steps, and the tables of edgedet_run()
    weights: int  # model_data_binary.o
    data: int  # .data and .bss
    arena: int


@dataclass(frozen=True, eq=False)
class Firmware:
    """A linked image."""

    board: Board
    folder: Path
    elf: Path
    sizes: Sizes


def board_of(cpu: str) -> Board:
    """Board by the name of its processor.

    Raises:
        ConfigError: unknown processor.
    """
    if cpu not in BOARDS:
        raise ConfigError(f"QEMU runs {', '.join(BOARDS)}; got {cpu!r}")
    return BOARDS[cpu]


def build_firmware(board: Board, folder: Path, sources: Sequence[str], flags: Sequence[str] = ()) -> Firmware:
    """Compile and link a generated module with the board's start-up code.

    Args:
        board: to build for.
        folder: with the module's files; objects and image are written into it.
        sources: the module's C files, relative to `folder`.
        flags: further compiler flags; later ones win.
    Returns:
        The image.
    Raises:
        ToolchainError: a program is missing, or the module does not compile or fit the board.
    """
    compiler = require_program(("arm-none-eabi-gcc",), COMPILER_PACKAGES)
    size = require_program(("arm-none-eabi-size",), "binutils-arm-none-eabi")
    template = resource_dir("firmware_export") / "qemu"
    board_folder = folder / "qemu"
    shutil.copytree(template, board_folder, dirs_exist_ok=True)
    files = [*sources, *(f"qemu/{path.name}" for path in sorted(template.glob("*.c")))]
    cpu = [*board.flags, *_COMMON_FLAGS, *flags]
    includes = ["-I.", "-Ikernels/include", "-Iqemu"]
    # One call for all files: the compiler writes each object into the working directory under its own name.
    objects = [f"{Path(name).stem}.o" for name in files]
    run_program(
        [compiler, *cpu, *includes, "-DEDGEDET_ON_STEP=edgedet_on_step", "-c", *files], folder, COMPILE_TIMEOUT_S
    )
    elf = folder / f"{board.cpu}.elf"
    link = [*_LINK_FLAGS, "-Lqemu", "-T", board.linker_script, "-o", elf.name, *objects, "-lm"]
    run_program([compiler, *cpu, *link], folder, COMPILE_TIMEOUT_S)
    return Firmware(board, folder, elf, _sizes(run_program([size, "-A", elf.name], folder, COMPILE_TIMEOUT_S)))


def run_firmware(firmware: Firmware, inputs: Sequence[bytes], output_bytes: int) -> tuple[list[bytes], np.ndarray]:
    """Run images on the board.

    Args:
        firmware: from `build_firmware`.
        inputs: codes of each image.
        output_bytes: of all outputs of an image.
    Returns:
        (outputs of each image laid end to end, instructions float64 (images, 1 + steps): whole network, every step).
    Raises:
        ToolchainError: QEMU is missing, or the firmware failed or ended early.
    """
    emulator = require_program(("qemu-system-arm",), EMULATOR_PACKAGE)
    folder = firmware.folder
    written = folder / "output.bin", folder / "ticks.bin"
    for path in written:
        path.unlink(missing_ok=True)  # of an earlier run; a firmware that stops early must not answer with them
    (folder / "input.bin").write_bytes(b"".join(inputs))
    command = [
        *(emulator, "-M", firmware.board.machine, "-nographic", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native", "-icount", "shift=0", "-kernel", firmware.elf.name),
    ]
    run_program(command, folder, _RUN_TIMEOUT_S * max(1, len(inputs)))
    output, times = (path.read_bytes() if path.exists() else b"" for path in written)
    ticks = np.frombuffer(times[: len(times) // 8 * 8], "<u8")
    if len(output) != output_bytes * len(inputs) or not ticks.size or ticks.size % len(inputs):
        raise ToolchainError(
            f"{firmware.elf.name}: expected {output_bytes * len(inputs)} bytes of outputs for {len(inputs)} images, "
            f"found {len(output)} and {ticks.size} times"
        )
    outputs = [output[start : start + output_bytes] for start in range(0, len(output), output_bytes)]
    return outputs, ticks.reshape(len(inputs), -1) * firmware.board.instructions_per_tick


def _sizes(table: str) -> Sizes:
    """Sections from the output of `size -A`."""
    found = {}
    for line in table.splitlines():
        parts = line.split()
        if len(parts) == 3 and parts[0].startswith("."):
            found[parts[0]] = int(parts[1])
    return Sizes(
        code=found.get(".text", 0) + found.get(".ARM.exidx", 0) + found.get(".data", 0),
        parameters=found.get(".parameters", 0),
        weights=found.get(".weights", 0),
        data=found.get(".data", 0) + found.get(".bss", 0),
        arena=found.get(".arena", 0),
    )
