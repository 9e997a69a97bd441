from __future__ import annotations

import re
from dataclasses import replace

import pytest
from openmmlab import NANO_SSCMA, TINY_MMDET, Layout, config_text, key_shapes

from edgedet.errors import CheckpointError
from edgedet.exchange.checkpoints.architecture import Architecture, Choices, find_architecture
from edgedet.exchange.checkpoints.config_text import TrainingConfig, parse_config
from edgedet.exchange.checkpoints.names import find_weights

SIZES = {
    "tiny": (0.167, 0.375),
    "s": (0.33, 0.5),
    "m": (0.67, 0.75),
    "l": (1.0, 1.0),
    "x": (1.33, 1.25),
    "nano": (0.33, 0.25),
}
NOTHING = TrainingConfig({}, ())


def _found(layout: Layout, text: str = "", choices: Choices = Choices()) -> Architecture:  # noqa: B008 - frozen
    shapes = key_shapes(layout)
    sources = find_weights(dict.fromkeys(shapes, 0), "file", None).sources
    own = {name: shapes[key] for name, key in sources.items()}
    return find_architecture(own, layout.share, layout.style, TrainingConfig(parse_config(text), ()), choices, "file")


@pytest.mark.parametrize("style", ["mmdet", "mmyolo"])
@pytest.mark.parametrize("size", SIZES)
def test_find_architecture_published_sizes(size: str, style: str) -> None:
    deepen, widen = SIZES[size]
    layout = Layout(style, deepen, widen, classes=80)
    found = _found(layout, choices=Choices(activation="silu", boxes="linear"))
    assert (found.model.deepen, found.model.widen) == (deepen, widen)
    assert found.model.channel_attention
    assert (found.model.depthwise, found.model.stacked_convs, found.model.padding) == ("none", 2, "symmetric")
    assert (found.num_classes, found.channels) == (80, 3)


def test_find_architecture_odd_width_gives_the_same_channels() -> None:
    found = _found(replace(NANO_SSCMA, widen=0.33), choices=Choices(activation="relu"))
    for base in (64, 128, 256, 512, 1024):
        assert int(base * found.model.widen) == int(base * 0.33)


def test_find_architecture_reads_the_configuration() -> None:
    layout = replace(TINY_MMDET, exp=True, activation="ReLU", eps=1e-3)
    found = _found(layout, config_text(layout))
    assert found.model.exp_boxes
    assert found.model.activation == "relu"
    assert set(found.eps.values()) == {1e-3}
    assert "from its configuration" in " ".join(found.facts)


@pytest.mark.parametrize("widen", [0.75, 1.0, 1.25])
def test_find_architecture_exponential_boxes_of_large_mmdetection_networks_are_asked_for(widen: float) -> None:
    choices = Choices(activation="silu")
    with pytest.raises(CheckpointError, match="`boxes` exp or linear"):
        _found(replace(TINY_MMDET, widen=widen), choices=choices)
    assert not _found(replace(TINY_MMDET, widen=widen, style="mmyolo"), choices=choices).model.exp_boxes
    assert _found(replace(TINY_MMDET, widen=widen), choices=replace(choices, boxes="exp")).model.exp_boxes


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("type='SiLU')", "type='GELU')", "which activation"),
        (
            "backbone=dict(act_cfg=dict(inplace=True, type='SiLU')",
            "backbone=dict(act_cfg=dict(type='ReLU')",
            "ReLU, SiLU",
        ),
        ("norm_cfg=dict(type='SyncBN')", "norm_cfg=dict(type='GN')", "expected BatchNorm"),
        (
            "neck=dict(act_cfg=dict(inplace=True, type='SiLU'), norm_cfg=dict(type='SyncBN'),",
            "neck=dict(",
            "no norm_cfg.*`bn_eps`",
        ),
        ("type='RTMDetSepBNHead'", "type='RTMDetInsHead'", "expected RTMDetSepBNHead"),
        ("with_objectness=False", "with_objectness=True", "with_objectness"),
        ("type='CSPNeXt')", "type='CSPNeXt', spp_kernal_sizes=(3, 5, 7))", r"expected \[5, 9, 13\], found \[3, 5, 7\]"),
        ("num_csp_blocks=1", "num_csp_blocks=1, upsample_cfg=dict(mode='bilinear')", "bilinear"),
    ],
)
def test_find_architecture_settings_without_a_trace_in_the_weights_are_refused(
    old: str, new: str, message: str
) -> None:
    text = config_text(TINY_MMDET)
    assert old in text
    with pytest.raises(CheckpointError, match=message):
        _found(TINY_MMDET, text.replace(old, new))


def test_parse_config_runs_nothing_and_keeps_literals() -> None:
    values = parse_config(
        "import os\na = dict(b=[1, (2, -3.5)], c=os.system('x'))\nd = {'e f': None}\nx.y = 3\ng = a['b']"
    )
    assert values["a"] == {"b": [1, [2, -3.5]], "c": "<not a literal>"}
    assert values["d"] == {"e f": None}
    assert values["g"] == "<not a literal>"


@pytest.mark.parametrize("text", ["def", "(" * 100_000, "a = " + "-" * 50_000 + "1", "x\x00 = 1", "", "a" * 5_000_000])
def test_parse_config_other_text_is_no_configuration(text: str) -> None:
    assert parse_config(text) in ({}, {"a": "<not a literal>"})


def test_config_text_of_the_tests_is_read_whole() -> None:
    values = parse_config(config_text(NANO_SSCMA))
    assert values["model"]["bbox_head"]["head_module"]["act_cfg"]["type"] == "ReLU6"
    assert re.fullmatch("<.*>", values["optimizer"]["params"])
