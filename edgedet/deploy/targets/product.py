"""A deployment in memory, what a target returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edgedet.codegen.program import Program
from edgedet.deploy.golden import Scene
from edgedet.deploy.targets.npu_report import NpuReport
from edgedet.graph.model import Int8Model
from edgedet.graph.tflm_ops import OperatorUse
from edgedet.runtimes.tflm_arena import ArenaReport


@dataclass(frozen=True)
class Product:
    """A deployment in memory."""

    sources: dict[str, str]  # path in the folder -> text
    manifest: dict[str, Any]
    model_bytes: int
    operators: tuple[OperatorUse, ...]
    arena_bytes: int
    golden_source: str
    arena: ArenaReport | None = None
    program: Program | None = None  # of generated C
    model: Int8Model | None = None  # that the program was made of, with its contracts
    has_contract: bool = False
    decoder: str = ""  # what decodes the outputs in edgedet_run(), or why nothing does; empty: there are no contracts
    unchecked: str = ""  # why the golden outputs are TFLite Micro's alone; empty: the simulator gives the same
    notes: tuple[str, ...] = ()  # what was changed in the file
    scene: Scene | None = None  # the golden picture; None: without contracts nobody knows what a picture means to it
    binaries: dict[str, bytes] = field(default_factory=dict)  # path in the folder -> bytes, beside the texts
    npu: NpuReport | None = None  # targets ethos-u...

    @property
    def constant_bytes(self) -> int:
        """In the flash, without code: weights and other constants of generated C, else the model."""
        return int(self.manifest.get("weights_bytes", self.model_bytes))
