"""Target tflm: any `.tflite` that TFLite Micro runs, as sources around its interpreter."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.codegen.module_name import ModuleName
from edgedet.codegen.templates import require_jinja2
from edgedet.deploy.golden import Golden, check_equal, golden_origin, golden_scene
from edgedet.deploy.output_folder import FORMAT, FORMAT_VERSION, file_table, sha256
from edgedet.deploy.targets.product import Product
from edgedet.deploy.targets.tflm_plan import PLAN_NAME, least_bytes, with_offline_plan
from edgedet.deploy.targets.tflm_source import (
    TflmSource,
    golden_entry,
    read_source,
    simulate_source,
    source_inputs,
)
from edgedet.deploy.targets.tflm_sources import TflmModel, render_sources
from edgedet.errors import ConfigError, ConversionError, ToolchainError
from edgedet.graph.flatbuffer import bytes_inside, serialize
from edgedet.graph.graph import Graph
from edgedet.graph.tflm_ops import OperatorUse, operators_used
from edgedet.runtimes.protocol import decode_raw
from edgedet.runtimes.tflm_arena import ArenaReport, measure_arena, require_tflite_micro


@dataclass(frozen=True, eq=False)
class _Measured:
    """What goes onto the chip, and what TFLite Micro made of it on the host."""

    data: bytes
    graph: Graph
    arena: ArenaReport
    outputs: tuple[np.ndarray, ...]  # in the order of the file


def deploy_tflm(path: Path, ram_bytes: int | None, image: Path | None, seed: int, name: ModuleName) -> Product:
    """Target tflm; arguments and errors as in `edgedet.deploy.api.deploy`."""
    require_jinja2("tflm")
    require_tflite_micro()
    source = read_source(path, image)
    operators = operators_used(source.graph, str(path))
    inputs = source_inputs(source, image, seed)
    simulated, refusal = simulate_source(source, inputs)
    measured = _measure(source, inputs)
    check_ram(measured.arena, ram_bytes)
    outputs = source.ordered(measured.outputs)
    if simulated is not None:
        check_equal(source.output_names, source.ordered(simulated), outputs)
    golden = Golden(golden_origin(image, seed), inputs, outputs, refusal)
    chip = TflmModel(
        measured.data, measured.graph, source.model, sha256(source.data), operators, measured.arena,
        least_bytes(source.graph),
    )  # fmt: skip
    sources = render_sources(chip, golden, name)
    manifest = _manifest(source, measured, operators, golden, sources)
    scene = None
    if source.model is not None:
        scene = golden_scene(source.model, image, seed, decode_raw(source.model, outputs))
    return Product(
        sources, manifest, len(measured.data), operators, measured.arena.total_bytes, golden.source,
        arena=measured.arena, has_contract=source.model is not None, decoder=source.decoder, unchecked=refusal,
        notes=source.notes, scene=scene,
    )  # fmt: skip


def _measure(source: TflmSource, inputs: Sequence[np.ndarray]) -> _Measured:
    """The file, or the same with a memory plan of its own where that needs less than TFLM's planner."""
    data = bytes_inside(source.data, source.graph)
    try:
        arena, outputs = measure_arena(data, source.graph, inputs)
    except ToolchainError as error:
        raise ToolchainError(f"{source.path}: {error}") from error
    found = _Measured(data, source.graph, arena, outputs)
    graph = with_offline_plan(source.graph)
    if graph is source.graph:
        return found
    try:
        data = serialize(graph)
    except ConversionError:  # the file holds something that edgedet shows but can't write: it stays as it is
        return found
    planned_arena, planned_outputs = measure_arena(data, graph, inputs)
    if planned_arena.total_bytes >= arena.total_bytes:
        return found
    check_equal(source.output_names, source.ordered(planned_outputs), source.ordered(outputs))
    return _Measured(data, graph, planned_arena, planned_outputs)


def check_ram(arena: ArenaReport, ram_bytes: int | None, instead: str = "target c99") -> None:
    """Raises ConfigError when the arena is larger than the limit; `instead` is a remedy of the target."""
    if ram_bytes is not None and arena.total_bytes > ram_bytes:
        raise ConfigError(
            f"the limit is {ram_bytes:,} bytes of RAM, but the arena of TFLite Micro needs {arena.total_bytes:,}; "
            f"take a smaller input or a narrower model, {instead}, or raise the limit"
        )


def _manifest(
    source: TflmSource,
    measured: _Measured,
    operators: tuple[OperatorUse, ...],
    golden: Golden,
    sources: dict[str, str],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "target": "tflm",
        "model": {"name": source.path.name, "sha256": sha256(source.data)},
        "model_data": {
            "bytes": len(measured.data),
            "sha256": sha256(measured.data),
            "memory_plan": "in the model" if PLAN_NAME in dict(measured.graph.metadata) else "TFLite Micro's own",
        },
        "operators": [asdict(operator) for operator in operators],
        "arena": {
            **asdict(measured.arena),
            "measured_with": "tflite_micro wheel, reference kernels, on the host",
            "margin_for": "CMSIS-NN scratch",
        },
        "contract": source.contract_entry(),
        "golden": golden_entry(source, golden),
        "versions": {
            "edgedet": __version__,
            "numpy": np.__version__,
            "tflite_micro": importlib.metadata.version("tflite-micro"),
        },
        "files": file_table(sources),
    }
