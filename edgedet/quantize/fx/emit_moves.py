"""Operators that move values about: concatenation, slices, permutations and reshapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.fx import Node

from edgedet.graph import graph as g
from edgedet.net.foreign import reshape_samples, take_slice
from edgedet.quantize.fx.emit_layers import emit_mean
from edgedet.quantize.fx.graph_builder import GraphBuilder, Order

MOVES = (torch.cat, torch.mean, torch.permute, reshape_samples, take_slice)


def emit_move(builder: GraphBuilder, node: Node) -> None:
    """Operator of a node that calls one of MOVES.

    Raises:
        UnsupportedOpError: no operator does exactly this.
    """
    if node.target is torch.cat:
        _concatenation(builder, node)
    elif node.target is torch.mean:
        emit_mean(builder, node)
    elif node.target is torch.permute:
        _permutation(builder, node)
    elif node.target is take_slice:
        _slice(builder, node)
    else:
        _reshape(builder, node)


def _concatenation(builder: GraphBuilder, node: Node) -> None:
    tensors = node.args[0] if node.args else node.kwargs["tensors"]
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    assert isinstance(tensors, tuple | list)
    assert isinstance(axis, int)
    sources = [source for source in tensors if isinstance(source, Node)]
    orders = [builder.order_of(source) for source in sources if not builder.is_constant(source)]
    order = max(orders, key=orders.count)  # turns the fewest tensors
    inputs = tuple(builder.read(source, order) for source in sources)
    options = g.ConcatOptions(order.index(axis % len(order)))
    builder.append("CONCATENATION", node, inputs, node.name, options, order)


def _permutation(builder: GraphBuilder, node: Node) -> None:
    """Nothing moves: the axes only get other names."""
    (source,) = node.all_input_nodes
    permutation = node.args[1]
    assert isinstance(permutation, tuple | list)
    axes = [int(axis) for axis in permutation]  # type: ignore[arg-type]
    builder.reorder(node, source, tuple(axes.index(axis) for axis in builder.order_of(source)))


def _slice(builder: GraphBuilder, node: Node) -> None:
    (source,) = node.all_input_nodes
    axis, start, stop, step = (int(value) for value in node.args[1:])  # type: ignore[arg-type]
    order = builder.order_of(source)
    shape = [builder.shapes[source][a] for a in order]
    begin, end, steps = [0] * len(order), list(shape), [1] * len(order)
    place = order.index(axis)
    begin[place], end[place], steps[place] = start, stop, step
    label = builder.label(node)
    bounds = tuple(
        builder.constant(f"{label}.{name}", np.array(values, np.int32))
        for name, values in (("begin", begin), ("end", end), ("strides", steps))
    )
    builder.emit("STRIDED_SLICE", node, bounds, g.StridedSliceOptions(), order)


def _reshape(builder: GraphBuilder, node: Node) -> None:
    (source,) = node.all_input_nodes
    old, new = builder.shapes[source], builder.shapes[node]
    order = builder.order_of(source)
    groups = axis_groups(old, new)
    wanted, result = _kept_apart(order, groups)
    shape = tuple(new[axis] for axis in result)
    constant = builder.constant(f"{node.name}.shape", np.array(shape, np.int32))
    inputs = (builder.read(source, wanted), constant)
    builder.append("RESHAPE", node, inputs, node.name, g.ReshapeOptions(shape), result)


AxisGroup = tuple[tuple[int, ...], tuple[int, ...]]


def axis_groups(old: Sequence[int], new: Sequence[int]) -> list[AxisGroup]:
    """Shortest runs of axes with the same number of elements before and after a reshape.

    Args:
        old: shape before.
        new: shape after, as many elements.
    Returns:
        (axes before, axes after) of each run, in order; axes of length 1 may stand alone on one side.
    Example: (1, 6, 4, 4) -> (1, 2, 3, 16) gives ((0,), (0,)), ((1,), (1, 2)), ((2, 3), (3,)).
    """
    groups: list[AxisGroup] = []
    i = j = 0
    while i < len(old) or j < len(new):
        before, after = [i] if i < len(old) else [], [j] if j < len(new) else []
        left, right = (old[i] if before else 1), (new[j] if after else 1)
        i, j = i + len(before), j + len(after)
        while left != right:
            if left < right:
                before.append(i)
                left, i = left * old[i], i + 1
            else:
                after.append(j)
                right, j = right * new[j], j + 1
        groups.append((tuple(before), tuple(after)))
    return groups


def _kept_apart(order: Order, groups: Sequence[AxisGroup]) -> tuple[Order, Order]:
    """Orders before and after a reshape in which every run lies together, near the order that is there.

    The runs stand in the order of their first stored axis; axes of a run are brought into torch's order.
    """
    group_of = {axis: number for number, (before, _) in enumerate(groups) for axis in before}
    ranked = list(dict.fromkeys(group_of[axis] for axis in order))
    # Runs that have no axis before are axes of length 1: they may stand anywhere.
    ranked += [number for number, (before, _) in enumerate(groups) if not before]
    wanted = tuple(axis for number in ranked for axis in groups[number][0])
    return wanted, tuple(axis for number in ranked for axis in groups[number][1])
