from __future__ import annotations

import math

import numpy as np
import pytest

from edgedet.contracts import Detections, OutputSpec
from edgedet.errors import ConfigError, ShapeError
from edgedet.numerics import decode
from edgedet.numerics.decode import (
    decode_float,
    decode_int8,
    dequantize_output,
    logit_threshold,
    nms,
    quantized_threshold,
    score_table,
    sigmoid,
)

F = np.float32


def spec_of(classes: int, strides: tuple[int, ...] = (8, 16, 32)) -> OutputSpec:
    return OutputSpec(class_names=tuple(f"class{i}" for i in range(classes)), strides=strides)


def slow_iou_exceeds(a: list[np.float32], b: list[np.float32], limit: float) -> bool:
    """The document's test on scalars: intersection > limit * union, all float32."""
    width = max(F(0), min(a[2], b[2]) - max(a[0], b[0]))
    height = max(F(0), min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return bool(shared > F(limit) * ((area_a + area_b) - shared))


def slow_decode(
    outputs: list[np.ndarray], spec: OutputSpec, threshold: float, nms_iou: float, limit: int, cap: int
) -> list[tuple[list[float], float, int]]:
    """The decoder written out cell by cell from its description."""
    height, width = (side * spec.strides[0] for side in outputs[0].shape[1:3])
    candidates = []
    for level, stride in enumerate(spec.strides):
        cls, box = outputs[2 * level][0], outputs[2 * level + 1][0]
        for row in range(cls.shape[0]):
            for column in range(cls.shape[1]):
                for label in range(cls.shape[2]):
                    logit = cls[row, column, label]
                    if logit > logit_threshold(threshold):
                        order = (-float(logit), level, row * cls.shape[1] + column, label)
                        sides = [value * F(stride) for value in box[row, column]]
                        x, y = F(column * stride), F(row * stride)
                        raw = [x - sides[0], y - sides[1], x + sides[2], y + sides[3]]
                        limits = [F(width), F(height)] * 2
                        corners = [min(max(v, F(0)), most) for v, most in zip(raw, limits, strict=True)]
                        candidates.append((order, corners, logit, label))
    kept: list[tuple[list[np.float32], np.float32, int]] = []
    for _, corners, logit, label in sorted(candidates, key=lambda c: c[0])[:cap]:
        if corners[2] <= corners[0] or corners[3] <= corners[1]:
            continue
        if any(label == other[2] and slow_iou_exceeds(other[0], corners, nms_iou) for other in kept):
            continue
        kept.append((corners, logit, label))
    return [
        ([float(v) for v in box], float(F(1 / (1 + math.exp(-float(logit))))), label)
        for box, logit, label in kept[:limit]
    ]


def random_int8(
    rng: np.random.Generator, spec: OutputSpec, width: int, height: int, mean: float
) -> tuple[list[np.ndarray], list[float], list[int]]:
    """Outputs with logits around `mean`, boxes that overlap, scales and odd zero points that differ per tensor."""
    outputs, scales, zero_points = [], [], []
    for stride in spec.strides:
        shape = (1, height // stride, width // stride)
        cls_scale, cls_zero = float(F(rng.uniform(0.05, 0.12))), int(rng.integers(-5, 90))
        logits = rng.normal(mean, 1.5, (*shape, len(spec.class_names)))
        box_scale, box_zero = float(F(rng.uniform(0.02, 0.06))), -127
        sides = rng.gamma(2.0, 1.0, (*shape, 4)) - 0.2  # some are negative
        for real, scale, zero_point in ((logits, cls_scale, cls_zero), (sides, box_scale, box_zero)):
            outputs.append(np.clip(np.round(real / scale) + zero_point, -128, 127).astype(np.int8))
            scales.append(scale)
            zero_points.append(zero_point)
    return outputs, scales, zero_points


def dequantized(outputs: list[np.ndarray], scales: list[float], zero_points: list[int]) -> list[np.ndarray]:
    return [dequantize_output(q, s, z) for q, s, z in zip(outputs, scales, zero_points, strict=True)]


def rows_of(found: Detections) -> list[tuple[list[float], float, int]]:
    return list(zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True))


def assert_same_bits(a: Detections, b: Detections) -> None:
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype


@pytest.mark.parametrize("classes", [1, 3, 4])
@pytest.mark.parametrize(("width", "height"), [(64, 64), (96, 64), (32, 96)])
@pytest.mark.parametrize("threshold", [0.001, 0.25, 0.5])
def test_decode_int8_random_outputs_equals_slow_reference(
    classes: int, width: int, height: int, threshold: float
) -> None:
    spec = spec_of(classes)
    rng = np.random.default_rng([classes, width, height])
    outputs, scales, zero_points = random_int8(rng, spec, width, height, mean=-1.0)
    found = decode_int8(outputs, scales, zero_points, spec, score_threshold=threshold, nms_iou=0.6, max_detections=40)
    floats = dequantized(outputs, scales, zero_points)
    expected = slow_decode(floats, spec, threshold, 0.6, 40, decode.MAX_CANDIDATES)
    assert len(found) > 3
    # int8 logits tie by the dozen, so this also proves the order of equals
    assert rows_of(found) == expected
    assert_same_bits(found, decode_float(floats, spec, score_threshold=threshold, nms_iou=0.6, max_detections=40))


@pytest.mark.parametrize("budget", [1, 7, 30])
def test_decode_more_candidates_than_the_budget_equals_slow_reference(budget: int) -> None:
    spec = spec_of(3)
    outputs, scales, zero_points = random_int8(np.random.default_rng(5), spec, 64, 64, mean=0.0)
    found = decode_int8(outputs, scales, zero_points, spec, score_threshold=0.1, max_candidates=budget)
    expected = slow_decode(dequantized(outputs, scales, zero_points), spec, 0.1, 0.65, 100, budget)
    assert rows_of(found) == expected


def test_decode_more_candidates_than_the_cap_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(3)
    outputs, scales, zero_points = random_int8(np.random.default_rng(5), spec, 64, 64, mean=0.0)
    expected = decode_int8(outputs, scales, zero_points, spec, score_threshold=0.1, max_candidates=30)
    monkeypatch.setattr(decode, "MAX_CANDIDATES", 30)
    assert_same_bits(decode_int8(outputs, scales, zero_points, spec, score_threshold=0.1), expected)


def test_score_table_holds_the_scores_of_decode_int8() -> None:
    spec = spec_of(1, strides=(32,))
    table = score_table(0.1, -60)
    assert (table.shape, table.dtype) == ((256,), F)
    assert (np.diff(table) >= 0).all()
    for q in (-128, -60, 0, 127):
        outputs = [np.full((1, 1, 1, 1), q, np.int8), np.full((1, 1, 1, 4), 127, np.int8)]
        found = decode_int8(outputs, [0.1, 0.1], [-60, 0], spec, score_threshold=0.0)
        assert found.scores.tolist() == [table[q + 128]]


def test_decode_every_logit_equal_keeps_order_of_level_cell_class() -> None:
    spec = spec_of(2)
    outputs = []
    for stride in spec.strides:
        cells = (1, 32 // stride, 64 // stride)
        outputs.append(np.full((*cells, 2), 1.0, F))
        outputs.append(np.full((*cells, 4), 0.01, F))  # tiny: IoU across levels stays below 0.3
    found = decode_float(outputs, spec, max_detections=1000)
    assert found.labels[:4].tolist() == [0, 1, 0, 1]
    centres = found.boxes[:, :2].round().tolist()
    assert centres[:4] == [[0, 0], [0, 0], [8, 0], [8, 0]]
    assert centres[16:18] == [[0, 8], [0, 8]]  # second row after 8 cells x 2 classes
    assert len(found) == 2 * (32 + 8 + 2)
    assert centres[64] == [0, 0]  # stride 16 follows all of stride 8


def test_decode_class_aware_other_class_survives() -> None:
    spec = spec_of(2, strides=(32,))
    cls = np.array([[[[2.0, 1.0], [1.5, -9.0]]]], F)
    box = np.array([[[[0, 0, 1, 1], [1, 0, 0, 1]]]], F)  # both cells describe the box 0..32
    found = decode_float([cls, box], spec)
    assert found.labels.tolist() == [0, 1]
    assert found.boxes.tolist() == [[0, 0, 32, 32]] * 2
    assert found.scores.tolist() == sigmoid(np.array([2.0, 1.0], F)).tolist()


def test_decode_nothing_above_threshold_gives_empty_detections() -> None:
    spec = spec_of(3)
    outputs, scales, zero_points = random_int8(np.random.default_rng(0), spec, 64, 32, mean=-30.0)
    for found in (
        decode_int8(outputs, scales, zero_points, spec),
        decode_float(dequantized(outputs, scales, zero_points), spec),
    ):
        assert found.boxes.shape == (0, 4)
        assert (found.boxes.dtype, found.scores.dtype, found.labels.dtype) == (F, F, np.int64)
        assert len(found) == 0


def test_decode_box_empty_after_clipping_is_dropped() -> None:
    spec = spec_of(1, strides=(32,))
    cls = np.full((1, 1, 2, 1), 3.0, F)
    box = np.array([[[[1, 1, -2, 1], [0, 0, 1, 1]]]], F)  # the first has x2 left of the input
    found = decode_float([cls, box], spec)
    assert found.boxes.tolist() == [[32, 0, 64, 32]]


def test_decode_saturated_outputs_stay_inside_the_input() -> None:
    spec = spec_of(1)
    outputs = []
    for stride in spec.strides:
        cells = (1, 64 // stride, 96 // stride)
        outputs += [np.full((*cells, 1), 127, np.int8), np.full((*cells, 4), 127, np.int8)]
    found = decode_int8(outputs, [0.5] * 6, [-128] * 6, spec)
    assert found.boxes.tolist() == [[0, 0, 96, 64]]  # all candidates are this box
    assert found.scores.tolist() == [1.0]


@pytest.mark.parametrize("threshold", [0.001, 0.05, 0.25, 0.5, 0.9, 0.999])
@pytest.mark.parametrize(("scale", "zero_point"), [(0.1, 0), (0.0731, 61), (0.05, -127), (0.3, 127), (1e-3, -3)])
def test_quantized_threshold_is_the_smallest_value_above(threshold: float, scale: float, zero_point: int) -> None:
    q = quantized_threshold(threshold, scale, zero_point)

    def score(value: int) -> float:
        return 1.0 / (1.0 + math.exp(-float(F(value - zero_point) * F(scale))))

    assert q == 128 or score(q) > threshold
    assert q == -128 or score(q - 1) <= threshold


def test_quantized_threshold_exact_tie_is_rejected() -> None:
    assert quantized_threshold(0.5, 0.1, 7) == 8  # q = 7 is logit 0, score 0.5: not higher


def test_quantized_threshold_out_of_reach_gives_128() -> None:
    assert quantized_threshold(0.9, 0.01, 100) == 128
    spec = spec_of(1, strides=(32,))
    outputs = [np.full((1, 2, 2, 1), 127, np.int8), np.full((1, 2, 2, 4), 127, np.int8)]
    assert len(decode_int8(outputs, [0.01, 0.1], [100, 0], spec, score_threshold=0.9)) == 0


def test_logit_threshold_zero_lets_everything_pass() -> None:
    assert logit_threshold(0.0) == -np.inf
    assert quantized_threshold(0.0, 0.1, 0) == -128
    assert logit_threshold(0.5) == 0.0


def test_sigmoid_extremes_neither_overflow_nor_warn() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        result = sigmoid(np.array([-1e4, -80.0, 0.0, 80.0, 1e4], F))
    assert result.tolist() == [0.0, float(F(math.exp(-80.0) / (1.0 + math.exp(-80.0)))), 0.5, 1.0, 1.0]


def test_nms_iou_equal_to_the_threshold_stays() -> None:
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 2], [0, 0, 4, 3]], F)  # IoU with the first: 0.5 and 0.75
    assert nms(boxes, np.zeros(3, np.int64), 0.5, 100).tolist() == [0, 1]


