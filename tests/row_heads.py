"""Heads with rows of boxes in every layout that C decodes, and random int8 outputs of them; not a test itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from graph_maker import GraphMaker

from edgedet.contract.api import contract
from edgedet.contract.request import ContractRequest
from edgedet.contracts import Detections, OutputSpec
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import write_tflite
from edgedet.head_spec import HeadSpec
from edgedet.numerics.decode import dequantize_output
from edgedet.numerics.heads.decode import decode_outputs
from edgedet.numerics.heads.layout import class_channels, forms_of
from edgedet.numerics.heads.ssd_anchors import ssd_anchors

SIZE = (96, 64)  # width, height, px
STRIDES = (8, 16)
APART = ("cls_8", "box_8", "cls_16", "box_16")
WITH_OBJECTNESS = ("cls_8", "box_8", "obj_8", "cls_16", "box_16", "obj_16")
MAPS = ("map_8", "map_16")
ANCHORS = (10.0, 13.0, 16.0, 30.0, 33.0, 23.0, 40.0, 20.0, 20.0, 41.0, 50.0, 50.0)
SSD_ANCHORS = ssd_anchors([(4, 6), (2, 3)])
ROWS = 60  # of heads that are decoded in the graph

HEADS: dict[str, HeadSpec] = {
    "yolox": HeadSpec("yolox", "yolox", WITH_OBJECTNESS, objectness=True),
    "yolox_activated": HeadSpec("yolox", "yolox", WITH_OBJECTNESS, objectness=True, scores="none"),
    "yolox_map": HeadSpec("yolox", "yolox", MAPS, objectness=True),
    "nanodet": HeadSpec("nanodet", "distance", APART, bins=8),
    "nanodet_map": HeadSpec("nanodet", "distance", MAPS, bins=8, classes_first=True),
    "nanodet_end_to_end": HeadSpec("nanodet", "distance", ("cls", "box"), bins=5, offset=0.5),
    "distance": HeadSpec("yolov8", "distance", APART, offset=0.5),
    "log_distance": HeadSpec("rtmdet", "log_distance"),
    "distance_softmax": HeadSpec("yolov8", "distance", APART, scores="softmax", background=True),
    "yolov8": HeadSpec("yolov8", "distance", APART, bins=16, offset=0.5),
    "yolov8_nchw": HeadSpec("yolov8", "distance", APART, bins=16, offset=0.5, channels_first=True),
    "yolov8_decoded": HeadSpec("yolov8", "xywh", ("map",), scores="none", channels_first=True, unit="normalized"),
    "yolov8_corners": HeadSpec("yolov8", "xyxy", ("box", "cls")),
    "yolov5": HeadSpec("yolov5", "yolov5", MAPS, objectness=True, anchors=ANCHORS),
    "yolov5_apart": HeadSpec("yolov5", "yolov5", WITH_OBJECTNESS, objectness=True, anchors=ANCHORS),
    "yolov5_percent": HeadSpec("yolov5", "xywh", ("map",), objectness=True, scores="percent"),
    "yolov5_activated": HeadSpec(
        "yolov5", "yolov5", MAPS, objectness=True, anchors=ANCHORS, scores="none", box_sigmoid=True
    ),
    "yolov3": HeadSpec("yolov3", "yolov3", MAPS, objectness=True, anchors=ANCHORS),
    "fastest": HeadSpec("yolov5", "yolov5", WITH_OBJECTNESS, objectness=True, anchors=ANCHORS, scores="softmax"),
    "fastest_map": HeadSpec("yolov5", "yolov5", MAPS, objectness=True, anchors=ANCHORS, scores="softmax"),
    "ssd": HeadSpec("ssd", "ssd", ("box", "cls"), background=True, anchors=SSD_ANCHORS),
    "ssd_softmax": HeadSpec("ssd", "ssd", ("box", "cls"), scores="softmax", background=True, anchors=SSD_ANCHORS),
    "ssd_agnostic": HeadSpec("ssd", "ssd", ("box", "cls"), background=True, agnostic=True, anchors=SSD_ANCHORS),
    "ssd_variances": HeadSpec("ssd", "ssd", ("cls", "box"), anchors=SSD_ANCHORS, variances=(9.0, 11.0, 4.0, 6.0)),
}
_SHARED = {"fastest": "cls", "fastest_map": "map"}  # parts that all anchors of a cell share


@dataclass(frozen=True, eq=False)
class RowCase:
    """int8 outputs of one image and how to decode them."""

    spec: OutputSpec
    size: tuple[int, int]
    outputs: list[np.ndarray]
    scales: list[float]
    zero_points: list[int]

    def numpy(self) -> Detections:
        parts = zip(self.outputs, self.scales, self.zero_points, strict=True)
        return decode_outputs([dequantize_output(*part) for part in parts], self.spec, self.size)


def spec_of(name: str, classes: int = 3, **changes: object) -> OutputSpec:
    """Output contract with one of HEADS."""
    said = {"strides": STRIDES, "score_threshold": 0.3, "nms_iou": 0.5, "head": HEADS[name]}
    return OutputSpec(tuple(f"class{i}" for i in range(classes)), **(said | changes))


def shapes_of(name: str, spec: OutputSpec, size: tuple[int, int] = SIZE) -> list[tuple[int, ...]]:
    """A shape for each output; the last form of the layout where a head shares its classes."""
    shapes = []
    for role in spec.tensor_names:
        forms = forms_of(role, spec, size)
        part = role.split("_")[0]
        if not forms:  # decoded rows
            depth = {"box": 4, "cls": class_channels(spec)}.get(
                part, 4 + int(spec.head.objectness) + class_channels(spec)
            )
            shapes.append((1, depth, ROWS) if spec.head.channels_first else (1, ROWS, depth))
        elif _SHARED.get(name) == part:
            depth = class_channels(spec) + (5 * spec.head.anchors_per_cell(len(spec.strides)) if part == "map" else 0)
            shapes.append(next(form.shape for form in forms if form.shape[-1] == depth))
        else:
            shapes.append(forms[0].shape)
    return shapes


def row_case(name: str, seed: int, spec: OutputSpec | None = None, size: tuple[int, int] = SIZE) -> RowCase:
    """Random outputs with ties and saturated codes; scales and zero points as networks have them."""
    rng = np.random.default_rng(seed)
    spec = spec_of(name) if spec is None else spec
    shapes = shapes_of(name, spec, size)
    outputs = [np.clip(np.rint(rng.normal(rng.uniform(-40, 20), 45, s)), -128, 127).astype(np.int8) for s in shapes]
    scales = [float(np.float32(_scale(spec.head, role, rng))) for role in spec.tensor_names]
    zero_points = [_zero_point(spec.head, role, rng) for role in spec.tensor_names]
    return RowCase(spec, size, outputs, scales, zero_points)


def filled(case: RowCase, codes: Sequence[int]) -> RowCase:
    """The case with all codes of each output equal to one of `codes`, taken in turn."""
    outputs = [np.full_like(array, codes[i % len(codes)]) for i, array in enumerate(case.outputs)]
    return replace(case, outputs=outputs)


def _scale(head: HeadSpec, role: str, rng: np.random.Generator) -> float:
    joint = role.startswith("map")
    if head.scores == "percent":
        return 1.0
    if head.coding == "xyxy" and role == "box":
        return 0.4
    if head.scores == "none" and not role.startswith("box"):
        return 1 / 256 if head.coding not in ("yolox",) or joint else 1 / 200
    return float(rng.uniform(0.03, 0.07))


def _zero_point(head: HeadSpec, role: str, rng: np.random.Generator) -> int:
    if head.scores in ("none", "percent") and not role.startswith("box"):
        return -128
    if head.coding == "xyxy" and role == "box":
        return -100
    if head.coding == "distance" and not head.bins and role.startswith("box"):
        return -100
    return int(rng.integers(-30, 40))


def row_model(name: str, folder: Path, classes: int = 3, score_threshold: float = 0.3) -> Path:
    """A network of one convolution an output with one of HEADS, whose contract `edgedet contract` found in its shapes.

    Args:
        name: of the head.
        folder: to write into.
        classes: number of classes.
        score_threshold: of the contract.
    """
    case = row_case(name, 3, spec_of(name, classes))
    head = case.spec.head
    m = GraphMaker(11)
    x = m.input((1, SIZE[1], SIZE[0], 3))
    results = []
    for role, array, scale, zero_point in zip(
        case.spec.tensor_names, case.outputs, case.scales, case.zero_points, strict=True
    ):
        stride = 16 if head.coding == "ssd" else SIZE[1] // array.shape[1]
        cells = (SIZE[1] // stride) * (SIZE[0] // stride)
        y = m.conv(x, array.size // cells, (stride, stride), (stride, stride), per_channel=False)
        quantized = g.Quantization(np.array([scale], np.float32), np.array([zero_point]))
        m.tensors[y] = replace(m.tensors[y], quantization=quantized)
        if m.tensors[y].shape != array.shape:
            y = m.same("RESHAPE", [y, m.constant(list(array.shape))], array.shape, g.ReshapeOptions(array.shape))
        m.tensors[y] = replace(m.tensors[y], name=role)
        results.append(y)
    write_tflite(m.graph(results), folder / f"{name}_plain.tflite")
    out = folder / f"{name}.tflite"
    report = contract(
        ContractRequest(
            model=folder / f"{name}_plain.tflite", out=out, head=head.kind, classes=case.spec.class_names,
            score_threshold=score_threshold, nms_iou=0.5, anchors=head.anchors or None, scores=head.scores,
            strides=None if head.coding == "ssd" else STRIDES,
            boxes="log_distance" if head.coding == "log_distance" else None,
        )
    )  # fmt: skip
    assert report.outputs.head == head
    return out
