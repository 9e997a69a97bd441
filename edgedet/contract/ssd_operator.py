"""TFLite_Detection_PostProcess: the custom operator with which SSDs end, read and left to the host.

It holds float arithmetic and a non-maximum suppression that no microcontroller should run through an interpreter. The
file with a contract ends in front of it; its anchors and thresholds go into the contract, and NumPy does its work.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from edgedet.errors import ConversionError
from edgedet.graph.graph import Graph, OpaqueOptions, Operator, Tensor

KIND = "CUSTOM (TFLite_Detection_PostProcess)"
_MUST = ("y_scale", "x_scale", "h_scale", "w_scale", "num_classes", "max_detections", "nms_iou_threshold")


@dataclass(frozen=True)
class PostProcess:
    """What the operator of a file says."""

    operator: Operator
    boxes: int  # tensor of the encoded boxes, (1, N, 4)
    classes: int  # tensor of the class scores, (1, N, classes) or with the background in front
    anchors: tuple[float, ...]  # as HeadSpec.anchors
    variances: tuple[float, ...]  # y, x, height, width
    class_count: int  # without the background
    background: bool
    agnostic: bool  # the fast suppression, across classes
    max_detections: int
    nms_iou: float


def find_postprocess(graph: Graph, source: str) -> PostProcess | None:
    """The operator of a graph that ends with one.

    Args:
        graph: of a file.
        source: its name, for errors.
    Returns:
        What it says; None when there is none.
    Raises:
        ConversionError: its options or anchors are damaged.
    """
    found = [operator for operator in graph.operators if operator.kind == KIND]
    if len(found) != 1:
        return None
    operator = found[0]
    if len(operator.inputs) != 3 or not isinstance(operator.options, OpaqueOptions):
        raise ConversionError(f"{source}: {KIND} takes boxes, scores and anchors, found {len(operator.inputs)} inputs")
    options = _options(operator.options.custom, source)
    anchors = _real(graph.tensors[operator.inputs[2]], source)
    depth = graph.tensors[operator.inputs[1]].shape[-1]
    count = int(options["num_classes"])
    if depth - count not in (0, 1):
        raise ConversionError(f"{source}: {KIND} says {count} classes, its scores have {depth} channels")
    return PostProcess(
        operator=operator,
        boxes=operator.inputs[0],
        classes=operator.inputs[1],
        anchors=tuple(anchors.reshape(-1).tolist()),
        variances=tuple(float(options[f"{name}_scale"]) for name in "yxhw"),
        class_count=count,
        background=depth == count + 1,
        agnostic=not options.get("use_regular_nms", False),
        max_detections=int(options["max_detections"]),
        nms_iou=float(np.float32(options["nms_iou_threshold"])),
    )


def without_postprocess(graph: Graph, found: PostProcess) -> Graph:
    """The graph that ends in front of the operator; its anchors leave the file as well.

    Args:
        graph: that holds it.
        found: the operator.
    Returns:
        A graph with outputs (boxes, classes). Signatures, which name the old outputs, are left out.
    """
    operators = tuple(operator for operator in graph.operators if operator is not found.operator)
    outputs = (found.boxes, found.classes)
    used = {i for operator in operators for i in (*operator.inputs, *operator.outputs) if i >= 0}
    kept = sorted(used | set(outputs) | set(graph.inputs))
    new = {old: number for number, old in enumerate(kept)} | {-1: -1}
    return replace(
        graph,
        tensors=tuple(graph.tensors[old] for old in kept),
        operators=tuple(
            replace(op, inputs=tuple(new[i] for i in op.inputs), outputs=tuple(new[i] for i in op.outputs))
            for op in operators
        ),
        inputs=tuple(new[i] for i in graph.inputs),
        outputs=tuple(new[i] for i in outputs),
        signatures=(),
    )


def _options(blob: bytes, source: str) -> dict[str, Any]:
    try:
        options = flexbuffers.Loads(blob)
    except Exception as error:  # the package raises whatever its indexing meets
        raise ConversionError(
            f"{source}: {KIND}: its options are damaged, found {blob[:40]!r}; export it again"
        ) from error
    if not isinstance(options, dict) or not all(isinstance(options.get(name), int | float) for name in _MUST):
        raise ConversionError(f"{source}: {KIND}: expected options {', '.join(_MUST)}, found {str(options)[:200]}")
    return options


def _real(tensor: Tensor, source: str) -> np.ndarray:
    """Real values of the anchors, float32 (N, 4)."""
    if tensor.data is None or tensor.shape[1:] != (4,):
        raise ConversionError(f"{source}: {KIND}: expected constant anchors (N, 4), found {tensor.shape}")
    if tensor.quantization is None:
        return tensor.data.astype(np.float32)
    codes = tensor.data.astype(np.int64) - int(tensor.quantization.zero_point[0])
    return codes.astype(np.float32) * np.float32(tensor.quantization.scale[0])
