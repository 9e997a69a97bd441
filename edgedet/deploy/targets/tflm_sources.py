"""The text of the files of a TFLite Micro deployment, from firmware_export/tflm/*.j2."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.codegen.c_source import byte_rows, int8_rows
from edgedet.codegen.decoders import decoder_scratch_bytes
from edgedet.codegen.device_files import device_files
from edgedet.codegen.module_name import ModuleName
from edgedet.codegen.program import CAMERA_HEIGHT, CAMERA_WIDTH, preprocess_scratch_bytes
from edgedet.codegen.render import run_kernels, run_values
from edgedet.codegen.templates import contract_values, require_jinja2, template_environment
from edgedet.deploy.golden import Golden
from edgedet.escape import build_words, c_comment, c_decimal, c_identifier, c_string
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model
from edgedet.graph.tflite.dtypes import tensor_bytes
from edgedet.graph.tflm_ops import OperatorUse
from edgedet.npu.cores import GROVE, NpuSetup
from edgedet.resources import resource_dir
from edgedet.runtimes.protocol import decode_raw
from edgedet.runtimes.tflm_arena import ArenaReport

_NETWORK_FILES = ("model_data.h", "model_data.cc", "op_resolver.h", "network.h", "network.cc", "selftest.cc")
_NPU_FILES = ("npu.h", "npu.c", "npu_board.c")
_BUILD_FILES = ("CMakeLists.txt", "cortex-m.cmake", "qemu/board.cmake")
_TFLITE_TYPES = {  # members of TfLiteType
    "int8": "kTfLiteInt8",
    "uint8": "kTfLiteUInt8",
    "int16": "kTfLiteInt16",
    "int32": "kTfLiteInt32",
    "int64": "kTfLiteInt64",
    "float32": "kTfLiteFloat32",
    "bool": "kTfLiteBool",
}


@dataclass(frozen=True)
class NpuValues:
    """The NPU in the templates."""

    setup: NpuSetup
    vela_version: str
    cache_bytes: int  # SRAM of the NPU's own; 0: it has none

    @property
    def board(self) -> str:
        """Name of the preset; empty: any board."""
        return "" if self.setup.preset is None else self.setup.preset.name


@dataclass(frozen=True, eq=False)
class TflmModel:
    """What goes onto the chip."""

    data: bytes
    graph: Graph  # the same model
    model: Int8Model | None  # with its contracts; None: the file has none that C code can follow
    source_sha256: str  # of the file that was given, hexadecimal
    operators: tuple[OperatorUse, ...]  # that the resolver registers
    arena: ArenaReport
    least_arena_bytes: int  # of the tensors that live at once
    npu: NpuValues | None = None  # the model was compiled for one


def render_sources(chip: TflmModel, golden: Golden, name: ModuleName) -> dict[str, str]:
    """Text of every file of the project but the manifest.

    Args:
        chip: the model; without contracts contract.h, preprocessing and decoding are left out.
        golden: inputs and outputs for the self-test; outputs in contract order where there is a contract.
        name: with which symbols, macros, files and build targets begin.
    Returns:
        Path -> text.
    Raises:
        ToolchainError: Jinja2, a template or a kernel is missing.
    """
    require_jinja2("tflm")
    environment = template_environment("tflm", name)
    kernels = {} if chip.model is None else run_kernels(chip.model)
    values = {
        "edgedet_version": __version__,
        "has_contract": chip.model is not None,
        "kernel_sources": build_words(path for path in kernels if path.endswith(".c")),
        "golden_source": c_comment(golden.source, 300),
        **_network_values(chip),
    }
    templates = {file: file for file in (*_NETWORK_FILES, *(() if chip.npu is None else _NPU_FILES))}
    if chip.model is not None:
        values |= {**contract_values(chip.model), **_contract_golden(chip.model, golden)}
        templates |= {file: file for file in ("contract.h", "golden.h", "golden.cc")}
    else:
        values |= _tensor_golden(chip.graph, golden)
        templates |= {"golden.h": "golden_tensors.h", "golden.cc": "golden_tensors.cc"}
    texts = {
        name.stem + file: environment.get_template(f"{template}.j2").render(values)
        for file, template in templates.items()
    }
    graph, run = chip.graph, values
    positions: Sequence[int] = range(len(graph.outputs))
    if chip.model is not None:
        # run_values() has another view of `outputs`' neighbours than contract.h: levels, tables, scratch.
        run = {**values, **run_values(chip.model), **_scratch_values(chip.model)}
        positions = chip.model.output_positions
        texts |= {
            name.stem + file: environment.get_template(f"{file}.j2").render(run) for file in ("detect.h", "detect.c")
        }
    texts |= {file: environment.get_template(f"{file}.j2").render(values) for file in _BUILD_FILES}
    if chip.npu is not None and chip.npu.board == GROVE:
        texts[f"{name.prefix}.mk"] = environment.get_template("scenario_app.mk.j2").render(values)
    texts |= device_files("tflm", graph, [graph.outputs[position] for position in positions], chip.model, run, name)
    if chip.npu is not None:  # a program for this computer and QEMU's boards, which have no NPU
        del texts[f"{name.stem}device_main.cc"]
    return {**texts, **_board_files(), **kernels}


def _network_values(chip: TflmModel) -> dict[str, Any]:
    return {
        "model_sha256": chip.source_sha256,
        "module_hash": _module_hash(chip),
        "model_bytes": len(chip.data),
        "model_rows": byte_rows(chip.data),
        "model_crc32": zlib.crc32(chip.data),
        "operators": chip.operators,
        "operator_total": sum(operator.count for operator in chip.operators),
        "arena": chip.arena,
        "least_arena_bytes": chip.least_arena_bytes,
        "npu": _npu_values(chip.npu),
        "network_inputs": [_end(chip.graph, index) for index in chip.graph.inputs],
        "network_outputs": [_end(chip.graph, index) for index in chip.graph.outputs],
    }


def _module_hash(chip: TflmModel) -> str:
    """Eight hexadecimal digits that differ where the code does: of the model on the chip and of edgedet's version."""
    return hashlib.sha256(f"{__version__} {chip.source_sha256} ".encode() + chip.data).hexdigest()[:8]


