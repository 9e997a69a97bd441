"""C of the reductions equals the simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import graph_maker as maker
import pytest
from generated import assert_generated_c_equals_simulator

from edgedet.codegen.program import build_program
from edgedet.errors import UnsupportedOpError
from edgedet.graph import graph as g

KINDS = ("REDUCE_MAX", "REDUCE_MIN", "MEAN", "SUM")


def reduction(m: maker.GraphMaker, kind: str, x: int, axes: tuple[int, ...], keep: bool) -> int:
    shape = m.tensors[x].shape
    gone = {axis % len(shape) for axis in axes}
    kept = tuple(1 if i in gone else side for i, side in enumerate(shape))
    dropped = tuple(side for i, side in enumerate(shape) if i not in gone)
    params = m.params(x) if kind.startswith("REDUCE") else (0.03, 9)
    return m.add(kind, [x, m.constant(axes)], kept if keep else dropped, params, g.ReduceOptions(keep))


@pytest.mark.toolchain
def test_generated_reductions_equal_the_simulator(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc")
    m = maker.GraphMaker(1)
    x, flat = m.input((2, 3, 5, 4), 0.05, -7), m.input((1, 6, 1, 9), 0.05, 120)
    outputs = []
    for kind in KINDS:
        outputs += [reduction(m, kind, x, axes, True) for axes in ((1, 2), (-1,), (0,), (2, 3, 1), (1,))]
        # Axes of one position between, or beside, those that are reduced make no difference.
        outputs += [reduction(m, kind, flat, axes, False) for axes in ((1, 3), (2,), (-4, 1), (0, 3))]
    assert_generated_c_equals_simulator(m.graph(outputs), tmp_path)


@pytest.mark.toolchain
def test_generated_positions_equal_the_simulator(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    """int32 outputs beside int8 ones; they must be aligned whatever lies before them."""
    require_tool("gcc")
    m = maker.GraphMaker(2)
    x = m.input((2, 3, 5, 7), 0.05, -7)
    outputs = [m.same("RELU", [x], (2, 3, 5, 7))]
    for kind in ("ARG_MAX", "ARG_MIN"):
        for axis in (-1, 0, 1, 2):
            shape = tuple(side for i, side in enumerate((2, 3, 5, 7)) if i != axis % 4)
            outputs.append(m.tensor(shape, "int32", None))
            m.operators.append(g.Operator(kind, (x, m.constant(axis)), (outputs[-1],), g.ArgOptions()))
    assert_generated_c_equals_simulator(m.graph(outputs), tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_reduction_over_axes_that_are_apart_is_refused(kind: str) -> None:
    m = maker.GraphMaker(1)
    graph = m.graph([reduction(m, kind, m.input((2, 3, 5, 4)), (1, 3), True)])
    with pytest.raises(UnsupportedOpError, match=r"axes \(1, 3\) must be neighbours"):
        build_program(graph, graph.outputs, None)
