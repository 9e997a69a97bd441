"""The source files of a TFLite Micro deployment, rendered from firmware_export/tflm/*.j2."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.codegen.c_source import byte_rows, int8_rows
from edgedet.codegen.templates import contract_values, require_jinja2
from edgedet.deploy.golden import Golden, check_equal, golden_input
from edgedet.deploy.output_folder import FORMAT, FORMAT_VERSION, file_table, sha256
from edgedet.deploy.targets.product import Product
from edgedet.deploy.targets.tflm_plan import PLAN_NAME, with_offline_plan
from edgedet.errors import ConfigError
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.model import Int8Model
from edgedet.graph.tflm_ops import OperatorUse, operators_used
from edgedet.resources import resource_dir
from edgedet.runtimes.tflm_arena import ArenaReport, measure_arena, require_tflite_micro
from edgedet.simulate.simulator import Simulator

FILES = ("model_data.h", "model_data.cc", "op_resolver.h", "contract.h", "golden.h", "golden.cc")


def render_sources(
    model: Int8Model, model_sha256: str, operators: tuple[OperatorUse, ...], arena: ArenaReport, golden: Golden
) -> dict[str, str]:
    """Text of every source file.

    Args:
        model: the model with its contracts.
        model_sha256: of the file, hexadecimal.
        operators: that the resolver registers.
        arena: its size.
        golden: input and outputs for the self-test.
    Returns:
        File name -> text, in the order of `FILES`.
    Raises:
        ToolchainError: Jinja2 or the templates are missing.
    """
    require_jinja2("tflm")
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource_dir("firmware_export") / "tflm"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML; every text from outside goes through string_literal
    )
    values = {
        "edgedet_version": __version__,
        "model_sha256": model_sha256,
        "model_bytes": len(model.data),
        "model_rows": byte_rows(model.data),
        "operators": operators,
        "operator_total": sum(operator.count for operator in operators),
        "arena": arena,
        "golden_source": golden.source.encode("ascii", "replace").decode().replace("\n", " "),
        "golden_input_rows": int8_rows(golden.q_input),
        "golden_input_bytes": golden.q_input.size,
        "golden_outputs": _golden_values(model.outputs.tensor_names, golden.q_outputs),
        **contract_values(model),
    }
    return {name: environment.get_template(f"{name}.j2").render(values) for name in FILES}


def _golden_values(names: Sequence[str], q_outputs: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    return [
        {"name": name, "rows": int8_rows(array), "bytes": array.size}
        for name, array in zip(names, q_outputs, strict=True)
    ]


def _measured(
    model: Int8Model, q_input: np.ndarray, margin_bytes: int | None
) -> tuple[Int8Model, ArenaReport, tuple[np.ndarray, ...]]:
    """The model, with a memory plan of its own where that needs less than TFLM's planner; its arena and outputs."""
    arena, outputs = measure_arena(model.data, model.graph, q_input, margin_bytes)
    graph = with_offline_plan(model.graph)
    if graph is model.graph:
        return model, arena, outputs
    planned = replace(model, graph=graph, data=serialize(graph))
    planned_arena, planned_outputs = measure_arena(planned.data, graph, q_input, margin_bytes)
    if planned_arena.total_bytes < arena.total_bytes:
        return planned, planned_arena, planned_outputs
    return model, arena, outputs


def _check_ram(arena: ArenaReport, ram_bytes: int | None) -> None:
    """Raises ConfigError when the arena is larger than the limit."""
    if ram_bytes is not None and arena.total_bytes > ram_bytes:
        raise ConfigError(
            f"the limit is {ram_bytes:,} bytes of RAM, but the arena of TFLite Micro needs {arena.total_bytes:,}; "
            "take a smaller input or a narrower model, target c99, or raise the limit"
        )


def deploy_tflm(
    model: Int8Model, arena_margin_bytes: int | None, ram_bytes: int | None, image: Path | None, seed: int
) -> Product:
    """Target tflm; arguments and errors as in `edgedet.deploy.api.deploy`."""
    require_jinja2("tflm")
    require_tflite_micro()
    operators = operators_used(model.graph, str(model.path))
    q_input = golden_input(model, image, seed)
    simulated = _contract_order(model, Simulator(model.graph).invoke(q_input))
    source_sha256 = sha256(model.data)
    model, arena, measured = _measured(model, q_input, arena_margin_bytes)
    _check_ram(arena, ram_bytes)
    check_equal(model.outputs.tensor_names, simulated, _contract_order(model, measured))
    source = f"drawn with seed {seed}" if image is None else f"image {image.name}, sha256 {sha256(image.read_bytes())}"
    golden = Golden(source, q_input, simulated)
    sources = render_sources(model, source_sha256, operators, arena, golden)
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "target": "tflm",
        "model": {"name": model.path.name, "sha256": source_sha256},
        "model_data": {
            "bytes": len(model.data),
            "sha256": sha256(model.data),
            "memory_plan": "in the model" if PLAN_NAME in dict(model.graph.metadata) else "TFLite Micro's own",
        },
        "operators": [asdict(operator) for operator in operators],
        "arena": {
            **asdict(arena),
            "measured_with": "tflite_micro wheel, reference kernels, on the host",
            "margin_for": "CMSIS-NN scratch" if arena_margin_bytes is None else "given by the user",
        },
        "contract": {"preprocess": model.preprocess.to_json(), "outputs": model.outputs.to_json()},
        "golden": {
            "source": source,
            "input_sha256": sha256(q_input.tobytes()),
            "outputs_sha256": {
                name: sha256(array.tobytes()) for name, array in zip(model.outputs.tensor_names, simulated, strict=True)
            },
            "checked": "NumPy simulator = TFLite Micro, every byte",
        },
        "versions": {
            "edgedet": __version__,
            "numpy": np.__version__,
            "tflite_micro": importlib.metadata.version("tflite-micro"),
        },
        "files": file_table(sources),
    }
    return Product(sources, manifest, len(model.data), operators, arena.total_bytes, source, arena=arena)


def _contract_order(model: Int8Model, outputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(outputs[position] for position in model.output_positions)
