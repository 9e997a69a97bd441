"""From the network's outputs to detections: the reference that every other decoder (C included) must repeat.

The steps, in this order:

1. Every (cell, class) whose logit lies above the logit threshold is a candidate (multi-label). The logit threshold is
   `float32(log(t / (1 - t)))`, computed once from the score threshold t of the class (usually one for all). For int8
   outputs it becomes one integer per tensor and class, the smallest q whose dequantized logit lies above it, so that a
   cell is rejected by one int8 comparison.
2. Candidates are ordered by logit, highest first; equal logits by stride level, then cell (row-major), then class,
   lowest first. The first `max_candidates` go on: `MAX_CANDIDATES`, or the smaller budget of a chip.
3. Boxes: prior -/+ distance * stride in float32, clipped to the input. A box without area after clipping is dropped.
4. Greedy NMS inside each class: a candidate goes when its IoU with a kept one of its class exceeds the threshold,
   tested without division as `intersection > nms_iou * union` in float32 (no fused multiply-add).
5. It ends with the first `max_detections` that were kept. Scores are sigmoids, computed in float64, rounded to float32.

Dequantization is `float32(q - zero_point) * float32(scale)`, one rounding, so that int8 outputs and their dequantized
copies decode to the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgedet.contracts import Detections, OutputSpec
from edgedet.errors import ConfigError, ShapeError
from edgedet.numerics.boxes import areas, check_boxes, clip_boxes, decode_distances

# Bounds time and memory at a score threshold of 0.001, where nearly every cell is a candidate. 10 times COCO's maxDets.
MAX_CANDIDATES = 1000


@dataclass(frozen=True)
class DecodeOptions:
    """The numbers that steer decoding; validated once."""

    score_threshold: float  # 0 <= t < 1, exclusive: a candidate's score must be higher
    nms_iou: float  # 0 < IoU <= 1, exclusive: a suppressed box has a higher one
    max_detections: int  # >= 1, per image
    max_candidates: int  # >= 1, per image, before NMS
    class_thresholds: tuple[float, ...] = ()  # of each class, in place of score_threshold; empty: one for all

    def __post_init__(self) -> None:
        for value in (self.score_threshold, *self.class_thresholds):
            if not 0.0 <= value < 1.0:
                raise ConfigError(f"score_threshold must be 0 <= t < 1, got {value}")
        if not 0.0 < self.nms_iou <= 1.0:
            raise ConfigError(f"nms_iou must be inside (0, 1], got {self.nms_iou}")
        if self.max_detections < 1:
            raise ConfigError(f"max_detections must be at least 1, got {self.max_detections}")
        if self.max_candidates < 1:
            raise ConfigError(f"max_candidates must be at least 1, got {self.max_candidates}")

    @classmethod
    def of(cls, spec: OutputSpec, score_threshold: float | None, max_candidates: int) -> DecodeOptions:
        """The numbers of a contract; `score_threshold` is one for all classes, None: the contract's."""
        if score_threshold is not None:
            return cls(score_threshold, spec.nms_iou, spec.max_detections, max_candidates)
        return cls(spec.score_threshold, spec.nms_iou, spec.max_detections, max_candidates, spec.class_thresholds)

    def thresholds(self, classes: int) -> tuple[float, ...]:
        """The threshold of each class."""
        return self.class_thresholds or (self.score_threshold,) * classes


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Candidates of one stride level, in (cell, class) order."""

    logits: np.ndarray  # float32 (N,)
    labels: np.ndarray  # int64 (N,)
    cells: np.ndarray  # int64 (N,), row-major


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logistic function, computed in float64 and rounded once.

    Args:
        logits: float32 (any shape).
    Returns:
        float32, same shape, 0..1.
    """
    x = logits.astype(np.float64)
    small = np.exp(-np.abs(x))  # never overflows
    return (np.where(x >= 0, 1.0, small) / (1.0 + small)).astype(np.float32)


def logit_threshold(score_threshold: float) -> np.float32:
    """Logit above which a score is higher than `score_threshold`.

    Args:
        score_threshold: 0 <= t < 1.
    Returns:
        log(t / (1 - t)) rounded to float32; -inf for 0.
    """
    if score_threshold == 0.0:
        return np.float32(-np.inf)
    return np.float32(math.log(score_threshold) - math.log1p(-score_threshold))


