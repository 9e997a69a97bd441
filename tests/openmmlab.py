"""Checkpoints with the names of MMDetection, MMYOLO and SSCMA, and a slow reference of their RTMDet.

Nothing of edgedet/net is used. Names and shapes follow the key lists of the projects' own modules (CSPNeXt,
CSPNeXtPAFPN, RTMDetSepBNHead), formulas the paper (arXiv:2212.07784): convolutions are followed by BatchNorm and the
activation, but for predictions.
"""

from __future__ import annotations

import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "SiLU": lambda x: x * torch.sigmoid(x),
    "ReLU": lambda x: x.clamp(min=0),
    "ReLU6": lambda x: x.clamp(0, 6),
}


@dataclass(frozen=True)
class Layout:
    """One network of one project."""

    style: str = "mmdet"  # mmdet | mmyolo (SSCMA's names are MMYOLO's)
    deepen: float = 0.167
    widen: float = 0.375
    classes: int = 3
    activation: str = "SiLU"
    attention: bool = True
    share: bool = True
    exp: bool = False
    eps: float = 1e-5
    depthwise: bool = False

    def width(self, channels: int) -> int:
        return int(channels * self.widen)

    def depth(self, blocks: int) -> int:
        return max(round(blocks * self.deepen), 1)


TINY_MMDET = Layout()
S_MMYOLO = Layout("mmyolo", 0.33, 0.5)
NANO_SSCMA = Layout("mmyolo", 0.33, 0.25, activation="ReLU6", attention=False, share=False)
# (channels, blocks, identity, pyramid) of stages 1..4.
STAGES = ((128, 3, True, False), (256, 6, True, False), (512, 6, True, False), (1024, 3, False, True))


