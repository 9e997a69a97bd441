"""Constants of `edk_detect_rows`: where the numbers of every row lie, and what their codes stand for.

Nothing here knows a layout or a formula. The places come from the decoder of Python, which is run over the positions of
the codes instead of the codes, and the tables from its functions, run over all 256 codes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.contracts import OutputSpec
from edgedet.errors import ConversionError
from edgedet.head_spec import ANCHOR_CODINGS, LEVEL_CODINGS
from edgedet.numerics.decode import dequantize_output
from edgedet.numerics.heads.boxes import box_values, softmax_powers, ssd_anchors_px
from edgedet.numerics.heads.decode import class_scores, object_scores
from edgedet.numerics.heads.layout import Rows, class_channels, gather, grid

CODES = np.arange(-128, 128).astype(np.int8)
NO_CODE = 128  # threshold that no code reaches
BOX_CODINGS = ("DISTANCES", "CELLS", "ANCHORS", "CENTRE", "CORNERS")  # EDK_BOX_..., in the order of the enum
SCORE_CODINGS = ("CODES", "SOFTMAX", "OBJECTNESS")  # EDK_SCORE_...
_BOX_OF = {
    "distance": "DISTANCES",
    "log_distance": "DISTANCES",
    "yolox": "CELLS",
    "yolov3": "CELLS",
    "yolov5": "CELLS",
    "ssd": "ANCHORS",
    "xywh": "CENTRE",
    "xyxy": "CORNERS",
}


@dataclass(frozen=True)
class View:
    """edk_detect_view."""

    tensor: int = 0
    offset: int = 0
    cell_step: int = 0
    anchor_step: int = 0
    channel_step: int = 0


@dataclass(frozen=True)
class CodeValues:
    """edk_detect_codes."""

    table: int = -1  # index in RowDecoder.tables; -1: (q - zero_point) * scale
    scale: float = 1.0
    zero_point: int = 0


@dataclass(frozen=True)
class RowLevel:
    """edk_detect_rows_level."""

    height: int
    width: int
    stride: int
    anchors: int
    cls: View
    box: View
    obj: View
    cls_codes: CodeValues
    box_codes: tuple[CodeValues, ...]
    obj_codes: CodeValues
    cls_powers: int  # index in RowDecoder.powers; -1: none
    bin_powers: int
    anchor_px: tuple[float, ...]
    cls_threshold: int
    obj_threshold: int


@dataclass(frozen=True, eq=False)
class RowDecoder:
    """edk_detect_rows_params, and the arrays that it points to."""

    width: int  # of the input, px
    height: int
    levels: tuple[RowLevel, ...]
    tensor_bytes: tuple[int, ...]
    num_classes: int
    bins: int
    box_coding: int  # index in BOX_CODINGS
    score_coding: int  # index in SCORE_CODINGS
    background: int
    objectness: int
    agnostic: int
    offset: float
    score_threshold: float
    nms_iou: float
    class_thresholds: tuple[float, ...]  # of each class; empty: score_threshold for all
    tables: tuple[np.ndarray, ...]  # float32 (256,) each
    powers: tuple[np.ndarray, ...]  # float64 (256,) each


def row_decoder(
    spec: OutputSpec,
    shapes: Sequence[tuple[int, ...]],
    scales: Sequence[float],
    zero_points: Sequence[int],
    size: tuple[int, int],
) -> RowDecoder:
    """Constants for the outputs of a head with rows of boxes.

    Args:
        spec: output contract, of a head that C decodes (`Int8Model.c_decoder` is `rows`).
        shapes: of the int8 outputs, in contract order.
        scales: of each.
        zero_points: of each.
        size: (width, height) of the network's input, px.
    Returns:
        The constants; detections are those of `decode_outputs`, bit by bit.
    Raises:
        ShapeError: the shapes do not fit the contract.
        ConversionError: the numbers of a level lie in several tensors.
    """
    return _Maker(spec, shapes, scales, zero_points, size).decoder()


class _Maker:
    """Collects tables while the levels are described; equal tables become one."""

    def __init__(
        self,
        spec: OutputSpec,
        shapes: Sequence[tuple[int, ...]],
        scales: Sequence[float],
        zero_points: Sequence[int],
        size: tuple[int, int],
    ) -> None:
        self._spec, self._size = spec, size
        self._scales, self._zero_points = [float(np.float32(scale)) for scale in scales], zero_points
        self._counts = [math.prod(shape) for shape in shapes]
        self._starts = np.cumsum([0, *self._counts])
        # Each number's place in all outputs laid end to end, in the shapes of the outputs.
        places = [
            np.arange(start, start + count).reshape(shape)
            for start, count, shape in zip(self._starts, self._counts, shapes, strict=False)
        ]
        self._rows: Rows = gather(places, spec, size)
        self._tables: list[np.ndarray] = []
        self._powers: list[np.ndarray] = []
        self._softmax = spec.head.scores == "softmax"
        self._by_objectness = spec.head.scores == "percent" and spec.head.objectness

    def decoder(self) -> RowDecoder:
        spec, head = self._spec, self._spec.head
        kind = "OBJECTNESS" if self._by_objectness else "SOFTMAX" if self._softmax else "CODES"
        levels = self._levels()
        return RowDecoder(
            width=self._size[0],
            height=self._size[1],
            levels=levels,
            tensor_bytes=tuple(self._counts),
            num_classes=class_channels(spec) - int(head.background),
            bins=head.bins,
            box_coding=BOX_CODINGS.index(_BOX_OF[head.coding]),
            score_coding=SCORE_CODINGS.index(kind),
            background=int(head.background),
            objectness=int(self._rows.objectness is not None),
            agnostic=int(head.agnostic),
            offset=head.offset,
            score_threshold=spec.score_threshold,
            nms_iou=spec.nms_iou,
            class_thresholds=spec.class_thresholds,
            tables=tuple(self._tables),
            powers=tuple(self._powers),
        )

    def _levels(self) -> tuple[RowLevel, ...]:
        anchors = self._spec.head.anchors_per_cell(len(self._spec.strides))
        levels, first = [], 0
        for number, (rows, columns, stride) in enumerate(self._grids()):
            last = first + rows * columns * anchors
            levels.append(self._level(number, (rows, columns, stride, anchors), slice(first, last)))
            first = last
        return tuple(levels)

    def _grids(self) -> list[tuple[int, int, int]]:
        """(rows, columns, stride) of each level; without a grid, runs of rows that lie in the same tensors."""
        if self._spec.head.coding in LEVEL_CODINGS:
            return [(*grid(self._size, stride), stride) for stride in self._spec.strides]
        parts = (self._rows.box[:, 0], self._rows.classes[:, 0], self._rows.objectness)
        owners = np.stack([self._tensor_of(part) for part in parts if part is not None])
        ends = np.flatnonzero((owners[:, 1:] != owners[:, :-1]).any(axis=0)) + 1
        return [(int(count), 1, 1) for count in np.diff([0, *ends, owners.shape[1]])]

    def _level(self, number: int, shape: tuple[int, int, int, int], rows: slice) -> RowLevel:
        head, objectness = self._spec.head, self._rows.objectness
        height, width, stride, anchors = shape
        cls = self._view(self._rows.classes[rows], anchors, "cls")
        box = self._view(self._rows.box[rows], anchors, "box")
        obj = View() if objectness is None else self._view(objectness[rows, None], anchors, "obj")
        real = self._real(box.tensor)
        numbers = np.repeat(real[:, None], 4, axis=1)
        if not head.bins:
            numbers = box_values(numbers, head, self._size)
        scores = real_cls = self._real(cls.tensor)
        if not self._softmax:
            scores = class_scores(real_cls, head)
        objects = np.ones(256, np.float32)
        if objectness is not None:
            objects = object_scores(self._real(obj.tensor), head)
        cls_threshold, obj_threshold = self._thresholds(scores, objects)
        return RowLevel(
            height=height,
            width=width,
            stride=stride,
            anchors=anchors,
            cls=cls,
            box=box,
            obj=obj,
            cls_codes=self._codes(scores, cls.tensor),
            box_codes=tuple(self._codes(numbers[:, channel], box.tensor) for channel in range(4)),
            obj_codes=CodeValues() if objectness is None else self._codes(objects, obj.tensor),
            cls_powers=_index(self._powers, _powers(real_cls)) if self._softmax else -1,
            bin_powers=_index(self._powers, _powers(real)) if head.bins else -1,
            anchor_px=self._anchors_px(number, rows),
            cls_threshold=cls_threshold,
            obj_threshold=obj_threshold,
        )

    def _anchors_px(self, number: int, rows: slice) -> tuple[float, ...]:
        head = self._spec.head
        if head.coding == "ssd":
            return tuple(ssd_anchors_px(head, self._size)[rows].reshape(-1).tolist())
        if head.coding not in ANCHOR_CODINGS:
            return ()
        pairs = np.array(head.anchors, np.float32).reshape(len(self._spec.strides), -1)
        return tuple(pairs[number].tolist())

    def _view(self, places: np.ndarray, anchors: int, part: str) -> View:
        """Steps between the places of some rows, (rows, channels)."""
        table = places.reshape(-1, anchors, places.shape[1])
        tensor = int(self._tensor_of(table[:1, 0, 0])[0])
        origin = int(table[0, 0, 0])
        steps = [int(table[spot]) - origin for spot in _next_spots(table.shape)]
        offset = origin - int(self._starts[tensor])
        described = origin + sum(s * i for s, i in zip(steps, np.indices(table.shape, sparse=True), strict=True))
        if not np.array_equal(described, table) or (self._tensor_of(table.reshape(-1)) != tensor).any():
            raise ConversionError(
                f"C decodes {part} of a level from one tensor with even steps, but the contract's tensors "
                f"{', '.join(self._spec.tensor_names)} are not in the order of strides {self._spec.strides}; list them "
                "smallest stride first"
            )
        return View(tensor, offset, *steps)

    def _tensor_of(self, places: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._starts, places, side="right") - 1

    def _real(self, tensor: int) -> np.ndarray:
        return dequantize_output(CODES, self._scales[tensor], self._zero_points[tensor])

    def _codes(self, values: np.ndarray, tensor: int) -> CodeValues:
        plain = np.array_equal(values, self._real(tensor))
        if not (plain or np.isfinite(values).all()):
            raise ConversionError(
                f"output {self._spec.tensor_names[tensor]}: scale {self._scales[tensor]:g} is so large that codes have "
                "no finite value; convert the model again with ranges that it really has"
            )
        table = -1 if plain else _index(self._tables, values)
        return CodeValues(table, self._scales[tensor], self._zero_points[tensor])

    def _thresholds(self, scores: np.ndarray, objects: np.ndarray) -> tuple[int, int]:
        """Smallest codes of class and objectness that can be a candidate's."""
        if self._softmax or self._by_objectness:  # at most the objectness, whatever the class
            scores = np.ones(256, np.float32)
        with np.errstate(over="ignore"):  # of absurd scales
            passes = scores[:, None] * objects > np.float32(self._spec.score_threshold)
        return _first(passes.any(axis=1)), _first(passes.any(axis=0))


def _next_spots(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The place one step along each axis; the first place where an axis has length one."""
    return [tuple(int(axis == moved and shape[axis] > 1) for axis in range(3)) for moved in range(3)]


def _powers(real: np.ndarray) -> np.ndarray:
    return softmax_powers(real.astype(np.float64))


def _index(arrays: list[np.ndarray], values: np.ndarray) -> int:
    """Index of an array among those that are there, which it joins when it is new."""
    for index, known in enumerate(arrays):
        if np.array_equal(known, values):
            return index
    arrays.append(np.ascontiguousarray(values))
    return len(arrays) - 1


def _first(passes: np.ndarray) -> int:
    return int(np.argmax(passes)) - 128 if passes.any() else NO_CODE
