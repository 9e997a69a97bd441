from __future__ import annotations

import json

import pytest

from edgedet.contracts import OutputSpec
from edgedet.errors import ConfigError
from edgedet.head_spec import HeadSpec, part_and_stride


def test_output_spec_rtmdet_head_is_not_written_and_others_read_back() -> None:
    assert "head" not in OutputSpec(("a",)).to_json()
    head = HeadSpec(kind="yolov5", coding="yolov5", tensors=("map_8", "map_16"), anchors=(4.0, 8.0, 16.5, 32.0))
    spec = OutputSpec(("a",), strides=(8, 16), head=head)
    assert spec.tensor_names == ("map_8", "map_16")
    assert OutputSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_part_and_stride() -> None:
    assert [part_and_stride(role) for role in ("cls_16", "map")] == [("cls", 16), ("map", None)]


def test_output_spec_only_head_none_may_lack_classes() -> None:
    assert OutputSpec((), head=HeadSpec(kind="none", coding="none", tensors=("output_0",))).class_names == ()
    with pytest.raises(ConfigError, match="class_names is empty"):
        OutputSpec((), head=HeadSpec(kind="yolox", coding="yolox"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "rcnn"}, "head must be one of rtmdet"),
        ({"scores": "tanh"}, "scores must be one of sigmoid"),
        ({"bins": 1}, "bins must be 0"),
        ({"coding": "log_distance", "bins": 8}, "log_distance has no bins"),
        ({"tensors": ("cls_8", "cls_8")}, "every role once"),
        ({"tensors": ("cls_x",)}, "every role once"),
        ({"tensors": ("cls_0", "box_0")}, "every role once"),
        ({"tensors": ("boxes", "classes")}, "every role once"),
        ({"kind": "none", "coding": "none", "tensors": ("map",)}, "every role once"),
        ({"offset": float("nan")}, "offset: expected a finite number, got nan"),
        ({"offset": "0"}, "offset: expected float, got '0'"),
        ({"coding": "yolov5"}, "needs anchors"),
        ({"coding": "ssd", "anchors": (0.5, 0.5)}, "4 numbers for each box"),
        ({"variances": (1.0,)}, "variances need 4 values"),
    ],
)
def test_head_spec_bad_value_names_the_field(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HeadSpec(**changes)


def test_anchors_per_cell_must_be_equal_for_all_levels() -> None:
    head = HeadSpec(kind="yolov3", coding="yolov3", anchors=(1.0, 2.0) * 3)
    assert head.anchors_per_cell(3) == 1
    with pytest.raises(ConfigError, match="3 anchors can't be shared out among 2 strides"):
        head.anchors_per_cell(2)
