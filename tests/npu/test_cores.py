from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgedet.errors import ConfigError
from edgedet.npu.cores import ARM_CONFIG, NPU_TARGETS, PRESETS, NpuOptions, choose_target, npu_setup

BOARD = """[System_Config.Mine]
core_clock=250e6
axi0_port=Sram
axi1_port=OffChipFlash
[Memory_Mode.Flash]
const_mem_area=Axi1
"""


@pytest.mark.parametrize("target", NPU_TARGETS)
def test_npu_setup_without_options_takes_a_microcontroller_of_the_family(target: str) -> None:
    setup = npu_setup(target, NpuOptions())
    assert (setup.config, setup.memory_mode) == (ARM_CONFIG, "Shared_Sram")
    assert setup.system_config.startswith(f"Ethos_{setup.family.upper()}_")
    assert f"ethos-{setup.family}-{setup.macs}" == target


def test_npu_setup_preset_brings_file_system_and_mode() -> None:
    preset = PRESETS["grove-vision-ai-v2"]
    setup = npu_setup("ethos-u55-64", NpuOptions(preset=preset.name))
    text = Path(setup.config).read_text(encoding="utf-8")
    assert f"[System_Config.{setup.system_config}]\ncore_clock=400e6\n" in text
    assert f"[Memory_Mode.{setup.memory_mode}]" in text
    assert setup.preset == preset


def test_npu_setup_own_file_is_named_absolutely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("board.ini").write_text(BOARD)
    setup = npu_setup("ethos-u55-32", NpuOptions("Flash", "Mine", Path("board.ini")))
    assert setup.config == str(tmp_path / "board.ini")  # Vela runs in another folder


@pytest.mark.parametrize(
    ("target", "options", "words"),
    [
        ("ethos-u55-65", NpuOptions(), "unknown NPU 'ethos-u55-65': expected one of .* (did you mean 'ethos-u55-64'?)"),
        ("ethos-u55-64", NpuOptions(memory_mode="Shared"), "unknown memory mode 'Shared'"),
        ("ethos-u55-64", NpuOptions(memory_mode="Dedicated_Sram"), "which Ethos-U55 can't use; take Shared_Sram"),
        ("ethos-u65-256", NpuOptions(system_config="Ethos_U55_X"), "'Ethos_U55_X' is none of an Ethos-U65"),
        ("ethos-u55-64", NpuOptions(system_config="a\nb"), "is no name of a section"),
        ("ethos-u55-64", NpuOptions(preset="grove"), "unknown preset 'grove'"),
        ("ethos-u55-32", NpuOptions(preset="grove-vision-ai-v2"), "has target ethos-u55-64, not ethos-u55-32"),
        (
            "ethos-u55-64",
            NpuOptions("Sram_Only", preset="grove-vision-ai-v2"),
            "brings system and memory mode; leave out",
        ),
        ("ethos-u55-64", NpuOptions(vela_config=Path("b.txt")), "end with .ini only"),
        ("ethos-u55-64", NpuOptions(vela_config=Path("absent.ini")), "absent.ini: no such file"),
        ("ethos-u55-64", NpuOptions(vela_config=Path("board.ini")), "name one of each with `system_config`"),
        ("ethos-u55-64", NpuOptions("Flash", "Other", Path("board.ini")), "no section [System_Config.Other]"),
        ("ethos-u55-64", NpuOptions("Flash", "Mine", Path("broken.ini")), "not a configuration file of Vela"),
    ],
)
def test_npu_setup_wrong_option_is_one_sentence(
    target: str, options: NpuOptions, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("board.ini").write_text(BOARD)
    Path("broken.ini").write_text("core_clock=1\n[")
    with pytest.raises(ConfigError) as error:
        npu_setup(target, options)
    assert re.search(re.escape(words).replace(r"\.\*", ".*"), str(error.value)), str(error.value)
    assert "\n" not in str(error.value)


def test_choose_target_preset_names_it() -> None:
    grove = NpuOptions(preset="grove-vision-ai-v2")
    assert choose_target(None, NpuOptions(), "tflm") == "tflm"
    assert choose_target("c99", NpuOptions(), "tflm") == "c99"
    assert choose_target(None, grove, "tflm") == choose_target("ethos-u55-64", grove, "tflm") == "ethos-u55-64"
    with pytest.raises(ConfigError, match="has target ethos-u55-64, not tflm"):
        choose_target("tflm", grove, "tflm")


def test_options_of_a_wrong_kind_are_named_when_they_are_made(tmp_path: Path) -> None:
    assert NpuOptions(vela_config=str(tmp_path / "board.ini")).vela_config == tmp_path / "board.ini"  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="`optimise` 'speed': expected one of performance, size"):
        NpuOptions(optimise="speed")
    for options in ({"preset": 3}, {"memory_mode": b"x"}, {"system_config": 1.5}, {"vela": 3}, {"vela_config": 3}):
        with pytest.raises(ConfigError, match=f"^`{next(iter(options))}`.*: expected"):
            NpuOptions(**options)  # type: ignore[arg-type]
