"""What Vela says of a compiled network, out of its tables."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgedet.errors import ToolchainError

_KIB = 1024


@dataclass(frozen=True)
class VelaOutput:
    """The text of Vela's files, and why it left operators to the CPU."""

    summary: str  # CSV: one row
    layers: str  # CSV: a row for each operator that is left after its rewriting
    reasons: Mapping[str, str]  # name of the tensor that an operator writes -> reason


@dataclass(frozen=True)
class LayerCost:
    """One operator of Vela's own graph."""

    original: str  # operator of the file that it comes from, Vela's word: Conv2D
    operation: str  # what the NPU does for it: Conv2D, Relu6, MemoryCopy
    name: str  # of the tensor in the file
    cycles: int
    macs: int


@dataclass(frozen=True)
class NpuFigures:
    """Estimates of the compiler, of one inference."""

    clock_hz: float
    cycles: int
    npu_cycles: int  # of the arithmetic; the rest waits for memory
    flash_cycles: int  # accesses of the flash, which run beside the arithmetic as far as they can
    macs: int
    sram_bytes: int  # activations, and with mode Sram_Only not the model
    dram_bytes: int
    flash_bytes: int  # model: weights, scales and commands
    weights_bytes: int  # of the file
    encoded_bytes: int  # of them, as the NPU reads them
    layers: tuple[LayerCost, ...]
    reasons: Mapping[str, str]  # as of VelaOutput

    @property
    def milliseconds(self) -> float:
        """Of the operators on the NPU; those on the CPU are not in Vela's estimate."""
        return 1e3 * self.cycles / self.clock_hz

    def cycles_of(self, original: str) -> int:
        """Cycles of all operators of a kind of the file, Vela's word."""
        return sum(layer.cycles for layer in self.layers if layer.original == original)

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict, without the layers."""
        content = asdict(self)
        del content["layers"], content["reasons"]
        return {**content, "milliseconds": self.milliseconds}


def read_figures(output: VelaOutput, version: str) -> NpuFigures:
    """Read Vela's tables.

    Args:
        output: texts.
        version: of Vela, for errors.
    Raises:
        ToolchainError: a column is missing or holds something else, as of another version.
    """
    try:
        (row,) = csv.DictReader(io.StringIO(output.summary))
        flash = _number(row, "on_chip_flash_memory_used") + _number(row, "off_chip_flash_memory_used")
        return NpuFigures(
            clock_hz=_number(row, "core_clock"),
            cycles=round(_number(row, "cycles_total")),
            npu_cycles=round(_number(row, "cycles_npu")),
            flash_cycles=round(
                _number(row, "cycles_on_chip_flash_access") + _number(row, "cycles_off_chip_flash_access")
            ),
            macs=round(_number(row, "nn_macs")),
            sram_bytes=round(_number(row, "sram_memory_used") * _KIB),
            dram_bytes=round(_number(row, "dram_memory_used") * _KIB),
            flash_bytes=round(flash * _KIB),
            weights_bytes=round(_number(row, "total_original_weights")),
            encoded_bytes=round(_number(row, "total_npu_encoded_weights")),
            layers=_layers(output.layers),
            reasons=output.reasons,
        )
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        words = f"no column {error}" if isinstance(error, KeyError) else str(error)
        raise ToolchainError(
            f"the tables of Vela {version} were not understood ({words}); take the version in constraints.txt"
        ) from error


def _number(row: Mapping[str, Any], column: str) -> float:
    value = float(row[column])
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{column} is {row[column]}")
    return value


def _layers(text: str) -> tuple[LayerCost, ...]:
    """Rows of a table that quotes nothing: the name is the last column, and may hold commas and ends of lines."""
    header, *lines = text.splitlines()
    columns = header.split(",")
    found: list[LayerCost] = []
    for line in lines:
        cells = line.split(",", len(columns) - 1)
        if len(cells) < len(columns) and found:
            found[-1] = replace(found[-1], name=f"{found[-1].name}\n{line}")
            continue
        row = dict(zip(columns, cells, strict=True))
        cycles, macs = round(_number(row, "Op Cycles")), round(_number(row, "MAC Count"))
        found.append(LayerCost(row["Original Operator"], row["NNG Operator"], row["Name"].strip(), cycles, macs))
    return tuple(found)
