"""Model files: one complete TOML per model, read into frozen dataclasses; unknown and missing keys are errors."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from edgedet.contracts import PreprocessSpec, require_trainable_size
from edgedet.errors import ConfigError, meant, require_one_of
from edgedet.resources import resource_dir
from edgedet.typed import build, check_fields, shown, within

ACTIVATIONS = ("silu", "relu", "relu6", "hardswish")
PADDINGS = ("symmetric", "same")
DEPTHWISE = ("none", "except_blocks", "all")
BACKBONES = ("cspnext", "mobilenetv4_conv_small")
MAX_FILE_BYTES = 1 << 16  # of a TOML, 20 times those that ship: nested keys cost the parser quadratic time
# Largest values of training: what lies above is a typing error, and would ask for terabytes or years.
_MOST = {
    "epochs": 1_000_000,
    "batch": 65_536,
    "eval_interval": 1_000_000,
    "topk": 100_000,
    "threads": 4_096,
    "lr": 1_000.0,
    "weight_decay": 1_000.0,
    "grad_clip": 1e9,
    "box_weight": 1e6,
    "cls_weight": 1e6,
}


@dataclass(frozen=True)
class ModelConfig:
    """Architecture of one detector with RTMDet's neck and head.

    Base widths and depths are MMDetection's P5 setting, scaled by widen and deepen. Another backbone than cspnext has
    widths and depths of its own.
    """

    name: str
    deepen: float  # scales the number of CSPNeXt blocks
    widen: float  # scales the number of channels
    activation: str  # silu | relu | relu6 | hardswish
    channel_attention: bool  # in the backbone's CSP layers
    share_head: bool  # the head's convolution weights (not its BatchNorms) are shared by the three strides
    # Which 3x3 convolutions are depthwise 3x3 + 1x1: none, all (MMDetection's use_depthwise), or all except those in
    # the CSPNeXt blocks, which learn much worse when they are depthwise too.
    depthwise: str
    stacked_convs: int  # 3x3 convolutions in each head branch
    padding: str  # symmetric (torch, MMDetection) | same (TFLite: a stride-2 3x3 pads bottom/right only)
    # The head's box convolutions give logarithms of distances (MMDetection's exp_on_reg, in m, l and x). The default
    # is for checkpoints from before this key.
    exp_boxes: bool = False
    backbone: str = "cspnext"  # one of BACKBONES; the default is for older checkpoints, too

    def __post_init__(self) -> None:
        check_fields(self)
        require_one_of("model.activation", self.activation, ACTIVATIONS)
        require_one_of("model.padding", self.padding, PADDINGS)
        require_one_of("model.depthwise", self.depthwise, DEPTHWISE)
        require_one_of("model.backbone", self.backbone, BACKBONES)
        # Below 1/32 the stem has no channel left.
        if not 0 < self.deepen <= 2 or not 1 / 32 <= self.widen <= 2:
            raise ConfigError(
                f"model.deepen must be in (0, 2] and model.widen in [0.03125, 2], got {self.deepen} and {self.widen}"
            )
        if not 1 <= self.stacked_convs <= 4:
            raise ConfigError(f"model.stacked_convs must be 1..4, got {self.stacked_convs}")


@dataclass(frozen=True)
class PreprocessConfig:
    """Preprocessing defaults of a model; width and height come from --imgsz."""

    imgsz: int  # default input side, px
    resize: str
    pad_value: int
    mean: tuple[float, ...]  # of each channel, or equal for all
    std: tuple[float, ...]
    channels: int = 3  # 3: RGB; 1: grey

    def __post_init__(self) -> None:
        check_fields(self)
        if self.channels not in (1, 3):
            raise ConfigError(f"preprocess.channels must be 3 (RGB) or 1 (grey), got {self.channels}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != self.channels and len(set(values)) != 1:
                raise ConfigError(
                    f"preprocess.{name}: expected {self.channels} values or equal ones, got {list(values)}; "
                    f"give one for each of the {self.channels} channels, for example `overrides` {name}=[127.5]"
                )

    def spec(self, imgsz: tuple[int, int] | None = None) -> PreprocessSpec:
        """The preprocessing contract at `imgsz` = (width, height) px, or at the default square size."""
        width, height = imgsz or (self.imgsz, self.imgsz)
        require_trainable_size(width, height)
        return PreprocessSpec(
            width=width,
            height=height,
            channel_order="RGB" if self.channels == 3 else "GRAY",
            resize=self.resize,
            pad_value=self.pad_value,
            mean=self._per_channel(self.mean),
            std=self._per_channel(self.std),
        )

    def _per_channel(self, values: tuple[float, ...]) -> tuple[float, ...]:
        return values if len(values) == self.channels else values[:1] * self.channels


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run besides the model, the data and the seed."""

    epochs: int
    batch: int  # images per optimizer step
    lr: float  # peak learning rate of AdamW
    min_lr_ratio: float  # final learning rate / peak
    weight_decay: float  # not on norm and bias
    warmup_fraction: float  # of all iterations, linear from 0
    ema_decay: float  # of the averaged weights; ramps up over the first iterations
    grad_clip: float  # largest gradient norm; 0: off
    mosaic: float  # probability of a mosaic of 4 images
    mixup: float  # probability that a mosaic is blended with a second picture
    scale_min: float  # random resize, relative to the letterboxed size
    scale_max: float
    crop: bool  # random position of the crop (else centred)
    hsv_h: float  # largest relative change of hue, saturation, value
    hsv_s: float
    hsv_v: float
    flip: float  # probability of a horizontal flip
    flip_vertical: float  # probability of a vertical flip; for pictures without an up (microscopy, aerial)
    close_mosaic: float  # fraction of the epochs, at the end, without mosaic, mixup and strong zoom
    box_weight: float  # loss weights (RTMDet: 2.0 and 1.0)
    cls_weight: float
    topk: int  # candidates per object in dynamic soft label assignment
    eval_interval: int  # epochs between COCO AP measurements
    bf16: bool  # bfloat16 autocast, on CPUs that have bfloat16 instructions
    channels_last: bool
    threads: int  # torch threads; 0: all cores
    # Batch that lr, ema_decay and the least length are meant for, see `edgedet.training.recipe`; 0: the run's, whatever
    # it is. The default is for files and checkpoints from before this key.
    reference_batch: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        positive = ("epochs", "batch", "lr", "scale_min", "scale_max", "eval_interval", "topk")
        for name in positive:
            if getattr(self, name) <= 0:
                raise ConfigError(f"train.{name} must be positive, got {getattr(self, name)}")
        for name in ("weight_decay", "grad_clip", "box_weight", "cls_weight", "threads", "reference_batch"):
            if getattr(self, name) < 0:
                raise ConfigError(f"train.{name} must be 0 or more, got {getattr(self, name)}")
        fractions = ("mosaic", "mixup", "flip", "flip_vertical", "close_mosaic", "warmup_fraction", "min_lr_ratio")
        for name in (*fractions, "hsv_h", "hsv_s", "hsv_v"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"train.{name} must be in 0..1, got {getattr(self, name)}")
        for name, most in _MOST.items():
            within(f"train.{name}", getattr(self, name), 0, most)
        # A picture of 8 times the input has 64 times its pixels; one of 1/64 of it shows nothing.
        for name in ("scale_min", "scale_max"):
            within(f"train.{name}", getattr(self, name), 1 / 64, 8)
        if self.scale_min > self.scale_max:
            raise ConfigError(f"train.scale_min {self.scale_min} is larger than train.scale_max {self.scale_max}")
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"train.ema_decay must be in 0..1 (0: no averaging), got {self.ema_decay}")


