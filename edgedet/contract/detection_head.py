"""The output contract of a file: which head fits its outputs, and what the graph says about scores and units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from edgedet.contract.candidates import COCO_ANCHORS, Candidate, candidates
from edgedet.contract.from_graph import activation_in_graph, largest_value, step_of
from edgedet.contract.matching import match_roles
from edgedet.contract.request import ContractRequest
from edgedet.contracts import OutputSpec
from edgedet.errors import ConfigError
from edgedet.graph.graph import Graph
from edgedet.head_spec import ANCHOR_CODINGS, HeadSpec, part_and_stride
from edgedet.numerics.heads.layout import grid
from edgedet.numerics.heads.ssd_anchors import SSD_RATIOS, SSD_SCALES, ssd_anchors

# Above it decoded boxes are pixels: normalized ones reach 1, or a little more at the border of the input.
NORMALIZED_LIMIT = 2.5
PERCENT_STEP = 0.5  # of scores: 0..1 would have two codes
SSD_STRIDES = (16, 32, 64, 128, 256, 512)
Roles = dict[str, int]


def find_outputs(
    graph: Graph, request: ContractRequest, kind: str, classes: tuple[str, ...], size: tuple[int, int], source: str
) -> tuple[OutputSpec, Roles, tuple[str, ...]]:
    """Output contract of a file without one.

    Args:
        graph: of the file.
        request: what the caller said.
        kind: of head.
        classes: their names; may be empty for head `none`.
        size: (width, height) of the input, px.
        source: name of the file, for errors.
    Returns:
        The contract, role -> position in graph.outputs, and notes on what was found or assumed.
    Raises:
        ConfigError: no layout of this head fits the outputs, or several do.
    """
    request = replace(request, anchors=_anchors(request, kind, size))
    if not classes and kind != "none":
        counts = _fitting_counts(graph, request, kind, size)
        raise ConfigError(
            f"{source}: classes are not given, and no label file is appended{counts}; give `classes`, "
            "their names as a,b,c or in a file"
        )
    found = _fitting(graph, request, kind, classes, size)
    if not found:
        raise ConfigError(_nothing_fits(graph, request, kind, len(classes), source))
    if len(found) > 1:
        raise ConfigError(_ambiguous(graph, found, source))
    spec, roles = found[0]
    if kind == "none":
        return spec, roles, _class_vector(graph, classes, source)
    head, notes = _completed(graph, request, spec, roles, source)
    return replace(spec, head=head), roles, notes


def _class_vector(graph: Graph, classes: tuple[str, ...], source: str) -> tuple[str, ...]:
    """Check the number of classes of a head `none`, as far as its outputs say it.

    Args:
        graph: of the file.
        classes: names; may be empty.
        source: name of the file, for errors.
    Returns:
        A note where the outputs are no vectors, so that nothing says how many classes they are of.
    Raises:
        ConfigError: every output is a vector, as of a classifier, and none has a value for each class.
    """
    shapes = [graph.tensors[index].shape for index in graph.outputs]
    lengths = [math.prod(shape) for shape in shapes if math.prod(shape) == max(shape, default=1)]
    if not classes or len(classes) in lengths:
        return ()
    if len(lengths) == len(shapes):
        raise ConfigError(
            f"{source}: `classes`: {len(classes)} names, but the outputs hold {' and '.join(map(str, lengths))} "
            "values; give one name for each value, or leave `classes` out"
        )
    found = ", ".join(map(str, shapes))
    return (f"classes: their number was not checked, because head none says nothing of outputs {found}",)


def _fitting(
    graph: Graph, request: ContractRequest, kind: str, classes: tuple[str, ...], size: tuple[int, int]
) -> list[tuple[OutputSpec, Roles]]:
    """Contracts that fit, with the outputs that play their roles."""
    shapes = [graph.tensors[index].shape for index in graph.outputs]
    found: list[tuple[OutputSpec, Roles]] = []
    for candidate in candidates(request, kind, shapes, size, len(classes)):
        spec = _spec(request, candidate, classes)
        found += [(spec, roles) for roles in match_roles(graph, spec, size, dict(request.outputs), request.layout)]
    return found


def _spec(request: ContractRequest, candidate: Candidate, classes: tuple[str, ...]) -> OutputSpec:
    usual = OutputSpec(("",))
    return OutputSpec(
        class_names=classes,
        strides=candidate.strides,
        score_threshold=usual.score_threshold if request.score_threshold is None else request.score_threshold,
        nms_iou=usual.nms_iou if request.nms_iou is None else request.nms_iou,
        max_detections=usual.max_detections if request.max_detections is None else request.max_detections,
        category_ids=request.category_ids or (),
        head=candidate.head,
    )


def _anchors(request: ContractRequest, kind: str, size: tuple[int, int]) -> tuple[float, ...] | None:
    if request.anchor_source == "coco":
        return COCO_ANCHORS
    if request.anchor_source == "ssd":
        grids = [grid(size, stride) for stride in request.strides or SSD_STRIDES]
        scales, ratios = request.ssd_scales or SSD_SCALES, request.ssd_ratios or SSD_RATIOS
        if len(scales) != 2:
            raise ConfigError(f"scales of SSD anchors: expected the smallest and the largest, got {scales}")
        return ssd_anchors(grids, *scales, ratios)
    return request.anchors


def _completed(
    graph: Graph, request: ContractRequest, spec: OutputSpec, roles: Mapping[str, int], source: str
) -> tuple[HeadSpec, tuple[str, ...]]:
    """The head with its scores and unit, as far as the caller left them open."""
    head, notes = spec.head, []
    if head.coding in ("none", "detections"):
        return head, ()
    boxed = [graph.outputs[p] for role, p in roles.items() if part_and_stride(role)[0] in ("box", "map")]
    if head.coding in ANCHOR_CODINGS:
        if any(activation_in_graph(graph, index) == "sigmoid" for index in boxed):
            head = replace(head, box_sigmoid=True)
            notes.append("boxes: the graph holds the sigmoids of their values already")
        if request.boxes is None:
            size = "exp(w) * anchor" if head.coding == "yolov3" else "(2 sigmoid(w))^2 * anchor"
            notes.append(f"boxes: {head.coding}, which makes sizes {size}; yolov3 and yolov5 have the same shapes")
    scored = [graph.outputs[p] for role, p in roles.items() if part_and_stride(role)[0] in ("cls", "map")]
    if request.scores is None:
        scores, note = _scores(graph, spec, scored, source)
        head = replace(head, scores=scores)
        notes.append(note)
    if head.coding in ("xywh", "xyxy") and request.unit is None:
        largest = [value for value in (largest_value(graph, index) for index in boxed) if value is not None]
        if not largest:
            raise ConfigError(
                f"{source}: decoded boxes are either pixels of the input or normalized to 0..1, and without a scale "
                "the file does not tell; give `unit` pixels or normalized"
            )
        unit = "normalized" if max(largest) <= NORMALIZED_LIMIT else "pixels"
        head = replace(head, unit=unit)
        notes.append(f"unit: {unit}, found from the largest value that the boxes can have, {max(largest):.4g}")
        if unit == "pixels" and head.scores == "none" and set(boxed) & set(scored):
            notes.append(
                f"scores 0..1 share the scale of boxes that reach {max(largest):.4g}, so few codes are left to them; "
                "say scores percent if the network gives 0..100"
            )
    return head, tuple(notes)


def _scores(graph: Graph, spec: OutputSpec, scored: list[int], source: str) -> tuple[str, str]:
    """(how values become scores, note)."""
    head = spec.head
    if head.coding in ("xywh", "xyxy") and min(step_of(graph, index) for index in scored) >= PERCENT_STEP:
        return "percent", "scores: percent, as in SSCMA's YOLO: a step of their scale is too coarse for 0..1"
    inside = {activation_in_graph(graph, index) for index in scored} - {None}
    if inside:
        return "none", f"scores: the graph holds their {' and '.join(sorted(map(str, inside)))} already"
    if head.kind == "ssd":
        raise ConfigError(
            f"{source}: an SSD's scores are the sigmoid or the softmax of its class values, and the graph holds "
            "neither; give `scores` sigmoid or softmax"
        )
    if head.coding in ("xywh", "xyxy") and head.kind != "rtmdet":
        return "none", "scores: taken as they are, as is usual for decoded rows; no sigmoid was found in the graph"
    if head.kind == "fomo":
        return "softmax", "scores: softmax assumed, none is in the graph"
    if head.coding in ANCHOR_CODINGS and all(_is_shared(graph.tensors[index].shape[-1], spec) for index in scored):
        return "softmax", "scores: softmax over the classes assumed, as in Yolo-FastestV2; none is in the graph"
    return "sigmoid", "scores: sigmoid, none is in the graph"


def _is_shared(depth: int, spec: OutputSpec) -> bool:
    """True when a tensor is so narrow that all anchors of a cell have one class vector."""
    anchors, classes = spec.head.anchors_per_cell(len(spec.strides)), len(spec.class_names)
    return anchors > 1 and depth in (classes, 5 * anchors + classes) and depth != anchors * (5 + classes)


def _fitting_counts(graph: Graph, request: ContractRequest, kind: str, size: tuple[int, int]) -> str:
    """How many classes the outputs have room for, as a part of an error."""
    sides = {side for index in graph.outputs for side in graph.tensors[index].shape[1:]}
    counts = sorted({side - taken for side in sides for taken in range(6)} | {side // 3 - 5 for side in sides})
    fitting = [
        count
        for count in counts
        if 1 <= count <= 1000 and _fitting(graph, request, kind, tuple(f"{i}" for i in range(count)), size)
    ]
    return f" (the outputs fit {' or '.join(map(str, fitting[:4]))} of them)" if fitting else ""


def _nothing_fits(graph: Graph, request: ContractRequest, kind: str, classes: int, source: str) -> str:
    outputs = ", ".join(f"{graph.tensors[i].name} {graph.tensors[i].shape}" for i in graph.outputs)
    hint = ""
    if kind in ("yolov3", "yolov5") and not request.anchors:
        hint = (
            ". Boxes that are not decoded in the graph need anchors: give `anchors`, pairs of px, or coco for YOLO's "
            "usual nine"
        )
    if kind == "ssd" and not request.anchors:
        hint = (
            ". Without the operator TFLite_Detection_PostProcess an SSD needs anchors: give `anchors`, a file, or ssd "
            "to compute them"
        )
    return (
        f"{source}: no layout of head {kind} with {classes} classes fits the outputs {outputs}{hint}. Check `head`, "
        "`classes` and `strides`, or name the outputs, for example `outputs` cls_8=NAME"
    )


def _ambiguous(graph: Graph, found: list[tuple[OutputSpec, Roles]], source: str) -> str:
    ways = []
    for spec, roles in found[:3]:
        named = ", ".join(f"{role}={graph.tensors[graph.outputs[position]].name}" for role, position in roles.items())
        bins = f", {spec.head.bins} bins" if spec.head.bins else ""
        ways.append(f"boxes {spec.head.coding}{bins}, strides {', '.join(map(str, spec.strides))}: {named}")
    equal = len({tuple(sorted(roles)) for _, roles in found[:2]}) == 1
    advice = (
        "name the outputs, for example `outputs` "
        + ",".join(f"{role}={graph.tensors[graph.outputs[p]].name}" for role, p in list(found[0][1].items())[:2])
        + ",..., or give `layout` sscma for SSCMA's order (all class tensors, then all box tensors)"
        if equal
        else "give `boxes`, `strides` or `outputs`"
    )
    return f"{source}: the outputs can be read in several ways: {'; or '.join(ways)}; {advice}"
