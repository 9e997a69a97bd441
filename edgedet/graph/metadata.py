"""The two contracts inside a `.tflite`: a metadata buffer named `edgedet` that holds JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import ConfigError, ConversionError
from edgedet.graph.graph import Graph
from edgedet.head_spec import LEVEL_CODINGS, HeadSpec
from edgedet.numerics.heads.layout import forms_of

METADATA_NAME = "edgedet"
VERSION = 1  # of files with RTMDet's head, which every edgedet reads
HEAD_VERSION = 2  # of files whose head is described


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
        "version": VERSION if outputs.head == HeadSpec() else HEAD_VERSION,
        "preprocess": preprocess.to_json(),
        "outputs": outputs.to_json(),
        "tensors": names,
    }
    return METADATA_NAME, json.dumps(content, sort_keys=True, separators=(",", ":")).encode("utf-8")


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
        preprocess = PreprocessSpec.from_json(content["preprocess"])
        outputs = OutputSpec.from_json(content["outputs"])
        names = {name: content["tensors"][name] for name in outputs.tensor_names}
    except ConfigError as error:
        raise ConversionError(f"{source}: metadata {METADATA_NAME!r} is wrong: {error}") from error
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise ConversionError(
            f"{source}: metadata {METADATA_NAME!r} is wrong: expected preprocess, outputs and tensors as `edgedet "
            f"quantize` writes them, found {json.dumps(content)[:300]}; attach it anew with `edgedet contract`"
        ) from error
    _check_outputs_spec(outputs, source)
    _check_types(preprocess, outputs, names, source)
    return preprocess, outputs, names


def _check_types(preprocess: PreprocessSpec, outputs: OutputSpec, names: Mapping[str, str], source: str) -> None:
    """What the dataclasses leave to mypy, and JSON does not keep."""
    reals = (*preprocess.mean, *preprocess.std, outputs.score_threshold, outputs.nms_iou)
    integers = (preprocess.pad_value, outputs.max_detections, *outputs.category_ids)
    if (
        not all(isinstance(value, int | float) and math.isfinite(value) for value in reals)
        or not all(isinstance(value, int) for value in integers)
        or not all(isinstance(name, str) for name in names.values())
    ):
        raise ConversionError(
            f"{source}: metadata: expected finite mean, std and thresholds, whole pad_value, max_detections and "
            f"category_ids, and names of tensors; found {preprocess}, {outputs}, {dict(names)}"[:600]
            + "; attach it anew with `edgedet contract`"
        )


def _load(blob: bytes, source: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(blob.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConversionError(
            f"{source}: metadata {METADATA_NAME!r} is not JSON, found {blob[:40]!r}; attach it anew with `edgedet "
            "contract`"
        ) from error
    version = content.get("version") if isinstance(content, dict) else None
    if version not in (VERSION, HEAD_VERSION):
        raise ConversionError(
            f"{source}: metadata {METADATA_NAME!r} has version {version!r}, this edgedet reads versions {VERSION} and "
            f"{HEAD_VERSION}; convert the model again with this edgedet"
        )
    return content


def _check_outputs_spec(outputs: OutputSpec, source: str) -> None:
    if not all(isinstance(name, str) for name in outputs.class_names):
        raise ConversionError(f"{source}: metadata: class names must be strings, got {outputs.class_names}")
    strides = outputs.strides
    if not strides and outputs.head.coding not in LEVEL_CODINGS:
        return
    if not strides or any(not isinstance(s, int) or s < 1 for s in strides) or len(set(strides)) != len(strides):
        raise ConversionError(f"{source}: metadata: strides must be different positive integers, got {strides}")


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