def _npu_values(npu: NpuValues | None) -> dict[str, Any] | None:
    if npu is None:
        return None
    setup = npu.setup
    return {
        "target": setup.target,
        "family": setup.family,
        "macs": setup.macs,
        "log2_macs": setup.macs.bit_length() - 1,
        "cache_bytes": npu.cache_bytes,
        "board": npu.board,
        "vela": c_comment(f"{npu.vela_version}, {setup.system_config}, {setup.memory_mode}"),
    }


def _end(graph: Graph, index: int) -> dict[str, Any]:
    """An input or output, and what TFLite Micro must say of it."""
    tensor = graph.tensors[index]
    affine = tensor.quantization
    return {
        "name": c_string(tensor.name),
        "type": tensor.dtype,
        "tflite_type": _TFLITE_TYPES[tensor.dtype],
        "bytes": tensor_bytes(tensor),
        "scale": c_decimal(0.0 if affine is None else float(affine.scale[0])),
        "zero_point": 0 if affine is None else int(affine.zero_point[0]),
    }


def _scratch_values(model: Int8Model) -> dict[str, int]:
    """Memory of preprocessing and decoding, which run one after the other."""
    decode = decoder_scratch_bytes(model)
    prepare = preprocess_scratch_bytes(model.preprocess, CAMERA_WIDTH, CAMERA_HEIGHT)
    return {"scratch_bytes": max(decode, prepare), "decode_bytes": decode}


def _board_files() -> dict[str, str]:
    """Start-up code, memory maps and printing on QEMU's boards."""
    folder = resource_dir("firmware_export") / "qemu"
    names = [path.name for path in sorted(folder.iterdir()) if path.suffix in (".c", ".h", ".ld")]
    return {f"qemu/{name}": (folder / name).read_text(encoding="utf-8") for name in names if name != "main.c"} | {
        "qemu/tflm_log.c": (resource_dir("firmware_export") / "tflm" / "tflm_log.c").read_text(encoding="utf-8")
    }


def _contract_golden(model: Int8Model, golden: Golden) -> dict[str, Any]:
    """Of one int8 input, and int8 outputs that the contract names."""
    found = decode_raw(model, golden.outputs)
    return {
        "golden_input_rows": int8_rows(golden.inputs[0]),
        "golden_input_bytes": golden.inputs[0].size,
        "golden_outputs": [
            {"name": c_identifier(name), "rows": int8_rows(array), "bytes": array.size}
            for name, array in zip(model.outputs.tensor_names, golden.outputs, strict=True)
        ],
        "golden_detections": [
            {"box": [c_decimal(side) for side in box], "score": c_decimal(score), "label": label}
            for box, score, label in zip(
                found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
            )
        ],
    }


def _tensor_golden(graph: Graph, golden: Golden) -> dict[str, Any]:
    """Of any number of inputs and outputs of any type, in the order of the file."""
    return {
        "golden_inputs": _tensors(graph, graph.inputs, golden.inputs),
        "golden_outputs": _tensors(graph, graph.outputs, golden.outputs),
        "golden_checked": not golden.unchecked,
        "golden_has_float": any(array.dtype.kind == "f" for array in (*golden.inputs, *golden.outputs)),
    }


def _tensors(graph: Graph, indices: Sequence[int], arrays: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    rows = []
    for index, array in zip(indices, arrays, strict=True):
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        name = c_string(graph.tensors[index].name)
        rows.append({"name": name, "type": str(array.dtype), "rows": byte_rows(data), "bytes": len(data)})
    return rows
