"""From the tensors of a head to rows: one row for each anchor of each cell, whatever shape the file gives them.

Rows stand in the order level, cell (row-major), anchor. The same table of shapes checks a file's metadata, finds the
outputs of a file without, and brings arrays into order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.contracts import OutputSpec
from edgedet.errors import ShapeError
from edgedet.head_spec import ANCHOR_CODINGS, LEVEL_CODINGS, HeadSpec, part_and_stride

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """One shape that a tensor may have, and how its values become rows."""

    shape: Shape
    order: tuple[int, ...]  # permutation of the axes in front of the reshape
    columns: int  # of the reshaped array


@dataclass(frozen=True, eq=False)
class Rows:
    """Outputs of a head as rows; N = sum over levels of cells * anchors."""

    box: np.ndarray  # float32 (N, 4), or (N, 4 * bins)
    classes: np.ndarray  # float32 (N, classes), with the background in front where the head has one
    objectness: np.ndarray | None  # float32 (N,)
    cells: np.ndarray  # float64 (N, 2), column and row; empty (N, 0) for heads without levels
    strides: np.ndarray  # float64 (N,); empty (0,) for heads without levels
    anchors: np.ndarray  # float64 (N, 2), width and height in px; empty (N, 0) for heads without


def grid(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """(rows, columns) of a stride level of an input of (width, height) px; the last cell may be partial."""
    return -(-size[1] // stride), -(-size[0] // stride)


def class_channels(spec: OutputSpec) -> int:
    """Class values of a row, the background included."""
    return len(spec.class_names) + int(spec.head.background)


def forms_of(role: str, spec: OutputSpec, size: tuple[int, int]) -> tuple[Form, ...]:
    """Shapes that the output of a role may have.

    Args:
        role: as in `HeadSpec.tensors`.
        spec: output contract.
        size: (width, height) of the network's input, px.
    Returns:
        The forms, most usual first; empty when the spec does not decide the shape (`none`, decoded rows).
    """
    part, stride = part_and_stride(role)
    levels = spec.strides if stride is None else (stride,)
    anchors = spec.head.anchors_per_cell(len(spec.strides))
    if spec.head.coding in LEVEL_CODINGS:
        grids = tuple(grid(size, level) for level in levels)
    elif spec.head.coding == "ssd":
        grids = ((len(spec.head.anchors) // 4, 1),)
    else:
        return ()
    forms = [form for depth in _depths(part, spec) for form in _with_anchors(grids, depth, anchors, spec.head)]
    if spec.head.coding in ANCHOR_CODINGS:  # one tensor, or one class tensor, for all anchors of a cell: FastestV2
        shared = {"cls": class_channels(spec), "map": 5 * anchors + class_channels(spec)}.get(part)
        if shared is not None and anchors > 1:
            forms += _with_anchors(grids, shared, 1, spec.head)
    unique: dict[Shape, Form] = {}
    for form in forms:
        unique.setdefault(form.shape, form)
    return tuple(unique.values())


def _depths(part: str, spec: OutputSpec) -> tuple[int, ...]:
    """Values of one row in a part."""
    box = 4 * max(1, spec.head.bins)
    classes = class_channels(spec)
    if spec.head.coding == "cells":
        return (classes,)
    joint = box + int(spec.head.objectness) + classes
    return {"cls": (classes,), "box": (box,), "obj": (1,), "map": (joint,)}[part]


def _with_anchors(grids: Sequence[tuple[int, int]], depth: int, anchors: int, head: HeadSpec) -> list[Form]:
    """Forms of rows with `depth` values, for one level with its grid or for several laid end to end."""
    cells = sum(rows * columns for rows, columns in grids)
    wide = anchors * depth
    forms = []
    if len(grids) == 1:
        rows, columns = grids[0]
        if head.channels_first:
            forms.append(Form((1, wide, rows, columns), (0, 2, 3, 1), depth))
        else:
            forms.append(Form((1, rows, columns, wide), (0, 1, 2, 3), depth))
        if anchors > 1:
            forms.append(Form((1, rows, columns, anchors, depth), (0, 1, 2, 3, 4), depth))
            forms.append(Form((1, anchors, rows, columns, depth), (0, 2, 3, 1, 4), depth))
    for count, width in ((cells, wide), (cells * anchors, depth)):
        if head.channels_first:
            forms.append(Form((1, width, count), (0, 2, 1), depth))
            continue
        forms.append(Form((1, count, width), (0, 1, 2), depth))
        forms.append(Form((1, 1, count, width), (0, 1, 2, 3), depth))
        forms.append(Form((1, count, 1, width), (0, 1, 2, 3), depth))
        forms.append(Form((count, width), (0, 1), depth))
    return forms


def accepts(shape: Shape, role: str, spec: OutputSpec, size: tuple[int, int]) -> bool:
    """True when an output of this shape can play a role.

    Args:
        shape: of the output.
        role: as in `HeadSpec.tensors`.
        spec: output contract.
        size: (width, height) of the network's input, px.
    """
    if spec.head.coding == "none":
        return True
    if spec.head.coding == "detections":
        count = math.prod(shape)
        return {"boxes": count % 4 == 0 and shape[-1:] == (4,), "count": count == 1}.get(role, len(shape) == 2)
    forms = forms_of(role, spec, size)
    if forms:
        return any(form.shape == shape for form in forms)
    depth = _depths(part_and_stride(role)[0], spec)[0]
    sides = [side for side in shape if side != 1] if depth != 1 else [math.prod(shape), 1]
    return len(sides) == 2 and sides[0 if spec.head.channels_first else 1] == depth


def rows_of(array: np.ndarray, role: str, spec: OutputSpec, size: tuple[int, int]) -> np.ndarray:
    """Values of one output as rows.

    Args:
        array: float32, any of the shapes of `forms_of`.
        role: of the output.
        spec: output contract.
        size: (width, height) of the network's input, px.
    Returns:
        (N, columns), dtype of `array`.
    Raises:
        ShapeError: the shape is none of them.
    """
    forms = forms_of(role, spec, size)
    for form in forms:
        if form.shape == array.shape:
            return array.transpose(form.order).reshape(-1, form.columns)
    if not forms:
        return _decoded_rows(array, role, spec)
    raise ShapeError(
        f"decode: output {role}: expected one of {', '.join(str(form.shape) for form in forms)} for a "
        f"{size[0]}x{size[1]} input, found {array.shape}"
    )


def _decoded_rows(array: np.ndarray, role: str, spec: OutputSpec) -> np.ndarray:
    """Rows of a head that was decoded in the graph: their number is free, only the depth is known."""
    part, _ = part_and_stride(role)
    depth = _depths(part, spec)[0]
    sides = [side for side in array.shape if side != 1] if depth != 1 else [math.prod(array.shape), 1]
    squeezed = array.reshape(sides)
    if squeezed.ndim == 1 and depth == len(squeezed):
        squeezed = squeezed[None]
    if squeezed.ndim == 2 and spec.head.channels_first:
        squeezed = squeezed.T
    if squeezed.ndim != 2 or squeezed.shape[1] != depth:
        expected = f"(1, {depth}, cells)" if spec.head.channels_first else f"(1, cells, {depth})"
        raise ShapeError(f"decode: output {role}: expected {expected}, found {array.shape}")
    return squeezed


def gather(outputs: Sequence[np.ndarray], spec: OutputSpec, size: tuple[int, int]) -> Rows:
    """All outputs of a head as rows.

    Args:
        outputs: float32, in contract order.
        spec: output contract.
        size: (width, height) of the network's input, px.
    Returns:
        The rows.
    Raises:
        ShapeError: number or shape of the outputs does not fit the contract.
    """
    names = spec.tensor_names
    if len(outputs) != len(names):
        raise ShapeError(f"decode: expected {len(names)} outputs ({', '.join(names)}), found {len(outputs)}")
    parts: dict[str, list[np.ndarray]] = {"box": [], "obj": [], "cls": []}
    for name, array in zip(names, outputs, strict=True):
        part, _ = part_and_stride(name)
        rows = rows_of(array, name, spec, size)
        for kind, values in (_split(rows, spec) if part == "map" else {part: rows}).items():
            parts[kind].append(values)
    anchors = spec.head.anchors_per_cell(len(spec.strides))
    box = np.concatenate(parts["box"]).reshape(-1, 4 * max(1, spec.head.bins))
    classes = np.concatenate(parts["cls"])
    if anchors > 1 and len(classes) * anchors == len(box):  # one class vector for all anchors of a cell
        classes = np.repeat(classes, anchors, axis=0)
    objectness = np.concatenate(parts["obj"]).reshape(-1) if parts["obj"] else None
    if len(classes) != len(box) or (objectness is not None and len(objectness) != len(box)):
        counts = {kind: sum(len(v) for v in values) for kind, values in parts.items() if values}
        raise ShapeError(f"decode: the outputs have different numbers of rows: {counts}")
    return Rows(box, classes, objectness, *_places(spec, size, anchors, len(box)))


def _split(rows: np.ndarray, spec: OutputSpec) -> dict[str, np.ndarray]:
    """Parts of the rows of a `map`."""
    head, classes = spec.head, class_channels(spec)
    box = 4 * max(1, head.bins)
    anchors = head.anchors_per_cell(len(spec.strides))
    if anchors > 1 and rows.shape[1] == 5 * anchors + classes and rows.shape[1] != 5 + classes:
        return {
            "box": rows[:, : 4 * anchors].reshape(-1, 4),
            "obj": rows[:, 4 * anchors : 5 * anchors].reshape(-1, 1),
            "cls": rows[:, 5 * anchors :],
        }
    if head.classes_first:
        return {"cls": rows[:, :classes], "box": rows[:, classes:]}
    parts = {"box": rows[:, :box], "cls": rows[:, -classes:]}
    return {**parts, "obj": rows[:, box : box + 1]} if head.objectness else parts


def _places(
    spec: OutputSpec, size: tuple[int, int], anchors: int, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells, strides and anchors of the rows."""
    none = np.zeros((count, 0))
    if spec.head.coding not in LEVEL_CODINGS:
        return none, np.zeros(0), none
    cells, strides, boxes = [], [], []
    pairs = np.array(spec.head.anchors, np.float64).reshape(len(spec.strides), -1, 2) if spec.head.anchors else None
    for level, stride in enumerate(spec.strides):
        height, width = grid(size, stride)
        row, column = np.divmod(np.arange(height * width), width)
        cells.append(np.repeat(np.stack([column, row], axis=1).astype(np.float64), anchors, axis=0))
        strides.append(np.full(height * width * anchors, float(stride)))
        if pairs is not None:
            boxes.append(np.tile(pairs[level], (height * width, 1)))
    return np.concatenate(cells), np.concatenate(strides), np.concatenate(boxes) if boxes else none


def grid_maps(outputs: Sequence[np.ndarray], spec: OutputSpec, size: tuple[int, int]) -> list[np.ndarray]:
    """Outputs of RTMDet's head as maps; files of SSCMA have (1, cells, channels).

    Args:
        outputs: in contract order, any dtype.
        spec: output contract, with RTMDet's tensors.
        size: (width, height) of the network's input, px.
    Returns:
        (1, rows, columns, channels) each, the same memory.
    Raises:
        ShapeError: a shape does not fit the contract.
    """
    maps = []
    for name, array in zip(spec.tensor_names, outputs, strict=True):
        _, stride = part_and_stride(name)
        assert stride is not None, name
        maps.append(rows_of(array, name, spec, size).reshape(1, *grid(size, stride), -1))
    return maps
