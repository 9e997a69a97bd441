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
