"""What moves values about: reshapes, permutations, slices, concatenations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.fx import Node

from edgedet.exchange.onnx_in.ops.builder import FxBuilder, Operator
from edgedet.exchange.onnx_in.ops.moved_view import MovedView, choose
from edgedet.net.foreign import take_slice

Moved = Node | MovedView


def same(b: FxBuilder, op: Operator) -> Moved:
    """Identity, Dropout, Cast: nothing to do."""
    return _source(b, op)


def reshape(b: FxBuilder, op: Operator) -> Moved:
    """Reshape to a constant shape."""
    wanted = b.constant(op, 1)
    source = _source(b, op)
    if wanted is None:
        raise b.unsupported(op, "without a shape")
    old = _shape(b, source)
    keep_zero = bool(int(op.attributes.get("allowzero", 0)))
    new = [old[i] if side == 0 and not keep_zero else int(side) for i, side in enumerate(wanted.reshape(-1).tolist())]
    if -1 in new:
        known = math.prod(side for side in new if side != -1)
        new[new.index(-1)] = math.prod(old) // max(known, 1)
    if math.prod(new) != math.prod(old):
        raise b.unsupported(op, f"from {old} to {new}")
    return _reshaped(b, source, new)


def flatten(b: FxBuilder, op: Operator) -> Moved:
    """Flatten."""
    source = _source(b, op)
    shape = _shape(b, source)
    axis = int(op.attributes.get("axis", 1)) % (len(shape) + 1)
    return _reshaped(b, source, (math.prod(shape[:axis]), math.prod(shape[axis:])))


def squeeze(b: FxBuilder, op: Operator) -> Moved:
    """Squeeze."""
    source = _source(b, op)
    shape = _shape(b, source)
    axes = _axes(b, op, len(shape))
    gone = [i for i, side in enumerate(shape) if side == 1] if axes is None else axes
    return _reshaped(b, source, [side for i, side in enumerate(shape) if i not in gone])


def unsqueeze(b: FxBuilder, op: Operator) -> Moved:
    """Unsqueeze."""
    source = _source(b, op)
    shape = list(_shape(b, source))
    given = b.constant(op, 1)
    count = len(op.attributes.get("axes", ()) if given is None else given.reshape(-1))
    for axis in sorted(_axes(b, op, len(shape) + count) or ()):
        shape.insert(axis, 1)
    return _reshaped(b, source, shape)


def transpose(b: FxBuilder, op: Operator) -> Moved:
    """Transpose."""
    source = _source(b, op)
    rank = len(_shape(b, source))
    permutation = tuple(int(axis) for axis in op.attributes.get("perm", range(rank - 1, -1, -1)))
    if isinstance(source, Node) and permutation[0] == 0:
        return source if permutation == tuple(range(rank)) else b.function(torch.permute, source, permutation)
    return _view(b, source, lambda x: x.transpose(permutation))


def slice_(b: FxBuilder, op: Operator) -> Moved:
    """Slice with constant bounds."""
    source = _source(b, op)
    shape = _shape(b, source)
    starts, ends, axes, steps = (b.constant(op, i) for i in (1, 2, 3, 4))
    if starts is None or ends is None:
        raise b.unsupported(op, "bounds that are computed")
    used = range(len(starts)) if axes is None else axes.reshape(-1).tolist()
    strides = [1] * len(starts) if steps is None else steps.reshape(-1).tolist()
    for axis, start, end, step in zip(used, starts.reshape(-1), ends.reshape(-1), strides, strict=True):
        place = int(axis) % len(shape)
        indices = np.arange(shape[place])[slice(int(start), _bound(int(end)), int(step))]
        source = _chosen(b, op, source, place, indices)
    return source


def _bound(end: int) -> int | None:
    """End of a slice; ONNX writes the smallest number for `to the first element` of a negative step."""
    return None if end <= -(2**31) else end


def gather(b: FxBuilder, op: Operator) -> Moved:
    """Gather of constant indices: a slice, or slices side by side."""
    source, indices = _source(b, op), b.constant(op, 1)
    shape = _shape(b, source)
    axis = int(op.attributes.get("axis", 0)) % len(shape)
    if indices is None or indices.ndim > 1:
        raise b.unsupported(op, "indices of more than one axis")
    flat = indices.reshape(-1).astype(np.int64) % shape[axis]
    found = _chosen(b, op, source, axis, flat)
    if indices.ndim:
        return found
    left = [side for i, side in enumerate(_shape(b, found)) if i != axis]
    return _reshaped(b, found, left)


def split(b: FxBuilder, op: Operator) -> list[Moved]:
    """Split: a slice for each output."""
    source = _source(b, op)
    shape = _shape(b, source)
    axis = int(op.attributes.get("axis", 0)) % len(shape)
    given = b.constant(op, 1)
    count = len(op.outputs)
    sizes = op.attributes.get("split") if given is None else given.reshape(-1).tolist()
    if sizes is None:
        part = -(-shape[axis] // count)
        sizes = [min(part, shape[axis] - i * part) for i in range(count)]
    ends = np.cumsum([0, *(int(size) for size in sizes)])
    if len(sizes) != count or ends[-1] != shape[axis]:
        raise b.unsupported(op, f"sizes {list(sizes)} of an axis of {shape[axis]}")
    return [_chosen(b, op, source, axis, np.arange(ends[i], ends[i + 1])) for i in range(count)]


def concat(b: FxBuilder, op: Operator) -> Node:
    """Concat along any axis but the batch."""
    names = [name for name in op.inputs if name not in b.constants or b.constants[name].size]
    sources = [b.node(op, op.inputs.index(name)) for name in names]
    axis = int(op.attributes.get("axis", 0)) % len(b.shape(sources[0]))
    if axis == 0:
        raise b.unsupported(op, "a concatenation of batches")
    if any(not node.all_input_nodes and node.op == "call_module" for node in sources):
        raise b.unsupported(op, "a concatenation with a constant")
    return sources[0] if len(sources) == 1 else b.function(torch.cat, sources, axis)


def depth_to_space(b: FxBuilder, op: Operator) -> Node:
    """DepthToSpace in both modes."""
    source = b.node(op)
    block = int(op.attributes.get("blocksize", 1))
    _, channels, height, width = b.shape(source)
    depth = channels // (block * block)
    columns_first = op.attributes.get("mode", "DCR") == "DCR"
    inner = (block, block, depth) if columns_first else (depth, block, block)
    order = (0, 3, 4, 1, 5, 2) if columns_first else (0, 1, 4, 2, 5, 3)
    taken_apart = b.reshaped(source, (1, *inner, height, width))
    turned = b.function(torch.permute, taken_apart, order)
    return b.reshaped(turned, (1, depth, height * block, width * block))


def space_to_depth(b: FxBuilder, op: Operator) -> Node:
    """SpaceToDepth: slices with steps, side by side, as YOLOX's Focus."""
    source = b.node(op)
    block = int(op.attributes.get("blocksize", 1))
    parts = []
    for row in range(block):
        rows = b.function(take_slice, source, 2, row, b.shape(source)[2], block)
        parts += [b.function(take_slice, rows, 3, column, b.shape(source)[3], block) for column in range(block)]
    return b.function(torch.cat, parts, 1)


