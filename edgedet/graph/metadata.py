"""The two contracts inside a `.tflite`: a metadata buffer named `edgedet` that holds JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import ConfigError, ConversionError
from edgedet.graph.graph import Graph
from edgedet.head_spec import HeadSpec
from edgedet.numerics.heads.layout import forms_of
from edgedet.typed import is_text, shown

METADATA_NAME = "edgedet"
VERSION = 1  # of files with RTMDet's head, which every edgedet reads
HEAD_VERSION = 2  # of files whose head is described
CLASS_VERSION = 3  # of files with a score threshold for each class
VERSIONS = (VERSION, HEAD_VERSION, CLASS_VERSION)  # that are read; a file has the lowest that says all of it
MAX_BYTES = 64 << 20  # of the JSON; a million anchors and 10,000 classes need half of it


@dataclass(frozen=True)
class Contracts:
    """What a `.tflite` says about its input and outputs."""

    preprocess: PreprocessSpec
    outputs: OutputSpec
    output_indices: tuple[int, ...]  # contract order (cls_8, box_8, ...) -> position in graph.outputs


def contract_metadata(
    preprocess: PreprocessSpec, outputs: OutputSpec, tensor_names: Mapping[str, str] | None = None
) -> tuple[str, bytes]:
    """Metadata entry that carries the contracts.

    Args:
        preprocess: input contract.
        outputs: output contract.
        tensor_names: contract name (cls_8, ...) -> name of the graph's tensor; default: they are the same.
    Returns:
        (name, JSON) for `Graph.metadata`; the same contracts give the same bytes.
    Raises:
        ConversionError: tensor_names lacks an output.
    """
    names = {name: name for name in outputs.tensor_names} if tensor_names is None else dict(tensor_names)
    if set(names) != set(outputs.tensor_names):
        raise ConversionError(f"tensor_names has {sorted(names)}, expected exactly {sorted(outputs.tensor_names)}")
    content = {
        "version": _version(outputs),
        "preprocess": preprocess.to_json(),
        "outputs": outputs.to_json(),
        "tensors": names,
    }
    return METADATA_NAME, json.dumps(content, sort_keys=True, separators=(",", ":")).encode("utf-8")


def _version(outputs: OutputSpec) -> int:
    if outputs.class_thresholds:
        return CLASS_VERSION
    return VERSION if outputs.head == HeadSpec() else HEAD_VERSION


def read_contracts(graph: Graph, source: str) -> Contracts:
    """Contracts of a graph, checked against its tensors.

    Args:
        graph: of a file.
        source: name of the file, for errors.
    Returns:
        The contracts; outputs are found by name, never by shape (four classes look like a box tensor).
    Raises:
        ConversionError: no such metadata, another version, or input or outputs that contradict it.
    """
    blobs = [blob for name, blob in graph.metadata if name == METADATA_NAME]
    if len(blobs) != 1:
        raise ConversionError(
            f"{source}: {len(blobs)} metadata buffers named {METADATA_NAME!r}, expected 1. The file does not say how "
            "its input is prepared and what its outputs mean; make it with `edgedet quantize`, or say it with "
            f"`edgedet contract {source} --head yolov8 --classes person,car --out with_contract.tflite` "
            "(`edgedet contract --help` lists the heads)"
        )
    preprocess, outputs, names = parse_contracts(blobs[0], source)
    _check_input(graph, preprocess, source)
    indices = tuple(
        _find_output(graph, contract_name, tensor_name, preprocess, outputs, source)
        for contract_name, tensor_name in names.items()
    )
    return Contracts(preprocess, outputs, indices)


def parse_contracts(blob: bytes, source: str) -> tuple[PreprocessSpec, OutputSpec, dict[str, str]]:
    """What `contract_metadata` wrote, each value of its type; not compared with a graph.

    Args:
        blob: JSON.
        source: name of the file, for errors.
    Returns:
        (input contract, output contract, contract name -> name of the tensor, in contract order).
    Raises:
        ConversionError: something else.
    """
    content = _load(blob, source)
    try:
        preprocess = PreprocessSpec.from_json(content.get("preprocess"))
        outputs = OutputSpec.from_json(content.get("outputs"))
        names = _tensor_names(content.get("tensors"), outputs)
    except ConfigError as error:
        raise ConversionError(
            f"{source}: metadata {METADATA_NAME!r} is wrong: {error}; attach it anew with `edgedet contract`"
        ) from error
    return preprocess, outputs, names


def _tensor_names(table: Any, outputs: OutputSpec) -> dict[str, str]:
    """Contract name -> name of the tensor, in contract order."""
    if not isinstance(table, dict):
        raise ConfigError(f"tensors: expected a table, got {shown(table)}")
    for name in outputs.tensor_names:
        if not is_text(table.get(name)):
            raise ConfigError(f"tensors: {name}: expected the name of a tensor, got {shown(table.get(name))}")
    return {name: table[name] for name in outputs.tensor_names}


def _load(blob: bytes, source: str) -> dict[str, Any]:
    if len(blob) > MAX_BYTES:
        raise ConversionError(
            f"{source}: metadata {METADATA_NAME!r} has {len(blob)} bytes, expected at most {MAX_BYTES}; attach it anew "
            "with `edgedet contract`"
        )
    try:
        content = json.loads(blob.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConversionError(
            f"{source}: metadata {METADATA_NAME!r} is not JSON, found {blob[:40]!r}; attach it anew with `edgedet "
            "contract`"
        ) from error
    version = content.get("version") if isinstance(content, dict) else None
    if type(version) is not int or version not in VERSIONS:  # true equals 1
        raise ConversionError(
            f"{source}: metadata {METADATA_NAME!r} has version {shown(version)}, this edgedet reads versions "
            f"{VERSION} to {CLASS_VERSION}; take a newer edgedet, or convert the model again with this one"
        )
    result: dict[str, Any] = content
    return result


def _check_input(graph: Graph, preprocess: PreprocessSpec, source: str) -> None:
    expected = (1, preprocess.height, preprocess.width, preprocess.channels)
    channels_first = (1, preprocess.channels, preprocess.height, preprocess.width)
    if len(graph.inputs) != 1 or graph.tensors[graph.inputs[0]].shape not in (expected, channels_first):
        found = ", ".join(str(graph.tensors[i].shape) for i in graph.inputs)
        raise ConversionError(f"{source}: the contract says one input of {expected}, the graph has {found}")


def _find_output(
    graph: Graph, contract_name: str, tensor_name: str, preprocess: PreprocessSpec, outputs: OutputSpec, source: str
) -> int:
    positions = [i for i, index in enumerate(graph.outputs) if graph.tensors[index].name == tensor_name]
    if len(positions) != 1:
        found = ", ".join(graph.tensors[i].name for i in graph.outputs)
        raise ConversionError(
            f"{source}: output {contract_name} should be one tensor named {tensor_name!r}; the outputs are {found}"
        )
    forms = forms_of(contract_name, outputs, (preprocess.width, preprocess.height))
    shape = graph.tensors[graph.outputs[positions[0]]].shape
    if forms and shape not in [form.shape for form in forms]:
        raise ConversionError(
            f"{source}: output {contract_name} has shape {shape}, expected {' or '.join(str(f.shape) for f in forms)} "
            f"for {preprocess.width}x{preprocess.height} px, strides {', '.join(map(str, outputs.strides))}, "
            f"{len(outputs.class_names)} classes"
        )
    return positions[0]
