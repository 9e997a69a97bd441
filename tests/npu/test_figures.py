from __future__ import annotations

from dataclasses import replace

import pytest

from edgedet.errors import ToolchainError
from edgedet.npu.figures import LayerCost, VelaOutput, read_figures

COLUMNS = {  # as Vela 5.2 wrote them for rtmdet_pico_relu6, and columns that nobody reads
    "experiment": "default", "core_clock": "400000000.0", "sram_memory_used": "180.65625", "dram_memory_used": "0.0",
    "on_chip_flash_memory_used": "0.0", "off_chip_flash_memory_used": "370.296875",
    "total_original_weights": "334048", "total_npu_encoded_weights": "339568", "nn_macs": "41730048",
    "cycles_npu": "2887143", "cycles_on_chip_flash_access": "0", "cycles_off_chip_flash_access": "1762048",
    "cycles_total": "3257307",
}  # fmt: skip
LAYERS = (
    "Original Operator,NNG Operator,Target,Op Cycles,MAC Count,Name\n"
    "Conv2D,Conv2D,NPU,112462,995328,stem\n"
    "Conv2D,Relu6,NPU,74426,36864,a, b\n"
    "c\n"
)


def output(columns: dict[str, str]) -> VelaOutput:
    return VelaOutput(f"{','.join(columns)}\n{','.join(columns.values())}\n", LAYERS, {})


def test_read_figures_gives_bytes_cycles_and_milliseconds() -> None:
    figures = read_figures(output(COLUMNS), "5.2.0")
    assert (figures.sram_bytes, figures.flash_bytes, figures.dram_bytes) == (184_992, 379_184, 0)
    assert (figures.cycles, figures.npu_cycles, figures.flash_cycles) == (3_257_307, 2_887_143, 1_762_048)
    assert figures.milliseconds == 3_257_307 / 400_000
    assert figures.layers[1] == LayerCost("Conv2D", "Relu6", "a, b\nc", 74_426, 36_864)  # Vela quotes nothing
    assert figures.cycles_of("Conv2D") == 186_888
    assert figures.to_json()["milliseconds"] == figures.milliseconds


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({k: v for k, v in COLUMNS.items() if k != "cycles_total"}, "no column 'cycles_total'"),
        ({**COLUMNS, "cycles_total": "many"}, "could not convert string to float: 'many'"),
        ({**COLUMNS, "core_clock": "nan"}, "core_clock is nan"),
        ({**COLUMNS, "nn_macs": "-1"}, "nn_macs is -1"),
    ],
)
def test_read_figures_of_another_version_is_an_error(columns: dict[str, str], words: str) -> None:
    with pytest.raises(ToolchainError, match=r"the tables of Vela 9 were not understood") as error:
        read_figures(output(columns), "9")
    assert words in str(error.value)


@pytest.mark.parametrize("layers", ["", "Original Operator,Name\nConv2D", LAYERS.replace("112462", "inf")])
def test_read_figures_broken_layers_are_an_error(layers: str) -> None:
    with pytest.raises(ToolchainError, match="not understood"):
        read_figures(replace(output(COLUMNS), layers=layers), "9")
