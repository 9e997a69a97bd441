"""What a caller said about a file must show in its contracts; what has no effect there is an error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgedet.contract.request import ContractRequest
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import ConfigError
from edgedet.graph.graph import Graph
from edgedet.head_spec import PRIOR_CODINGS

_WITH_UNIT = ("xywh", "xyxy")
_WITH_OFFSET = PRIOR_CODINGS
_WITHOUT_NMS = ("none", "cells")  # no boxes, and centroids that are not suppressed by overlap
_CELL_SCORES = ("softmax", "none")


def require_effect(
    graph: Graph,
    request: ContractRequest,
    preprocess: PreprocessSpec,
    outputs: OutputSpec,
    roles: Mapping[str, int],
    source: str,
) -> None:
    """Check that nothing the caller said was passed over.

    Args:
        graph: of the file.
        request: what the caller said.
        preprocess: input contract that came out.
        outputs: output contract that came out.
        roles: role -> position in graph.outputs.
        source: name of the file, for errors.
    Raises:
        ConfigError: names the fields without effect, and what they would need.
    """
    idle = [
        *_idle_of_boxes(request, outputs),
        *_idle_of_anchors(request, outputs),
        *_idle_of_roles(graph, request, outputs, roles),
    ]
    if request.pad_value is not None and preprocess.resize != "letterbox":
        idle.append(f"`pad_value` (`resize` is {preprocess.resize}, which pads nothing)")
    if idle:
        head = f"head {outputs.head.kind} with boxes {outputs.head.coding}"
        raise ConfigError(
            f"{source}: without effect on {head}: {'; '.join(idle)}; leave it out, or give another `head`"
        )


def _idle_of_boxes(request: ContractRequest, outputs: OutputSpec) -> Iterator[str]:
    head = outputs.head
    if request.boxes is not None and head.coding != request.boxes:
        yield f"`boxes` {request.boxes}"
    if request.scores is not None and head.scores != request.scores:
        yield f"`scores` {request.scores}"
    elif request.scores is not None and head.coding == "cells" and request.scores not in _CELL_SCORES:
        yield f"`scores` {request.scores} (a heat map has {' or '.join(_CELL_SCORES)})"
    if request.unit is not None and head.coding not in _WITH_UNIT:
        yield f"`unit` (only boxes {' and '.join(_WITH_UNIT)} have one)"
    if request.offset is not None and head.coding not in _WITH_OFFSET:
        yield f"`offset` (only boxes {' and '.join(_WITH_OFFSET)} have one)"
    if request.strides is not None and outputs.strides != request.strides and request.anchor_source != "ssd":
        yield "`strides`"
    if request.nms_iou is not None and head.coding in _WITHOUT_NMS:
        yield "`nms_iou`"


def _idle_of_anchors(request: ContractRequest, outputs: OutputSpec) -> Iterator[str]:
    given = request.anchors is not None or request.anchor_source is not None
    if given and not outputs.head.anchors:
        yield "`anchors`"
    for name in ("ssd_scales", "ssd_ratios"):
        if getattr(request, name) is not None and (request.anchor_source != "ssd" or not outputs.head.anchors):
            yield f"`{name}` (only with `anchors` ssd)"


def _idle_of_roles(
    graph: Graph, request: ContractRequest, outputs: OutputSpec, roles: Mapping[str, int]
) -> Iterator[str]:
    if request.layout is not None and not {"cls", "box"} <= {role.partition("_")[0] for role in roles}:
        yield f"`layout` {request.layout} (only where class and box tensors are apart)"
    for role, name in request.outputs:
        if role not in roles or graph.tensors[graph.outputs[roles[role]]].name != name:
            yield f"`outputs` {role}={name}"
