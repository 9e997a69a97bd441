"""The text of the files of a TFLite Micro deployment, from firmware_export/tflm/*.j2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.codegen.c_source import byte_rows, int8_rows
from edgedet.codegen.templates import contract_values, require_jinja2, template_environment
from edgedet.deploy.golden import Golden
from edgedet.escape import c_comment, c_identifier, c_string
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model
from edgedet.graph.tflm_ops import OperatorUse
from edgedet.runtimes.tflm_arena import ArenaReport

_MODEL_FILES = ("model_data.h", "model_data.cc", "op_resolver.h")


def render_sources(
    data: bytes,
    graph: Graph,
    model: Int8Model | None,
    model_sha256: str,
    operators: tuple[OperatorUse, ...],
    arena: ArenaReport,
    golden: Golden,
) -> dict[str, str]:
    """Text of every source file.

    Args:
        data: bytes of the model that goes onto the chip.
        graph: the same model.
        model: with its contracts; None: the file has none that C code can follow, and contract.h is left out.
        model_sha256: of the file that was given, hexadecimal.
        operators: that the resolver registers.
        arena: its size.
        golden: inputs and outputs for the self-test; outputs in contract order where there is a contract.
    Returns:
        File name -> text.
    Raises:
        ToolchainError: Jinja2 or the templates are missing.
    """
    require_jinja2("tflm")
    environment = template_environment("tflm")
    values = {
        "edgedet_version": __version__,
        "model_sha256": model_sha256,
        "model_bytes": len(data),
        "model_rows": byte_rows(data),
        "operators": operators,
        "operator_total": sum(operator.count for operator in operators),
        "arena": arena,
        "golden_source": c_comment(golden.source, 300),
    }
    templates = {name: name for name in _MODEL_FILES}
    if model is not None:
        templates["contract.h"] = "contract.h"
        values |= contract_values(model)
        values |= _contract_golden(model, golden)
        templates |= {"golden.h": "golden.h", "golden.cc": "golden.cc"}
    else:
        values |= _tensor_golden(graph, golden)
        templates |= {"golden.h": "golden_tensors.h", "golden.cc": "golden_tensors.cc"}
    return {name: environment.get_template(f"{template}.j2").render(values) for name, template in templates.items()}


def _contract_golden(model: Int8Model, golden: Golden) -> dict[str, Any]:
    """Of one int8 input, and int8 outputs that the contract names."""
    return {
        "golden_input_rows": int8_rows(golden.inputs[0]),
        "golden_input_bytes": golden.inputs[0].size,
        "golden_outputs": [
            {"name": c_identifier(name), "rows": int8_rows(array), "bytes": array.size}
            for name, array in zip(model.outputs.tensor_names, golden.outputs, strict=True)
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
