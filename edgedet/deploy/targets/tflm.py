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
from edgedet.deploy.golden import Golden, check_equal, drawn_input, golden_input, golden_scene
from edgedet.deploy.output_folder import FORMAT, FORMAT_VERSION, file_table, sha256
from edgedet.deploy.targets.product import Product
from edgedet.deploy.targets.tflm_plan import PLAN_NAME, least_bytes, with_offline_plan
from edgedet.deploy.targets.tflm_sources import TflmModel, render_sources
from edgedet.errors import ConfigError, ConversionError, ToolchainError, UnsupportedOpError
from edgedet.graph.check import refuse_compiled
from edgedet.graph.flatbuffer import bytes_inside, parse_tflite, serialize
from edgedet.graph.graph import Graph
from edgedet.graph.metadata import METADATA_NAME
from edgedet.graph.model import Int8Model, load_int8_model
from edgedet.graph.prepare.load import prepare_tflite
from edgedet.graph.prepare.uint8_to_int8 import is_uint8
from edgedet.graph.tflm_ops import OperatorUse, operators_used
from edgedet.runtimes.protocol import decode_raw
from edgedet.runtimes.tflm_arena import ArenaReport, measure_arena, require_tflite_micro
from edgedet.simulate.simulator import Simulator


@dataclass(frozen=True, eq=False)
class _Source:
    """The file that was given."""

    path: Path
    data: bytes
    graph: Graph
    model: Int8Model | None  # with contracts that C code can follow, as in target c99
    prepared: Int8Model | None  # with contracts of any head: an image can become the input
    notes: tuple[str, ...] = ()  # what was changed in the file

    @property
    def decoder(self) -> str:
        """Why C follows the contracts of no head like this one; empty where it does, or without contracts."""
        return "" if self.prepared is None else self.prepared.why_no_c_decoder

    @property
    def output_names(self) -> tuple[str, ...]:
        """In contract order, or of the file."""
        if self.model is not None:
            return self.model.outputs.tensor_names
        return tuple(self.graph.tensors[index].name for index in self.graph.outputs)

    def ordered(self, outputs: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Outputs of the file in the order of `output_names`."""
        if self.model is None:
            return tuple(outputs)
        return tuple(outputs[position] for position in self.model.output_positions)


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
    source = _read(path, image)
    operators = operators_used(source.graph, str(path))
    inputs = _inputs(source, image, seed)
    simulated, refusal = _simulate(source, inputs)
    measured = _measure(source, inputs)
    _check_ram(measured.arena, ram_bytes)
    outputs = source.ordered(measured.outputs)
    if simulated is not None:
        check_equal(source.output_names, source.ordered(simulated), outputs)
    origin = f"drawn with seed {seed}" if image is None else f"image {image.name}, sha256 {sha256(image.read_bytes())}"
    golden = Golden(origin, inputs, outputs, refusal)
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
        sources, manifest, len(measured.data), operators, measured.arena.total_bytes, origin,
        arena=measured.arena, has_contract=source.model is not None, decoder=source.decoder, unchecked=refusal,
        notes=source.notes, scene=scene,
    )  # fmt: skip


def _read(path: Path, image: Path | None) -> _Source:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConversionError(f"{path}: can't read the model ({error.strerror}); check the path") from error
    graph = parse_tflite(data, str(path))
    refuse_compiled(graph, str(path))
    if any(name == METADATA_NAME for name, _ in graph.metadata):
        model = load_int8_model(path)
        decoded = model if model.has_c_decoder else None
        return _Source(path, model.data, model.graph, decoded, model, model.notes)
    if image is not None:
        raise ConfigError(
            f"{path} carries no preprocessing contract, so no image can become its input; leave the image out, or add "
            "the contracts with `edgedet contract`"
        )
    if is_uint8(graph):
        try:
            loaded = prepare_tflite(data, str(path))
        except UnsupportedOpError as error:
            raise UnsupportedOpError(f"{error}. TFLite Micro has no uint8 kernels") from error
        return _Source(path, loaded.data, loaded.graph, None, None, loaded.notes)
    return _Source(path, data, graph, None, None)


def _inputs(source: _Source, image: Path | None, seed: int) -> tuple[np.ndarray, ...]:
    if source.prepared is not None:
        return (golden_input(source.prepared, image, seed),)
    return tuple(drawn_input(source.graph, index, seed + number) for number, index in enumerate(source.graph.inputs))


def _simulate(source: _Source, inputs: Sequence[np.ndarray]) -> tuple[tuple[np.ndarray, ...] | None, str]:
    """(outputs in the order of the file, ""), or (None, why the simulator does not run it)."""
    try:
        return Simulator(source.graph).invoke(*inputs), ""
    except (ConversionError, UnsupportedOpError) as error:
        # What is the matter, without advice: the file needs none on its way to TFLite Micro.
        return None, str(error).removeprefix("this model: ").partition("; ")[0]


def _measure(source: _Source, inputs: Sequence[np.ndarray]) -> _Measured:
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


def _check_ram(arena: ArenaReport, ram_bytes: int | None) -> None:
    """Raises ConfigError when the arena is larger than the limit."""
    if ram_bytes is not None and arena.total_bytes > ram_bytes:
        raise ConfigError(
            f"the limit is {ram_bytes:,} bytes of RAM, but the arena of TFLite Micro needs {arena.total_bytes:,}; "
            "take a smaller input or a narrower model, target c99, or raise the limit"
        )


def _manifest(
    source: _Source,
    measured: _Measured,
    operators: tuple[OperatorUse, ...],
    golden: Golden,
    sources: dict[str, str],
) -> dict[str, Any]:
    contract = None
    if (model := source.prepared) is not None:
        contract = {"preprocess": model.preprocess.to_json(), "outputs": model.outputs.to_json()}
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
        "contract": contract,
        "golden": _golden_entry(source, golden),
        "versions": {
            "edgedet": __version__,
            "numpy": np.__version__,
            "tflite_micro": importlib.metadata.version("tflite-micro"),
        },
        "files": file_table(sources),
    }


def _golden_entry(source: _Source, golden: Golden) -> dict[str, Any]:
    checked = "NumPy simulator = TFLite Micro, every byte"
    if golden.unchecked:
        checked = f"TFLite Micro alone, not cross-checked by the simulator: {golden.unchecked}"
    if source.model is not None:
        outputs = zip(source.output_names, golden.outputs, strict=True)
        return {
            "source": golden.source,
            "input_sha256": sha256(golden.inputs[0].tobytes()),
            "outputs_sha256": {name: sha256(array.tobytes()) for name, array in outputs},
            "checked": checked,
        }
    graph = source.graph
    return {
        "source": golden.source,
        "inputs": _tensor_entries(graph, graph.inputs, golden.inputs),
        "outputs": _tensor_entries(graph, graph.outputs, golden.outputs),
        "checked": checked,
    }


def _tensor_entries(graph: Graph, indices: Sequence[int], arrays: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """In the order of the file; names need not be unique there."""
    return [
        {
            "name": graph.tensors[index].name,
            "dtype": str(array.dtype),
            "shape": list(array.shape),
            "sha256": sha256(array.tobytes()),
        }
        for index, array in zip(indices, arrays, strict=True)
    ]
