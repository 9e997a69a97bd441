"""Pools, resizing, padding and means of pictures."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.fx import Node

from edgedet.exchange.onnx_in.ops.builder import FxBuilder, Operator
from edgedet.exchange.onnx_in.ops.moved_view import choose
from edgedet.exchange.onnx_in.ops.windows import Window, window_of
from edgedet.net.foreign import PaddedMaxPool2d, ResizeLinear, source_positions

# ONNX's name of a coordinate transformation -> the one of source_positions.
_COORDINATES = {
    "half_pixel": "half_pixel",
    "pytorch_half_pixel": "half_pixel",  # differs for outputs of one pixel only
    "half_pixel_symmetric": "half_pixel",  # differs where scales are no quotients of sizes
    "asymmetric": "asymmetric",
    "align_corners": "align_corners",
}


def max_pool(b: FxBuilder, op: Operator) -> Node:
    """MaxPool, any padding, ceil_mode as more padding at the end."""
    source, window = _pool(b, op)
    pool = PaddedMaxPool2d(window.kernel, window.stride, window.padding)
    return b.module(pool, (source,), op.name)


def average_pool(b: FxBuilder, op: Operator) -> Node:
    """AveragePool; what lies outside counts, or has TFLite's SAME padding."""
    source, window = _pool(b, op)
    left, _, top, _ = window.padding
    if not any(window.padding):
        return b.module(nn.AvgPool2d(window.kernel, window.stride), (source,), op.name)
    if int(op.attributes.get("ceil_mode", 0)):
        raise b.unsupported(op, "ceil_mode and padding in a mean")
    if int(op.attributes.get("count_include_pad", 0)):
        source = b.module(nn.ZeroPad2d(window.padding), (source,), f"{op.name}_pad")
        return b.module(nn.AvgPool2d(window.kernel, window.stride), (source,), op.name)
    if not window.symmetric:
        raise b.unsupported(op, f"padding {window.padding} that differs from side to side and is left out of the mean")
    pool = nn.AvgPool2d(window.kernel, window.stride, (top, left), count_include_pad=False)
    return b.module(pool, (source,), op.name)


def _pool(b: FxBuilder, op: Operator) -> tuple[Node, Window]:
    source = b.node(op)
    window = window_of(b, op, source, op.attributes.get("kernel_shape", ()))
    if window.dilation != (1, 1) or len([name for name in op.outputs if name]) != 1:
        raise b.unsupported(op, f"dilations {window.dilation}, or indices as a second output")
    return source, window


def global_average_pool(b: FxBuilder, op: Operator) -> Node:
    """GlobalAveragePool."""
    return _mean(b, op, b.node(op))


def global_max_pool(b: FxBuilder, op: Operator) -> Node:
    """GlobalMaxPool: a window as large as the picture."""
    source = b.node(op)
    if len(b.shape(source)) != 4:
        raise b.unsupported(op, f"of {b.shape(source)}, expected a picture")
    sides = (b.shape(source)[2], b.shape(source)[3])
    return b.module(PaddedMaxPool2d(sides, sides, (0, 0, 0, 0)), (source,), op.name)


def reduce_mean(b: FxBuilder, op: Operator) -> Node:
    """ReduceMean over rows and columns."""
    source = b.node(op)
    rank = len(b.shape(source))
    given = b.constant(op, 1)
    axes = op.attributes.get("axes", range(rank)) if given is None else given.reshape(-1).tolist()
    if rank != 4 or {int(axis) % rank for axis in axes} != {2, 3}:
        raise b.unsupported(op, f"a mean over axes {list(axes)} of {b.shape(source)}; expected rows and columns")
    node = _mean(b, op, source)
    return node if int(op.attributes.get("keepdims", 1)) else b.reshaped(node, b.shape(node)[:2])


def _mean(b: FxBuilder, op: Operator, source: Node) -> Node:
    if len(b.shape(source)) != 4:
        raise b.unsupported(op, f"of {b.shape(source)}, expected a picture")
    return b.function(torch.mean, source, (2, 3), True)


