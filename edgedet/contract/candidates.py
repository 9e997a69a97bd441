"""The shapes that heads come in: every (strides, HeadSpec) that a kind of head may have, to be tried on a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgedet.contract.request import ContractRequest
from edgedet.head_spec import HeadSpec

STRIDES = ((8, 16, 32), (16, 32), (8, 16), (8,), (16,), (32,), (8, 16, 32, 64), (4, 8, 16, 32), (4, 8, 16), (4,))
_WITHOUT_OBJECTNESS = ("yolov8", "nanodet", "rtmdet")
OBJECTNESS_WEIGHTS = {"yunet": 0.5, "fastestdet": 0.6}
COCO_ANCHORS = (10.0, 13.0, 16.0, 30.0, 33.0, 23.0, 30.0, 61.0, 62.0, 45.0, 59.0, 119.0, 116.0, 90.0, 156.0, 198.0,
                373.0, 326.0)  # fmt: skip
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Candidate:
    """One way to read the outputs."""

    strides: tuple[int, ...]
    head: HeadSpec


def candidates(
    request: ContractRequest, kind: str, shapes: Sequence[Shape], size: tuple[int, int], classes: int
) -> Iterator[Candidate]:
    """All ways that a kind of head could explain the outputs; most do not fit their shapes.

    Args:
        request: what the caller said; it narrows the choice.
        kind: of head.
        shapes: of the file's outputs.
        size: (width, height) of the input, px.
        classes: number of class names.
    """
    if kind == "none":
        yield Candidate((), HeadSpec(kind, "none", tuple(f"output_{i}" for i in range(len(shapes))), "none"))
    elif kind == "fomo":
        yield from _fomo(request, shapes, size)
    elif kind == "ssd":
        yield from _ssd(request)
    else:
        yield from _dense(request, kind, shapes, classes)


def _fomo(request: ContractRequest, shapes: Sequence[Shape], size: tuple[int, int]) -> Iterator[Candidate]:
    if len(shapes) == 1 and len(shapes[0]) == 4:
        rows = shapes[0][1]
        stride = size[1] // rows if rows else 0
        if stride:
            head = HeadSpec("fomo", "cells", (f"map_{stride}",), request.scores or "softmax", background=True)
            yield Candidate((stride,), head)


def _ssd(request: ContractRequest) -> Iterator[Candidate]:
    yield Candidate((), HeadSpec("ssd", "detections", ("boxes", "classes", "scores", "count"), "none"))
    if request.anchors:
        for background in (True, False):
            yield Candidate(
                (),
                HeadSpec(
                    "ssd",
                    "ssd",
                    ("box", "cls"),
                    request.scores or "sigmoid",
                    background=background,
                    anchors=request.anchors,
                ),
            )


def _dense(request: ContractRequest, kind: str, shapes: Sequence[Shape], classes: int) -> Iterator[Candidate]:
    for coding, objectness, bins in _codings(request, kind, shapes, classes):
        decoded = coding in ("xywh", "xyxy")
        levels = [()] if decoded else [request.strides] if request.strides else STRIDES
        for strides in levels:
            if coding in ("yolov3", "yolov5") and len(request.anchors or ()) % (2 * len(strides)):
                continue
            for tensors in _layouts(strides, objectness):
                for channels_first in (False, True):
                    offset = request.offset if request.offset is not None else 0.5 if kind == "yolov8" else 0.0
                    yield Candidate(
                        tuple(strides),
                        HeadSpec(
                            kind,
                            coding,
                            () if kind == "rtmdet" and _is_plain(strides, tensors, channels_first) else tensors,
                            request.scores or "sigmoid",
                            objectness,
                            objectness_weight=OBJECTNESS_WEIGHTS.get(kind, 0.0),
                            classes_first=kind in ("nanodet", "rtmdet") and tensors[0].startswith("map"),
                            channels_first=channels_first,
                            unit=request.unit or "pixels",
                            offset=offset,
                            bins=bins,
                            anchors=(request.anchors or ()) if coding in ("yolov3", "yolov5") else (),
                        ),
                    )


def _codings(
    request: ContractRequest, kind: str, shapes: Sequence[Shape], classes: int
) -> Iterator[tuple[str, bool, int]]:
    """(coding, objectness, bins) of a kind of head."""
    depths = sorted({side for shape in shapes for side in shape[1:]})
    bins = sorted({d // 4 for d in [*depths, *(d - classes for d in depths)] if d % 4 == 0 and 8 <= d <= 128})
    found = {
        "rtmdet": [("distance", False, 0)],
        "nanodet": [("distance", False, b) for b in bins],
        "yolox": [("yolox", True, 0), ("yolox", False, 0)],
        "yunet": [("yolox", True, 0)],
        "fastestdet": [("fastestdet", True, 0)],
        "yolov3": [("yolov3", True, 0)] if request.anchors else [("xywh", True, 0)],
        "yolov5": [("yolov5", True, 0)] if request.anchors else [("xywh", True, 0)],
        "yolov8": [("xywh", False, 0), *(("distance", False, b) for b in bins)],
    }[kind]
    if request.boxes in ("xywh", "xyxy"):
        found = [(request.boxes, kind not in _WITHOUT_OBJECTNESS, 0)]
    elif request.boxes is not None:
        by_default = [(request.boxes, kind not in _WITHOUT_OBJECTNESS, 0)]
        found = [item for item in found if item[0] == request.boxes] or by_default
    yield from found


def _layouts(strides: Sequence[int], objectness: bool) -> Iterator[tuple[str, ...]]:
    """Roles: parts apart or in one tensor, a level each or all levels in one."""
    parts = ("cls", "box", "obj") if objectness else ("cls", "box")
    if strides:
        yield tuple(f"{part}_{stride}" for stride in strides for part in parts)
        yield tuple(f"map_{stride}" for stride in strides)
    if len(strides) != 1:
        yield parts
        yield ("map",)


def _is_plain(strides: Sequence[int], tensors: tuple[str, ...], channels_first: bool) -> bool:
    return not channels_first and tensors == tuple(f"{part}_{s}" for s in strides for part in ("cls", "box"))
