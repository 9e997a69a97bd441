"""What goes into the page of target web: C sources for the compiler, and what the script needs to know."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.codegen.render import run_values, scratch_values
from edgedet.codegen.templates import template_environment
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.escape import c_float
from edgedet.graph.graph import Tensor
from edgedet.graph.model import Int8Model
from edgedet.graph.tflite.dtypes import tensor_bytes
from edgedet.numerics.decode import quantized_threshold
from edgedet.numerics.heads.fomo import quantized_score_threshold
from edgedet.resources import resource_dir
from edgedet.runtimes.c_program import CProgram

_AS_THEY_ARE = ("memory.c", "libc/string.h")  # of firmware_export/web
_RENDERED = ("web.c", "constants.c")
_NOT_COMPILED = "model_data_binary.c"  # constants.c takes its place


def slider_scores(spec: OutputSpec) -> list[float]:
    """Score thresholds that the page offers, ascending: every hundredth, and the contract's."""
    return sorted({*(step / 100 for step in range(1, 100)), spec.score_threshold})


def wasm_sources(made: CProgram, model: Int8Model, model_sha256: str) -> dict[str, str]:
    """Path -> text of every source and header that becomes WebAssembly."""
    texts = made.texts(model_sha256, None)
    del texts[_NOT_COMPILED]
    folder = resource_dir("firmware_export") / "web"
    weights, words, indices = (pool.values() for pool in made.program.constants.pools)
    values = {
        **run_values(model),
        **scratch_values(made.program),
        "edgedet_version": __version__,
        "positions": [_position(model, score) for score in slider_scores(model.outputs)],
        # Where the slider stands at first, classes have the thresholds of the contract; elsewhere one for all.
        "class_position": slider_scores(model.outputs).index(model.outputs.score_threshold)
        if model.outputs.class_thresholds
        else None,
        "weights_bytes": len(weights),
        "words_count": len(words),
        "indices_count": len(indices),
    }
    environment = template_environment("web")
    return {
        **texts,
        **{name: (folder / name).read_text(encoding="utf-8") for name in _AS_THEY_ARE},
        **{name: environment.get_template(f"{name}.j2").render(values) for name in _RENDERED},
    }


def _position(model: Int8Model, score: float) -> dict[str, Any]:
    """What the decoder compares with at one position of the slider: codes, or the score itself."""
    pairs = list(zip(model.scales, model.zero_points, strict=True))
    match model.c_decoder:
        case "levels":
            return {"q": [quantized_threshold(score, scale, zero_point) for scale, zero_point in pairs[0::2]]}
        case "cells":
            return {"q": [quantized_score_threshold(score, *pairs[0])]}
    return {"score": c_float(score)}


def page_values(name: str, model_sha256: str, made: CProgram, model: Int8Model) -> dict[str, Any]:
    """JSON-able: what the page's script needs to know.

    Args:
        name: of the file.
        model_sha256: of the file, hexadecimal.
        made: the program.
        model: with its contracts.
    """
    program, spec = made.program, model.outputs
    graph, scores = program.graph, slider_scores(spec)
    return {
        "model": name,
        "about": _about(model.preprocess, spec, program.plan.arena_bytes),
        "footer": f"edgedet {__version__}. The network is the C code of `edgedet deploy --target c99`, compiled to "
        f"WebAssembly; the file's SHA-256 is {model_sha256}.",
        "classes": list(spec.class_names),
        "scores": scores,
        "contract_position": scores.index(spec.score_threshold),
        "class_scores": list(spec.class_thresholds),  # at that position; empty: one for all
        "nms_iou": spec.nms_iou,
        "has_nms": model.c_decoder != "cells",
        "input": _end(made, graph.inputs[0], "input"),
        "outputs": [_end(made, index, title) for index, title in zip(program.outputs, spec.tensor_names, strict=True)],
        "layers": _layers(made),
    }


def _about(preprocess: PreprocessSpec, spec: OutputSpec, arena_bytes: int) -> str:
    classes = f"{len(spec.class_names)} class{'' if len(spec.class_names) == 1 else 'es'}"
    resize = "letterbox" if preprocess.resize == "letterbox" else "stretched"
    return (
        f"{preprocess.width}x{preprocess.height} px {preprocess.channel_order}, {resize}; {classes}; "
        f"{arena_bytes:,} bytes of RAM on a chip"
    )


def _end(made: CProgram, index: int, title: str) -> dict[str, Any]:
    """An input or output; it lies in one piece."""
    tensor = made.program.graph.tensors[index]
    return {
        **_described(tensor, title),
        "offset": made.program.plan.address(index),
        "bytes": tensor_bytes(tensor),
    }


def _described(tensor: Tensor, name: str) -> dict[str, Any]:
    affine = tensor.quantization
    one = affine is not None and np.size(affine.scale) == 1
    return {
        "name": name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "scale": float(affine.scale[0]) if affine is not None and one else None,
        "zero_point": int(affine.zero_point[0]) if affine is not None and one else 0,
    }


def _layers(made: CProgram) -> list[dict[str, Any]]:
    """What every step of the network computes, and where it lies when the step has ended."""
    program = made.program
    layers = []
    for number, (step, calls) in enumerate(zip(program.steps, program.calls, strict=True)):
        for index in step.outputs if step.operators and calls else ():
            tensor, view = program.graph.tensors[index], program.plan.views[index]
            shape = tensor.shape or (1,)
            element_bytes = np.dtype(tensor.dtype).itemsize
            layers.append(
                {
                    **_described(tensor, tensor.name),
                    "step": number,
                    "kind": step.kind,
                    "offset": program.plan.address(index),
                    "pixels": math.prod(shape[:-1]),
                    "pixel_bytes": shape[-1] * element_bytes,
                    "pitch_bytes": view.pitch * element_bytes,
                }
            )
    return layers
