"""The contracts of an imported network: what the user says, else its configuration, else a preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgedet.contracts import CHANNEL_ORDERS, PreprocessSpec, require_trainable_size
from edgedet.errors import CheckpointError, ConfigError
from edgedet.exchange.checkpoints.config_text import TrainingConfig
from edgedet.typed import is_number, shown

_IMAGENET_BGR = ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395))


@dataclass(frozen=True)
class Preset:
    """How pictures become inputs in the published configurations of a project; all three read pictures as BGR."""

    mean: tuple[float, ...]  # 0..255, in the order of the channels
    std: tuple[float, ...]
    imgsz: tuple[int, int]  # width, height, px


PRESETS = {
    "mmdet": Preset(*_IMAGENET_BGR, (640, 640)),  # configs/rtmdet/rtmdet_l_8xb32-300e_coco.py
    "mmyolo": Preset(*_IMAGENET_BGR, (640, 640)),  # configs/rtmdet/rtmdet_l_syncbn_fast_8xb32-300e_coco.py
    "sscma": Preset((0.0, 0.0, 0.0), (255.0, 255.0, 255.0), (640, 640)),  # rtmdet_nano_8xb32_300e_coco_ncadc_relu6.py
}


@dataclass(frozen=True)
class InputChoices:
    """What a user says about the input; None: the configuration, else the preset."""

    preset: str | None = None  # one of PRESETS
    channel_order: str | None = None  # RGB | BGR | GRAY
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    imgsz: tuple[int, int] | None = None  # width, height, px
    interpolation: str = "bilinear"  # of the resizing: all three projects use OpenCV's; area: edgedet's own

    def __post_init__(self) -> None:
        if self.preset is not None and self.preset not in PRESETS:
            raise ConfigError(f"`preset` {self.preset!r}: expected one of {', '.join(PRESETS)}")
        if self.channel_order is not None and self.channel_order not in CHANNEL_ORDERS:
            raise ConfigError(f"`channel_order` {self.channel_order!r}: expected one of {', '.join(CHANNEL_ORDERS)}")


def input_contract(
    config: TrainingConfig, choices: InputChoices, channels: int, where: str
) -> tuple[PreprocessSpec, tuple[str, ...]]:
    """The preprocessing contract, and for people where it comes from.

    Args:
        config: what the checkpoint says about itself.
        choices: what the user says.
        channels: of the network's input, 1 or 3.
        where: file, for messages.
    Raises:
        CheckpointError: normalization or channel order can't be told.
        ConfigError: the user's values don't fit.
    """
    normalization = config.get("model.data_preprocessor")
    said = normalization if isinstance(normalization, dict) and "mean" in normalization else None
    preset = PRESETS[choices.preset] if choices.preset is not None else None
    mean, std, source = _normalization(said, preset, where, choices)
    order, order_source = _order(said, preset, channels, where, choices)
    imgsz, size_source = _size(config, preset, where, choices)
    require_trainable_size(*imgsz)
    resize = _test_resize(config)
    spec = PreprocessSpec(
        width=imgsz[0],
        height=imgsz[1],
        channel_order=order,
        resize="stretch" if resize.get("keep_ratio") is False else "letterbox",
        interpolation=choices.interpolation,
        mean=_each(mean, channels),
        std=_each(std, channels),
    )
    facts = (
        f"input {imgsz[0]}x{imgsz[1]} px ({size_source}), {spec.resize}, {spec.interpolation}",
        f"channels {order} ({order_source}), mean {', '.join(f'{v:g}' for v in spec.mean)}, "
        f"std {', '.join(f'{v:g}' for v in spec.std)} ({source})",
    )
    return spec, facts


def _each(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values * channels if len(values) == 1 else values


def _normalization(
    said: dict[str, Any] | None, preset: Preset | None, where: str, choices: InputChoices
) -> tuple[tuple[float, ...], tuple[float, ...], str]:
    if choices.mean is not None and choices.std is not None:
        return choices.mean, choices.std, "as you say"
    if preset is not None:
        mean, std, source = preset.mean, preset.std, f"preset {choices.preset}"
    elif said is not None:
        mean, std, source = *_numbers(said, where), "from its configuration"
    else:
        raise CheckpointError(
            f"{where}: holds no configuration that says how pixels are normalized; give `preset` "
            f"{', '.join(PRESETS)}, or `channel_order`, `mean` and `std`"
        )
    return choices.mean or mean, choices.std or std, source


def _numbers(said: dict[str, Any], where: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of a data_preprocessor; without, pixels are not normalized."""
    if said["mean"] is None:
        return (0.0,), (1.0,)
    found = []
    for key in ("mean", "std"):
        values = said.get(key)
        if not isinstance(values, list) or not all(is_number(value) for value in values):
            raise CheckpointError(
                f"{where}: model.data_preprocessor.{key}: expected numbers, found {shown(values)}; give `{key}`"
            )
        found.append(tuple(float(value) for value in values))
    return found[0], found[1]


def _order(
    said: dict[str, Any] | None, preset: Preset | None, channels: int, where: str, choices: InputChoices
) -> tuple[str, str]:
    if choices.channel_order is not None:
        return choices.channel_order, "as you say"
    if channels == 1:
        return "GRAY", "one input channel"
    if preset is not None:
        return "BGR", f"preset {choices.preset}"
    if said is not None:
        return ("RGB" if said.get("bgr_to_rgb") is True else "BGR"), "from its configuration"
    raise CheckpointError(
        f"{where}: RGB or BGR? the file does not say; give `channel_order`, or `preset` {', '.join(PRESETS)}"
    )


def _size(
    config: TrainingConfig, preset: Preset | None, where: str, choices: InputChoices
) -> tuple[tuple[int, int], str]:
    if choices.imgsz is not None:
        return choices.imgsz, "as you say"
    for value in (_test_resize(config).get("scale"), config.get("imgsz"), config.get("img_scale")):
        if isinstance(value, list) and len(value) == 2 and all(type(side) is int and side > 0 for side in value):
            return (value[0], value[1]), "from its configuration"
    if preset is not None:
        return preset.imgsz, f"preset {choices.preset}"
    raise CheckpointError(f"{where}: the file does not say its input size; give `imgsz`")


def _test_resize(config: TrainingConfig) -> dict[str, Any]:
    """The resizing step of the test pipeline; empty when there is none."""
    steps = config.get("test_pipeline")
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, dict) and str(step.get("type")).rpartition(".")[2].endswith("Resize"):
            return step
    return {}
