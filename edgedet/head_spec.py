"""What the outputs of a detection head hold: which tensors, in which order, and how they become boxes and scores.

`rtmdet` is the head that edgedet trains; the others are those of files of other makers. numerics/heads/ decodes them.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from edgedet.errors import ConfigError, require_one_of
from edgedet.notebook import Brief
from edgedet.typed import check_fields, shown, within

HEADS = ("rtmdet", "yolox", "yolov3", "yolov5", "yolov8", "nanodet", "yunet", "fastestdet", "ssd", "fomo", "none")
CODINGS = (
    *("distance", "log_distance", "yolox", "yolov3", "yolov5", "fastestdet", "xywh", "xyxy", "ssd", "detections"),
    *("cells", "none"),
)
SCORES = ("sigmoid", "softmax", "none", "percent")
UNITS = ("pixels", "normalized")
# Codings whose rows belong to the cells of the stride levels.
LEVEL_CODINGS = ("distance", "log_distance", "yolox", "yolov3", "yolov5", "fastestdet", "cells")
ANCHOR_CODINGS = ("yolov3", "yolov5")
PRIOR_CODINGS = ("distance", "log_distance")  # four sides, seen from a point of the cell
# Codings whose outputs are rows of a box and scores: what numerics/heads/boxes.py and edk_detect_rows() decode.
ROW_CODINGS = ("distance", "log_distance", "yolox", "yolov3", "yolov5", "xywh", "xyxy", "ssd")
MAX_BINS = 256
MAX_TENSORS = 256
MAX_NUMBER = 1e6  # of anchors, px, and variances: far above any in use, and float32 holds their products
MAX_OFFSET = 1_000.0  # cells
_ROLES = {  # of codings whose outputs are not rows of boxes
    "detections": re.compile("boxes|classes|scores|count"),
    "none": re.compile("output_[0-9]{1,9}"),
}
_ROW_ROLE = re.compile("(cls|box|obj|map)(_[1-9][0-9]{0,3})?")


@dataclass(frozen=True, repr=False)
class HeadSpec(Brief):
    """Layout and coding of a head's outputs.

    `tensors` names the outputs by role. A role is a part and, where the tensor belongs to one stride level, the stride:
    `cls_8`, `box_8`, `obj_8`, `map_8` (all parts of the level in one tensor); `cls`, `box`, `obj`, `map` hold all
    levels one after the other. Channels of a `map`: box, objectness, classes; of `classes_first` heads (NanoDet):
    classes, box. Codings of a box:

    - distance: left, top, right, bottom in strides from ((column + offset) * stride, (row + offset) * stride); with
      `bins`, each side is the mean of a softmax over so many bins (distribution focal loss, arXiv:2006.04388)
    - log_distance: the same of exp(left), exp(top), exp(right), exp(bottom), at most exp(20) each. A coding of its own
      and no flag, so that a reader that does not know it can't take the logarithms for distances
    - yolox: centre ((x + column) * stride, ...), size exp(w) * stride (arXiv:2107.08430)
    - yolov3: centre (sigmoid(x) + column) * stride, size exp(w) * anchor (arXiv:1804.02767)
    - yolov5: centre (2 sigmoid(x) - 0.5 + column) * stride, size (2 sigmoid(w))^2 * anchor
    - fastestdet: centre (tanh(x) + column) * stride, size sigmoid(w) * input width (github.com/dog-qiuqiu/FastestDet)
    - xywh, xyxy: decoded in the graph, centre and size, or corners, in `unit`
    - ssd: centre and size relative to anchors (arXiv:1512.02325)
    - detections: after the operator TFLite_Detection_PostProcess: boxes, classes, scores, count
    - cells: every cell is a centroid of cell size (FOMO)
    - none: not decoded
    """

    kind: str = "rtmdet"
    coding: str = "distance"
    tensors: tuple[str, ...] = ()  # roles in contract order; empty: cls and box of each stride
    # What makes scores of class and objectness values. percent: 0..100 in the graph, and with objectness as in SSCMA's
    # YOLO: the objectness is the score of the best class.
    scores: str = "sigmoid"
    objectness: bool = False  # scores are objectness * class
    # 0: the plain product; w: objectness ** w * class ** (1 - w). YuNet: 0.5 (a geometric mean), FastestDet: 0.6
    objectness_weight: float = 0.0
    objectness_scores: str = ""  # as `scores`, where the objectness has another; empty: the same (softmax: sigmoid)
    background: bool = False  # the first class channel is the background
    classes_first: bool = False  # in a `map`: classes stand in front of the box
    channels_first: bool = False  # the channel axis stands in front of the cells: (1, C, h, w), (1, C, cells)
    box_sigmoid: bool = False  # of yolov3, yolov5: the graph holds the sigmoids of the box's values
    agnostic: bool = False  # a box has only its best class, and suppresses those of all classes
    unit: str = "pixels"  # of xywh, xyxy: pixels of the input, or normalized to 0..1
    offset: float = 0.0  # of the prior inside its cell, in cells
    bins: int = 0  # of each side's distribution; 0: the side itself
    # yolov3, yolov5: width, height in px, for each stride the same number of pairs; ssd: centre y, centre x, height,
    # width in 0..1 for each box
    anchors: tuple[float, ...] = ()
    variances: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)  # of ssd: y, x, height, width

    def __post_init__(self) -> None:
        check_fields(self)
        require_one_of("head", self.kind, HEADS)
        require_one_of("coding", self.coding, CODINGS)
        require_one_of("scores", self.scores, SCORES)
        require_one_of("unit", self.unit, UNITS)
        if self.objectness_scores:
            require_one_of("objectness_scores", self.objectness_scores, SCORES)
        if not 0 <= self.objectness_weight < 1:
            raise ConfigError(f"objectness_weight must be 0 <= w < 1, got {self.objectness_weight}")
        if not 0 <= self.bins <= MAX_BINS or self.bins == 1:
            raise ConfigError(f"bins must be 0 (none) or 2..{MAX_BINS}, got {shown(self.bins)}")
        if self.bins and self.coding == "log_distance":
            raise ConfigError(f"coding log_distance has no bins, got {self.bins}; with bins it is coding distance")
        within("number of tensors", len(self.tensors), 0, MAX_TENSORS)
        role_of = _ROLES.get(self.coding, _ROW_ROLE)
        if len(set(self.tensors)) != len(self.tensors) or not all(role_of.fullmatch(role) for role in self.tensors):
            raise ConfigError(f"tensors: every role once, such as cls_8, box or map; got {shown(self.tensors)}")
        if len(self.variances) != 4 or min(self.variances) <= 0:
            raise ConfigError(f"variances need 4 values above 0, got {shown(self.variances)}")
        if self.coding in ANCHOR_CODINGS and (not self.anchors or len(self.anchors) % 2):
            raise ConfigError(f"head {self.kind} needs anchors, pairs of width,height in px; got {shown(self.anchors)}")
        if self.coding == "ssd" and (not self.anchors or len(self.anchors) % 4):
            raise ConfigError(f"head ssd needs anchors, 4 numbers for each box; got {len(self.anchors)} numbers")
        for name in ("anchors", "variances"):
            for value in getattr(self, name):
                within(name, value, -MAX_NUMBER, MAX_NUMBER)
        within("offset", self.offset, -MAX_OFFSET, MAX_OFFSET)

    def anchors_per_cell(self, levels: int) -> int:
        """Anchors of each cell; 1 for heads without.

        Args:
            levels: number of strides.
        Raises:
            ConfigError: the anchors can't be shared out among the levels.
        """
        if self.coding not in ANCHOR_CODINGS:
            return 1
        count, rest = divmod(len(self.anchors) // 2, max(levels, 1))
        if rest or not count:
            raise ConfigError(
                f"{len(self.anchors) // 2} anchors can't be shared out among {levels} strides; give the same number of "
                "pairs for each stride, those of the smallest stride first"
            )
        return count

    def to_json(self) -> dict[str, Any]:
        """JSON-able dict of what differs from RTMDet's; `OutputSpec.from_json` takes it back."""
        plain = HeadSpec()
        return {k: v for k, v in asdict(self).items() if k == "kind" or v != getattr(plain, k)}


def part_and_stride(role: str) -> tuple[str, int | None]:
    """Part of a role, and its stride: `cls_8` is ("cls", 8), `map` is ("map", None)."""
    part, _, stride = role.partition("_")
    return part, int(stride) if stride else None
