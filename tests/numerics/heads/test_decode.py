from __future__ import annotations

import math

import head_references as ref
import numpy as np
import pytest

from edgedet.contracts import OutputSpec
from edgedet.errors import ConfigError, ShapeError
from edgedet.head_spec import HeadSpec
from edgedet.numerics.decode import decode_float
from edgedet.numerics.heads.decode import decode_outputs

SIZE = (96, 64)  # width, height, px
STRIDES = (8, 16)
CLASSES = ("a", "b", "c")


def outputs_spec(classes: tuple[str, ...] = CLASSES, strides: tuple[int, ...] = STRIDES, **head: object) -> OutputSpec:
    return OutputSpec(classes, strides=strides, score_threshold=0.3, nms_iou=0.5, head=HeadSpec(**head))


def cells() -> list[tuple[int, int, int, int]]:
    """(level, stride, row, column) in the order of rows."""
    return [
        (level, s, row, column)
        for level, s in enumerate(STRIDES)
        for row in range(SIZE[1] // s)
        for column in range(SIZE[0] // s)
    ]


def draw(depth: int, seed: int = 0, spread: float = 1.5) -> list[np.ndarray]:
    """One (1, h, w, depth) array per level."""
    rng = np.random.default_rng(seed)
    return [rng.normal(-0.5, spread, (1, SIZE[1] // s, SIZE[0] // s, depth)).astype(np.float32) for s in STRIDES]


def rows(maps: list[np.ndarray], depth: int) -> np.ndarray:
    return np.concatenate([m.reshape(-1, depth) for m in maps])


def expected(candidates: list, spec: OutputSpec) -> list:
    return ref.finish(candidates, SIZE, spec.score_threshold, spec.nms_iou, spec.max_detections)


def yolox_reference(spec: OutputSpec, values: np.ndarray) -> list:
    found = []
    for (_, s, row, column), v in zip(cells(), values.tolist(), strict=True):
        box = ref.corners((v[0] + column) * s, (v[1] + row) * s, math.exp(v[2]) * s, math.exp(v[3]) * s)
        found += [(ref.sigmoid(v[4]) * ref.sigmoid(v[5 + c]), c, box) for c in range(3)]
    return expected(found, spec)


def test_yolox_levels_in_one_tensor_each() -> None:
    spec = outputs_spec(kind="yolox", coding="yolox", objectness=True, tensors=("map_8", "map_16"))
    maps = draw(8)
    ref.assert_same(decode_outputs(maps, spec, SIZE), yolox_reference(spec, rows(maps, 8)))


def test_log_distance_sides_are_exponentials_of_at_most_20() -> None:
    spec = outputs_spec(coding="log_distance", offset=0.5)
    outputs = [part for cls, box in zip(draw(3), draw(4, seed=5), strict=True) for part in (cls, box)]
    outputs[1][0, 0, 0] = (-300.0, 25.0, -90.0, 1000.0)  # the clip to the input hides how large a side is
    outputs[0][0, 0, 0] = 3.0
    candidates = []
    values = np.concatenate([rows(outputs[0::2], 3), rows(outputs[1::2], 4)], axis=1).tolist()
    for (_, s, row, column), v in zip(cells(), values, strict=True):
        left, top, right, bottom = (math.exp(min(side, 20.0)) * s for side in v[3:])
        x, y = (column + 0.5) * s, (row + 0.5) * s
        box = (x - left, y - top, x + right, y + bottom)
        candidates += [(ref.sigmoid(v[c]), c, box) for c in range(3)]
    ref.assert_same(decode_outputs(outputs, spec, SIZE), expected(candidates, spec))


def test_yolox_parts_apart_and_other_layouts_give_the_same() -> None:
    maps = draw(8)
    joint = outputs_spec(kind="yolox", coding="yolox", objectness=True, tensors=("map_8", "map_16"))
    found = decode_outputs(maps, joint, SIZE)
    apart = ("cls_8", "box_8", "obj_8", "cls_16", "box_16", "obj_16")
    parts = [part for m in maps for part in (m[..., 5:], m[..., :4], m[..., 4:5])]
    everything = rows(maps, 8)[None]
    variants = [
        ({"tensors": apart}, parts),
        ({"tensors": ("map",)}, [everything]),
        ({"tensors": ("box", "obj", "cls")}, [everything[..., :4], everything[..., 4], everything[..., 5:]]),
        ({"tensors": ("map",), "channels_first": True}, [everything.transpose(0, 2, 1)]),
        ({"tensors": ("map_8", "map_16"), "channels_first": True}, [m.transpose(0, 3, 1, 2) for m in maps]),
    ]
    for changes, outputs in variants:
        spec = outputs_spec(**({"kind": "yolox", "coding": "yolox", "objectness": True} | changes))
        if outputs[1:2] and outputs[1].ndim == 2:
            outputs[1] = outputs[1][..., None]
        again = decode_outputs(outputs, spec, SIZE)
        assert len(found) == len(again) > 0
        assert np.array_equal(found.boxes, again.boxes)
        assert np.array_equal(found.scores, again.scores)


@pytest.mark.parametrize("coding", ["yolov3", "yolov5"])
@pytest.mark.parametrize("layout", ["map", "five", "anchor_first", "end_to_end"])
def test_yolo_with_anchors(coding: str, layout: str) -> None:
    anchors = (10.0, 13.0, 16.0, 30.0, 33.0, 23.0, 40.0, 20.0, 20.0, 41.0, 50.0, 50.0)
    maps = draw(3 * 8, seed=1)
    tensors = ("map",) if layout == "end_to_end" else ("map_8", "map_16")
    spec = outputs_spec(kind="yolov5", coding=coding, objectness=True, tensors=tensors, anchors=anchors)
    candidates = []
    for (level, s, row, column), values in zip(cells(), rows(maps, 24).tolist(), strict=True):
        for a in range(3):
            v = values[8 * a : 8 * a + 8]
            width, height = anchors[6 * level + 2 * a : 6 * level + 2 * a + 2]
            if coding == "yolov3":
                centre = (ref.sigmoid(v[0]) + column) * s, (ref.sigmoid(v[1]) + row) * s
                sides = math.exp(v[2]) * width, math.exp(v[3]) * height
            else:
                centre = (2 * ref.sigmoid(v[0]) - 0.5 + column) * s, (2 * ref.sigmoid(v[1]) - 0.5 + row) * s
                sides = (2 * ref.sigmoid(v[2])) ** 2 * width, (2 * ref.sigmoid(v[3])) ** 2 * height
            box = ref.corners(*centre, *sides)
            candidates += [(ref.sigmoid(v[4]) * ref.sigmoid(v[5 + c]), c, box) for c in range(3)]
    outputs = {
        "map": maps,
        "five": [m.reshape(*m.shape[:3], 3, 8) for m in maps],
        "anchor_first": [m.reshape(*m.shape[:3], 3, 8).transpose(0, 3, 1, 2, 4) for m in maps],
        "end_to_end": [rows(maps, 8)[None]],
    }[layout]
    ref.assert_same(decode_outputs(outputs, spec, SIZE), expected(candidates, spec))


@pytest.mark.parametrize("coding", ["yolov3", "yolov5"])
def test_yolo_sigmoids_in_the_graph_give_the_same_boxes(coding: str) -> None:
    anchors = (10.0, 13.0, 16.0, 30.0)
    maps = draw(8, seed=8)
    said = {"kind": "yolov5", "coding": coding, "objectness": True, "anchors": anchors, "tensors": ("map_8", "map_16")}
    found = decode_outputs(maps, outputs_spec(**said), SIZE)
    activated = [np.array(1 / (1 + np.exp(-m.astype(np.float64))), np.float32) for m in maps]
    if coding == "yolov3":  # sizes are exponentials there, of the plain values
        for after, before in zip(activated, maps, strict=True):
            after[..., 2:4] = before[..., 2:4]
    again = decode_outputs(activated, outputs_spec(**said, scores="none", box_sigmoid=True), SIZE)
    assert len(found) == len(again) > 0
    np.testing.assert_allclose(found.boxes, again.boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.scores, again.scores, rtol=1e-5)


@pytest.mark.parametrize("apart", [False, True])
def test_fastest_v2_classes_are_shared_by_the_anchors_of_a_cell(apart: bool) -> None:
    anchors = (10.0, 13.0, 16.0, 30.0, 33.0, 23.0, 40.0, 20.0, 20.0, 41.0, 50.0, 50.0)
    maps = draw(5 * 3 + 3, seed=2)
    names = [f"{part}_{s}" for s in STRIDES for part in ("box", "obj", "cls")]
    spec = outputs_spec(
        kind="yolov5",
        coding="yolov5",
        objectness=True,
        scores="softmax",
        anchors=anchors,
        tensors=tuple(names) if apart else ("map_8", "map_16"),
    )
    candidates = []
    for (level, s, row, column), v in zip(cells(), rows(maps, 18).tolist(), strict=True):
        scores = ref.softmax(v[15:])
        for a in range(3):
            b = [ref.sigmoid(x) for x in v[4 * a : 4 * a + 4]]
            width, height = anchors[6 * level + 2 * a : 6 * level + 2 * a + 2]
            box = ref.corners(
                (2 * b[0] - 0.5 + column) * s,
                (2 * b[1] - 0.5 + row) * s,
                (2 * b[2]) ** 2 * width,
                (2 * b[3]) ** 2 * height,
            )
            candidates += [(ref.sigmoid(v[12 + a]) * scores[c], c, box) for c in range(3)]
    outputs = [part for m in maps for part in (m[..., :12], m[..., 12:15], m[..., 15:])] if apart else maps
    ref.assert_same(decode_outputs(outputs, spec, SIZE), expected(candidates, spec))


@pytest.mark.parametrize(("classes_first", "offset"), [(True, 0.0), (False, 0.5)])
def test_distribution_of_distances_nanodet_and_undecoded_yolov8(classes_first: bool, offset: float) -> None:
    bins = 8
    maps = draw(3 + 4 * bins, seed=3)
    spec = outputs_spec(
        kind="nanodet", coding="distance", bins=bins, offset=offset, classes_first=classes_first, tensors=("map",)
    )
    candidates = []
    for (_, s, row, column), v in zip(cells(), rows(maps, 3 + 4 * bins).tolist(), strict=True):
        scores, sides = (v[:3], v[3:]) if classes_first else (v[4 * bins :], v[: 4 * bins])
        d = [sum(i * p for i, p in enumerate(ref.softmax(sides[bins * k : bins * k + bins]))) for k in range(4)]
        x, y = (column + offset) * s, (row + offset) * s
        box = [x - d[0] * s, y - d[1] * s, x + d[2] * s, y + d[3] * s]
        candidates += [(ref.sigmoid(scores[c]), c, box) for c in range(3)]
    found = decode_outputs([rows(maps, 3 + 4 * bins)[None]], spec, SIZE)
    ref.assert_same(found, expected(candidates, spec))


@pytest.mark.parametrize("unit", ["pixels", "normalized"])
@pytest.mark.parametrize("channels_first", [True, False])
@pytest.mark.parametrize("objectness", [True, False])
def test_decoded_rows_yolov8_and_yolov5(unit: str, channels_first: bool, objectness: bool) -> None:
    rng = np.random.default_rng(4)
    boxes = rng.uniform(0.1, 0.6, (50, 4)) * (1 if unit == "normalized" else 80)
    scores = rng.uniform(0, 1, (50, 3 + objectness))
    values = np.concatenate([boxes, scores], axis=1).astype(np.float32)
    kinds = {"kind": "yolov5" if objectness else "yolov8", "coding": "xywh", "scores": "none", "tensors": ("map",)}
    spec = outputs_spec(strides=(), **kinds, unit=unit, channels_first=channels_first, objectness=objectness)
    factor = (*SIZE, *SIZE) if unit == "normalized" else (1, 1, 1, 1)
    candidates = []
    for v in values.tolist():
        box = ref.corners(*(x * f for x, f in zip(v[:4], factor, strict=True)))
        gain = v[4] if objectness else 1.0
        candidates += [(gain * v[-3 + c], c, box) for c in range(3)]
    array = values.T[None] if channels_first else values[None]
    ref.assert_same(decode_outputs([array], spec, SIZE), expected(candidates, spec))


def test_decoded_rows_in_percent_and_corners() -> None:
    values = np.array([[10, 10, 30, 40, 90, 20, 30], [50, 20, 70, 60, 10, 20, 80]], np.float32)[None]
    spec = outputs_spec(strides=(), kind="yolov8", coding="xyxy", scores="percent", tensors=("map",))
    found = decode_outputs([values], spec, SIZE)
    np.testing.assert_allclose(found.scores, [0.9, 0.8], rtol=1e-6)
    assert found.boxes.tolist() == [[10, 10, 30, 40], [50, 20, 70, 60]]
    assert found.labels.tolist() == [0, 2]


def test_percent_with_objectness_is_the_score_of_the_best_class() -> None:
    values = np.array([[20, 20, 8, 8, 90, 20, 0, 30], [60, 20, 8, 8, 50, 0, 0, 0]], np.float32)[None]
    spec = outputs_spec(strides=(), kind="yolov5", coding="xywh", scores="percent", objectness=True, tensors=("map",))
    found = decode_outputs([values], spec, SIZE)
    np.testing.assert_allclose(found.scores, [0.9, 0.5], rtol=1e-6)
    assert found.labels.tolist() == [2, 0]
    assert found.boxes.tolist() == [[16, 16, 24, 24], [56, 16, 64, 24]]


@pytest.mark.parametrize("scores", ["softmax", "sigmoid", "none"])
def test_ssd_boxes_relative_to_anchors(scores: str) -> None:
    rng = np.random.default_rng(5)
    anchors = np.concatenate([rng.uniform(0.2, 0.8, (40, 2)), rng.uniform(0.1, 0.4, (40, 2))], axis=1)
    anchors = anchors.astype(np.float32).astype(np.float64)
    box = rng.normal(0, 2, (1, 40, 4)).astype(np.float32)
    cls = rng.normal(0.5, 1.5, (1, 40, 4)).astype(np.float32)
    if scores == "none":
        cls = np.abs(cls) / 5
    spec = outputs_spec(
        strides=(),
        kind="ssd",
        coding="ssd",
        scores=scores,
        background=True,
        tensors=("box", "cls"),
        anchors=tuple(anchors.reshape(-1).tolist()),
    )
    candidates = []
    for a, b, c in zip(anchors.tolist(), box[0].tolist(), cls[0].tolist(), strict=True):
        y, x = b[0] / 10 * a[2] + a[0], b[1] / 10 * a[3] + a[1]
        h, w = math.exp(b[2] / 5) * a[2], math.exp(b[3] / 5) * a[3]
        values = {"softmax": ref.softmax(c), "sigmoid": [ref.sigmoid(v) for v in c], "none": c}[scores]
        candidates += [
            (values[k + 1], k, ref.corners(x * SIZE[0], y * SIZE[1], w * SIZE[0], h * SIZE[1])) for k in range(3)
        ]
    ref.assert_same(decode_outputs([box, cls], spec, SIZE), expected(candidates, spec))


def test_detections_behind_the_postprocess_operator() -> None:
    box = np.array([[[0.25, 0.0, 0.5, 0.5], [0.0, 0.5, 1.0, 1.0], [0, 0, 0, 0]]], np.float32)
    outputs = [box, np.array([[2, 0, 0]], np.float32), np.array([[0.9, 0.6, 0]], np.float32), np.array([2], np.float32)]
    spec = outputs_spec(
        strides=(), kind="ssd", coding="detections", scores="none", tensors=("boxes", "classes", "scores", "count")
    )
    found = decode_outputs(outputs, spec, SIZE)
    assert found.boxes.tolist() == [[0, 16, 48, 32], [48, 0, 96, 64]]
    assert found.labels.tolist() == [2, 0]
    np.testing.assert_allclose(found.scores, [0.9, 0.6])
    outputs[1] = np.array([[3, 0, 0]], np.float32)
    with pytest.raises(ShapeError, match="class 3 for 3 class names"):
        decode_outputs(outputs, spec, SIZE)


def test_rtmdet_distances_equal_the_decoder_of_our_own_networks() -> None:
    maps = draw(7, seed=6, spread=2.0)
    outputs = [part for m in maps for part in (m[..., 4:], np.abs(m[..., :4]))]
    spec = outputs_spec()
    found, other = decode_float(outputs, spec), decode_outputs(outputs, spec, SIZE)
    assert len(found) == len(other) > 0
    np.testing.assert_allclose(found.boxes, other.boxes, atol=1e-4)
    np.testing.assert_allclose(found.scores, other.scores, rtol=1e-6)


def test_many_candidates_keep_the_best_thousand_in_order_of_rows() -> None:
    values = np.zeros((1, 3000, 7), np.float32)
    values[0, :, :4] = (10, 10, 4, 4)
    values[0, :, 4] = 0.5
    values[0, 1500:, 4] = 0.75
    values[0, :, 0] = np.arange(3000) % 90 + 2
    spec = OutputSpec(
        CLASSES, strides=(), nms_iou=1.0, head=HeadSpec(kind="yolov8", coding="xywh", scores="none", tensors=("map",))
    )
    found = decode_outputs([values], spec, SIZE)
    assert found.boxes[:, 0].tolist() == [float(i % 90) for i in range(1500, 1600)]


def test_no_candidate_gives_empty_detections() -> None:
    spec = outputs_spec(kind="yolox", coding="yolox", objectness=True, tensors=("map_8", "map_16"))
    found = decode_outputs([np.full_like(m, -20) for m in draw(8)], spec, SIZE)
    assert (len(found), found.boxes.shape) == (0, (0, 4))


def test_wrong_outputs_raise_naming_what_was_expected() -> None:
    spec = outputs_spec(kind="yolox", coding="yolox", objectness=True, tensors=("map_8", "map_16"))
    with pytest.raises(ShapeError, match="expected 2 outputs"):
        decode_outputs(draw(8)[:1], spec, SIZE)
    with pytest.raises(ShapeError, match=r"map_8: expected one of \(1, 8, 12, 8\)"):
        decode_outputs(draw(9), spec, SIZE)
    with pytest.raises(ConfigError, match="head none"):
        decode_outputs([], outputs_spec(kind="none", coding="none", tensors=("output_0",)), SIZE)
    decoded = outputs_spec(strides=(), kind="yolov8", coding="xywh", tensors=("map",))
    with pytest.raises(ShapeError, match=r"map: expected \(1, cells, 7\), found \(1, 6, 5\)"):
        decode_outputs([np.zeros((1, 6, 5), np.float32)], decoded, SIZE)
