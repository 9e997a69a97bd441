"""Targets ethos-u...: the file compiled by Vela, and the project around TFLite Micro with the operator of the NPU."""

from __future__ import annotations

import importlib.metadata
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.codegen.module_name import ModuleName
from edgedet.codegen.templates import require_jinja2
from edgedet.deploy.golden import Golden, check_equal, golden_origin, golden_scene
from edgedet.deploy.output_folder import FORMAT, FORMAT_VERSION, byte_table, file_table, sha256
from edgedet.deploy.targets.npu_report import NpuReport
from edgedet.deploy.targets.product import Product
from edgedet.deploy.targets.tflm import check_ram
from edgedet.deploy.targets.tflm_source import (
    TflmSource,
    golden_entry,
    read_source,
    simulate_source,
    source_inputs,
)
from edgedet.deploy.targets.tflm_sources import NpuValues, TflmModel, render_sources
from edgedet.errors import ToolchainError
from edgedet.graph.flatbuffer import bytes_inside
from edgedet.graph.tflm_ops import OperatorUse, operators_used
from edgedet.npu.compiled import NpuGraph, read_compiled
from edgedet.npu.cores import NpuSetup
from edgedet.npu.vela import Compiled, compile_for_npu, vela_command
from edgedet.runtimes.protocol import decode_raw
from edgedet.runtimes.tflm_arena import ALIGNMENT, ArenaReport, measure_arena, require_tflite_micro

# What TFLite Micro keeps beside the planned tensors, for a network of NPU operators alone: bytes for itself, for each
# tensor of the compiled file and for each operator: twice what a Cortex-M55 used (docs/ethos_u.md).
_KEPT_BYTES, _TENSOR_BYTES, _OPERATOR_BYTES = 1024, 64, 128


@dataclass(frozen=True, eq=False)
class _Reference:
    """What the network computes before Vela, which the chip must repeat."""

    golden: Golden
    arena: ArenaReport  # on the host, every operator on the CPU


def deploy_ethos_u(
    path: Path, ram_bytes: int | None, image: Path | None, seed: int, name: ModuleName, setup: NpuSetup
) -> Product:
    """Targets ethos-u...; arguments and errors as in `edgedet.deploy.api.deploy`."""
    require_jinja2("vela")
    vela_command(setup)
    require_tflite_micro()
    source = read_source(path, image)
    compiled = compile_for_npu(bytes_inside(source.data, source.graph), str(path), setup)
    npu = read_compiled(compiled.data, source.graph, source.model, str(path), compiled.figures.reasons)
    operators = operators_used(npu.graph, str(path))
    reference = _reference(source, npu, image, seed)
    arena = _arena(npu, reference.arena)
    check_ram(arena, ram_bytes, "`optimise` size")
    chip = TflmModel(
        npu.data, npu.graph, npu.model, sha256(source.data), operators, arena, npu.arena_bytes,
        NpuValues(setup, compiled.version, npu.cache_bytes),
    )  # fmt: skip
    sources = render_sources(chip, reference.golden, name)
    binaries = {f"{name.stem}model_vela.tflite": npu.data}
    report = NpuReport(
        setup, compiled.version, compiled.figures, npu.on_npu, npu.on_cpu, npu.cache_bytes, source.path.stat().st_size
    )
    manifest = _manifest(source, npu, operators, arena, reference.golden, compiled, report)
    manifest["files"] = {**file_table(sources), **byte_table(binaries)}
    scene = None
    if source.model is not None:
        scene = golden_scene(source.model, image, seed, decode_raw(source.model, reference.golden.outputs))
    return Product(
        sources, manifest, len(npu.data), operators, arena.total_bytes, reference.golden.source,
        has_contract=source.model is not None, decoder=source.decoder, unchecked=reference.golden.unchecked,
        notes=source.notes, scene=scene, binaries=binaries, npu=report,
    )  # fmt: skip


def _reference(source: TflmSource, npu: NpuGraph, image: Path | None, seed: int) -> _Reference:
    """Outputs in contract order; without contracts in the order of the compiled file."""
    inputs = source_inputs(source, image, seed)
    simulated, refusal = simulate_source(source, inputs)
    try:
        arena, measured = measure_arena(bytes_inside(source.data, source.graph), source.graph, inputs)
    except ToolchainError as error:
        raise ToolchainError(f"{source.path}: {error}") from error
    if simulated is not None:
        check_equal(source.output_names, source.ordered(simulated), source.ordered(measured))
    outputs = source.ordered(measured)
    if source.model is None:
        outputs = tuple(measured[position] for position in npu.order)
    return _Reference(Golden(golden_origin(image, seed), inputs, outputs, refusal), arena)


def _arena(npu: NpuGraph, host: ArenaReport) -> ArenaReport:
    """Where Vela's plan ends, and what TFLite Micro keeps; with operators on the CPU their share of the host's too."""
    kept = _KEPT_BYTES + _TENSOR_BYTES * len(npu.graph.tensors) + _OPERATOR_BYTES * len(npu.graph.operators)
    margin = 0
    if npu.on_cpu:  # no more than all operators keep on the host, where pointers are twice as wide
        kept, margin = kept + host.tail_bytes, host.margin_bytes
    planned = -(-(npu.arena_bytes + kept) // ALIGNMENT) * ALIGNMENT
    return ArenaReport(npu.arena_bytes, kept, planned, margin, planned + margin)


def _manifest(
    source: TflmSource,
    npu: NpuGraph,
    operators: tuple[OperatorUse, ...],
    arena: ArenaReport,
    golden: Golden,
    compiled: Compiled,
    report: NpuReport,
) -> dict[str, Any]:
    entry = golden_entry(source, golden, npu.graph)
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "target": report.setup.target,
        "model": {"name": source.path.name, "sha256": sha256(source.data)},
        "model_data": {"bytes": len(npu.data), "sha256": sha256(npu.data), "memory_plan": "Vela's, in the model"},
        "npu": report.to_json(),
        "operators": [asdict(operator) for operator in operators],
        "arena": {**asdict(arena), "measured_with": "nothing: Vela's plan and an allowance for TFLite Micro"},
        "contract": source.contract_entry(),
        "golden": {**entry, "checked": f"{entry['checked']}; not on an NPU"},
        "versions": {
            "edgedet": __version__,
            "numpy": np.__version__,
            "tflite_micro": importlib.metadata.version("tflite-micro"),
            "vela": compiled.version,
        },
    }
