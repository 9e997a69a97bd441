"""Decoding of every head: rows, boxes, scores, threshold, non-maximum suppression.

The rules are RTMDet's (numerics/decode.py): a candidate is one (row, class) pair whose score exceeds the threshold; of
all candidates the `MAX_CANDIDATES` best are kept, ordered by score, then row, then class; boxes are clipped to the
input, those without area dropped; then greedy NMS inside each class. Every activation is computed in float64 and
rounded once to float32, and so is every number of a box (numerics/heads/boxes.py); their products and sums are
float32's. `edk_detect_rows` gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgedet.contracts import Detections, OutputSpec
from edgedet.errors import ConfigError, ShapeError
from edgedet.head_spec import HeadSpec
from edgedet.numerics.boxes import clip_boxes
from edgedet.numerics.decode import MAX_CANDIDATES, DecodeOptions, nms
from edgedet.numerics.heads.boxes import decode_boxes, logistic, softmax
from edgedet.numerics.heads.fomo import decode_cells
from edgedet.numerics.heads.layout import Rows, class_channels, gather


def decode_outputs(
    outputs: Sequence[np.ndarray],
    spec: OutputSpec,
    size: tuple[int, int],
    score_threshold: float | None = None,
) -> Detections:
    """Decode the outputs of one image, of any head.

    Args:
        outputs: real values, float32, in contract order (`spec.tensor_names`).
        spec: output contract.
        size: (width, height) of the network's input, px.
        score_threshold: 0 <= t < 1, scores must be higher; None: the contract's.
    Returns:
        Detections in pixels of the network's input, best first.
    Raises:
        ShapeError: number or shape of the outputs does not fit the contract.
        ConfigError: the threshold is out of range, or the head is `none`.
    """
    options = DecodeOptions.of(spec, score_threshold, MAX_CANDIDATES)
    if spec.head.coding == "none":
        raise ConfigError(
            "the output contract has head none, so there are no boxes to decode; name the head with `edgedet contract "
            "FILE --head ...`, or give evaluate() a decode function of your own"
        )
    if spec.head.coding == "detections":
        boxes, scores = _postprocessed(outputs, spec, size)
    else:
        rows = gather(outputs, spec, size) if spec.head.coding != "cells" else None
        if rows is None:
            return decode_cells(outputs, spec, size, options)
        boxes, scores = decode_boxes(rows, spec, size), row_scores(rows, spec)
    choose = select_agnostic if spec.head.agnostic else select
    return choose(boxes.astype(np.float32), scores, size, options)


def row_scores(rows: Rows, spec: OutputSpec) -> np.ndarray:
    """Scores of all rows.

    Args:
        rows: of the head.
        spec: output contract; `head.scores` says what makes scores of the values.
    Returns:
        float32 (N, classes), 0..1, without the background.
    """
    if spec.head.scores == "percent" and rows.objectness is not None:
        # SSCMA's YOLO: the objectness is the score, the classes only say whose; with one class theirs is not trained.
        scores = np.zeros((len(rows.classes), class_channels(spec)), np.float32)
        scores[np.arange(len(scores)), rows.classes.argmax(axis=1)] = activate(rows.objectness, "percent")
        return scores
    scores = class_scores(rows.classes, spec.head)[:, int(spec.head.background) :]
    if rows.objectness is None:
        return scores
    result: np.ndarray = scores * object_scores(rows.objectness, spec.head)[:, None]
    return result


def class_scores(values: np.ndarray, head: HeadSpec) -> np.ndarray:
    """Factors of the classes, float32 in and out: scores, raised to 1 - `objectness_weight` where the head has one."""
    return _power(activate(values, head.scores), 1.0 - head.objectness_weight)


def object_scores(values: np.ndarray, head: HeadSpec) -> np.ndarray:
    """Factors of the objectness, float32 in and out: a softmax is over the classes, this is one yes-or-no value."""
    kind = head.objectness_scores or ("sigmoid" if head.scores == "softmax" else head.scores)
    return _power(activate(values, kind), head.objectness_weight or 1.0)


def _power(scores: np.ndarray, exponent: float) -> np.ndarray:
    if exponent == 1.0:
        return scores
    result: np.ndarray = (np.maximum(scores, 0.0).astype(np.float64) ** exponent).astype(np.float32)
    return result


def activate(values: np.ndarray, kind: str) -> np.ndarray:
    """Scores 0..1 of a head's values, float32 in and out; softmax over the last axis."""
    x = np.ascontiguousarray(values, np.float64)
    if kind == "sigmoid":
        x = logistic(x)
    elif kind == "softmax":
        x = softmax(x)
    elif kind == "percent":
        x = x / 100.0
    return x.astype(np.float32)


