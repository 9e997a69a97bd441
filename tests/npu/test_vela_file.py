"""Vela's systems and memory modes: what there is, and a user's file with faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.errors import ConfigError
from edgedet.npu.cores import NpuOptions, npu_setup
from edgedet.npu.vela_file import SYSTEM, arm_sections, check_vela_file, vela_text

GOOD = """[System_Config.Base]
axi0_port=Sram
axi1_port=OffChipFlash
OffChipFlash_clock_scale=0.5
[System_Config.Mine]
inherit=System_Config.Base
core_clock=250e6
[Memory_Mode.Flash]
const_mem_area=Axi1
arena_mem_area=Axi0
cache_mem_area=Axi0
"""


def test_check_vela_file_sound_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "board.ini"
    path.write_text(GOOD)
    assert check_vela_file(path, "Mine", "Flash") == ("Mine", "Flash")
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())  # as Windows' editor saves it
    assert check_vela_file(path, "Mine", "Flash") == ("Mine", "Flash")
    assert vela_text(path).startswith("[System")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("250e6", "fast", "[System_Config.Mine]: core_clock must be a positive number, got 'fast'"),
        ("250e6", "0", "core_clock must be a positive number, got '0'"),
        ("250e6", "inf", "core_clock must be a positive number, got 'inf'"),
        ("core_clock=250e6\n", "", "[System_Config.Mine] has no core_clock"),
        ("core_clock", "core_clok", "unknown key 'core_clok' (did you mean 'core_clock'?)"),
        ("=Sram", "=Ram", "[System_Config.Base]: axi0_port must be one of Sram, Dram, OnChipFlash, OffChipFlash"),
        ("=Axi1", "=Axi7", "[Memory_Mode.Flash]: const_mem_area must be Axi0 or Axi1, got 'Axi7'"),
        ("0.5", "%(nothing)s", "[System_Config.Base]: offchipflash_clock_scale: Bad value substitution"),
        ("=System_Config.Base", "=System_Config.Bas", "inherits 'System_Config.Bas', which is no section of the file"),
        ("=System_Config.Base", "=System_Config.Mine", "sections inherit from each other more than 8 times"),
        (
            ".Mine]",
            ".Mined]",
            "no section [System_Config.Mine] for `system_config` (did you mean 'Mined'?); it has Base,",
        ),
        ("[Memory_Mode.Flash]", "", "no section [Memory_Mode.Flash] for `memory_mode`; it has none of that kind"),
        ("[System_Config.Base]", "clock=1", "not a configuration file of Vela (File contains no section headers"),
    ],
)
def test_check_vela_file_fault_is_one_sentence_that_names_file_and_section(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "board.ini"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as error:
        check_vela_file(path, "Mine", "Flash")
    assert str(error.value).startswith(f"{path}: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_names_to_choose_from_are_listed(tmp_path: Path) -> None:
    path = tmp_path / "board.ini"
    path.write_text(GOOD)
    with pytest.raises(ConfigError, match=r"`system_config` \(Base, Mine\) and `memory_mode` \(Flash\)"):
        check_vela_file(path, "Mine", None)
    pytest.importorskip("ethosu.vela", reason="needs the extra vela")
    known = [name for name in arm_sections(SYSTEM) if "U55" in name]
    assert "Ethos_U55_Deep_Embedded" in known
    with pytest.raises(ConfigError) as error:
        npu_setup("ethos-u55-64", NpuOptions(system_config="Ethos_U55_High_End_Embeded"))
    assert f"expected one of {', '.join(known)} (did you mean 'Ethos_U55_High_End_Embedded'?)" in str(error.value)
    with pytest.raises(ConfigError, match=r"unknown memory mode 'Shared_Sra'.*\(did you mean 'Shared_Sram'\?\)"):
        npu_setup("ethos-u55-64", NpuOptions(memory_mode="Shared_Sra"))
    other = NpuOptions(system_config="Ethos_U55_Later", vela=Path("vela"))  # another Vela, which may have another file
    assert npu_setup("ethos-u55-64", other).system_config == "Ethos_U55_Later"