def key_shapes(layout: Layout) -> dict[str, tuple[int, ...]]:
    """Every key of a state dict, with its shape."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        shapes[f"{name}.conv.weight"] = (outputs, inputs // groups, kernel, kernel)
        for key in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.bn.{key}"] = (outputs,)
        shapes[f"{name}.bn.num_batches_tracked"] = ()

    def separable(name: str, inputs: int, outputs: int, kernel: int) -> None:
        conv(f"{name}.depthwise_conv", inputs, inputs, kernel, inputs)
        conv(f"{name}.pointwise_conv", inputs, outputs, 1)

    def csp(name: str, inputs: int, outputs: int, blocks: int, attention: bool) -> None:
        middle = outputs // 2
        conv(f"{name}.main_conv", inputs, middle, 1)
        conv(f"{name}.short_conv", inputs, middle, 1)
        conv(f"{name}.final_conv", 2 * middle, outputs, 1)
        for index in range(blocks):
            conv(f"{name}.blocks.{index}.conv1", middle, middle, 3)
            separable(f"{name}.blocks.{index}.conv2", middle, middle, 5)
        if attention:
            shapes[f"{name}.attention.fc.weight"] = (2 * middle, 2 * middle, 1, 1)
            shapes[f"{name}.attention.fc.bias"] = (2 * middle,)

    stem = layout.width(64)
    conv("backbone.stem.0", 3, stem // 2, 3)
    conv("backbone.stem.1", stem // 2, stem // 2, 3)
    conv("backbone.stem.2", stem // 2, stem, 3)
    inputs = stem
    for number, (channels, blocks, _, pyramid) in enumerate(STAGES, 1):
        width = layout.width(channels)
        conv(f"backbone.stage{number}.0", inputs, width, 3)
        if pyramid:
            conv(f"backbone.stage{number}.1.conv1", width, width // 2, 1)
            conv(f"backbone.stage{number}.1.conv2", 4 * (width // 2), width, 1)
        csp(f"backbone.stage{number}.{2 if pyramid else 1}", width, width, layout.depth(blocks), layout.attention)
        inputs = width
    names = neck_names(layout.style)
    w8, w16, w32 = (layout.width(channels) for channels in (256, 512, 1024))
    conv(names["reduce32"], w32, w16, 1)
    csp(names["top16"], 2 * w16, w16, layout.depth(3), False)
    conv(names["reduce16"], w16, w8, 1)
    csp(names["top8"], 2 * w8, w8, layout.depth(3), False)
    conv(f"{names['down']}.0", w8, w8, 3)
    conv(f"{names['down']}.1", w16, w16, 3)
    csp(f"{names['up']}.0", 2 * w8, w16, layout.depth(3), False)
    csp(f"{names['up']}.1", 2 * w16, w32, layout.depth(3), False)
    for index, width in enumerate((w8, w16, w32)):
        conv(f"{names['out']}.{index}", width, w8, 3)
    for level in range(3):
        for branch in ("cls_convs", "reg_convs"):
            for index in range(2):
                conv(f"{names['head']}.{branch}.{level}.{index}", w8, w8, 3)
        for branch, outputs in (("rtm_cls", layout.classes), ("rtm_reg", 4)):
            shapes[f"{names['head']}.{branch}.{level}.weight"] = (outputs, w8, 1, 1)
            shapes[f"{names['head']}.{branch}.{level}.bias"] = (outputs,)
    return shapes


def neck_names(style: str) -> dict[str, str]:
    """Modules of neck and head by what they do."""
    if style == "mmdet":
        return {
            "reduce32": "neck.reduce_layers.0",
            "reduce16": "neck.reduce_layers.1",
            "top16": "neck.top_down_blocks.0",
            "top8": "neck.top_down_blocks.1",
            "down": "neck.downsamples",
            "up": "neck.bottom_up_blocks",
            "out": "neck.out_convs",
            "head": "bbox_head",
        }
    return {
        "reduce32": "neck.reduce_layers.2",
        "reduce16": "neck.top_down_layers.0.1",
        "top16": "neck.top_down_layers.0.0",
        "top8": "neck.top_down_layers.1",
        "down": "neck.downsample_layers",
        "up": "neck.bottom_up_layers",
        "out": "neck.out_layers",
        "head": "bbox_head.head_module",
    }


def random_state(layout: Layout, seed: int = 0) -> OrderedDict[str, Tensor]:
    """Random weights that keep activations in a lifelike range."""
    generator = torch.Generator().manual_seed(seed)
    state: OrderedDict[str, Tensor] = OrderedDict()
    for name, shape in key_shapes(layout).items():
        uniform, normal = torch.rand(shape, generator=generator), torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif name.endswith(("running_var", "bn.weight")):
            state[name] = 0.5 + uniform
        elif len(shape) == 4:
            state[name] = normal * (1.5 / max(1, shape[1] * shape[2] * shape[3])) ** 0.5
        else:
            state[name] = 0.3 * normal
    if layout.share:
        head = neck_names(layout.style)["head"]
        for name in list(state):
            if name.startswith((f"{head}.cls_convs.", f"{head}.reg_convs.")) and name.endswith("conv.weight"):
                level = name.removeprefix(f"{head}.").split(".")[1]
                state[name] = state[name.replace(f"_convs.{level}.", "_convs.0.")]
    return state


def reference_outputs(layout: Layout, state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """cls_8, box_8, cls_16, box_16, cls_32, box_32 of the original network: logits, and distances in strides."""
    act, names = ACTIVATIONS[layout.activation], neck_names(layout.style)

    def conv(x: Tensor, name: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.conv.weight"]
        groups = x.shape[1] // weight.shape[1]
        y = functional.conv2d(x, weight, None, stride, weight.shape[-1] // 2, 1, groups)
        mean, variance, gamma, beta = (
            state[f"{name}.bn.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return act((y - mean) / torch.sqrt(variance + layout.eps) * gamma + beta)

    def csp(x: Tensor, name: str, blocks: int, identity: bool) -> Tensor:
        short, main = conv(x, f"{name}.short_conv"), conv(x, f"{name}.main_conv")
        for index in range(blocks):
            block = f"{name}.blocks.{index}"
            y = conv(conv(main, f"{block}.conv1"), f"{block}.conv2.depthwise_conv")
            y = conv(y, f"{block}.conv2.pointwise_conv")
            main = y + main if identity else y
        both = torch.cat([main, short], 1)
        if f"{name}.attention.fc.weight" in state:
            pooled = both.mean(dim=(2, 3), keepdim=True)
            gate = functional.conv2d(pooled, state[f"{name}.attention.fc.weight"], state[f"{name}.attention.fc.bias"])
            both = both * ((gate + 3).clamp(0, 6) / 6)
        return conv(both, f"{name}.final_conv")

    x = conv(conv(conv(x, "backbone.stem.0", 2), "backbone.stem.1"), "backbone.stem.2")
    maps = []
    for number, (_, blocks, identity, pyramid) in enumerate(STAGES, 1):
        x = conv(x, f"backbone.stage{number}.0", 2)
        if pyramid:
            x = conv(x, f"backbone.stage{number}.1.conv1")
            pools = [functional.max_pool2d(x, side, 1, side // 2) for side in (5, 9, 13)]
            x = conv(torch.cat([x, *pools], 1), f"backbone.stage{number}.1.conv2")
        x = csp(x, f"backbone.stage{number}.{2 if pyramid else 1}", layout.depth(blocks), identity)
        maps.append(x)
    _, c8, c16, c32 = maps

    def twice(x: Tensor) -> Tensor:
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    depth = layout.depth(3)
    p32 = conv(c32, names["reduce32"])
    p16 = conv(csp(torch.cat([twice(p32), c16], 1), names["top16"], depth, False), names["reduce16"])
    n8 = csp(torch.cat([twice(p16), c8], 1), names["top8"], depth, False)
    n16 = csp(torch.cat([conv(n8, f"{names['down']}.0", 2), p16], 1), f"{names['up']}.0", depth, False)
    n32 = csp(torch.cat([conv(n16, f"{names['down']}.1", 2), p32], 1), f"{names['up']}.1", depth, False)
    outputs = []
    for level, feature in enumerate((n8, n16, n32)):
        y = conv(feature, f"{names['out']}.{level}")
        for branch, predictor in (("cls_convs", "rtm_cls"), ("reg_convs", "rtm_reg")):
            z = y
            for index in range(2):
                z = conv(z, f"{names['head']}.{branch}.{level}.{index}")
            name = f"{names['head']}.{predictor}.{level}"
            z = functional.conv2d(z, state[f"{name}.weight"], state[f"{name}.bias"])
            outputs.append(torch.exp(z) if predictor == "rtm_reg" and layout.exp else z)
    return outputs


def config_text(layout: Layout) -> str:
    """The configuration as MMEngine writes it into `meta.cfg`: assignments of literals."""
    norm = f"norm_cfg=dict(type='BN', eps={layout.eps!r})" if layout.eps != 1e-5 else "norm_cfg=dict(type='SyncBN')"
    act = f"act_cfg=dict(inplace=True, type='{layout.activation}')"
    head = f"{act}, {norm}, num_classes={layout.classes}, share_conv={layout.share}, type='RTMDetSepBNHead"
    if layout.style == "mmyolo":
        head = f"head_module=dict({head}Module'), type='RTMDetHead'"
    else:
        head = f"{head}', with_objectness=False, exp_on_reg={layout.exp}"
    mean, std = ([103.53, 116.28, 123.675], [57.375, 57.12, 58.395])
    if layout.activation == "ReLU6":  # SSCMA's ncadc_relu6
        mean, std = ([0, 0, 0], [255, 255, 255])
    return f"""