def dequantize_output(q: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """Real values of an int8 output as the decoder sees them.

    Args:
        q: int8, uint8 or int16 (any shape).
        scale: of the tensor; rounded to float32.
        zero_point: a value of its dtype.
    Returns:
        float32, same shape.
    """
    return (q.astype(np.int32) - np.int32(zero_point)).astype(np.float32) * np.float32(scale)


def quantized_threshold(score_threshold: float, scale: float, zero_point: int) -> int:
    """Smallest int8 value whose score is higher than the threshold.

    Args:
        score_threshold: 0 <= t < 1.
        scale: of the class tensor, > 0.
        zero_point: -128..127.
    Returns:
        -128..127, or 128 when no int8 value is high enough.
    """
    q = np.arange(-128, 128, dtype=np.int16).astype(np.int8)
    above = dequantize_output(q, scale, zero_point) > logit_threshold(score_threshold)
    return int(np.argmax(above)) - 128 if above.any() else 128


def class_codes(thresholds: Sequence[float], scale: float, zero_point: int) -> np.ndarray:
    """`quantized_threshold` of each class.

    Args:
        thresholds: of each class, 0 <= t < 1.
        scale: of the class tensor, > 0.
        zero_point: -128..127.
    Returns:
        int16 (classes,), -128..128.
    """
    codes = {value: quantized_threshold(value, scale, zero_point) for value in set(thresholds)}
    return np.array([codes[value] for value in thresholds], np.int16)


def score_table(scale: float, zero_point: int) -> np.ndarray:
    """Scores of all int8 logits, for a chip that has no exponential of its own (`edk_detect`).

    Args:
        scale: of the class tensor, > 0.
        zero_point: -128..127.
    Returns:
        float32 (256,), score of q at [q + 128]; the scores of `decode_int8`.
    """
    q = np.arange(-128, 128, dtype=np.int16).astype(np.int8)
    return sigmoid(dequantize_output(q, scale, zero_point))


def nms(boxes: np.ndarray, labels: np.ndarray, nms_iou: float, max_detections: int) -> np.ndarray:
    """Greedy class-aware non-maximum suppression.

    Args:
        boxes: float32 (N, 4), xyxy, best first.
        labels: int64 (N,); boxes of different labels don't touch each other.
        nms_iou: a box goes when its IoU with a kept box is higher (equal stays).
        max_detections: stop after this many kept boxes.
    Returns:
        int64 (K,), indices of the kept boxes, ascending.
    Raises:
        ShapeError: boxes are not (N, 4), or labels not (N,).
    """
    check_boxes(boxes)
    if labels.shape != (len(boxes),):
        raise ShapeError(f"nms: labels: expected shape {(len(boxes),)}, found {labels.shape}")
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    area = areas(boxes)
    limit = np.float32(nms_iou)
    alive = np.ones(len(boxes), dtype=bool)
    kept: list[int] = []
    for index in range(len(boxes)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == max_detections:
            break
        # Only kept boxes need their row of the IoU matrix, and only against the later ones.
        rest = slice(index + 1, None)
        width = np.minimum(right[rest], right[index]) - np.maximum(left[rest], left[index])
        height = np.minimum(bottom[rest], bottom[index]) - np.maximum(top[rest], top[index])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        union = (area[rest] + area[index]) - shared
        alive[rest] &= ~(shared > limit * union) | (labels[rest] != labels[index])
    return np.array(kept, dtype=np.int64)


def decode_float(
    outputs: Sequence[np.ndarray],
    spec: OutputSpec,
    *,
    score_threshold: float | None = None,
    nms_iou: float | None = None,
    max_detections: int | None = None,
    max_candidates: int | None = None,
) -> Detections:
    """Decode float outputs of one image.

    Args:
        outputs: in contract order (`spec.tensor_names`), float32 (1, h, w, C) or (h, w, C): class logits, and ltrb
            distances in units of the stride.
        spec: classes and strides; its thresholds hold where an argument is None.
        score_threshold: 0 <= t < 1; scores must be higher.
        nms_iou: inside (0, 1].
        max_detections: at least 1.
        max_candidates: at least 1, the best that go to NMS; None: `MAX_CANDIDATES`.
    Returns:
        Detections in input pixels, best first.
    Raises:
        ShapeError: number, shape or dtype of the outputs does not fit the contract.
        ConfigError: a threshold is out of range.
    """
    options = _options(spec, score_threshold, nms_iou, max_detections, max_candidates)
    levels = _check_outputs(outputs, spec, np.float32)
    classes = len(spec.class_names)
    threshold = np.array([logit_threshold(value) for value in options.thresholds(classes)], np.float32)
    found = []
    for cls, _ in levels:
        flat = cls.reshape(-1)
        hits = np.flatnonzero(flat > threshold.min())
        if options.class_thresholds:
            hits = hits[flat[hits] > threshold[hits % classes]]
        found.append(_candidates(hits, flat[hits], cls.shape[-1]))

    def distances_at(level_of: np.ndarray, rows: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.concatenate([box.reshape(-1, 4) for _, box in levels])[rows]
        return result

    return _finish(found, distances_at, levels, spec, options)


def decode_int8(
    q_outputs: Sequence[np.ndarray],
    scales: Sequence[float],
    zero_points: Sequence[int],
    spec: OutputSpec,
    *,
    score_threshold: float | None = None,
    nms_iou: float | None = None,
    max_detections: int | None = None,
    max_candidates: int | None = None,
) -> Detections:
    """Decode int8 outputs of one image; bit-equal to `decode_float` of the dequantized outputs.

    Args:
        q_outputs: in contract order (`spec.tensor_names`), int8 (1, h, w, C) or (h, w, C).
        scales: one per output, > 0.
        zero_points: one per output, -128..127.
        spec: classes and strides; its thresholds hold where an argument is None.
        score_threshold: 0 <= t < 1; scores must be higher.
        nms_iou: inside (0, 1].
        max_detections: at least 1.
        max_candidates: at least 1, the best that go to NMS; None: `MAX_CANDIDATES`.
    Returns:
        Detections in input pixels, best first.
    Raises:
        ShapeError: number, shape or dtype of the outputs does not fit the contract.
        ConfigError: a threshold is out of range.
    """
    options = _options(spec, score_threshold, nms_iou, max_detections, max_candidates)
    levels = _check_outputs(q_outputs, spec, np.int8)
    if len(scales) != len(q_outputs) or len(zero_points) != len(q_outputs):
        raise ShapeError(
            f"decode_int8: {len(q_outputs)} outputs need as many scales and zero points; found {len(scales)} and "
            f"{len(zero_points)}"
        )
    found = []
    for level, (q_cls, _) in enumerate(levels):
        scale, zero_point = scales[2 * level], zero_points[2 * level]
        q_min = class_codes(options.thresholds(len(spec.class_names)), scale, zero_point)
        flat = q_cls.reshape(-1)
        # One int8 comparison per logit; floats exist for the survivors only.
        least = int(q_min.min())
        hits = np.flatnonzero(flat >= np.int8(least)) if least <= 127 else np.zeros(0, dtype=np.int64)
        if options.class_thresholds:
            hits = hits[flat[hits] >= q_min[hits % len(q_min)]]
        found.append(_candidates(hits, dequantize_output(flat[hits], scale, zero_point), q_cls.shape[-1]))

    def distances_at(level_of: np.ndarray, rows: np.ndarray) -> np.ndarray:
        q_rows = np.concatenate([q_box.reshape(-1, 4) for _, q_box in levels])[rows]
        zero_point = np.array(zero_points[1::2], dtype=np.int32)[level_of, None]
        scale = np.array(scales[1::2], dtype=np.float32)[level_of, None]
        result: np.ndarray = (q_rows - zero_point).astype(np.float32) * scale
        return result

    return _finish(found, distances_at, levels, spec, options)


def _options(
    spec: OutputSpec,
    score_threshold: float | None,
    nms_iou: float | None,
    max_detections: int | None,
    max_candidates: int | None,
) -> DecodeOptions:
    options = DecodeOptions.of(spec, score_threshold, MAX_CANDIDATES if max_candidates is None else max_candidates)
    return replace(
        options,
        nms_iou=options.nms_iou if nms_iou is None else nms_iou,
        max_detections=options.max_detections if max_detections is None else max_detections,
    )


def _check_outputs(
    outputs: Sequence[np.ndarray], spec: OutputSpec, dtype: type[np.generic]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Check outputs against the contract and return (cls, box) per level without the batch axis."""
    names = spec.tensor_names
    if len(outputs) != len(names):
        raise ShapeError(f"decode: expected {len(names)} outputs ({', '.join(names)}), found {len(outputs)}")
    arrays = []
    for name, array in zip(names, outputs, strict=True):
        depth = len(spec.class_names) if name.startswith("cls") else 4
        single = array[0] if array.ndim == 4 and array.shape[0] == 1 else array
        if single.ndim != 3 or single.shape[-1] != depth or array.dtype != dtype:
            raise ShapeError(
                f"decode: output {name}: expected {np.dtype(dtype).name} (1, h, w, {depth}), found "
                f"{array.dtype.name} {array.shape}; decode one image at a time, NHWC"
            )
        arrays.append(single)
    levels = list(zip(arrays[0::2], arrays[1::2], strict=True))
    size = _input_size(levels, spec)
    for (cls, box), stride in zip(levels, spec.strides, strict=True):
        expected = (-(-size[1] // stride), -(-size[0] // stride))  # the last cell of a row may be partial
        if cls.shape[:2] != expected or box.shape[:2] != expected:
            raise ShapeError(
                f"decode: stride {stride}: expected {expected} cells (height, width) for a {size[0]}x{size[1]} input, "
                f"found cls {cls.shape[:2]} and box {box.shape[:2]}"
            )
    return levels


def _input_size(levels: list[tuple[np.ndarray, np.ndarray]], spec: OutputSpec) -> tuple[int, int]:
    """(width, height) of the network's input in px: sides are multiples of every stride, so cells x stride is exact."""
    height, width = levels[0][0].shape[:2]
    return width * spec.strides[0], height * spec.strides[0]


def _candidates(hits: np.ndarray, logits: np.ndarray, classes: int) -> _Candidates:
    cells, labels = np.divmod(hits, classes)
    return _Candidates(logits, labels.astype(np.int64), cells.astype(np.int64))


def _best(logits: np.ndarray, count: int) -> np.ndarray:
    """Indices of the `count` highest logits, highest first, equal ones in order of index."""
    keep = np.arange(len(logits))
    if len(logits) > count:
        # Everything not below the count-th highest value, so that the stable sort alone decides ties at the edge.
        keep = np.flatnonzero(logits >= np.partition(logits, len(logits) - count)[len(logits) - count])
    return keep[np.argsort(-logits[keep], kind="stable")[:count]]


def _finish(
    found: list[_Candidates],
    distances_at: Callable[[np.ndarray, np.ndarray], np.ndarray],
    levels: list[tuple[np.ndarray, np.ndarray]],
    spec: OutputSpec,
    options: DecodeOptions,
) -> Detections:
    """Steps 2 to 5 of the module's description, shared by both number formats.

    `distances_at(level_of, rows)` gives the float32 distances (N, 4) of rows in the box tensors laid end to end.
    """
    logits = np.concatenate([c.logits for c in found])
    labels = np.concatenate([c.labels for c in found])
    cells = np.concatenate([c.cells for c in found])
    level_of = np.repeat(np.arange(len(found)), [len(c.logits) for c in found])
    best = _best(logits, options.max_candidates)
    logits, labels, cells, level_of = logits[best], labels[best], cells[best], level_of[best]

    cells_before = np.cumsum([0] + [box.shape[0] * box.shape[1] for _, box in levels])[level_of]
    grid_width = np.array([cls.shape[1] for cls, _ in levels])[level_of]
    strides = np.array(spec.strides, dtype=np.float32)[level_of]
    rows, columns = np.divmod(cells, grid_width)
    priors = np.stack([columns, rows], axis=1).astype(np.float32) * strides[:, None]
    boxes = decode_distances(distances_at(level_of, cells_before + cells), priors, strides)
    boxes = clip_boxes(boxes, *_input_size(levels, spec))

    solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    boxes, logits, labels = boxes[solid], logits[solid], labels[solid]
    kept = nms(boxes, labels, options.nms_iou, options.max_detections)
    return Detections(boxes[kept], sigmoid(logits[kept]), labels[kept])
