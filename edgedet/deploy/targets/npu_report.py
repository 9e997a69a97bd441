"""What `deploy` says of a network on an NPU."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from edgedet.npu.compiled import OnCpu
from edgedet.npu.cores import NpuSetup
from edgedet.npu.figures import NpuFigures

_NAMED = 5  # operators on the CPU that are named; the manifest has all


@dataclass(frozen=True)
class NpuReport:
    """Where the operators run, and Vela's estimates."""

    setup: NpuSetup
    vela_version: str
    figures: NpuFigures
    on_npu: int  # operators of the file
    on_cpu: tuple[OnCpu, ...]
    cache_bytes: int  # SRAM of the NPU's own; 0: it has none
    source_bytes: int  # of the file before Vela

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict."""
        preset = self.setup.preset
        return {
            "target": self.setup.target,
            "system_config": self.setup.system_config,
            "memory_mode": self.setup.memory_mode,
            "optimise": self.setup.optimise,
            "preset": None if preset is None else {"name": preset.name, "sources": list(preset.sources)},
            "vela": self.vela_version,
            "operators_on_npu": self.on_npu,
            "operators_on_cpu": [{"kind": o.kind, "name": o.name, "reason": o.reason} for o in self.on_cpu],
            "cache_bytes": self.cache_bytes,
            "estimate": self.figures.to_json(),
        }

    def lines(self) -> list[str]:
        """Lines for a terminal, without their ends."""
        figures, setup = self.figures, self.setup
        clock = f"{figures.clock_hz / 1e6:g} MHz"
        lines = [
            f"NPU:       {self.on_npu} of {self.on_npu + len(self.on_cpu)} operators"
            + (", none on the CPU" if not self.on_cpu else ""),
            *self._cpu_lines(),
            f"estimate:  {figures.cycles:,} cycles, {figures.milliseconds:.1f} ms at {clock} (Vela's, not measured"
            + ("; without the operators on the CPU)" if self.on_cpu else ")"),
            f"           {figures.npu_cycles:,} of arithmetic, {figures.flash_cycles:,} of reading the flash beside it",
            f"memory:    {figures.sram_bytes:,} bytes of SRAM, {figures.flash_bytes:,} of flash"
            + (f", {figures.dram_bytes:,} of DRAM" if figures.dram_bytes else ""),
            f"           weights {figures.weights_bytes:,} bytes, {figures.encoded_bytes:,} as the NPU reads them",
            f"Vela:      {self.vela_version}, {setup.system_config}, {setup.memory_mode}, for {setup.optimise}",
        ]
        if self.cache_bytes:
            lines.append(f"           {self.cache_bytes:,} bytes of SRAM are the NPU's own")
        return lines

    def _cpu_lines(self) -> list[str]:
        if not self.on_cpu:
            return []
        counts = Counter(one.kind for one in self.on_cpu)
        lines = [f"CPU:       {', '.join(f'{kind} {count}' for kind, count in sorted(counts.items()))}"]
        for one in self.on_cpu[:_NAMED]:
            lines.append(f"           {one.kind} {one.name!r}: {one.reason or 'Vela gives no reason'}"[:240])
        if len(self.on_cpu) > _NAMED:
            lines.append(f"           and {len(self.on_cpu) - _NAMED} more, in the manifest")
        return lines
