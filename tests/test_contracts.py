from __future__ import annotations

import json

import pytest

from edgedet.contracts import OutputSpec, PreprocessSpec, require_trainable_size
from edgedet.errors import ConfigError


def test_preprocess_spec_json_round_trip() -> None:
    spec = PreprocessSpec(320, 192, resize="stretch", mean=(103.5, 116.3, 123.7), std=(57.4, 57.1, 58.4))
    assert PreprocessSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_preprocess_spec_grey_has_one_channel_and_one_mean() -> None:
    spec = PreprocessSpec(32, 32, channel_order="GRAY", mean=(127.5,), std=(127.5,))
    assert spec.channels == 1
    assert PreprocessSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert [PreprocessSpec(32, 32, channel_order=order).channels for order in ("RGB", "BGR")] == [3, 3]


def test_output_spec_json_round_trip() -> None:
    spec = OutputSpec(("a", "b"), category_ids=(3, 7), score_threshold=0.4)
    assert OutputSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def test_output_spec_tensor_names_are_in_contract_order() -> None:
    assert OutputSpec(("a",)).tensor_names == ("cls_8", "box_8", "cls_16", "box_16", "cls_32", "box_32")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, r"height must be a whole number of px, 1\.\.4096, got 0"),
        ({"width": 192.0}, r"whole number of px, 1\.\.4096, got 192\.0"),
        ({"width": 9999968}, "got 9999968"),
        ({"resize": "crop"}, "resize must be one of letterbox, stretch; got 'crop'"),
        ({"channel_order": "YUV"}, "channel_order must be one of RGB, BGR, GRAY; got 'YUV'"),
        ({"channel_order": "GRAY"}, r"mean and std need 1 values each for GRAY"),
        ({"mean": (1.0,)}, r"mean and std need 3 values each for RGB"),
        ({"pad_value": 256}, r"pad_value must be 0\.\.255"),
        ({"std": (1.0, 0.0, 1.0)}, "std > 0"),
    ],
)
def test_preprocess_spec_bad_value_names_the_field(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PreprocessSpec(**({"width": 192, "height": 192} | changes))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((100, 64), "width must be a positive multiple of 32, at most 4096, got 100; try 96"),
        ((64, 0), "height must be a positive multiple of 32, at most 4096, got 0; try 32"),
        ((9999968, 64), "got 9999968; try 4096"),
    ],
)
def test_require_trainable_size_names_the_nearest(size: tuple[int, int], message: str) -> None:
    require_trainable_size(192, 4096)
    with pytest.raises(ConfigError, match=message):
        require_trainable_size(*size)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"width": 192, "height": 192, "gamma": 2.2}, "preprocess: unknown keys gamma; expected"),
        ({"width": 192}, "missing keys height; expected"),
    ],
)
def test_from_json_unknown_or_missing_keys_are_errors(value: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PreprocessSpec.from_json(value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ()}, "class_names is empty"),
        ({"category_ids": (1,)}, "1 category_ids for 2 class_names"),
        ({"score_threshold": 0.0}, "score_threshold must be inside"),
        ({"nms_iou": 1.5}, "nms_iou must be inside"),
    ],
)
def test_output_spec_bad_value_names_the_field(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OutputSpec(**({"class_names": ("a", "b")} | changes))
