"""A board that is too small for most."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

TEXT = """title = "Small board"
chip = "a chip"

[core]
name = "{core}"
clock_mhz = 100.0

[[memory]]
name = "flash"
kind = "flash"
bytes = {flash}
holds = ["code", "weights"]

[[memory]]
name = "ram"
kind = "ram"
bytes = {ram}
holds = ["arena", "stack"]
"""


@pytest.fixture
def small_board(tmp_path: Path) -> Callable[..., Path]:
    """Function of flash and RAM in bytes: path of a board's TOML."""

    def make(flash: int, ram: int, core: str = "cortex-m4") -> Path:
        path = tmp_path / "small.toml"
        path.write_text(TEXT.format(flash=flash, ram=ram, core=core), encoding="utf-8")
        return path

    return make
