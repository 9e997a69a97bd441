"""Running images: what a firmware leaves behind, and what it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgedet.errors import ConfigError, ToolchainError
from edgedet.resources import resource_dir
from edgedet.runtimes.qemu import BOARDS, Firmware, Sizes, board_of, run_firmware
from edgedet.runtimes.toolchain import run_program

pytestmark = pytest.mark.toolchain

# Ends with exit status 0 after reversing input.bin into output.bin, 4 bytes an image and one tick each.
REVERSING = """
#include <stdint.h>
#include "semihosting.h"
int main(void)
{
    const int input = semihosting_open("input.bin", 0);
    const int output = semihosting_open("output.bin", 1), times = semihosting_open("ticks.bin", 1);
    uint8_t codes[4];
    const uint64_t ticks = 3;
    while (semihosting_read(input, codes, 4)) {
        const uint8_t reversed[4] = {codes[3], codes[2], codes[1], codes[0]};
        semihosting_write(output, reversed, 4);
        semihosting_write(times, &ticks, 8);
    }
    semihosting_close(output);
    semihosting_close(times);
    return 0;
}
"""
SILENT = "int main(void) { return 0; }"


@pytest.fixture
def build(tmp_path: Path, require_tool: Callable[..., str]) -> Callable[[str, str], Firmware]:
    """Function of a name and a program: an image of it for Cortex-M4 in tmp_path."""
    gcc = require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    board, template = BOARDS["cortex-m4"], resource_dir("firmware_export") / "qemu"

    def make(name: str, program: str) -> Firmware:
        (tmp_path / f"{name}.c").write_text(program, encoding="utf-8")
        sources = [f"{name}.c", str(template / "startup.c"), str(template / "semihosting.c")]
        flags = [*board.flags, "-mthumb", "-O1", "-nostartfiles", "--specs=nano.specs", "--specs=nosys.specs"]
        flags += [f"-I{template}", f"-L{template}", "-T", board.linker_script]
        run_program([gcc, *flags, "-o", f"{name}.elf", *sources], tmp_path, 60.0)
        return Firmware(board, tmp_path, tmp_path / f"{name}.elf", Sizes(0, 0, 0, 0, 0))

    return make


def test_run_firmware_returns_outputs_and_instructions_of_every_image(build: Callable[[str, str], Firmware]) -> None:
    outputs, instructions = run_firmware(build("reversing", REVERSING), [b"abcd", b"1234"], 4)
    assert outputs == [b"dcba", b"4321"]
    assert instructions.tolist() == [[120.0], [120.0]]  # 3 ticks of 40


def test_run_firmware_that_writes_nothing_does_not_answer_with_an_earlier_run(
    build: Callable[[str, str], Firmware],
) -> None:
    assert run_firmware(build("reversing", REVERSING), [b"abcd"], 4)[0] == [b"dcba"]
    silent = build("silent", SILENT)
    with pytest.raises(ToolchainError, match=r"silent\.elf: expected 4 bytes .* for 1 images, found 0 and 0 times"):
        run_firmware(silent, [b"efgh"], 4)


def test_run_firmware_that_fails_leaves_no_earlier_results(build: Callable[[str, str], Firmware]) -> None:
    firmware = build("reversing", REVERSING)
    run_firmware(firmware, [b"abcd"], 4)
    with pytest.raises(ToolchainError, match="qemu-system-arm failed with exit status 1"):
        run_firmware(replace(firmware, elf=firmware.folder / "absent.elf"), [b"efgh"], 4)
    assert not (firmware.folder / "output.bin").exists()
    assert not (firmware.folder / "ticks.bin").exists()


def test_board_of_unknown_processor_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="QEMU runs cortex-m4, cortex-m7, cortex-m55; got 'cortex-m0'"):
        board_of("cortex-m0")