def test_nms_suppressed_box_suppresses_nothing() -> None:
    boxes = np.array([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]], F)  # neighbours: 7/13; ends: 4/16
    assert nms(boxes, np.zeros(3, np.int64), 0.5, 100).tolist() == [0, 2]


def test_nms_max_detections_stops_early() -> None:
    boxes = np.array([[i * 10, 0, i * 10 + 5, 5] for i in range(6)], F)
    assert nms(boxes, np.zeros(6, np.int64), 0.5, 4).tolist() == [0, 1, 2, 3]


def test_nms_empty_and_one() -> None:
    assert nms(np.zeros((0, 4), F), np.zeros(0, np.int64), 0.5, 10).tolist() == []
    assert nms(np.array([[0, 0, 1, 1]], F), np.zeros(1, np.int64), 0.5, 10).tolist() == [0]


def test_decode_arguments_stay_untouched() -> None:
    spec = spec_of(2)
    outputs, scales, zero_points = random_int8(np.random.default_rng(1), spec, 32, 32, mean=0.0)
    copies = [q.copy() for q in outputs]
    for q in outputs:
        q.flags.writeable = False
    decode_int8(outputs, scales, zero_points, spec)
    assert all(np.array_equal(a, b) for a, b in zip(outputs, copies, strict=True))


