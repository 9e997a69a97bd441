"""FOMO: a heat map in which every cell says which object has its centre there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgedet.contracts import Detections, OutputSpec
from edgedet.errors import ShapeError
from edgedet.numerics.boxes import clip_boxes
from edgedet.numerics.decode import DecodeOptions, dequantize_output
from edgedet.numerics.heads.boxes import softmax
from edgedet.numerics.heads.layout import grid, rows_of


def decode_cells(
    outputs: Sequence[np.ndarray], spec: OutputSpec, size: tuple[int, int], options: DecodeOptions
) -> Detections:
    """Centroids of the cells in which a class beats the background, neighbours of the same class merged.

    A cell belongs to the class with its highest score when that is not the background and exceeds the threshold.
    Cells of a class that touch, also at corners, are one object: its centre is the mean of their centres weighted by
    score, its score their highest, its box one cell in size.

    Args:
        outputs: one array, float32 (1, rows, columns, classes + 1), background first; `head.scores` is `softmax` for
            logits and `none` for scores.
        spec: output contract with one stride.
        size: (width, height) of the network's input, px.
        options: thresholds and limits; nothing is suppressed by overlap.
    Returns:
        Detections in pixels of the network's input, best first.
    Raises:
        ShapeError: number or shape of the outputs does not fit the contract.
    """
    if len(outputs) != 1:
        raise ShapeError(f"decode: expected one heat map, found {len(outputs)} outputs")
    rows, columns = grid(size, spec.strides[0])
    values = rows_of(outputs[0], spec.tensor_names[0], spec, size).astype(np.float64)
    scores = softmax(values) if spec.head.scores == "softmax" else values
    scores = scores.reshape(rows, columns, -1)
    winner = scores.argmax(axis=-1)
    best = scores.max(axis=-1).astype(np.float32)
    first = int(spec.head.background)
    least = np.array(options.thresholds(scores.shape[-1] - first), np.float32)
    owner = np.where((winner >= first) & (best > least[np.maximum(winner - first, 0)]), winner - first, -1)
    found = []
    for cells in _components(owner):
        weights = best[cells[:, 0], cells[:, 1]].astype(np.float64)
        weighted = weights[:, None] * (cells[:, ::-1] + 0.5)
        # Sums in the order of the cells, as C makes them; .sum() adds in pairs.
        centre = np.add.accumulate(weighted)[-1] / np.add.accumulate(weights)[-1] * spec.strides[0]
        found.append((float(weights.max()), int(owner[cells[0, 0], cells[0, 1]]), centre))
    found.sort(key=lambda item: -item[0])  # stable: equal scores stay in row-major order
    found = found[: options.max_detections]
    centres = np.array([item[2] for item in found]).reshape(-1, 2)
    half = spec.strides[0] / 2
    boxes = np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)
    return Detections(
        clip_boxes(boxes, *size),
        np.array([item[0] for item in found], np.float32),
        np.array([item[1] for item in found], np.int64),
    )


def quantized_score_threshold(score_threshold: float, scale: float, zero_point: int) -> int:
    """Smallest int8 value of a map of scores that is higher than the threshold.

    Args:
        score_threshold: 0 < t < 1.
        scale: of the map, > 0.
        zero_point: -128..127.
    Returns:
        -127..127, or 128 when no int8 value is high enough.
    """
    q = np.arange(-128, 128, dtype=np.int16).astype(np.int8)
    above = dequantize_output(q, scale, zero_point) > np.float32(score_threshold)
    return int(np.argmax(above)) - 128 if above.any() else 128


def _components(owner: np.ndarray) -> list[np.ndarray]:
    """Groups of touching cells of one class, each int64 (n, 2) of (row, column), in row-major order of the first."""
    seen = owner < 0
    groups = []
    for start in zip(*np.nonzero(~seen), strict=True):
        if seen[start]:
            continue
        seen[start] = True
        pending, members = [start], []
        while pending:
            row, column = pending.pop()
            members.append((row, column))
            for near_row in range(max(row - 1, 0), min(row + 2, owner.shape[0])):
                for near_column in range(max(column - 1, 0), min(column + 2, owner.shape[1])):
                    if not seen[near_row, near_column] and owner[near_row, near_column] == owner[start]:
                        seen[near_row, near_column] = True
                        pending.append((near_row, near_column))
        groups.append(np.array(sorted(members), np.int64))
    return groups
