"""Attach, show, edit and check the two contracts of a file; the Python side of `edgedet contract`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgedet.contract.detection_head import Roles, find_outputs
from edgedet.contract.effects import require_effect
from edgedet.contract.image_input import find_preprocess, image_shape, spread
from edgedet.contract.labels import appended_labels
from edgedet.contract.request import ContractReport, ContractRequest
from edgedet.contract.ssd_operator import PostProcess, find_postprocess, without_postprocess
from edgedet.contracts import OutputSpec, PreprocessSpec, class_agnostic
from edgedet.errors import ConfigError, ConversionError
from edgedet.fileio import atomic_write_bytes, read_bytes
from edgedet.graph.c_decoder import c_decoder_of
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.graph import Graph
from edgedet.graph.metadata import METADATA_NAME, contract_metadata, read_contracts
from edgedet.graph.tflite.opaque import compiled_for
from edgedet.head_spec import HEADS


def contract(request: ContractRequest) -> ContractReport:
    """Find, change or only check the contracts of a file, and write a file that carries them.

    Args:
        request: the file, and what is known about it.
    Returns:
        Both contracts with notes on what was found or assumed; the same whether or not a file was written.
    Raises:
        ConfigError: a value is missing, wrong or ambiguous; the message names the field of the request.
        ConversionError: the file is missing or damaged, or has no contract and nothing was said about it.
    """
    source = str(request.model)
    data = _read(request.model)
    graph = parse_tflite(data, source)
    has_contract = any(name == METADATA_NAME for name, _ in graph.metadata)
    says_itself = find_postprocess(graph, source) is not None
    if not (has_contract or says_itself or request.changes()):
        raise ConversionError(_nothing_said(graph, source))
    if (has_contract and not request.describes_head()) or not (request.changes() or says_itself):
        found = read_contracts(graph, source)
        preprocess = _edited_preprocess(found.preprocess, graph, request, source)
        outputs = _edited_outputs(found.outputs, request)
        roles = dict(zip(outputs.tensor_names, found.output_indices, strict=True))
        notes: tuple[str, ...] = ()
    else:
        graph, preprocess, outputs, roles, notes = _described(graph, data, request, has_contract, source)
        outputs = _decided(outputs, request)
    require_effect(graph, request, preprocess, outputs, roles, source)
    graph = with_contracts(graph, preprocess, outputs, roles, source)
    if request.out is not None:
        atomic_write_bytes(request.out, serialize(graph))
    elif request.changes() or not has_contract:
        notes = (*notes, "only shown: no file was asked for, so none was written")
    return _report(graph, request, preprocess, outputs, roles, notes)


def _nothing_said(graph: Graph, source: str) -> str:
    """Error about a file without contracts and a request that says nothing: what the tensors are, and how to go on."""
    tensors = graph.tensors
    ends = (("input", graph.inputs), ("outputs", graph.outputs))
    parts = [
        f"{title} " + ", ".join(f"{tensors[i].name!r} {tensors[i].dtype} {tensors[i].shape}" for i in indices)
        for title, indices in ends
    ]
    return (
        f"{source}: carries no contracts yet; {'; '.join(parts)}. Say what they mean, for example: edgedet contract "
        f"{source} --head yolov8 --classes a,b,c --out NEW.tflite"
    )


def with_contracts(
    graph: Graph, preprocess: PreprocessSpec, outputs: OutputSpec, roles: Mapping[str, int], source: str
) -> Graph:
    """A graph that carries contracts, checked against its tensors.

    Args:
        graph: of the file; contracts that it has are replaced.
        preprocess: input contract.
        outputs: output contract.
        roles: role -> position in graph.outputs.
        source: name of the file, for errors.
    Returns:
        The graph with new metadata.
    Raises:
        ConfigError: two outputs have the same name, so that none can be found by it.
        ConversionError: the contracts do not fit the tensors.
    """
    names = {role: graph.tensors[graph.outputs[position]].name for role, position in roles.items()}
    if len(set(names.values())) != len(names):
        raise ConfigError(
            f"{source}: outputs must have different names to be told apart, found {sorted(names.values())}"
        )
    kept = tuple(entry for entry in graph.metadata if entry[0] != METADATA_NAME)
    result = replace(graph, metadata=(*kept, contract_metadata(preprocess, outputs, names)))
    read_contracts(result, source)
    return result


def _read(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise ConversionError(f"{path}: can't read the model ({error.strerror}); check the path") from error


def _described(
    graph: Graph, data: bytes, request: ContractRequest, has_contract: bool, source: str
) -> tuple[Graph, PreprocessSpec, OutputSpec, Roles, tuple[str, ...]]:
    """Contracts from the request and the file; the input's are kept when the file has some."""
    post = find_postprocess(graph, source)
    kind = request.head or ("rtmdet" if request.layout == "sscma" else "ssd" if post is not None else None)
    if kind is None:
        raise ConfigError(
            f"{source}: head is not given; give `head` {'|'.join(HEADS)}: what decodes the outputs, or "
            "none for a contract of the input alone"
        )
    notes = list[str]()
    if post is not None and kind == "ssd" and request.boxes != "detections":
        graph, request = without_postprocess(graph, post), _of_operator(request, graph, post)
        notes.append("the operator TFLite_Detection_PostProcess is left to the host: the file ends in front of it")
    height, width, _ = image_shape(graph, source)
    classes = request.classes or ()
    if not classes:
        classes = appended_labels(data)
        if classes:
            notes.append(f"classes: {len(classes)} names found in the appended label file")
    outputs, roles, found = find_outputs(graph, request, kind, classes, (width, height), source)
    if post is not None and outputs.head.coding == "ssd":
        outputs = replace(outputs, head=replace(outputs.head, variances=post.variances, agnostic=post.agnostic))
    notes += found
    if has_contract:
        kept = read_contracts(graph, source).preprocess
        preprocess = _edited_preprocess(kept, graph, request, source)
    else:
        preprocess, found = find_preprocess(graph, request, kind, source)
        notes += found
    return graph, preprocess, outputs, roles, tuple(notes)