def resize(b: FxBuilder, op: Operator) -> Node:
    """Resize and Upsample: nearest where TFLite takes the same pixels, and linear."""
    source = b.node(op)
    shape = b.shape(source)
    size = _resized(b, op, shape)
    mode = op.attributes.get("mode", "nearest")
    if op.kind == "Upsample":
        coordinates = "asymmetric"
    else:
        coordinates = op.attributes.get("coordinate_transformation_mode", "half_pixel")
    if coordinates not in _COORDINATES or int(op.attributes.get("antialias", 0)):
        raise b.unsupported(op, f"coordinates {coordinates}, antialias {op.attributes.get('antialias', 0)}")
    if size == shape[2:]:
        return source
    if mode == "linear":
        return b.module(ResizeLinear((shape[2], shape[3]), size, _COORDINATES[coordinates]), (source,), op.name)
    if mode != "nearest":
        raise b.unsupported(op, f"mode {mode}; nearest and linear are supported")
    taken = [_nearest(b, op, old, new, coordinates) for old, new in zip(shape[2:], size, strict=True)]
    plain = [np.arange(new) * old // new for old, new in zip(shape[2:], size, strict=True)]
    if all(np.array_equal(*pair) for pair in zip(taken, plain, strict=True)):
        return b.module(nn.Upsample(size=size, mode="nearest"), (source,), op.name)
    for axis in (2, 3):
        source = choose(b, op, source, axis, taken[axis - 2])
    return source


def _resized(b: FxBuilder, op: Operator, shape: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of the result."""
    scales = b.constant(op, 1 if op.kind == "Upsample" or b.opset < 11 else 2)
    sizes = b.constant(op, 3) if op.kind == "Resize" else None
    if len(shape) != 4 or "axes" in op.attributes:
        raise b.unsupported(op, f"of shape {shape}, axes {op.attributes.get('axes')}; expected a picture")
    if sizes is not None and sizes.size == 4:
        full = [int(side) for side in sizes]
    elif scales is not None and scales.size == 4:
        full = [int(np.floor(side * float(scale))) for side, scale in zip(shape, scales.reshape(-1), strict=True)]
    else:
        raise b.unsupported(op, "neither 4 sizes nor 4 scales")
    if full[:2] != list(shape[:2]) or min(full) < 1:
        raise b.unsupported(op, f"from {shape} to {full}; expected rows and columns to change")
    return full[2], full[3]


def _nearest(b: FxBuilder, op: Operator, old: int, new: int, coordinates: str) -> np.ndarray:
    """Which pixel every new one is."""
    position = source_positions(old, new, _COORDINATES[coordinates])
    mode = "floor" if op.kind == "Upsample" else op.attributes.get("nearest_mode", "round_prefer_floor")
    rounded = {
        "floor": np.floor(position),
        "ceil": np.ceil(position),
        "round_prefer_floor": np.ceil(position - 0.5),
        "round_prefer_ceil": np.floor(position + 0.5),
    }.get(mode)
    if rounded is None:
        raise b.unsupported(op, f"nearest_mode {mode}")
    result: np.ndarray = np.clip(rounded, 0, old - 1).astype(np.int64)
    return result


def pad(b: FxBuilder, op: Operator) -> Node:
    """Pad of rows and columns with zeros."""
    source = b.node(op)
    rank = len(b.shape(source))
    given = b.constant(op, 1)
    pads = [int(p) for p in (op.attributes.get("pads", ()) if given is None else given.reshape(-1))]
    axes = b.constant(op, 3)
    if axes is not None:
        full = [0] * (2 * rank)
        for place, axis in enumerate(axes.reshape(-1)):
            full[int(axis) % rank], full[int(axis) % rank + rank] = pads[place], pads[place + axes.size]
        pads = full
    fill = b.constant(op, 2)
    value = float(op.attributes.get("value", 0.0)) if fill is None else float(fill.reshape(-1)[0])
    mode = op.attributes.get("mode", "constant")
    plain = mode == "constant" and value == 0 and rank == 4 and len(pads) == 8 and min(pads) >= 0
    if not plain or any(pads[axis] for axis in (0, 1, 4, 5)):
        raise b.unsupported(op, f"mode {mode}, value {value:g}, pads {pads}; expected zeros around rows and columns")
    if not any(pads):
        return source
    return b.module(nn.ZeroPad2d((pads[3], pads[7], pads[2], pads[6])), (source,), op.name)
