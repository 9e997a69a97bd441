"""Which known head a network ends with, and the tensors in front of its decoding.

A head that is decoded inside the network puts boxes in pixels and scores of 0..1 into one tensor: in int8 one scale,
whose step is pixels wide, is left for both. So the network ends at its last convolutions, where classes and boxes have
scales of their own, and the decoding is left to edgedet's decoders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.exchange.onnx_in.heads.structure import Structure
from edgedet.head_spec import HeadSpec

_NAMED = re.compile(r"(cls|obj|bbox|kps)_(\d+)")  # outputs of YuNet


@dataclass(frozen=True)
class FoundHead:
    """A head, and where the network ends in front of it."""

    head: HeadSpec
    strides: tuple[int, ...]
    classes: int  # without the background
    tensors: tuple[str, ...]  # of the ONNX graph, in the order of `head.tensors` (or cls, box of each stride)
    splits: tuple[tuple[str, int], ...] = ()  # (tensor, channels of its first part) of tensors that hold two roles
    note: str = ""


Levels = dict[int, list[str]]  # stride -> last layers of it, in the order of the concatenation that joins them


def find_head(net: Structure, kind: str | None = None, classes: int | None = None) -> FoundHead | None:
    """Recognize the end of a detector.

    Args:
        net: the network.
        kind: of head, when the caller knows it; None: any.
        classes: number of classes, when the caller knows it.
    Returns:
        The head, or None when none of them is there.
    """
    levels: Levels = {}
    for tensor in net.last_layers():
        stride = net.stride(tensor)
        if stride is None:
            return None
        levels.setdefault(stride, []).append(tensor)
    levels = {stride: net.concatenated(levels[stride]) for stride in sorted(levels)}
    if not levels or len({len(tensors) for tensors in levels.values()}) != 1:
        return None
    finders: dict[str, Callable[[Structure, Levels, int | None], FoundHead | None]] = {
        "yunet": _yunet,
        "fastestdet": _fastestdet,
        "yolov8": _yolov8,
        "yolox": _yolox,
        "nanodet": _nanodet,
        "rtmdet": _rtmdet,
    }
    for name, find in finders.items():
        found = find(net, levels, classes) if kind in (None, name) else None
        if found is not None:
            return found
    return None


def _depth(net: Structure, tensor: str) -> int:
    return net.shape(tensor)[1]


def _tensors(levels: Levels, places: Sequence[int]) -> tuple[str, ...]:
    return tuple(tensors[place] for tensors in levels.values() for place in places)


def _roles(levels: Levels, parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{part}_{stride}" for stride in levels for part in parts)


def _yunet(net: Structure, levels: Levels, classes: int | None) -> FoundHead | None:
    """Outputs cls_8, obj_8, bbox_8, kps_8, ...: scores sqrt(class * objectness), boxes as YOLOX's; arXiv:2007.14870."""
    names = {name: match for name in net.outputs if (match := _NAMED.fullmatch(name)) is not None}
    if len(names) != len(net.outputs) or not {"cls", "obj", "bbox"} <= {m[1] for m in names.values()}:
        return None
    found: dict[str, str] = {}
    for name, match in names.items():
        (tensor,) = net.last_layers([name]) if len(net.last_layers([name])) == 1 else ("",)
        if net.stride(tensor) != int(match[2]):
            return None
        found[f"{match[1].removeprefix('b')}_{match[2]}"] = tensor
    roles = _roles(levels, ("cls", "box", "obj"))
    if not set(roles) <= set(found):
        return None
    head = HeadSpec("yunet", "yolox", roles, objectness=True, objectness_weight=0.5)
    note = "landmarks (kps) are left out" if any(name.startswith("kps") for name in found) else ""
    return FoundHead(head, tuple(levels), _depth(net, found[roles[0]]), tuple(found[role] for role in roles), note=note)


def _fastestdet(net: Structure, levels: Levels, classes: int | None) -> FoundHead | None:
    """One level: sigmoid of the objectness, the box, softmax of the classes."""
    if len(levels) != 1 or len(next(iter(levels.values()))) != 3:
        return None
    (stride, (obj, box, cls)), *_ = levels.items()
    fits = (_depth(net, obj), _depth(net, box)) == (1, 4)
    if not fits or "Sigmoid" not in net.behind(obj) or "Softmax" not in net.behind(cls):
        return None
    head = HeadSpec(
        "fastestdet",
        "fastestdet",
        _roles(levels, ("cls", "box", "obj")),
        "softmax",
        objectness=True,
        objectness_weight=0.6,
        objectness_scores="sigmoid",
    )
    return FoundHead(head, (stride,), _depth(net, cls), (cls, box, obj))