def _of_operator(request: ContractRequest, graph: Graph, post: PostProcess) -> ContractRequest:
    """The request with what the operator says, where the caller said nothing else."""
    return replace(
        request,
        anchors=post.anchors if request.anchors is None else request.anchors,
        nms_iou=post.nms_iou if request.nms_iou is None else request.nms_iou,
        max_detections=post.max_detections if request.max_detections is None else request.max_detections,
        scores=request.scores or "none",
        outputs=(("box", graph.tensors[post.boxes].name), ("cls", graph.tensors[post.classes].name)),
    )


def _edited_preprocess(spec: PreprocessSpec, graph: Graph, request: ContractRequest, source: str) -> PreprocessSpec:
    depth = image_shape(graph, source)[2]
    changes: dict[str, Any] = {
        "channel_order": request.channels,
        "resize": request.resize,
        "pad_value": request.pad_value,
        "mean": None if request.mean is None else spread(request.mean, depth, "mean"),
        "std": None if request.std is None else spread(request.std, depth, "std"),
    }
    return replace(spec, **{name: value for name, value in changes.items() if value is not None})


def _edited_outputs(spec: OutputSpec, request: ContractRequest) -> OutputSpec:
    changes: dict[str, Any] = {
        "class_names": request.classes,
        "category_ids": request.category_ids,
        "score_threshold": request.score_threshold,
        "nms_iou": request.nms_iou,
        "max_detections": request.max_detections,
    }
    if request.classes is not None and len(request.classes) != len(spec.class_names):
        raise ConfigError(
            f"`classes`: {len(request.classes)} names, but the contract has {len(spec.class_names)} classes"
        )
    if request.score_threshold is not None:
        changes["class_thresholds"] = ()  # one for all, from now on
    spec = replace(spec, **{name: value for name, value in changes.items() if value is not None})
    return _decided(spec, request)


def _decided(spec: OutputSpec, request: ContractRequest) -> OutputSpec:
    """The contract with what the request says about decoding besides plain values."""
    if request.class_thresholds is not None:
        if request.score_threshold is not None:
            raise ConfigError("`class_thresholds` and `score_threshold`: give one of them")
        if len(request.class_thresholds) != len(spec.class_names):
            raise ConfigError(
                f"`class_thresholds`: {len(request.class_thresholds)} numbers, but the contract has "
                f"{len(spec.class_names)} classes"
            )
        spec = spec.with_thresholds(request.class_thresholds)
    if request.agnostic:
        spec = class_agnostic(spec)
    elif request.agnostic is False:
        spec = replace(spec, head=replace(spec.head, agnostic=False))
    return spec


def _compiled_note(graph: Graph) -> tuple[str, ...]:
    """What a compiler has made of the network, to which the contracts still apply."""
    makers = sorted({maker for operator in graph.operators if (maker := compiled_for(operator.kind))})
    return tuple(
        f"compiled by {maker}: only that accelerator runs it; deploy and evaluate take the .tflite from before"
        for maker in makers
    )


def _report(
    graph: Graph,
    request: ContractRequest,
    preprocess: PreprocessSpec,
    outputs: OutputSpec,
    roles: Mapping[str, int],
    notes: tuple[str, ...],
) -> ContractReport:
    tensors = [(role, graph.tensors[graph.outputs[roles[role]]]) for role in outputs.tensor_names]
    source = graph.tensors[graph.inputs[0]]
    decoder, reason = c_decoder_of(
        preprocess,
        outputs,
        (source.dtype, *(tensor.dtype for _, tensor in tensors)),
        source.shape != (1, preprocess.height, preprocess.width, preprocess.channels),
        len(tensors) == len(graph.outputs),
    )
    return ContractReport(
        model=request.model,
        written=request.out,
        preprocess=preprocess,
        outputs=outputs,
        tensors=tuple((role, tensor.name, tensor.shape, tensor.dtype) for role, tensor in tensors),
        notes=(*notes, *_compiled_note(graph)),
        input_name=source.name,
        input_dtype=source.dtype,
        c_decoder=decoder,
        why_no_c_decoder=reason,
    )
