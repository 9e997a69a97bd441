"""The device's side of the serial protocol in generated projects, from firmware_export/device/*.j2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgedet import __version__
from edgedet.codegen.c_source import byte_rows
from edgedet.codegen.module_name import ModuleName
from edgedet.codegen.templates import template_environment
from edgedet.device.protocol import LEAST_PAYLOAD_BYTES, MOST_PAYLOAD_BYTES, PROTOCOL_VERSION, TARGETS
from edgedet.escape import json_text
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model
from edgedet.graph.tflite.dtypes import tensor_bytes

_VERSION_FIELD_BYTES = 32
DETECTS = 1  # bit of the abilities


def contract_text(model: Int8Model | None) -> bytes:
    """Both contracts as the device keeps them: JSON, ASCII; empty without contracts that C follows."""
    if model is None:
        return b""
    value = {"preprocess": model.preprocess.to_json(), "outputs": model.outputs.to_json()}
    return json_text(value, None).encode("ascii")


def device_files(
    target: str,
    graph: Graph,
    outputs: Sequence[int],
    model: Int8Model | None,
    values: Mapping[str, Any],
    name: ModuleName,
) -> dict[str, str]:
    """Text of device.h, device.c and the program around them.

    Args:
        target: c99 or tflm; a program of TFLite Micro is C++.
        graph: that runs on the device.
        outputs: its tensors that the device gives, in contract order, or without contracts in that of the file.
        model: the same with contracts that C follows; None: the device gives raw outputs alone.
        values: of the target's other templates.
        name: of the module.
    Returns:
        Path -> text.
    """
    contract = contract_text(model)
    device = {
        "protocol": PROTOCOL_VERSION,
        "least_payload": LEAST_PAYLOAD_BYTES,
        "most_payload": MOST_PAYLOAD_BYTES,
        "input_bytes": sum(tensor_bytes(graph.tensors[index]) for index in graph.inputs),
        "output_bytes": sum(tensor_bytes(graph.tensors[index]) for index in outputs),
        "inputs": len(graph.inputs),
        "outputs": len(outputs),
        "target": next(number for number, known in TARGETS.items() if known == target),
        "abilities": 0 if model is None else DETECTS,
        "contract_bytes": len(contract),
        "contract_rows": byte_rows(contract),
        "version_bytes": min(len(__version__.encode()), _VERSION_FIELD_BYTES),
    }
    environment = template_environment("device", name)
    main = "device_main.cc" if target == "tflm" else "device_main.c"
    templates = {"device.h": "device.h", "device.c": "device.c", main: "device_main.c"}
    values = {**values, "device": device, "target": target}
    return {
        name.stem + file: environment.get_template(f"{template}.j2").render(values)
        for file, template in templates.items()
    }
