from __future__ import annotations

from pathlib import Path

import chip_run
import numpy as np
import pytest

host_build, kernel_cases = chip_run.host_build, chip_run.kernel_cases
operator_cases, more_cases = chip_run.load("operator_cases"), chip_run.load("more_cases")

pytestmark = pytest.mark.toolchain

CASES = [*operator_cases.all_cases(seed=0), *more_cases.all_cases(seed=0)]


def differences(results: list) -> list[str]:
    """What went wrong, a line for each case that did."""
    lines = []
    for case, result in zip(CASES, results, strict=True):
        if result.status != 0 or result.output.shape != case.expected.shape:
            lines.append(f"{case.name}: status {result.status}, {result.output.size} of {case.expected.size} bytes")
            continue
        wrong = np.flatnonzero(result.output != case.expected)
        if wrong.size:
            lines.append(
                f"{case.name}: {wrong.size} of {case.expected.size} differ, first at {wrong[0]}: "
                f"{result.output[wrong[0]]} instead of {case.expected[wrong[0]]}"
            )
    return lines


@pytest.mark.parametrize(
    ("compiler", "options"),
    [
        ("gcc", host_build.HOST),
        ("gcc", ("-O3",)),
        ("clang", ("-O2",)),
        ("gcc", host_build.SANITIZERS),
        pytest.param("gcc", (*host_build.SANITIZERS, *host_build.HOST), marks=pytest.mark.long),
        ("clang", host_build.INTEGER_SANITIZERS),
        ("clang", host_build.MEMORY_SANITIZER),
    ],
    ids=["native", "gcc-O3", "clang", "sanitizers", "sanitizers-native", "integer-sanitizers", "memory-sanitizer"],
)
def test_operators_on_host_are_bit_exact(tmp_path: Path, compiler: str, options: tuple[str, ...]) -> None:
    runner = chip_run.build_host(tmp_path, compiler, options)
    assert differences(runner.run(CASES, tmp_path)) == []


@pytest.mark.parametrize("target", [*sorted(chip_run.TARGETS), *sorted(chip_run.CLANG_TARGETS)])
@pytest.mark.parametrize("options", [("-O2",), pytest.param(("-Os",), marks=pytest.mark.long)], ids=["O2", "Os"])
def test_operators_on_chip_are_bit_exact(tmp_path: Path, target: str, options: tuple[str, ...]) -> None:
    runner = chip_run.build_chip(tmp_path, target, options)
    assert differences(runner.run(CASES, tmp_path)) == []
