"""The kernels compile without a warning, with more warnings than a project that takes them in will ask for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import chip_run
import pytest

host_build = chip_run.host_build

pytestmark = pytest.mark.toolchain

CHIPS = {f"arm-none-eabi-gcc {name}": target.options for name, target in chip_run.TARGETS.items()}


@pytest.mark.parametrize("build", ["gcc", "clang", "clang -mavx2", *sorted(CHIPS)])
def test_kernels_compile_without_warnings(tmp_path: Path, build: str) -> None:
    name, *options = build.split(" ")
    if "-mavx2" in options and host_build.HOST == ("-O2",):
        pytest.skip("AVX2 is for x86-64")
    family = "clang" if name == "clang" else "gcc"
    chip = (*CHIPS[build], "-mthumb") if build in CHIPS else tuple(options)
    mode = ("-fsyntax-only",) if name == "clang" else ("-O2", "-c")  # some of gcc's come from its optimizer
    command = [host_build.compiler(name), *host_build.WARNINGS, *host_build.ALL_WARNINGS[family], *chip, *mode]
    command += [f"-I{host_build.KERNELS / 'include'}", *map(str, host_build.kernel_sources("*.c"))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("options", ["-O1", "-O2 -fomit-frame-pointer", "-O3", "-Os", "-Oz"])
@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"])
def test_weighted_kernels_compile_with_clang_for_chips(tmp_path: Path, cpu: str, options: str) -> None:
    """The assembly takes all registers there are: clang keeps r7, and gives memory operands registers."""
    command = [host_build.compiler("clang"), *chip_run.CLANG, f"-mcpu={cpu}", "-mfloat-abi=hard", *options.split()]
    command += [*host_build.WARNINGS, f"-I{host_build.KERNELS / 'include'}", "-c"]
    command += map(str, host_build.kernel_sources("edk_*conv_s8.c", "edk_fully_connected_s8.c"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_public_headers_compile_as_cpp11(tmp_path: Path, compiler: str) -> None:
    headers = sorted((host_build.KERNELS / "include").glob("*.h"))
    (tmp_path / "all.cc").write_text("".join(f'#include "{header.name}"\n' for header in headers))
    flags = ["-std=c++11", *host_build.WARNINGS[1:], "-fsyntax-only"]
    command = [host_build.compiler(compiler), *flags, f"-I{host_build.KERNELS / 'include'}", "all.cc"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