def _yolov8(net: Structure, levels: Levels, classes: int | None) -> FoundHead | None:
    """Two layers a level, a distribution for each side of the box: YOLOv8, v9, v11 and their kin."""
    weights = [net.constants[op.inputs[1]].size for op in net.operators if net.is_distribution(op)]
    bins = weights[0] if weights else 0
    if not bins or any(len(tensors) != 2 for tensors in levels.values()):
        return None
    depths = {tuple(_depth(net, tensor) for tensor in tensors) for tensors in levels.values()}
    if len(depths) != 1:
        return None
    (pair,) = depths
    places = (1, 0) if pair[0] == 4 * bins else (0, 1)  # of classes and box; the box stands first where both fit
    if pair[places[1]] != 4 * bins:
        return None
    head = HeadSpec("yolov8", "distance", _roles(levels, ("cls", "box")), offset=0.5, bins=bins)
    return FoundHead(head, tuple(levels), pair[places[0]], _tensors(levels, places))


def _yolox(net: Structure, levels: Levels, classes: int | None) -> FoundHead | None:
    """Three layers a level, concatenated as box, objectness, classes; arXiv:2107.08430."""
    if any(len(tensors) != 3 for tensors in levels.values()):
        return None
    depths = {tuple(_depth(net, tensor) for tensor in tensors) for tensors in levels.values()}
    first = next(iter(levels.values()))
    if len(depths) != 1 or next(iter(depths))[:2] != (4, 1) or "Softmax" in net.behind(first[2]):
        return None
    head = HeadSpec("yolox", "yolox", _roles(levels, ("cls", "box", "obj")), objectness=True)
    return FoundHead(head, tuple(levels), _depth(net, first[2]), _tensors(levels, (2, 0, 1)))


def _nanodet(net: Structure, levels: Levels, classes: int | None) -> FoundHead | None:
    """One layer a level: classes, then a distribution for each side of the box."""
    if any(len(tensors) != 1 for tensors in levels.values()):
        return None
    depths = {_depth(net, tensors[0]) for tensors in levels.values()}
    count = classes if classes is not None else _classes_in_front(net, next(iter(levels.values()))[0])
    if len(depths) != 1 or count is None:
        return None
    bins, rest = divmod(depths.pop() - count, 4)
    if rest or bins < 2:
        return None
    head = HeadSpec("nanodet", "distance", _roles(levels, ("cls", "box")), bins=bins)
    splits = tuple((tensors[0], count) for tensors in levels.values())
    names = tuple(f"{tensors[0]}/{part}" for tensors in levels.values() for part in ("first", "second"))
    return FoundHead(head, tuple(levels), count, names, splits)


def _classes_in_front(net: Structure, tensor: str) -> int | None:
    """Channels of the part that a sigmoid follows; without one, what 8 bins (reg_max 7) leave."""
    for op in net.readers(tensor):
        if op.kind == "Split":
            sizes = op.attributes.get("split") or (net.constants[op.inputs[1]].tolist() if len(op.inputs) > 1 else [])
            if len(sizes) == 2:
                return int(sizes[0])
        if op.kind == "Slice" and "Sigmoid" in net.behind(op.outputs[0]):
            return net.shape(op.outputs[0])[1]
    left = _depth(net, tensor) - 32
    return left if left > 0 else None


def _rtmdet(net: Structure, levels: Levels, classes: int | None) -> FoundHead | None:
    """Two layers a level, classes and four distances, each an output of its own; arXiv:2212.07784."""
    if any(len(tensors) != 2 for tensors in levels.values()):
        return None
    ordered: Levels = {}
    for stride, tensors in levels.items():
        ends = [net.outputs_behind(tensor) for tensor in tensors]
        if any(len(end) != 1 for end in ends) or ends[0] == ends[1] or any(_decodes(net, t) for t in tensors):
            return None
        box = _box_of(net, tensors)
        if box is None:
            return None
        ordered[stride] = [tensor for tensor in tensors if tensor != box] + [box]
    depths = {_depth(net, tensors[0]) for tensors in ordered.values()}
    if len(depths) != 1:
        return None
    return FoundHead(HeadSpec(), tuple(ordered), depths.pop(), _tensors(ordered, (0, 1)))


def _decodes(net: Structure, tensor: str) -> bool:
    return not net.behind(tensor).isdisjoint({"Exp", "Softmax", "Tanh", "Relu"})


def _box_of(net: Structure, tensors: Sequence[str]) -> str | None:
    """The tensor of four distances; with four classes names and sigmoids decide."""
    fitting = [tensor for tensor in tensors if _depth(net, tensor) == 4]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    plain = [tensor for tensor in tensors if "Sigmoid" not in net.behind(tensor)]
    named = [t for t in tensors if re.search("box|reg", " ".join((t, *net.outputs_behind(t))))]
    for candidates in (plain, named):
        if len(candidates) == 1:
            return candidates[0]
    return None


def split_weights(weight: np.ndarray, bias: np.ndarray | None, first: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of the first channels, and of the rest.

    Args:
        weight: float32 (O, I, H, W).
        bias: float32 (O,); None: zeros.
        first: channels of the first part.
    """
    values = np.zeros(len(weight), np.float32) if bias is None else bias
    return [(weight[:first], values[:first]), (weight[first:], values[first:])]
