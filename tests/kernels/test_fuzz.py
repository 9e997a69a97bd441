"""Bounded fuzzing of preprocessing and detection under AddressSanitizer and UndefinedBehaviorSanitizer.

For a longer run: build as below and start the program with another -max_total_time (libFuzzer) or number of seconds.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import host_build
import pytest

HERE = Path(__file__).parent
SOURCES = {
    "preprocess": ("edk_preprocess*.c", "edk_place_image.c"),
    "detect": ("edk_detect.c", "edk_detect_scratch_bytes.c", "edk_image_box.c"),
    "detect_rows": ("edk_detect_rows.c", "edk_detect_scratch_bytes.c", "edk_image_box.c"),
}
SECONDS = 2

pytestmark = [pytest.mark.toolchain, pytest.mark.slow]


def run(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=20 * SECONDS, check=False
    )
    report = (result.stdout + result.stderr)[-4000:]
    assert result.returncode == 0, f"{command[0]} found a crash; its input is in {folder} if libFuzzer ran\n{report}"
    return report


@pytest.mark.parametrize("target", sorted(SOURCES))
def test_fuzz_with_coverage_guidance_finds_nothing(target: str, tmp_path: Path) -> None:
    clang = host_build.compiler("clang")
    sources = [HERE / f"fuzz_{target}.c", *host_build.kernel_sources(*SOURCES[target])]
    options = (*host_build.SANITIZERS, "-fsanitize=fuzzer")
    program = host_build.compile_c(clang, options, sources, tmp_path / f"fuzz_{target}")
    report = run(
        [str(program), "-seed=1", f"-max_total_time={SECONDS}", "-max_len=4096", "-print_final_stats=1"], tmp_path
    )
    units = int(report.split("stat::number_of_executed_units:")[1].split()[0])
    assert units > 100


@pytest.mark.parametrize("target", sorted(SOURCES))
def test_fuzz_with_random_bytes_finds_nothing(target: str, tmp_path: Path) -> None:
    program = host_build.compiler("gcc", "clang", "cc")
    sources = [HERE / "fuzz_main.c", HERE / f"fuzz_{target}.c", *host_build.kernel_sources(*SOURCES[target])]
    driver = host_build.compile_c(program, host_build.SANITIZERS, sources, tmp_path / f"fuzz_{target}")
    runs = int(run([str(driver), "3", "7"], tmp_path).split("Done ")[1].split()[0])
    assert runs > 10
