"""Compiles chip/run_cases.c with the kernels for this machine or a Cortex-M and runs cases on it; not a test itself."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np


def load(name: str) -> ModuleType:
    """A helper file of this folder; tests have no package (importlib mode)."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


host_build = load("host_build")
kernel_cases = load("kernel_cases")

CHIP = Path(__file__).with_name("chip")


@dataclass(frozen=True)
class Target:
    """A Cortex-M under QEMU."""

    machine: str
    options: tuple[str, ...]
    instructions_per_tick: float  # of SysTick under -icount shift=0: 1 instruction is 1 ns
    compiler: str = "arm-none-eabi-gcc"  # of the kernels; GCC compiles the rest and links


TARGETS = {
    "cortex-m4": Target("mps2-an386", ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"), 40.0),
    # Without the DSP extension: the portable code, on the M4 machine, which runs all of Cortex-M3's instructions.
    "cortex-m3": Target("mps2-an386", ("-mcpu=cortex-m3",), 40.0),
    # GCC 12 may emit an instruction in if-converted code for Cortex-M55 that its assembler rejects.
    "cortex-m55": Target("mps3-an547", ("-mcpu=cortex-m55", "-mfloat-abi=hard", "-fno-if-conversion2"), 31.25),
}

CLANG = ("--target=arm-none-eabi", "-mthumb", "-isystem", "/usr/lib/arm-none-eabi/include")
# Not in TARGETS: the limits of instructions and of code are those of GCC's.
CLANG_TARGETS = {
    f"{name} clang": replace(
        TARGETS[name],
        options=tuple(flag for flag in TARGETS[name].options if flag != "-fno-if-conversion2"),
        compiler="clang",
    )
    for name in ("cortex-m4", "cortex-m55")
}


@dataclass(frozen=True, eq=False)
class Result:
    """What one call did."""

    status: int
    ticks: int
    output: np.ndarray  # int8


@dataclass(frozen=True)
class Runner:
    """A compiled run_cases."""

    program: Path
    target: Target | None = None

    def execute(self, folder: Path) -> int:
        """Run the program in the folder; anything but exit status 0, which it gives, fails the test."""
        command = [str(self.program)]
        if self.target is not None:
            command = [host_build.compiler("qemu-system-arm"), "-M", self.target.machine, "-nographic"]
            command += ["-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]
            command += ["-icount", "shift=0", "-kernel", str(self.program)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.returncode

    def run(self, cases: Sequence, folder: Path) -> list[Result]:
        """Run cases in the folder, which gets cases.bin and results.bin."""
        (folder / "cases.bin").write_bytes(b"".join(case.encode() for case in cases))
        self.execute(folder)
        words = np.fromfile(folder / "results.bin", np.uint8)
        results, at = [], 0
        for _ in cases:
            status, ticks, size = words[at : at + 12].view(np.int32).tolist()
            results.append(Result(status, ticks, words[at + 12 : at + 12 + size].view(np.int8)))
            at += 12 + size + -size % 4
        return results


def sources() -> list[Path]:
    """The runner and the operators."""
    return [CHIP / "run_cases.c", *host_build.kernel_sources("*_s8.c")]


def vision_sources() -> list[Path]:
    """The runner of preprocessing and detection."""
    kernels = host_build.kernel_sources("edk_preprocess*.c", "edk_detect*.c", "edk_place_image.c", "edk_image_box.c")
    return [CHIP / "run_vision.c", *kernels]


def build_host(folder: Path, compiler: str, options: tuple[str, ...], files: Sequence[Path] | None = None) -> Runner:
    """The runner for this machine; files: sources() unless given."""
    program = host_build.compiler(compiler)
    files = sources() if files is None else list(files)
    return Runner(host_build.compile_c(program, (*options, f"-I{CHIP}"), files, folder / "run_cases"))


def build_chip(
    folder: Path, name: str, options: tuple[str, ...] = ("-O2",), files: Sequence[Path] | None = None
) -> Runner:
    """The runner for a Cortex-M; name: of TARGETS or CLANG_TARGETS; files: sources() unless given."""
    files = sources() if files is None else list(files)
    target = {**TARGETS, **CLANG_TARGETS}[name]
    flags = (*target.options, "-mthumb", *options, f"-I{CHIP}", "--specs=rdimon.specs", "-nostartfiles", f"-L{CHIP}")
    flags += ("-T", str(CHIP / f"{target.machine}.ld"), "-ffunction-sections", "-Wl,--gc-sections")
    program = host_build.compiler("arm-none-eabi-gcc")
    if target.compiler == "clang":
        kernels = [path for path in files if path.parent != CHIP]
        files = [*(path for path in files if path.parent == CHIP), *_clang_objects(folder, target, options, kernels)]
    elf = folder / f"{name}.elf"
    return Runner(host_build.compile_c(program, flags, [*files, CHIP / "startup.c"], elf), target)


def _clang_objects(folder: Path, target: Target, options: tuple[str, ...], files: Sequence[Path]) -> list[Path]:
    """Kernels compiled by clang."""
    program = host_build.compiler("clang")
    flags = (*CLANG, *target.options, *options, "-ffunction-sections", "-c")
    return [host_build.compile_c(program, flags, [path], folder / f"{path.stem}.o") for path in files]
