"""The processors of docs/cores.md: how generated C is compiled for each, and what runs it.

Bare Cortex-M images take start-up code and memory maps of firmware_export/qemu; RISC-V without an operating system
takes picolibc's; the rest are programs of Linux. Imported by cores_table.py and by a test; not a program.
"""

from __future__ import annotations

from dataclasses import dataclass

PLAIN = ("-DEDK_PLAIN_C",)
_SYSTEM = ("-nographic", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native")
_GCC = "arm-none-eabi-gcc"
_FPU_M4 = ("-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
_FPU_M7 = ("-mfloat-abi=hard", "-mfpu=fpv5-sp-d16")
# GCC 12 for Cortex-M55 can emit an instruction that its assembler rejects.
_MVE_GCC = ("-mfloat-abi=hard", "-fno-if-conversion2")
# clang has no C library of its own for Cortex-M: headers of newlib.
_NEWLIB = ("--target=arm-none-eabi", "-isystem", "/usr/lib/arm-none-eabi/include")
_VIRT32 = ("qemu-system-riscv32", "-M", "virt", "-bios", "none", *_SYSTEM, "-kernel")
_PICOLIBC = (
    *("--specs=picolibc.specs", "--oslib=semihost", "--crt0=semihost", "-mcmodel=medany"),
    *(
        f"-Wl,--defsym=__{name}"
        for name in ("flash=0x80000000", "flash_size=0x400000", "ram=0x80400000", "ram_size=0x400000")
    ),
)


@dataclass(frozen=True)
class Core:
    """A processor, a compiler for it and one path of the kernels."""

    name: str
    path: str  # of the kernels
    compiler: str
    flags: tuple[str, ...]
    runner: tuple[str, ...] | None  # command in front of the program; None: it is only compiled
    where: str = ""  # what runs it, for the table
    script: str = ""  # linker script of firmware_export/qemu: start-up code from there, too
    linker: str = ""  # where the compiler can't link
    link_flags: tuple[str, ...] = ()


def _cortex(name: str, path: str, flags: tuple[str, ...], script: str, machine: str, where: str) -> Core:
    runner = ("qemu-system-arm", "-M", machine, *_SYSTEM, "-kernel")
    return Core(name, path, _GCC, ("-mthumb", *flags), runner, where, script)


def _clang(name: str, path: str, cpu: str, fpu: tuple[str, ...], like: Core, link: tuple[str, ...]) -> Core:
    flags = (*_NEWLIB, f"-mcpu={cpu}", "-mthumb", *fpu, *(PLAIN if path == "plain C" else ()))
    return Core(name, path, "clang-19", flags, like.runner, like.where, like.script, _GCC, link)


_M3 = ("an386.ld", "mps2-an385")
M0 = _cortex("Cortex-M0+", "plain C", ("-mcpu=cortex-m0plus",), *_M3, "QEMU's Cortex-M3, which runs its instructions")
M3 = _cortex("Cortex-M3", "plain C", ("-mcpu=cortex-m3",), *_M3, "mps2-an385")
M4 = _cortex("Cortex-M4", "DSP", ("-mcpu=cortex-m4", *_FPU_M4), "an386.ld", "mps2-an386", "mps2-an386")
M7 = _cortex("Cortex-M7", "DSP", ("-mcpu=cortex-m7", *_FPU_M7), "an500.ld", "mps2-an500", "mps2-an500")
M33 = _cortex("Cortex-M33", "DSP", ("-mcpu=cortex-m33", *_FPU_M7), "an505.ld", "mps2-an505", "mps2-an505")
M55 = _cortex("Cortex-M55", "MVE", ("-mcpu=cortex-m55", *_MVE_GCC), "an547.ld", "mps3-an547", "mps3-an547")
_M85_WHERE = "QEMU's Cortex-M55 (mps3-an547), which runs its instructions"
_STATIC = ("-static",)

CORES = (
    M0,
    M3,
    _cortex("Cortex-M4", "plain C", ("-mcpu=cortex-m4", *_FPU_M4, *PLAIN), "an386.ld", "mps2-an386", "mps2-an386"),
    M4,
    _clang("Cortex-M4", "DSP", "cortex-m4", _FPU_M4, M4, M4.flags),
    M7,
    _clang("Cortex-M7", "DSP", "cortex-m7", _FPU_M7, M7, M7.flags),
    M33,
    _clang("Cortex-M33", "DSP", "cortex-m33", _FPU_M7, M33, M33.flags),
    _cortex("Cortex-M55", "plain C", ("-mcpu=cortex-m55", *_MVE_GCC, *PLAIN), "an547.ld", "mps3-an547", "mps3-an547"),
    M55,
    _clang("Cortex-M55", "MVE", "cortex-m55", ("-mfloat-abi=hard",), M55, M55.flags),
    _cortex(
        "Cortex-M85", "MVE", ("-march=armv8.1-m.main+mve.fp+fp.dp", *_MVE_GCC), "an547.ld", "mps3-an547", _M85_WHERE
    ),
    Core(
        *("Cortex-M85", "MVE", "clang-19", (*_NEWLIB, "-mcpu=cortex-m85", "-mthumb", "-mfloat-abi=hard")),
        *(M55.runner, _M85_WHERE, "an547.ld", _GCC, M55.flags),
    ),
    Core(
        *("riscv32imc", "plain C", "riscv64-unknown-elf-gcc", ("-march=rv32imc", "-mabi=ilp32", *_PICOLIBC), _VIRT32),
        "QEMU virt, no operating system",
    ),
    Core("riscv64gc", "plain C", "riscv64-linux-gnu-gcc", _STATIC, ("qemu-riscv64",), "qemu-user"),
    Core(
        *("riscv64gcv", "plain C, vectors by the compiler", "clang-19"),
        ("--target=riscv64-linux-gnu", "-march=rv64gcv", "-mabi=lp64d"),
        *(("qemu-riscv64", "-cpu", "rv64,v=true,vlen=128,vext_spec=v1.0"), "qemu-user, 128-bit vectors"),
        linker="riscv64-linux-gnu-gcc",
        link_flags=_STATIC,
    ),
    Core("aarch64", "plain C", "aarch64-linux-gnu-gcc", _STATIC, ("qemu-aarch64",), "qemu-user"),
    Core("x86, 32 bits", "plain C", "i686-linux-gnu-gcc", _STATIC, ("qemu-i386",), "qemu-user"),
    Core("x86-64", "plain C", "gcc", (), (), "this computer"),
    Core("x86-64", "AVX2", "gcc", ("-mavx2",), (), "this computer"),
    Core("x86-64", "AVX2", "clang", ("-mavx2",), (), "this computer"),
    Core("Xtensa lx106", "plain C", "xtensa-lx106-elf-gcc", (), None),
)