@dataclass(frozen=True)
class AboutConfig:
    """What a person wants to know who chooses a model."""

    made_for: str


@dataclass(frozen=True)
class QatRecipe:
    """Quantization-aware training as `edgedet quantize --recipe` does it; see `edgedet.finetune.qat.QatRequest`."""

    epochs: int
    batch: int  # images per optimizer step
    lr: float  # peak
    ema_decay: float
    distill: bool  # learn from the float model's outputs instead of the labels

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("epochs", "batch"):
            within(f"qat.{name}", getattr(self, name), 1, _MOST[name])
        within("qat.lr", self.lr, 0, _MOST["lr"])
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"qat.ema_decay must be in 0..1 (0: no averaging), got {self.ema_decay}")


@dataclass(frozen=True)
class ModelFile:
    """One model TOML."""

    model: ModelConfig
    preprocess: PreprocessConfig
    train: TrainConfig
    about: AboutConfig = AboutConfig("")  # a user's own file needs none
    qat: QatRecipe | None = None


def available_models() -> tuple[str, ...]:
    """Names of the models that ship with edgedet."""
    return tuple(sorted(path.stem for path in resource_dir("models").glob("*.toml")))


def load_model_file(name_or_path: str, overrides: Sequence[str] = ()) -> ModelFile:
    """Read a model TOML.

    Args:
        name_or_path: name of a shipped model (`rtmdet_nano`) or path of a TOML file.
        overrides: `section.key=value` or `key=value` (when only one section has the key), value in TOML syntax.
    Returns:
        The validated configuration.
    Raises:
        ConfigError: no such model, broken TOML, unknown or missing key, wrong type or range.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = resource_dir("models") / f"{name_or_path}.toml"
    if not path.is_file():
        near = meant(name_or_path.removesuffix(".toml"), available_models())
        raise ConfigError(f"no model {name_or_path!r}{near}: expected the path of a .toml file or one "
                          f"of {', '.join(available_models())}")  # fmt: skip
    table = _read_toml(path)
    for override in overrides:
        _apply_override(table, override)
    return build(ModelFile, table, str(path))


def changed_training_keys(overrides: Sequence[str]) -> frozenset[str]:
    """Keys of `TrainConfig` among overrides that `load_model_file` has accepted."""
    keys = (override.partition("=")[0].strip().rpartition(".") for override in overrides)
    known = {field.name for field in fields(TrainConfig)}
    return frozenset(name for section, _, name in keys if section in ("", "train") and name in known)


def _read_toml(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: expected a TOML file of at most {MAX_FILE_BYTES} bytes, found a larger one")
    try:
        return tomllib.loads(data.decode("utf-8"))
    except RecursionError as error:
        raise ConfigError(f"{path}: tables or lists lie too deep in each other; a model file has two levels") from error
    except ValueError as error:  # of TOML, of UTF-8, or of a number of thousands of digits
        raise ConfigError(f"{path}: not a valid TOML file: {error}") from error


def _apply_override(table: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip() or not text.strip():
        raise ConfigError(f"`overrides` {override!r}: expected key=value, for example `overrides` train.lr=0.002")
    section, _, name = key.strip().rpartition(".")
    sections = {s: keys for s, keys in table.items() if isinstance(keys, dict)}  # `build` says what else is wrong
    known = [f"{s}.{k}" for s in sections for k in sections[s]]
    matches = [s for s in sections if name in sections[s] and section in ("", s)]
    if len(matches) != 1:
        problem = "is in several sections" if matches else "is unknown"
        near = "" if matches else meant(name, [other for keys in sections.values() for other in keys])
        raise ConfigError(
            f"`overrides` {override!r}: key {key.strip()!r} {problem}{near}; known keys: {', '.join(known)}"
        )
    try:
        value = tomllib.loads(f"v = {text.strip()}")["v"]
    except RecursionError as error:
        raise ConfigError(f"`overrides` {shown(override)}: lists lie too deep in each other") from error
    except ValueError:
        value = text.strip()  # a bare word, as in activation=relu6
    table[matches[0]][name] = value
