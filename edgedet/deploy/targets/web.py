"""Target web: one HTML page that runs the generated C as WebAssembly on pictures, videos and a camera."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.codegen.render import GoldenVectors, constant_files
from edgedet.codegen.templates import template_environment
from edgedet.deploy.golden import golden_input, golden_origin
from edgedet.deploy.output_folder import FORMAT, FORMAT_VERSION, file_table, sha256
from edgedet.deploy.targets.c99 import load_any
from edgedet.deploy.targets.product import Product
from edgedet.deploy.targets.wasm import FLAGS, SIMD_FLAG, compile_wasm, find_wasm_tools
from edgedet.deploy.targets.web_parts import page_values, wasm_sources
from edgedet.errors import ConfigError, naming_file
from edgedet.escape import script_json
from edgedet.graph.model import Int8Model
from edgedet.graph.prepare.load import LoadedFile
from edgedet.graph.tflm_ops import kinds_used
from edgedet.runtimes.c_program import CProgram, make_program

PAGE = "index.html"
_BUILDS = {"simd": True, "plain": False}  # id in the page -> with SIMD128


def deploy_web(path: Path, ram_bytes: int | None, image: Path | None, seed: int) -> Product:
    """Target web; arguments and errors as in `edgedet.deploy.api.deploy`."""
    tools = find_wasm_tools()
    loaded, model, decoder = _load(path)
    with naming_file(path):
        made = make_program(loaded.graph, model, ram_bytes, seed)
    golden = _golden(made, model, image, seed)
    sources = wasm_sources(made, model, sha256(loaded.data))
    modules = {name: compile_wasm(tools, sources, simd) for name, simd in _BUILDS.items()}
    values = page_values(path.name, sha256(loaded.data), made, model)
    texts = {PAGE: _page({**values, "golden": _golden_json(golden)}, {**modules, **_constants(made)})}
    return Product(
        texts,
        _manifest(path, loaded, made, golden, texts) | {"compiler": _compiler(tools.version, modules)},
        len(loaded.data),
        kinds_used(made.program.graph),
        made.program.plan.arena_bytes,
        golden.source,
        program=made.program,
        model=model,
        has_contract=True,
        decoder=decoder,
        notes=loaded.notes,
    )


def _load(path: Path) -> tuple[LoadedFile, Int8Model, str]:
    loaded, model, decoder = load_any(path)
    if model is None:
        reason = f"contracts that C can't follow ({decoder})" if decoder else "no contracts"
        raise ConfigError(
            f"{path}: carries {reason}, so that the page could neither prepare a picture nor show boxes; add contracts "
            "with `edgedet contract`, which says what C decodes"
        )
    return loaded, model, decoder


def _golden(made: CProgram, model: Int8Model, image: Path | None, seed: int) -> GoldenVectors:
    """What the page's self-test compares with."""
    q_input = golden_input(model, image, seed)
    raw = made.simulator.invoke(q_input)
    return GoldenVectors(
        golden_origin(image, seed), (q_input,), tuple(raw[position] for position in made.output_positions), None
    )


def _golden_json(golden: GoldenVectors) -> dict[str, Any]:
    return {
        "source": golden.source,
        "input": _base64(golden.inputs[0].tobytes()),
        "outputs": [_base64(array.tobytes()) for array in golden.outputs],
    }


def _constants(made: CProgram) -> dict[str, bytes]:
    """Id in the page -> constants, in WebAssembly's byte order."""
    return {name.removesuffix(".bin"): content for name, content in constant_files(made.program).items()}


def _page(values: dict[str, Any], binaries: dict[str, bytes]) -> str:
    template = template_environment("web").get_template("index.html.j2")
    text: str = template.render(
        data=script_json(values), binaries={name: _base64(content) for name, content in binaries.items()}
    )
    return text


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _compiler(version: str, modules: dict[str, bytes]) -> dict[str, Any]:
    return {
        "version": version,
        "flags": list(FLAGS),
        "simd_flag": SIMD_FLAG,
        "modules": {name: {"bytes": len(module), "sha256": sha256(module)} for name, module in modules.items()},
    }


def _manifest(
    path: Path, loaded: LoadedFile, made: CProgram, golden: GoldenVectors, texts: dict[str, str]
) -> dict[str, Any]:
    program, model = made.program, made.model
    assert model is not None
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "target": "web",
        "model": {"name": path.name, "bytes": len(loaded.data), "sha256": sha256(loaded.data)},
        "operators": {use.kind: use.count for use in kinds_used(program.graph)},
        "arena": {"bytes": program.plan.arena_bytes, "bound_bytes": program.plan.bound_bytes},
        "weights_bytes": program.constants.nbytes,
        "contract": {"preprocess": model.preprocess.to_json(), "outputs": model.outputs.to_json()},
        "golden": {"source": golden.source, "from": "NumPy simulator"},
        "versions": {"edgedet": __version__, "numpy": np.__version__},
        "files": file_table(texts),
    }
