"""Compiles kernels with the host's compiler, for the tests of preprocessing and detection; not a test itself."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).resolve().parents[2] / "kernels"
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wpedantic", "-Werror")
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
# clang's: also what is defined and still rarely meant, but the wrapping left shift that edk_types.h promises.
INTEGER_SANITIZERS = (
    "-g",
    "-O1",
    "-fsanitize=address,undefined,integer,implicit-conversion",
    "-fno-sanitize=unsigned-shift-base",
    "-fno-sanitize-recover=all",
)
MEMORY_SANITIZER = ("-g", "-O1", "-fsanitize=memory", "-fno-sanitize-recover=all")  # clang's: uninitialised memory
ALL_WARNINGS = {
    # In C89 a declaration had to come first; structs may have holes. A newer clang wants C++'s spans.
    "clang": (
        *("-Weverything", "-Wno-declaration-after-statement", "-Wno-padded"),
        *("-Wno-unknown-warning-option", "-Wno-unsafe-buffer-usage"),
    ),
    "gcc": (
        *("-Wsign-conversion", "-Wdouble-promotion", "-Wfloat-conversion", "-Wcast-qual", "-Wcast-align=strict"),
        *("-Wundef", "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wwrite-strings", "-Wvla", "-Wlogical-op"),
        *("-Wnull-dereference", "-Wduplicated-cond"),
    ),
}
# A host that could fuse multiply-add does so where the source allows it: the source must not allow it where it matters.
HOST = ("-O2", "-march=native", "-ffp-contract=fast") if os.uname().machine == "x86_64" else ("-O2",)


def compiler(*names: str) -> str:
    """The first of some compilers that exists; without one CI fails and other machines skip."""
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    reason = f"none of {', '.join(names)} is installed"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}; .ci/run installs the Debian packages")
    pytest.skip(reason)


def compile_c(program: str, options: tuple[str, ...], sources: list[Path], output: Path) -> Path:
    """Compile and link; the compiler's messages become the failure's text."""
    command = [program, *WARNINGS, *options, f"-I{KERNELS / 'include'}", *map(str, sources), "-o", str(output)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr}"
    return output


def kernel_sources(*patterns: str) -> list[Path]:
    """Sources in kernels/src by glob."""
    return sorted(path for pattern in patterns for path in (KERNELS / "src").glob(pattern))


def load_library(folder: Path, program: str, *patterns: str) -> ctypes.CDLL:
    """Shared library of some sources, optimized for this machine."""
    path = compile_c(program, (*HOST, "-shared", "-fPIC"), kernel_sources(*patterns), folder / "libedk.so")
    return ctypes.CDLL(str(path))
