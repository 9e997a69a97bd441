"""The text of every file of a C99 module, from firmware_export/c99/*.j2."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.codegen.c_source import C_TYPES, array_rows, int8_rows, int_rows
from edgedet.codegen.decoders import decoder_kernel, decoder_values
from edgedet.codegen.device_files import device_files
from edgedet.codegen.emit.borders import EDK_TYPES
from edgedet.codegen.kernel_files import kernel_files
from edgedet.codegen.memory.picture import plan_picture
from edgedet.codegen.module_name import UNNAMED, ModuleName
from edgedet.codegen.program import CAMERA_HEIGHT, CAMERA_WIDTH, Program
from edgedet.codegen.step_context import Call, Pool, input_name
from edgedet.codegen.templates import contract_values, template_environment
from edgedet.contracts import Detections, PreprocessSpec
from edgedet.data.pictures.preprocess import quantization_table
from edgedet.escape import build_words, c_comment, c_float, c_string
from edgedet.graph.graph import Tensor
from edgedet.graph.model import Int8Model
from edgedet.graph.tflite.dtypes import tensor_bytes
from edgedet.resources import resource_dir

_NETWORK_FILES = (
    "model.h",
    "model.c",
    "model_data.h",
)
_BUILD_FILES = ("Makefile", "CMakeLists.txt")
_PROJECT_FILES = (
    "model_data.c",
    "golden.h",
    "golden.c",
    "selftest.c",
    *_BUILD_FILES,
)
_BINARY_DATA = "model_data_binary.c"  # instead of model_data.c; 2 MB of numbers take a compiler seconds
_CONTRACT_FILES = ("contract.h", "run.h", "run.c")
_RUN_FUNCTIONS = ("edk_place_image", "edk_image_box")  # besides those of the preprocessing and of the head


@dataclass(frozen=True, eq=False)
class GoldenVectors:
    """Inputs, outputs, and what decoding the outputs gives."""

    source: str  # where the input comes from, one line
    inputs: tuple[np.ndarray, ...]  # of the types of the tensors, in the order of graph.inputs
    outputs: tuple[np.ndarray, ...]  # likewise, in the order of Program.outputs
    detections: Detections | None  # in px of the network's input; None without contracts


def render_c99(
    program: Program,
    model: Int8Model | None,
    model_sha256: str,
    golden: GoldenVectors | None,
    name: ModuleName = UNNAMED,
) -> dict[str, str]:
    """Text of every file but the manifest.

    Args:
        program: the network.
        model: with its contracts; None: the file has none, and edgedet_run() is left out.
        model_sha256: of the file, hexadecimal.
        golden: for the self-test; None: no self-test and no build files, and the constants are read
            from the files of `constant_files`: for a caller that compiles by itself.
        name: with which symbols, macros, files and build targets begin.
    Returns:
        Path -> text.
    Raises:
        ToolchainError: Jinja2, a template or a kernel is missing.
    """
    kernels = _kernels(program, model)
    values = {**_model_values(program, model_sha256), "has_contract": model is not None}
    if golden is not None:
        values |= _golden_values(golden)
        values["weights_rows"] = int8_rows(values["weights"])
        values |= {f"{name}_rows": int_rows(values[name]) for name in ("words", "indices")}
    names = (*_NETWORK_FILES, _BINARY_DATA) if golden is None else (*_NETWORK_FILES, *_PROJECT_FILES)
    if model is not None:
        # `outputs` of both stand for the same tensors; each template has its own view of them.
        values["contract"] = contract_values(model)
        values |= {**run_values(model), **scratch_values(program)}
        names = (*names, *_CONTRACT_FILES)
    own = [file for file in names if file.endswith(".c") and file not in ("golden.c", "selftest.c")]
    own += [] if golden is None else ["device.c"]
    values["own_sources"] = build_words(name.stem + file for file in own)
    values["kernel_sources"] = build_words(file for file in kernels if file.endswith(".c"))
    values["module_hash"] = _module_hash(program, model, model_sha256)
    environment = template_environment("c99", name)
    texts = {}
    for file in names:
        extra = values["contract"] if file == "contract.h" else {}
        stem = "" if file in _BUILD_FILES else name.stem
        texts[stem + file] = environment.get_template(f"{file}.j2").render({**values, **extra})
    if golden is None:
        return {**texts, **kernels}
    texts |= device_files("c99", program.graph, program.outputs, model, values, name)
    picture = plan_picture(program.plan, f"arena of {program.plan.arena_bytes:,} bytes")
    return {**texts, "plan.txt": _plan_text(program), "plan.svg": picture, **kernels}


def constant_files(program: Program) -> dict[str, bytes]:
    """Files that model_data_binary.c includes, in the byte order of all targets (little endian)."""
    return {f"{pool.short_name}.bin": pool.little_endian() for pool in program.constants.pools}


def _module_hash(program: Program, model: Int8Model | None, model_sha256: str) -> str:
    """Eight digits that differ where the interface or the results of two modules could."""
    contract = "" if model is None else f"{model.preprocess.to_json()} {model.outputs.to_json()}"
    parts = (__version__, model_sha256, program.plan.to_text(), contract)
    return hashlib.sha256("\n".join(parts).encode("utf-8")).hexdigest()[:8]


def _plan_text(program: Program) -> str:
    return program.plan.to_text() + ("" if program.patches is None else f"\n{program.patches.text()}\n")


def _kernels(program: Program, model: Int8Model | None) -> dict[str, str]:
    functions = {call.kernel for calls in program.calls for call in calls if call.params_type}
    headers = ["edk_status.h", "edk_types.h"]
    if model is not None:
        functions |= run_functions(model)
    return _kernel_texts(functions, headers)


def run_kernels(model: Int8Model) -> dict[str, str]:
    """Kernels around the network: from a frame to its input, from its outputs to detections.

    Returns:
        Path in the project -> text.
    """
    return _kernel_texts(run_functions(model), ["edk_status.h", "edk_types.h"])


def run_functions(model: Int8Model) -> set[str]:
    """Names of those kernels."""
    name = _preprocess_function(model.preprocess)
    return {name, f"{name}_scratch_bytes", *_RUN_FUNCTIONS, decoder_kernel(model)}


def _kernel_texts(functions: set[str], headers: Sequence[str]) -> dict[str, str]:
    root = resource_dir("kernels")
    return {f"kernels/{name}": text for name, text in kernel_files(root, sorted(functions), headers).items()}


def _preprocess_function(spec: PreprocessSpec) -> str:
    return "edk_preprocess_gray" if spec.channels == 1 else "edk_preprocess"


def _model_values(program: Program, model_sha256: str) -> dict[str, Any]:
    graph, constants = program.graph, program.constants
    params, steps = _steps(program)
    functions = {call.kernel for calls in program.calls for call in calls if call.params_type}
    return {
        "edgedet_version": __version__,
        "model_sha256": model_sha256,
        "arena_bytes": program.plan.arena_bytes,
        "inputs": [_end(program, index) for index in graph.inputs],
        "outputs": [_end(program, index) for index in program.outputs],
        "input_type": _common_type(program, graph.inputs),
        "output_type": _common_type(program, program.outputs),
        "steps": steps,
        "step_count": len(program.steps),
        "params": params,
        "named_pools": _named_pools(constants.pools, params, steps),
        "headers": [f"{name}.h" for name in sorted(functions)],
        **{pool.short_name: pool.values() for pool in constants.pools},
        **{f"{pool.short_name}_crc32": zlib.crc32(pool.little_endian()) for pool in constants.pools},
    }


def _end(program: Program, index: int) -> dict[str, Any]:
    """An input or output."""
    tensor = program.graph.tensors[index]
    affine = tensor.quantization
    shape = tensor.shape or (1,)
    return {
        "name": c_string(tensor.name),
        "comment": c_comment(tensor.name),
        "offset": program.plan.address(index),
        "bytes": tensor_bytes(tensor),
        "dtype": tensor.dtype,
        "c_type": C_TYPES[tensor.dtype],
        "edk_type": EDK_TYPES[tensor.dtype],
        "scale": c_float(1.0 if affine is None else float(affine.scale[0])),
        "zero_point": 0 if affine is None else int(affine.zero_point[0]),
        "rank": len(shape),
        "shape": shape,
        "parameter": input_name(program.graph, index) if index in program.graph.inputs else "",
    }


def _common_type(program: Program, indices: Sequence[int]) -> str:
    """C type that all of some tensors have, or void."""
    types = {C_TYPES[program.graph.tensors[index].dtype] for index in indices}
    return types.pop() if len(types) == 1 else "void"


def _steps(program: Program) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
    """(parameter structs, steps) for model.c."""
    params: list[dict[str, str]] = []
    names: dict[tuple[str, str], str] = {}  # patches of one size share their parameters
    steps = []
    for number, (step, calls) in enumerate(zip(program.steps, program.calls, strict=True)):
        if not step.operators:
            continue  # outside the network
        lines: list[str] = []
        for part, call in enumerate(calls):
            key = (call.params_type, call.params)
            if call.params_type and key not in names:
                names[key] = f"params_{number}" + (f"_{part}" if part else "")
                params.append({"type": call.params_type, "name": names[key], "text": call.params})
            lines += _lines(program, number, call, names.get(key, ""))
        kinds = ", ".join(program.graph.operators[operator].kind for operator in step.operators)
        output = program.graph.tensors[step.outputs[0]]
        done = "" if calls else "; already in place"
        comment = f"step {number}: {kinds} -> {c_comment(output.name)} {_shape(output)}{done}"
        steps.append({"number": number, "comment": comment, "calls": lines})
    return params, steps


def _named_pools(
    pools: Sequence[Pool], params: Sequence[Mapping[str, str]], steps: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Names of the pools that model.c mentions; a macro for another one would be unused."""
    texts = [param["text"] for param in params] + [line for step in steps for line in step["calls"]]
    words = set(re.findall(r"\w+", "\n".join(texts)))
    return [pool.name for pool in pools if pool.name in words]


