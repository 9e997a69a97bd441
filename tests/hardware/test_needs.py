"""What a module needs, against what the compiler makes of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedet.deploy.api import deploy
from edgedet.deploy.preflight import check
from edgedet.hardware.board import load_board
from edgedet.hardware.check import BoardCheck
from edgedet.hardware.measured import measured
from edgedet.hardware.needs import SMALL_BYTES
from edgedet.resources import resource_dir

FLAGS = {
    "cortex-m4": "-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16",
    "cortex-m55": "-mcpu=cortex-m55 -mfloat-abi=hard",
    "cortex-m0plus": "-mcpu=cortex-m0plus",
}


def check_on(model: Path, board: Path) -> BoardCheck:
    (found,) = check(model, (load_board(str(board)),)).checks
    return found


@pytest.mark.toolchain
@pytest.mark.parametrize(
    "core", ["cortex-m4", *(pytest.param(core, marks=pytest.mark.long) for core in ("cortex-m55", "cortex-m0plus"))]
)
def test_needs_are_what_a_built_deployment_takes(
    core: str, toy_model: Path, tmp_path: Path, small_board: Callable[..., Path], require_tool: Callable[..., str]
) -> None:
    """The library that the generated Makefile builds, measured by binutils."""
    compiler, size = require_tool("arm-none-eabi-gcc"), require_tool("arm-none-eabi-size")
    found = check_on(toy_model, small_board(10**7, 10**6, core))
    folder = tmp_path / "module"
    report = deploy(toy_model, "c99", folder)
    variables = [f"CC={compiler}", "AR=arm-none-eabi-ar", f"CFLAGS=-O2 -mthumb {FLAGS[core]}"]
    subprocess.run(["make", "-s", "-C", str(folder), *variables, "build/libedgedet.a"], check=True, capture_output=True)
    table = subprocess.run(
        [size, str(folder / "build" / "libedgedet.a")], capture_output=True, text=True, check=True
    ).stdout
    built: dict[str, int] = {}
    for line in table.splitlines()[1:]:
        text, data, bss, _, _, name = line.split()[:6]
        assert (data, bss) == ("0", "0"), line
        built[name] = int(text)
    del built["device.o"]  # the serial protocol: linked only into a firmware that serves it
    constants = built.pop("model_data.o")
    # The CRCs of the constants and their sizes stand beside them.
    assert found.part("weights").need.bytes <= constants <= found.part("weights").need.bytes + 64
    costs = measured().core(core)
    assert costs is not None
    code, predicted = sum(built.values()), found.part("code").need.bytes
    assert code <= predicted <= code * (1 + costs.code_error) ** 2 + SMALL_BYTES
    header = (folder / "model.h").read_text(encoding="utf-8")
    (arena,) = re.findall(r"#define EDGEDET_ARENA_BYTES (\d+)u", header)
    assert int(arena) == report.arena_bytes == found.part("arena").need.bytes


def test_measured_covers_every_kernel() -> None:
    """A new kernel: run bench/board_costs.py."""
    names = {path.stem for path in (resource_dir("kernels") / "src").glob("*.c")}
    for core in measured().cores:
        assert {kernel.name for kernel in core.kernels} >= names, "run bench/board_costs.py"


def test_needs_of_a_core_that_was_not_measured_say_so(toy_model: Path, small_board: Callable[..., Path]) -> None:
    found = check_on(toy_model, small_board(10**7, 10**6, "xtensa-lx7"))
    assert "because nothing was measured on xtensa-lx7" in found.part("code").need.basis
    assert found.time.instructions is None
    assert "nothing was measured on xtensa-lx7" in found.time.text()


@pytest.mark.parametrize("short", [0, 1])
def test_check_says_by_how_much_a_memory_is_too_small(
    short: int, toy_model: Path, small_board: Callable[..., Path]
) -> None:
    ample = check_on(toy_model, small_board(10**7, 10**7))
    ram = 10**7 - ample.part("arena").left_bytes
    flash = 10**7 - ample.part("weights").left_bytes
    found = check_on(toy_model, small_board(flash - short, ram - short))
    assert found.fits is not bool(short)
    assert found.missing == ({"flash": 1, "ram": 1} if short else {})
