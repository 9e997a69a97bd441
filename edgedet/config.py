"""Model files: one complete TOML per model, read into frozen dataclasses; unknown and missing keys are errors."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from edgedet.contracts import PreprocessSpec, require_trainable_size
from edgedet.errors import ConfigError, meant, require_one_of
from edgedet.model_keys import meant_key
from edgedet.resources import resource_dir
from edgedet.texts import decode_text
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

    Attributes:
        name: what the model is called in listings and run folders. [text]
        deepen: factor on the number of CSPNeXt blocks; at least one stays. [above 0, up to 2]
        widen: factor on the number of channels. [0.03125..2]
        activation: after every convolution but the last ones. [silu | relu | relu6 | hardswish]
        channel_attention: squeeze-and-excite in the backbone's CSP layers. [true | false]
        share_head: the head's convolution weights (not its BatchNorms) are shared by the three strides. [true | false]
        depthwise: which 3x3 convolutions are depthwise 3x3 and 1x1: none, all (MMDetection's use_depthwise), or all
            except those in the CSPNeXt blocks, which learn much worse when they are depthwise too.
            [none | except_blocks | all]
        stacked_convs: 3x3 convolutions in each branch of the head. [1..4]
        padding: of convolutions with stride 2: symmetric as in torch and MMDetection, or same as in TFLite, at the
            bottom and right only, which needs no PAD operator. [symmetric | same]
        exp_boxes: the head's box convolutions give logarithms of distances (MMDetection's exp_on_reg, in m, l and x).
            [true | false]
        backbone: network in front of the neck. [cspnext | mobilenetv4_conv_small]
    """

    name: str
    deepen: float
    widen: float
    activation: str
    channel_attention: bool
    share_head: bool
    depthwise: str
    stacked_convs: int
    padding: str
    exp_boxes: bool = False  # the default is for checkpoints from before this key
    backbone: str = "cspnext"  # likewise

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
    """Preprocessing defaults of a model; width and height come from --imgsz.

    Attributes:
        imgsz: side of the square input where --imgsz does not say another. [px, a multiple of 32]
        resize: letterbox keeps the aspect ratio and fills the rest; stretch does not. [letterbox | stretch]
        pad_value: of the rest beside a letterboxed picture. [0..255]
        mean: subtracted from the pixel, for each channel, or equal for all. [pixel units, a list]
        std: divides the difference, for each channel, or equal for all. [pixel units, a list, above 0]
        channels: of the input: 3 is RGB, 1 is grey. [1 | 3]
    """

    imgsz: int
    resize: str
    pad_value: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 3

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
    """Everything that decides a training run besides the model, the data and the seed.

    Attributes:
        epochs: passes over the training images. [1..1000000]
        batch: images per optimizer step. [1..65536]
        lr: peak learning rate of AdamW. [above 0, up to 1000]
        min_lr_ratio: last learning rate / peak. [0..1]
        weight_decay: of AdamW, not on norm and bias. [0..1000]
        warmup_fraction: part of all steps in which the rate rises from 0. [0..1]
        ema_decay: of the averaged weights, per step; ramps up over the first steps; 0: no averaging. [0..1, below 1]
        grad_clip: largest norm of the gradient; 0: off. [0..1e9]
        mosaic: probability that a training picture is a mosaic of 4. [0..1]
        mixup: probability that a mosaic is blended with a second picture. [0..1]
        scale_min: smallest random resize, relative to the letterboxed size. [0.015625..8]
        scale_max: largest random resize. [0.015625..8]
        crop: the crop lies at a random place, else in the middle. [true | false]
        hsv_h: largest random change of hue, relative. [0..1]
        hsv_s: largest random change of saturation, relative. [0..1]
        hsv_v: largest random change of value (brightness), relative. [0..1]
        flip: probability of a flip, left to right. [0..1]
        flip_vertical: probability of a flip, top to bottom; for pictures without an up (microscopy, aerial). [0..1]
        close_mosaic: part of the epochs, at the end, without mosaic, mixup and strong zoom. [0..1]
        box_weight: weight of the box loss (RTMDet: 2). [0..1e6]
        cls_weight: weight of the class loss (RTMDet: 1). [0..1e6]
        topk: candidates per object in dynamic soft label assignment. [1..100000]
        eval_interval: epochs between measurements of AP. [1..1000000]
        bf16: --precision auto may take bfloat16 where the processor has it, float16 on GPUs without it. [true | false]
        channels_last: memory layout of torch tensors; changes speed, not the result's meaning. [true | false]
        threads: of torch; 0: its own choice, all cores or OMP_NUM_THREADS. [0..4096]
        reference_batch: batch that lr, ema_decay and the least length are meant for; another batch changes them by the
            rule of docs/training.md; 0: whatever the batch is. [0 or more]
    """

    epochs: int
    batch: int
    lr: float
    min_lr_ratio: float
    weight_decay: float
    warmup_fraction: float
    ema_decay: float
    grad_clip: float
    mosaic: float
    mixup: float
    scale_min: float
    scale_max: float
    crop: bool
    hsv_h: float
    hsv_s: float
    hsv_v: float
    flip: float
    flip_vertical: float
    close_mosaic: float
    box_weight: float
    cls_weight: float
    topk: int
    eval_interval: int
    bf16: bool
    channels_last: bool
    threads: int
    reference_batch: int = 0  # the default is for files and checkpoints from before this key

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
    """What a person wants to know who chooses a model.

    Attributes:
        made_for: one phrase, shown by `edgedet models`. [text]
    """

    made_for: str


