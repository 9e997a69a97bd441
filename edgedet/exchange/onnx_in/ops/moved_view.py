"""Values moved about in ways that lose the batch axis: looked at as positions, until they are a picture again.

Channel shuffles are often exported as (channels / 2, 2, pixels) -> transposed -> (2, 1, channels / 2, h, w) -> [0] and
[1]. What comes out is every other channel. So the positions of the values are followed through all of it, and only the
result is put into the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.fx import Node

from edgedet.net.foreign import take_slice

if TYPE_CHECKING:
    from edgedet.exchange.onnx_in.ops.builder import FxBuilder, Operator

MAX_RUNS = 64  # slices that one concatenation is put together from


@dataclass(frozen=True, eq=False)
class MovedView:
    """Positions of values in the tensor that they come from."""

    source: Node
    positions: np.ndarray  # int64, any shape: flat positions in the source, whose batch is 1

    def moved(self, move: Callable[[np.ndarray], np.ndarray]) -> MovedView:
        """The view after another move."""
        return replace(self, positions=move(self.positions))

    def materialize(self, builder: FxBuilder, operator: Operator) -> Node:
        """Slices and concatenations of the source that give these positions.

        Args:
            builder: of the graph.
            operator: that needs the values.
        Raises:
            UnsupportedOpError: the batch axis is still lost, or no choice along the axes gives these positions.
        """
        shape = builder.shape(self.source)
        where = self.positions
        if where.ndim == len(shape) and where.shape[0] == 1 and where.size:
            corner = [np.unravel_index(np.moveaxis(where, axis, 0).reshape(where.shape[axis], -1)[:, 0], shape)[axis]
                      for axis in range(len(shape))]  # fmt: skip
            everything = np.arange(int(np.prod(shape))).reshape(shape)
            if np.array_equal(everything[np.ix_(*corner)], where):
                node = self.source
                for axis in range(1, len(shape)):
                    node = _chosen(builder, operator, node, axis, corner[axis])
                return node
        if where.shape[:1] == (1,) and np.array_equal(where.ravel(), np.arange(int(np.prod(shape)))):
            return builder.reshaped(self.source, where.shape)
        raise builder.unsupported(
            operator, f"its input of shape {where.shape} is made of {shape} by moves that lose the batch axis"
        )


def choose(builder: FxBuilder, operator: Operator, node: Node, axis: int, indices: np.ndarray) -> Node:
    """Elements of one axis, in this order: a slice, or a concatenation of slices."""
    return _chosen(builder, operator, node, axis, indices)


def _chosen(builder: FxBuilder, operator: Operator, node: Node, axis: int, indices: np.ndarray) -> Node:
    length = builder.shape(node)[axis]
    if np.array_equal(indices, np.arange(length)):
        return node
    runs = _runs(indices)
    if len(runs) > MAX_RUNS:
        raise builder.unsupported(operator, f"a choice of {len(indices)} elements that is no slice")
    parts = [builder.function(take_slice, node, axis, *run) for run in runs]
    return parts[0] if len(parts) == 1 else builder.function(torch.cat, parts, axis)


def _runs(indices: np.ndarray) -> list[tuple[int, int, int]]:
    """(start, stop, step) of ascending runs of equal steps."""
    runs: list[tuple[int, int, int]] = []
    i = 0
    while i < len(indices):
        step = int(indices[i + 1] - indices[i]) if i + 1 < len(indices) else 1
        j = i + 1
        if step >= 1:
            while j < len(indices) and indices[j] - indices[j - 1] == step:
                j += 1
        step = max(step, 1) if j > i + 1 else 1
        runs.append((int(indices[i]), int(indices[j - 1]) + 1, step))
        i = j
    return runs
