"""Target c99: any int8 `.tflite` of the supported operators as a C module without an interpreter."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.codegen.decoders import decoder_kernel
from edgedet.codegen.module_name import UNNAMED, ModuleName
from edgedet.codegen.program import Program
from edgedet.codegen.render import GoldenVectors
from edgedet.codegen.steps import macs_of
from edgedet.contracts import Detections
from edgedet.deploy.golden import drawn_input, golden_input, golden_origin, golden_scene
from edgedet.deploy.output_folder import FORMAT, FORMAT_VERSION, file_table, sha256
from edgedet.deploy.targets.product import Product
from edgedet.errors import ConfigError, naming_file
from edgedet.graph.metadata import METADATA_NAME
from edgedet.graph.model import Int8Model, load_int8_model
from edgedet.graph.prepare.load import LoadedFile, load_tflite
from edgedet.graph.tflm_ops import kinds_used
from edgedet.runtimes.c_program import CProgram, make_program
from edgedet.runtimes.protocol import decode_raw


@dataclass(frozen=True, eq=False)
class C99Module:
    """A generated module in memory."""

    texts: dict[str, str]  # path -> text, without the manifest
    manifest: dict[str, Any]
    program: Program
    model: Int8Model | None  # None: no contracts, or no C decoder for them, so there is no edgedet_run()
    decoder: str  # of `Product`
    model_bytes: int  # of the file
    golden_source: str
    notes: tuple[str, ...]  # what was changed in the file
    detections: Detections | None  # in the golden outputs; None without edgedet_run()


def make_c99(
    path: Path,
    *,
    image: Path | None = None,
    ram_bytes: int | None = None,
    seed: int = 0,
    name: ModuleName = UNNAMED,
) -> C99Module:
    """Generate the module of a file.

    Args:
        path: int8 `.tflite`, with or without edgedet's metadata.
        image: picture for the golden vectors; None: a drawn one. Needs the metadata.
        ram_bytes: largest arena that is allowed.
        seed: of the drawn input and of the planner's search.
        name: with which symbols, macros, files and build targets begin.
    Returns:
        The module; the same arguments give the same bytes.
    Raises:
        ConversionError: the file is missing, damaged or not int8.
        UnsupportedOpError: an operator has no kernel.
        ConfigError: the arena does not fit `ram_bytes`, or an image without contracts.
        DataError: the image is missing or broken.
        ToolchainError: Jinja2 is missing.
    """
    loaded, model, decoder = load_any(path)
    data, graph = loaded.data, loaded.graph
    if model is None and image is not None:
        reason = f" ({decoder})" if decoder else ""
        raise ConfigError(
            f"{path} carries no preprocessing contract that C code can follow{reason}, so no image can become its "
            "input; leave the image out, or add contracts with `edgedet contract`, which says what C decodes"
        )
    with naming_file(path):
        made = make_program(graph, model, ram_bytes, seed)
    golden = _golden(made, image, seed)
    texts = made.texts(sha256(data), golden, name)
    manifest = _manifest(path, data, made.program, model, golden, texts)
    return C99Module(
        texts, manifest, made.program, model, decoder, len(data), golden.source, loaded.notes,
        golden.detections,
    )  # fmt: skip


def load_any(path: Path) -> tuple[LoadedFile, Int8Model | None, str]:
    """Read a `.tflite` with or without edgedet's metadata.

    Returns:
        (the file, the model with its contracts, what decodes its outputs). The model is None without contracts, and
        with those of a head that the C kernels don't decode; the text then says why they don't.
    Raises:
        ConversionError: missing or damaged file, or contracts that don't fit the graph.
    """
    loaded = load_tflite(path)
    if any(name == METADATA_NAME for name, _ in loaded.graph.metadata):
        model = load_int8_model(path)
        if not model.has_c_decoder:
            return loaded, None, model.why_no_c_decoder
        return loaded, model, f"head {model.outputs.head.kind}, {decoder_kernel(model)}()"
    return loaded, None, ""


def _golden(made: CProgram, image: Path | None, seed: int) -> GoldenVectors:
    graph, model = made.simulator.graph, made.model
    if model is not None:
        inputs: tuple[np.ndarray, ...] = (golden_input(model, image, seed),)
    else:
        inputs = tuple(drawn_input(graph, index, seed + number) for number, index in enumerate(graph.inputs))
    raw = made.simulator.invoke(*inputs)
    outputs = tuple(raw[position] for position in made.output_positions)
    detections = None if model is None else decode_raw(model, outputs)
    return GoldenVectors(golden_origin(image, seed), inputs, outputs, detections)


def _manifest(
    path: Path,
    data: bytes,
    program: Program,
    model: Int8Model | None,
    golden: GoldenVectors,
    texts: dict[str, str],
) -> dict[str, Any]:
    plan, graph = program.plan, program.graph
    names = [graph.tensors[index].name for index in program.outputs]
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "target": "c99",
        "model": {"name": path.name, "bytes": len(data), "sha256": sha256(data)},
        "operators": {use.kind: use.count for use in kinds_used(graph)},
        "arena": {
            "bytes": plan.arena_bytes,
            "bound_bytes": plan.bound_bytes,
            "scratch_bytes": max((b.size_bytes for b in plan.buffers if b.kind == "scratch"), default=0),
        },
        "patches": None if program.patches is None else asdict(program.patches),
        "weights_bytes": program.constants.nbytes,
        "contract": None
        if model is None
        else {"preprocess": model.preprocess.to_json(), "outputs": model.outputs.to_json()},
        "steps": [
            {
                "step": number,
                "operators": list(step.operators),
                "kind": step.kind,
                "output": graph.tensors[step.outputs[0]].name if step.outputs else "",
                "macs": macs_of(graph, step),
                "kernels": [call.kernel for call in calls],
            }
            for number, (step, calls) in enumerate(zip(program.steps, program.calls, strict=True))
        ],
        "golden": {
            "source": golden.source,
            "outputs_sha256": {
                name: sha256(array.tobytes()) for name, array in zip(names, golden.outputs, strict=True)
            },
            "from": "NumPy simulator",
        },
        "versions": {"edgedet": __version__, "numpy": np.__version__},
        "files": file_table(texts),
    }


def deploy_c99(model: Path, ram_bytes: int | None, image: Path | None, seed: int, name: ModuleName) -> Product:
    """Target c99; arguments and errors as in `edgedet.deploy.api.deploy`."""
    module = make_c99(model, image=image, ram_bytes=ram_bytes, seed=seed, name=name)
    scene = None
    if module.model is not None and module.detections is not None:
        scene = golden_scene(module.model, image, seed, module.detections)
    return Product(
        module.texts,
        module.manifest,
        module.model_bytes,
        kinds_used(module.program.graph),
        module.program.plan.arena_bytes,
        module.golden_source,
        program=module.program,
        model=module.model,
        has_contract=module.model is not None,
        decoder=module.decoder,
        notes=module.notes,
        scene=scene,
    )