def select(boxes: np.ndarray, scores: np.ndarray, size: tuple[int, int], options: DecodeOptions) -> Detections:
    """Threshold, the best candidates, clipping, NMS.

    Args:
        boxes: float32 (N, 4), xyxy, px of the input.
        scores: float32 (N, classes), 0..1.
        size: (width, height) of the network's input, px.
        options: thresholds and limits.
    Returns:
        Detections in pixels of the network's input, best first.
    """
    flat = scores.reshape(-1)
    hits = np.flatnonzero(scores > _thresholds(options, scores.shape[1]))
    if len(hits) > options.max_candidates:
        edge = np.partition(flat[hits], len(hits) - options.max_candidates)[len(hits) - options.max_candidates]
        hits = hits[flat[hits] >= edge]  # the stable sort alone decides ties at the edge
    hits = hits[np.argsort(-flat[hits], kind="stable")[: options.max_candidates]]
    rows, labels = np.divmod(hits, max(1, scores.shape[1]))
    found = clip_boxes(boxes[rows], *size)
    solid = (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
    found, hits, labels = found[solid], hits[solid], labels[solid].astype(np.int64)
    kept = nms(found, labels, options.nms_iou, options.max_detections)
    return Detections(found[kept], flat[hits[kept]], labels[kept])


def select_agnostic(boxes: np.ndarray, scores: np.ndarray, size: tuple[int, int], options: DecodeOptions) -> Detections:
    """Threshold and NMS with one class for each box, as the fast suppression of TFLite_Detection_PostProcess.

    Boxes are clipped after the suppression, as that operator's users do.

    Args:
        boxes: float32 (N, 4), xyxy, px of the input.
        scores: float32 (N, classes), 0..1.
        size: (width, height) of the network's input, px.
        options: thresholds and limits.
    Returns:
        Detections in pixels of the network's input, best first.
    """
    labels, best = scores.argmax(axis=1).astype(np.int64), scores.max(axis=1)
    order = np.argsort(-best, kind="stable")
    least = _thresholds(options, scores.shape[1])[labels]
    order = order[best[order] > least[order]][: options.max_candidates]
    found = boxes[order]
    solid = (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
    order, found = order[solid], found[solid]
    kept = nms(found, np.zeros(len(found), np.int64), options.nms_iou, options.max_detections)
    return Detections(clip_boxes(found[kept], *size), best[order[kept]], labels[order[kept]])


def _thresholds(options: DecodeOptions, classes: int) -> np.ndarray:
    """float32 (classes,)."""
    return np.array(options.thresholds(classes), np.float32)


def _postprocessed(
    outputs: Sequence[np.ndarray], spec: OutputSpec, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores behind TFLite_Detection_PostProcess: ymin, xmin, ymax, xmax in 0..1; class; score; count."""
    if len(outputs) != 4 or outputs[0].size != 4 * outputs[2].size or outputs[1].size != outputs[2].size:
        raise ShapeError(
            "decode: expected the four outputs of TFLite_Detection_PostProcess (boxes, classes, scores, count), found "
            f"{[array.shape for array in outputs]}"
        )
    count = int(np.asarray(outputs[3]).reshape(-1)[0])
    box = outputs[0].reshape(-1, 4)[:count].astype(np.float64)[:, [1, 0, 3, 2]] * np.array([size[0], size[1]] * 2)
    labels = outputs[1].reshape(-1)[:count].astype(np.int64)
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(spec.class_names):
        raise ShapeError(
            f"decode: class {labels.max()} for {len(spec.class_names)} class names; give one name for each class"
        )
    scores = np.zeros((count, len(spec.class_names)), np.float32)
    scores[np.arange(count), labels] = outputs[2].reshape(-1)[:count]
    return box, scores