@dataclass(frozen=True)
class QatRecipe:
    """Quantization-aware training as `edgedet quantize --recipe` does it; see `edgedet.finetune.qat.QatRequest`.

    Attributes:
        epochs: passes over the training images. [1..1000000]
        batch: images per optimizer step. [1..65536]
        lr: peak learning rate. [0..1000]
        ema_decay: of the averaged weights, per step; 0: no averaging. [0..1, below 1]
        distill: learn from the float model's outputs instead of the labels. [true | false]
    """

    epochs: int
    batch: int
    lr: float
    ema_decay: float
    distill: bool

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


_SECTIONS = {
    "model": ModelConfig,
    "preprocess": PreprocessConfig,
    "train": TrainConfig,
    "about": AboutConfig,
    "qat": QatRecipe,
}


def available_models() -> tuple[str, ...]:
    """Names of the models that ship with edgedet."""
    return tuple(sorted(path.stem for path in resource_dir("models").glob("*.toml")))


def checkpoint_meant(path: Path) -> str:
    """What to say of a checkpoint that is not there; people give a model's name where it has to be trained first."""
    if str(path) in available_models():
        return f"that is a model without weights: train it first, `edgedet train {path}`, then give its best.pt"
    return "expected a .pt file of edgedet train or edgedet import"


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
    table = read_toml(path)
    _refuse_strange_keys(table, path)
    for override in overrides:
        _apply_override(table, override)
    return build(ModelFile, table, str(path))


def _refuse_strange_keys(table: dict[str, Any], path: Path) -> None:
    """Raises ConfigError for the first section with unknown keys: what they may have meant can stand in another one."""
    sections = {name: [field.name for field in fields(kind)] for name, kind in _SECTIONS.items()}
    for section, known in sections.items():
        found = table.get(section)
        strange = [key for key in found if key not in known] if isinstance(found, dict) else []
        if strange:
            names = ", ".join(key if key.isidentifier() else shown(key) for key in strange[:8])
            more = f" and {len(strange) - 8} more" if len(strange) > 8 else ""
            near = meant_key(f"{section}.{strange[0]}", sections)
            expected = ", ".join(sorted(known))
            raise ConfigError(f"{path}: {section}: unknown keys {names}{more}{near}; expected {expected}")


def changed_training_keys(overrides: Sequence[str]) -> frozenset[str]:
    """Keys of `TrainConfig` among overrides that `load_model_file` has accepted."""
    keys = (override.partition("=")[0].strip().rpartition(".") for override in overrides)
    known = {field.name for field in fields(TrainConfig)}
    return frozenset(name for section, _, name in keys if section in ("", "train") and name in known)


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict.

    Raises:
        ConfigError: too large, or no TOML.
    """
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: expected a TOML file of at most {MAX_FILE_BYTES} bytes, found a larger one")
    try:
        text = decode_text(data)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{path}: tables or lists lie too deep in each other; a model file has two levels") from error
    except ValueError as error:  # of TOML, or of a number of thousands of digits
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
        near = "" if matches else meant_key(key.strip(), sections)
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
