"""The boards: every file loads, every figure says where it is from, and files of users are checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgedet.errors import ConfigError
from edgedet.hardware.board import ASSUMED, ROLES, all_boards, available_boards, board_keys, load_board
from edgedet.runtimes.qemu import BOARDS

MINE = """title = "My board"
chip = "a chip"

[core]
name = "cortex-m4"
clock_mhz = 100.0

[[memory]]
name = "flash"
kind = "flash"
bytes = 1048576
holds = ["code", "weights"]

[[memory]]
name = "ram"
kind = "ram"
bytes = 131072
holds = ["arena", "stack"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_available_boards_are_those_promised() -> None:
    assert available_boards() == (
        "alif_e7_dk", "ek_ra8d1", "esp32p4_function_ev", "grove_vision_ai_v2", "nano_33_ble", "nicla_vision",
        "nrf5340dk", "portenta_h7", "qemu_an386", "qemu_an500", "qemu_an505", "qemu_an547", "rpi_pico", "rpi_pico2",
        "stm32f746g_disco", "stm32h747i_disco", "stm32n6570_dk", "xiao_esp32s3",
    )  # fmt: skip


@pytest.mark.parametrize("name", available_boards())
def test_board_every_figure_has_a_source(name: str) -> None:
    board = load_board(name)
    for figure, source in board.sources():
        # A document and a place in it, or the word that says that there is none and what was done instead.
        assert len(source) > 20, figure
        assert "TODO" not in source
        if source.startswith(ASSUMED):
            assert "no figure was found" in source
    assert board.to_json()["core"]["path"] in ("plain", "dsp", "mve")


def test_board_sums_of_known_boards_are_those_of_their_documents() -> None:
    """Sizes that are easily looked up, against the sums of the regions."""
    expected_kib = {  # (flash without external, RAM without external)
        "nano_33_ble": (1024, 256), "nrf5340dk": (1024, 512), "rpi_pico": (0, 264), "rpi_pico2": (0, 520),
        "stm32f746g_disco": (1024, 320), "alif_e7_dk": (5632, 7680), "ek_ra8d1": (2016, 896),
    }  # fmt: skip
    for name, expected in expected_kib.items():
        memories = [memory for memory in load_board(name).memories if not memory.external]
        assert tuple(sum(m.bytes for m in memories if m.kind == kind) // 1024 for kind in ("flash", "ram")) == expected


def test_board_memories_of_emulated_boards_are_those_of_their_linker_scripts(repo_dir: Path) -> None:
    units = {"K": 1 << 10, "M": 1 << 20}
    for board in BOARDS.values():
        text = (repo_dir / "firmware_export" / "qemu" / board.linker_script).read_text(encoding="utf-8")
        lengths = re.findall(r"ORIGIN = (\w+), LENGTH = (\d+)([KM])", text)
        mine = load_board(f"qemu_{board.machine.partition('-')[2]}")
        assert mine.core.name == board.cpu
        found = {(re.search(r"0x[0-9a-f]+", memory.source)[0], memory.bytes) for memory in mine.memories}  # type: ignore[index]
        assert found == {(origin, int(size) * units[unit]) for origin, size, unit in lengths}


def test_load_board_of_a_user_without_sources_is_enough(tmp_path: Path) -> None:
    board = load_board(str(write(tmp_path, MINE)))
    assert (board.name, board.core.path, board.free_bytes("ram")) == ("mine", "dsp", 131072)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bytes = 131072", 'bytes = "128k"', "memory: bytes: expected int, got '128k'"),
        ("bytes = 131072", "bytes = 131072.5", "memory: bytes: expected int, got 131072.5"),
        ("bytes = 131072", "bytes = true", "memory: bytes: expected int, got True"),
        ("bytes = 131072", "bytes = 0", "memory ram: bytes must be in 1..1e.10, got 0"),
        ("bytes = 131072", f"bytes = {10**30}", "expected a whole number of at most 64 bits"),
        ("bytes = 131072", f"bytes = 1{'0' * 5000}", "not a valid TOML file"),
        ("bytes = 131072", "bytes = 131072\ntaken_bytes = 200000", "taken_bytes must be in 0..131072, got 200000"),
        ("bytes = 131072", "bytes = 131072\ntaken_bytes = 1", "taken_bytes and taken_by belong together"),
        ("bytes = 131072", "size = 1", "unknown keys size"),
        ("clock_mhz = 100.0", "clock_mhz = nan", "expected a finite number, got nan"),
        ("clock_mhz = 100.0", "clock_mhz = inf", "expected a finite number, got inf"),
        ("clock_mhz = 100.0", "clock_mhz = -1", "core.clock_mhz must be in 0.1..10000, got -1"),
        ("clock_mhz = 100.0", "clock = 100.0", r"unknown keys clock \(did you mean 'clock_mhz'\?\)"),
        ('name = "cortex-m4"', 'name = "cortex-m44"', r"core.name must be one of .* \(did you mean 'cortex-m4'\?\)"),
        ('kind = "ram"', 'kind = "sram"', "kind must be one of flash, ram"),
        ('"arena", "stack"', '"arena"', "none holds the stack"),
        ('"arena", "stack"', '"arena", "arena"', "each once"),
        ('"code", "weights"', '"code", "arena"', "flash can't hold the arena"),
        ('holds = ["arena", "stack"]', 'holds = "arena"', "holds: expected a list, got 'arena'"),
        ('name = "ram"', 'name = "flash"', "flash stands there 2 times"),
        ('name = "ram"', 'name = "../ram"', "memory.name must be lower-case letters"),
        ('chip = "a chip"', 'chip = "a\\ud800"', "not a valid TOML file"),
        ('title = "My board"', "", "missing keys title"),
        ('title = "My board"', 'title = "My \\u001b[31mboard"', "without line ends and control characters"),
        ("[core]", "[core", "not a valid TOML file"),
    ],
)
def test_load_board_wrong_file_names_the_place(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in MINE
    path = write(tmp_path, MINE.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message) as caught:
        load_board(str(path))
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_load_board_large_or_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at most 65536 bytes"):
        load_board(str(write(tmp_path, MINE + "#" * 70_000)))
    with pytest.raises(ConfigError, match="no such file"):
        load_board(str(tmp_path / "absent.toml"))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("nicla-vision", "did you mean 'nicla_vision'"),
        ("Portenta H7", "did you mean 'portenta_h7'"),
        ("rp2350", "did you mean 'rpi_pico2'"),
        ("stm32h747", "did you mean 'nicla_vision' or 'portenta_h7' or 'stm32h747i_disco'"),
        ("nRF52840", "did you mean 'nano_33_ble'"),
    ],
)
def test_load_board_unknown_name_says_what_was_meant(typed: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=meant):
        load_board(typed)


def test_board_keys_are_in_the_documentation(repo_dir: Path) -> None:
    text = (repo_dir / "docs" / "boards.md").read_text(encoding="utf-8")
    for keys in board_keys().values():
        assert all(f"`{key}`" in text for key in keys), keys
    assert all(f"`{role}`" in text for role in ROLES)


def test_all_boards_are_sorted_and_told_apart() -> None:
    names = [board.name for board in all_boards()]
    assert names == sorted(set(names))