def _lines(program: Program, number: int, call: Call, params: str) -> list[str]:
    """A call and the check of its status."""
    if not call.params_type:
        return [f"{call.kernel}({', '.join(call.arguments)});"]
    arguments = [f"&{params}", *call.arguments]
    if call.scratch:
        position = program.plan.scratch[number]
        buffer = program.plan.buffers[position] if position >= 0 else None
        arguments += ["NULL", "0u"] if buffer is None else [f"arena + {buffer.offset}", f"{buffer.size_bytes}u"]
    return [f"status = {call.kernel}({', '.join(arguments)});", "if (status != EDK_OK) {", "    return status;", "}"]


def _golden_values(golden: GoldenVectors) -> dict[str, Any]:
    def rows(arrays: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        return [
            {"rows": array_rows(array), "count": array.size, "c_type": C_TYPES[array.dtype.name]} for array in arrays
        ]

    found = golden.detections
    return {
        "golden_source": c_comment(golden.source, 300),
        "golden_inputs": rows(golden.inputs),
        "golden_outputs": rows(golden.outputs),
        "golden_detections": []
        if found is None
        else [
            {"box": [c_float(side) for side in box], "score": c_float(score), "label": label}
            for box, score, label in zip(
                found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
            )
        ],
    }


def run_values(model: Int8Model) -> dict[str, Any]:
    """Values of run_constants.c.j2, which every target with C around the network shares."""
    contract = contract_values(model)
    table = quantization_table(model.preprocess, model.input_scale, model.input_zero_point)
    if model.preprocess.channel_order == "BGR":  # the kernel reads RGB frames and tables; run.c swaps its result
        table = table[::-1]
    return {
        **decoder_values(model, contract),
        "pixel_rows": [int8_rows(channel) for channel in table],
        "preprocess": model.preprocess,
        "preprocess_function": _preprocess_function(model.preprocess),
        "class_names": contract["class_names"],
        "nms_iou": contract["nms_iou"],
        "max_detections": contract["max_detections"],
        "max_candidates": contract["max_candidates"],
        "camera_width": CAMERA_WIDTH,
        "camera_height": CAMERA_HEIGHT,
    }


def scratch_values(program: Program) -> dict[str, Any]:
    """Where edgedet_run() finds scratch in the arena."""
    return {
        "preprocess_scratch_offset": program.preprocess_scratch[0],
        "preprocess_scratch_bytes": program.preprocess_scratch[1],
        "detect_scratch_offset": program.detect_scratch[0],
        "detect_scratch_bytes": program.detect_scratch[1],
    }


def _shape(tensor: Tensor) -> str:
    return "x".join(str(side) for side in tensor.shape)
