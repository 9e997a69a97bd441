"""`deploy`: from an int8 `.tflite` to a folder of sources for the chip."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.convert.flatbuffer import serialize
from edgedet.deploy.arena import ArenaReport, measure_arena, require_tflite_micro
from edgedet.deploy.c99 import make_c99
from edgedet.deploy.folder import FORMAT, FORMAT_VERSION, MANIFEST, check_replaceable, file_table, sha256, write_folder
from edgedet.deploy.golden import check_equal, golden_input
from edgedet.deploy.patch_search import PatchReport
from edgedet.deploy.plan import Plan
from edgedet.deploy.tflm import Golden, render_sources, require_jinja2
from edgedet.deploy.tflm_ops import OperatorUse, operators_used
from edgedet.deploy.tflm_plan import PLAN_NAME, with_offline_plan
from edgedet.errors import ConfigError
from edgedet.evaluate.runtimes import Int8Model, load_int8_model
from edgedet.evaluate.simulator import Simulator

TARGETS = ("tflm", "c99")


@dataclass(frozen=True)
class DeployReport:
    """What was written."""

    target: str
    out: Path
    files: tuple[Path, ...]  # every file in `out`, the manifest last
    model_bytes: int
    operators: tuple[OperatorUse, ...]
    arena_bytes: int
    arena: ArenaReport | None  # target tflm: how the arena was measured
    plan: Plan | None  # target c99: the planned arena
    patches: PatchReport | None  # target c99: the first steps run patch by patch, to fit a limit
    has_run: bool  # target c99: with edgedet_run(), because the file carries its contracts
    golden_source: str  # where the golden input comes from

    def text(self) -> str:
        """Lines for a terminal, newline at the end."""
        lines = [
            f"target:    {self.target}",
            f"model:     {self.model_bytes:,} bytes",
            "operators: " + ", ".join(f"{use.kind} {use.count}" for use in self.operators),
        ]
        if self.arena is not None:
            lines.append(
                f"arena:     {self.arena_bytes:,} bytes (measured {self.arena.measured_bytes:,} + margin "
                f"{self.arena.margin_bytes:,} for scratch)"
            )
        if self.plan is not None:
            lines.append(
                f"arena:     {self.arena_bytes:,} bytes, input, outputs and scratch included (no plan of these buffers "
                f"is below {self.plan.bound_bytes:,})"
            )
            lines.append(f"steps:     {len(self.plan.kinds)}, {len(self.plan.elided)} of them need no code")
            if self.patches is not None:
                lines.append(f"patches:   {self.patches.text()}")
            if not self.has_run:
                lines.append(
                    "interface: edgedet_invoke() only; the file carries no preprocessing and output contracts, so "
                    "there is no edgedet_run() from image to detections"
                )
        lines.append(f"golden:    {self.golden_source}")
        lines += [f"wrote      {path}" for path in self.files]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Product:
    """A deployment in memory."""

    sources: dict[str, str]  # path in the folder -> text
    manifest: dict[str, Any]
    model_bytes: int
    operators: tuple[OperatorUse, ...]
    arena_bytes: int
    golden_source: str
    arena: ArenaReport | None = None
    plan: Plan | None = None
    patches: PatchReport | None = None
    has_run: bool = False


def deploy(
    model: Path,
    target: str,
    out: Path,
    *,
    arena_margin_bytes: int | None = None,
    ram_bytes: int | None = None,
    image: Path | None = None,
    seed: int = 0,
) -> DeployReport:
    """Write the sources that run a model on a target, with its arena, its contracts and a self-test.

    Nothing is written before everything is computed and checked; the folder appears whole or not at all. The same
    arguments give the same bytes.

    Args:
        model: int8 `.tflite`; target `tflm` needs edgedet's metadata, `c99` leaves edgedet_run() out without it.
        target: `tflm` (TFLite Micro, C++) or `c99` (plain C without an interpreter).
        out: folder to write; it may exist when it is empty or an earlier deployment, which is then replaced.
        arena_margin_bytes: only tflm: added to the measured arena; None: what CMSIS-NN's scratch needs, see
            `deploy.arena`.
        ram_bytes: largest arena that is allowed; target c99 runs the first steps patch by patch when it must. None:
            any.
        image: picture for the golden vectors; None: a drawn one.
        seed: of the drawn picture.
    Returns:
        What was written.
    Raises:
        ConfigError: unknown target, negative margin, an arena above `ram_bytes`, or `out` holds something else.
        ConversionError: the file is damaged, lacks metadata, or TFLite Micro computes other bytes than the simulator.
        UnsupportedOpError: the target has no kernel for an operator.
        ToolchainError: the extra of the target's name is missing, or TFLite Micro refuses the model.
        DataError: the image is missing or broken.
    """
    if target not in TARGETS:
        raise ConfigError(f"unknown target {target!r}; edgedet deploys to {', '.join(TARGETS)}")
    if arena_margin_bytes is not None and arena_margin_bytes < 0:
        raise ConfigError(f"arena margin must be 0 bytes or more, got {arena_margin_bytes}")
    if arena_margin_bytes is not None and target != "tflm":
        raise ConfigError(f"target {target} plans its arena exactly; an arena margin is for target tflm")
    if ram_bytes is not None and ram_bytes < 1:
        raise ConfigError(f"the RAM limit must be at least 1 byte, got {ram_bytes}")
    check_replaceable(out)
    if target == "tflm":
        product = _deploy_tflm(load_int8_model(model), arena_margin_bytes, ram_bytes, image, seed)
    else:
        product = _deploy_c99(model, ram_bytes, image, seed)
    write_folder(out, product.sources, product.manifest)
    return DeployReport(
        target=target,
        out=out,
        files=tuple(out / name for name in (*product.sources, MANIFEST)),
        model_bytes=product.model_bytes,
        operators=product.operators,
        arena_bytes=product.arena_bytes,
        arena=product.arena,
        plan=product.plan,
        patches=product.patches,
        has_run=product.has_run,
        golden_source=product.golden_source,
    )


def _deploy_c99(model: Path, ram_bytes: int | None, image: Path | None, seed: int) -> _Product:
    module = make_c99(model, image=image, ram_bytes=ram_bytes, seed=seed)
    counts = Counter(operator.kind for operator in module.program.graph.operators)
    return _Product(
        module.texts,
        module.manifest,
        module.model_bytes,
        tuple(OperatorUse(kind, counts[kind], "") for kind in sorted(counts)),
        module.program.plan.arena_bytes,
        module.golden_source,
        plan=module.program.plan,
        patches=module.program.patches,
        has_run=module.model is not None,
    )


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


def _deploy_tflm(
    model: Int8Model, arena_margin_bytes: int | None, ram_bytes: int | None, image: Path | None, seed: int
) -> _Product:
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
    return _Product(sources, manifest, len(model.data), operators, arena.total_bytes, source, arena=arena)


def _contract_order(model: Int8Model, outputs: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    return tuple(outputs[position] for position in model.output_positions)