def _source(b: FxBuilder, op: Operator) -> Moved:
    found = b.nodes.get(op.inputs[0])
    return found if isinstance(found, MovedView) else b.node(op)


def _shape(b: FxBuilder, source: Moved) -> tuple[int, ...]:
    return source.positions.shape if isinstance(source, MovedView) else b.shape(source)


def _view(b: FxBuilder, source: Moved, move: Callable[[np.ndarray], np.ndarray]) -> MovedView:
    if isinstance(source, Node):
        shape = b.shape(source)
        source = MovedView(source, np.arange(math.prod(shape)).reshape(shape))
    return source.moved(move)


def _reshaped(b: FxBuilder, source: Moved, shape: Sequence[int]) -> Moved:
    if isinstance(source, Node) and len(shape) > 0 and shape[0] == 1:
        return b.reshaped(source, shape)
    return _view(b, source, lambda x: x.reshape(tuple(shape)))


def _chosen(b: FxBuilder, op: Operator, source: Moved, axis: int, indices: np.ndarray) -> Moved:
    if isinstance(source, MovedView) or axis == 0:
        return source if len(indices) == _shape(b, source)[axis] == 1 else _view(
            b, source, lambda x: np.take(x, indices, axis)
        )  # fmt: skip
    if not len(indices):
        raise b.unsupported(op, "an empty slice")
    return choose(b, op, source, axis, indices)


def _axes(b: FxBuilder, op: Operator, rank: int) -> list[int] | None:
    given = b.constant(op, 1)
    axes = op.attributes.get("axes") if given is None else given.reshape(-1).tolist()
    return None if axes is None else [int(axis) % rank for axis in axes]