def test_decode_wrong_outputs_name_expected_and_found() -> None:
    spec = spec_of(3)
    outputs, scales, zero_points = random_int8(np.random.default_rng(1), spec, 32, 32, mean=0.0)
    with pytest.raises(ShapeError, match=r"expected 6 outputs \(cls_8, .*found 5"):
        decode_int8(outputs[:5], scales, zero_points, spec)
    with pytest.raises(ShapeError, match=r"output cls_8: expected float32 \(1, h, w, 3\), found int8"):
        decode_float(outputs, spec)
    with pytest.raises(ShapeError, match=r"output cls_8: expected int8 \(1, h, w, 3\), found int8 \(1, 4, 4, 4\)"):
        decode_int8([outputs[1], outputs[0], *outputs[2:]], scales, zero_points, spec)
    with pytest.raises(ShapeError, match="stride 16: expected"):
        decode_int8([*outputs[:2], *outputs[4:], *outputs[4:]], scales, zero_points, spec)
    with pytest.raises(ShapeError, match="as many scales"):
        decode_int8(outputs, scales[:2], zero_points, spec)


@pytest.mark.parametrize(
    ("threshold", "nms_iou", "limit", "message"),
    [
        (1.0, 0.5, 1, "score_threshold"),
        (-0.1, 0.5, 1, "score_threshold"),
        (0.5, 0.0, 1, "nms_iou"),
        (0.5, 0.5, 0, "max_d"),
    ],
)
def test_decode_bad_options_raise(threshold: float, nms_iou: float, limit: int, message: str) -> None:
    spec = spec_of(1, strides=(32,))
    outputs = [np.zeros((1, 1, 1, 1), F), np.zeros((1, 1, 1, 4), F)]
    with pytest.raises(ConfigError, match=message):
        decode_float(outputs, spec, score_threshold=threshold, nms_iou=nms_iou, max_detections=limit)