default_scope = 'mmdet'
img_scale = (320, 320)
model = dict(
    backbone=dict({act}, {norm}, deepen_factor={layout.deepen}, widen_factor={layout.widen}, type='CSPNeXt'),
    bbox_head=dict({head}),
    data_preprocessor=dict(bgr_to_rgb=False, mean={mean}, std={std}, type='DetDataPreprocessor'),
    neck=dict({act}, {norm}, num_csp_blocks={layout.depth(3)}, type='CSPNeXtPAFPN'))
test_pipeline = [
    dict(backend_args=None, type='LoadImageFromFile'),
    dict(keep_ratio=True, scale=(320, 320), type='mmdet.Resize'),
    dict(pad_val=dict(img=(114, 114, 114)), size=(320, 320), type='Pad')]
optimizer = dict(lr=-0.5 * 2, params=lambda: print('never'))
"""


@contextmanager
def foreign_classes() -> Iterator[types.SimpleNamespace]:
    """Classes of MMEngine that exist while a file is written, and no longer when it is read."""
    config, buffer = types.ModuleType("mmengine.config.config"), types.ModuleType("mmengine.logging.history_buffer")

    class ConfigDict(dict):  # type: ignore[type-arg]
        pass

    class HistoryBuffer:
        def __init__(self) -> None:
            self._log_history, self._count_history = np.arange(5.0), np.ones(5, np.int64)
            self._statistics_methods = OrderedDict()

    for module, made in ((config, ConfigDict), (buffer, HistoryBuffer)):
        made.__module__, made.__qualname__ = module.__name__, made.__name__
        setattr(module, made.__name__, made)
    modules = {
        "mmengine": types.ModuleType("mmengine"),
        "mmengine.config": types.ModuleType("mmengine.config"),
        "mmengine.logging": types.ModuleType("mmengine.logging"),
        config.__name__: config,
        buffer.__name__: buffer,
    }
    sys.modules.update(modules)
    try:
        yield types.SimpleNamespace(ConfigDict=ConfigDict, HistoryBuffer=HistoryBuffer)
    finally:
        for name in modules:
            del sys.modules[name]


def save_foreign(
    path: Path, layout: Layout, state: dict[str, Tensor], classes: tuple[str, ...] | None = None, zip_form: bool = True
) -> None:
    """Write a checkpoint as MMEngine's runner does: configuration text, foreign objects, optimizer, two tables."""
    with foreign_classes() as foreign:
        meta: dict[str, Any] = {
            "cfg": config_text(layout),
            "epoch": 300,
            "dataset_meta": foreign.ConfigDict(classes=classes or tuple(f"c{i}" for i in range(layout.classes))),
            "seed": np.int64(3),
        }
        content = {
            "meta": meta,
            "state_dict": state,
            "message_hub": {
                "log_scalars": OrderedDict(loss=foreign.HistoryBuffer()),
                "runtime_info": {"a": np.float64(2)},
            },
            "optimizer": {"state": {0: {"step": 5, "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
            "ema_state_dict": {"steps": torch.tensor(9), **{f"module.{k}": v + 1 for k, v in state.items()}},
        }
        torch.save(content, path, _use_new_zipfile_serialization=zip_form)
