"""The contracts that travel from training to the chip, and the result types shared by all layers.

Both contracts are stored in the checkpoint, in the `.tflite` (metadata buffer `edgedet`, JSON) and in the generated C
header; nothing else decides how a pixel becomes a number or what an output means.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from edgedet.errors import ConfigError, require_one_of
from edgedet.head_spec import LEVEL_CODINGS, HeadSpec, part_and_stride
from edgedet.notebook import Brief
from edgedet.typed import build, check_fields, shown, within

if TYPE_CHECKING:  # the command line reads this module before NumPy's threads are chosen
    import numpy as np

RESIZE_MODES = ("letterbox", "stretch")
CHANNEL_ORDERS = ("RGB", "BGR", "GRAY")
INTERPOLATIONS = ("area", "bilinear")
RTMDET_HEAD = HeadSpec()
MAX_SIDE_PX = 4096  # far above what runs on a microcontroller; keeps typing errors from asking for terabytes
MAX_CLASSES = 30_000  # with a background, a number of int16 in C
MAX_NAME_CHARACTERS = 1_000  # of a class
MAX_STRIDES = 32
MAX_DETECTIONS = 100_000  # of an image; the self-test of generated C holds as many
_MAX_MEAN, _MIN_STD, _MAX_STD = 1e6, 1e-6, 1e6  # pixel units; float32 holds the quotients


@dataclass(frozen=True)
class PreprocessSpec:
    """How an image becomes the network's input.

    The image is decoded to RGB uint8 (EXIF rotation applied), brought to the network's channels (BGR: red and blue
    swapped; GRAY: luma, see data/pixel_formats.py), resized to width x height (`letterbox` keeps the aspect ratio, puts
    the image at the top left and fills the rest with `pad_value`; `stretch` does not), then normalized as
    `(pixel - mean) / std` per channel. int8 input: `clip(round_half_away(normalized / scale) + zero_point, -128, 127)`.
    """

    width: int  # px, of the network's input
    height: int  # px
    channel_order: str = "RGB"  # RGB | BGR | GRAY: one channel
    resize: str = "letterbox"
    pad_value: int = 114  # 0..255, all channels
    interpolation: str = "area"  # area | bilinear (other makers'): integer filters, see data/pictures/preprocess.py
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)  # of each channel in that order, in pixel units, 0..255
    std: tuple[float, ...] = (255.0, 255.0, 255.0)
    rounding: str = "half_away_from_zero"

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            side = getattr(self, name)
            if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= MAX_SIDE_PX:
                raise ConfigError(f"input {name} must be a whole number of px, 1..{MAX_SIDE_PX}, got {shown(side)}")
        check_fields(self)
        require_one_of("channel_order", self.channel_order, CHANNEL_ORDERS)
        require_one_of("resize", self.resize, RESIZE_MODES)
        require_one_of("interpolation", self.interpolation, INTERPOLATIONS)
        require_one_of("rounding", self.rounding, ("half_away_from_zero",))
        if not 0 <= self.pad_value <= 255:
            raise ConfigError(f"pad_value must be 0..255, got {self.pad_value}")
        if len(self.mean) != self.channels or len(self.std) != self.channels or not min(self.std) > 0:
            raise ConfigError(
                f"mean and std need {self.channels} values each for {self.channel_order}, std > 0; got mean "
                f"{shown(self.mean)}, std {shown(self.std)}"
            )
        for mean, std in zip(self.mean, self.std, strict=True):
            within("mean", mean, -_MAX_MEAN, _MAX_MEAN)
            within("std", std, _MIN_STD, _MAX_STD)

    @property
    def channels(self) -> int:
        """Channels of the network's input: 3, or 1 for GRAY."""
        return 1 if self.channel_order == "GRAY" else 3

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict; `from_json` takes it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> PreprocessSpec:
        """Raises ConfigError on unknown or missing keys, wrong types and ranges."""
        return build(cls, value, "preprocess")


