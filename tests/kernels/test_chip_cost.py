"""Instructions and code size on emulated Cortex-M: counted, hence repeatable."""

from __future__ import annotations

import subprocess
from pathlib import Path

import chip_run
import numpy as np
import pytest

host_build = chip_run.host_build
operator_cases = chip_run.load("operator_cases")

pytestmark = pytest.mark.toolchain

# Measured, with 5 % of room: instructions per MAC. CMSIS-NN over the whole nano detector: 2.02 (M4) and 0.298 (M55).
LIMITS = {
    "cortex-m4": {"conv 3x3": 0.93, "conv 1x1": 1.20, "depthwise 5x5": 3.5},
    "cortex-m55": {"conv 3x3": 0.157, "conv 1x1": 0.29, "depthwise 5x5": 0.95},
}
# All network operators of a type of activations, measured with some room; generated code takes the ones that it needs.
CODE_LIMITS_BYTES = {"*_s8.c": 22_000, "*_s16.c": 8_000}


def typical_cases() -> dict:
    """Layers of the nano detector, ReLU6 behind each."""
    rng = np.random.default_rng(0)
    relu = {"limits": (-128, 127), "out_zero_point": -128, "zero_point": -128}
    return {
        "conv 3x3": operator_cases.conv(rng, (24, 24, 64), (3, 3), 64, **relu),
        "conv 1x1": operator_cases.conv(rng, (24, 24, 64), (1, 1), 64, **relu),
        "depthwise 5x5": operator_cases.conv(rng, (24, 24, 32), (5, 5), 32, depthwise=True, **relu),
    }


@pytest.mark.parametrize("target", sorted(LIMITS))
def test_convolutions_on_chip_stay_within_their_instructions(tmp_path: Path, target: str) -> None:
    named = typical_cases()
    results = chip_run.build_chip(tmp_path, target).run(list(named.values()), tmp_path)
    for (name, case), result in zip(named.items(), results, strict=True):
        assert np.array_equal(result.output, case.expected)
        per_mac = result.ticks * chip_run.TARGETS[target].instructions_per_tick / case.macs
        assert per_mac <= LIMITS[target][name], f"{name}: {per_mac:.3f} instructions per MAC"


@pytest.mark.parametrize("sources", CODE_LIMITS_BYTES)
@pytest.mark.parametrize("target", sorted(chip_run.TARGETS))
def test_operators_code_stays_within_its_bytes(tmp_path: Path, target: str, sources: str) -> None:
    total = 0
    for source in host_build.kernel_sources(sources):
        options = (*chip_run.TARGETS[target].options, "-mthumb", "-O2", "-c")
        program = host_build.compiler("arm-none-eabi-gcc")
        compiled = host_build.compile_c(program, options, [source], tmp_path / f"{source.stem}.o")
        size = host_build.compiler("arm-none-eabi-size")
        listing = subprocess.run([size, str(compiled)], capture_output=True, text=True, check=True).stdout
        text, data, bss = (int(word) for word in listing.splitlines()[1].split()[:3])
        assert (data, bss) == (0, 0), f"{source.name} has globals that change"
        total += text
    assert total <= CODE_LIMITS_BYTES[sources], f"{total} bytes"