@dataclass(frozen=True, repr=False)
class OutputSpec(Brief):
    """What the network's outputs mean, and the defaults of decoding.

    Networks that edgedet makes have RTMDet's head: per stride one class tensor (1, H/stride, W/stride, classes) of
    logits (no sigmoid in the graph) and one box tensor (1, H/stride, W/stride, 4) of left/top/right/bottom distances in
    units of the stride, NHWC. Cell (row, col) has its prior at (col * stride, row * stride) in input pixels (RTMDet:
    offset 0). `head` describes those of other makers.
    """

    class_names: tuple[str, ...]
    strides: tuple[int, ...] = (8, 16, 32)
    score_threshold: float = 0.25  # for pictures and firmware; COCO AP is measured at 0.001
    nms_iou: float = 0.65  # RTMDet's test_cfg
    max_detections: int = 100  # COCO's maxDets
    category_ids: tuple[int, ...] = ()  # COCO category id of each class; empty: unknown, 0..classes-1 is assumed
    head: HeadSpec = RTMDET_HEAD
    # A threshold for each class, in place of score_threshold, which is then the lowest of them; empty: one for all.
    class_thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.class_names and self.head.kind != "none":
            raise ConfigError("class_names is empty; a detector needs at least one class")
        if self.category_ids and len(self.category_ids) != len(self.class_names):
            raise ConfigError(f"{len(self.category_ids)} category_ids for {len(self.class_names)} class_names")
        if not 0.0 < self.score_threshold < 1.0:
            raise ConfigError(f"score_threshold must be inside (0, 1), got {self.score_threshold}")
        self._check_class_thresholds()
        if not 0.0 < self.nms_iou <= 1.0:
            raise ConfigError(f"nms_iou must be inside (0, 1], got {self.nms_iou}")
        within("max_detections", self.max_detections, 1, MAX_DETECTIONS)
        within("number of class_names", len(self.class_names), 0, MAX_CLASSES)
        longest = max(self.class_names, key=len, default="")
        within(f"number of characters of class {shown(longest)}", len(longest), 0, MAX_NAME_CHARACTERS)
        self._check_strides()

    def _check_class_thresholds(self) -> None:
        chosen = self.class_thresholds
        if not chosen:
            return
        if len(chosen) != len(self.class_names) or not all(0.0 < value < 1.0 for value in chosen):
            raise ConfigError(
                f"class_thresholds: expected {len(self.class_names)} numbers inside (0, 1), one for each class, got "
                f"{shown(chosen)}"
            )
        if self.score_threshold != min(chosen):
            raise ConfigError(
                f"score_threshold must be the lowest of class_thresholds, {min(chosen)}, got {self.score_threshold}"
            )

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The score threshold of each class."""
        return self.class_thresholds or (self.score_threshold,) * len(self.class_names)

    def with_thresholds(self, thresholds: tuple[float, ...]) -> OutputSpec:
        """The contract with a score threshold for each class; equal ones are one for all."""
        if len(set(thresholds)) == 1:
            return replace(self, score_threshold=thresholds[0], class_thresholds=())
        return replace(self, score_threshold=min(thresholds), class_thresholds=tuple(thresholds))

    def _check_strides(self) -> None:
        levels = self.strides
        if not levels and self.head.coding not in LEVEL_CODINGS:
            return
        if not 0 < len(levels) <= MAX_STRIDES or len(set(levels)) != len(levels):
            raise ConfigError(f"strides must be 1..{MAX_STRIDES} different positive integers, got {shown(levels)}")
        for stride in levels:
            within("strides, each of them,", stride, 1, MAX_SIDE_PX)
        if self.head.coding in LEVEL_CODINGS:
            strange = [name for name in self.head.tensors if part_and_stride(name)[1] not in (None, *levels)]
            if strange:
                raise ConfigError(f"tensors {shown(strange)} belong to none of the strides {shown(levels)}")

    @property
    def tensor_names(self) -> tuple[str, ...]:
        """Contract order of the outputs: cls_8, box_8, cls_16, box_16, ..., or the roles of another head."""
        if self.head.tensors:
            return self.head.tensors
        return tuple(f"{kind}_{stride}" for stride in self.strides for kind in ("cls", "box"))

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict; `from_json` takes it back.

        RTMDet's head and absent thresholds of classes are not written: files that have no others are as before.
        """
        value = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("head", "class_thresholds")}
        if self.class_thresholds:
            value["class_thresholds"] = self.class_thresholds
        return value if self.head == RTMDET_HEAD else {**value, "head": self.head.to_json()}

    @classmethod
    def from_json(cls, value: Any) -> OutputSpec:
        """Raises ConfigError on unknown or missing keys, wrong types and ranges."""
        return build(cls, value, "outputs")


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections of one image, best score first."""

    boxes: np.ndarray  # float32 (N, 4), pixels of the original image, xyxy
    scores: np.ndarray  # float32 (N,), 0..1
    labels: np.ndarray  # int64 (N,), index into class_names

    def __len__(self) -> int:
        return len(self.scores)


def require_trainable_size(width: int, height: int) -> None:
    """Raises ConfigError when a network with strides up to 32 can't have such an input."""
    for name, side in (("width", width), ("height", height)):
        if not isinstance(side, int) or not 32 <= side <= MAX_SIDE_PX or side % 32:
            nearest = min(MAX_SIDE_PX, max(32, round(side / 32) * 32)) if isinstance(side, (int, float)) else 192
            raise ConfigError(
                f"input {name} must be a positive multiple of 32, at most {MAX_SIDE_PX}, got {side!r}; try {nearest}"
            )


@dataclass(frozen=True)
class NmsChoice:
    """Other limits of decoding than the contract's, for a run; the file stays as it is."""

    nms_iou: float | None = None  # inside (0, 1]; None: the contract's
    max_detections: int | None = None  # of an image; None: the contract's
    class_agnostic: bool = False  # True: each box has its best class only, and suppresses those of all classes

    def applied(self, outputs: OutputSpec) -> OutputSpec:
        """A contract with these limits; raises ConfigError where they are out of range or the head has no NMS."""
        if self.nms_iou is not None and outputs.head.coding in ("detections", "cells", "none"):
            raise ConfigError(
                f"`nms_iou` {self.nms_iou:g}: the head {outputs.head.kind} has no NMS outside its network; leave it out"
            )
        if self.nms_iou is not None and not 0.0 < self.nms_iou <= 1.0:
            raise ConfigError(f"`nms_iou` {self.nms_iou:g}: expected a number in (0, 1]; 0.65 is usual")
        if self.class_agnostic:
            outputs = class_agnostic(outputs)
        return replace(
            outputs,
            nms_iou=outputs.nms_iou if self.nms_iou is None else self.nms_iou,
            max_detections=outputs.max_detections if self.max_detections is None else self.max_detections,
        )


def class_agnostic(outputs: OutputSpec) -> OutputSpec:
    """A contract by which each box has its best class only, and suppresses those of all classes.

    Raises:
        ConfigError: the head has no NMS outside its network.
    """
    if outputs.head.coding in ("detections", "cells", "none"):
        raise ConfigError(
            f"`class_agnostic`: the head {outputs.head.kind} has no NMS outside its network; leave it out"
        )
    return replace(outputs, head=replace(outputs.head, agnostic=True))


AS_IN_CONTRACT = NmsChoice()
