"""C of the operators that only move codes equals the simulator; blocks of a tensor stay where they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import graph_maker as maker
import numpy as np
import pytest
from generated import assert_generated_c_equals_simulator

from edgedet.codegen.emit.compute import SHARING, scratch_bytes
from edgedet.codegen.memory.plan import Plan, make_plan
from edgedet.codegen.steps import lower
from edgedet.graph import graph as g

SOFT = (0.05, -7)


def parts(m: maker.GraphMaker, kind: str, inputs: list[int], shapes: list[tuple], options: g.Options) -> list[int]:
    """An operator with several outputs of its input's scale."""
    outs = [m.tensor(shape, "int8", maker.quantization(*SOFT)) for shape in shapes]
    m.operators.append(g.Operator(kind, tuple(inputs), tuple(outs), options))
    return outs


def gather(m: maker.GraphMaker, x: int, indices: object, axis: int) -> int:
    shape, values = m.tensors[x].shape, np.asarray(indices)
    inputs = [x, m.constant(values)]
    return m.same("GATHER", inputs, (*shape[:axis], *values.shape, *shape[axis + 1 :]), g.GatherOptions(axis))


def moving_graph() -> g.Graph:
    """Every moving operator on a computed tensor of two images."""
    m = maker.GraphMaker(1)
    x = m.input((2, 4, 6, 8), *SOFT)
    x = m.add("RELU", [x], (2, 4, 6, 8), SOFT)
    outputs = [gather(m, x, v, axis) for axis, v in ((3, [7, 0, 0, 3]), (1, [3, 1, 2]), (3, range(4, 8)), (2, 3))]
    outputs += [gather(m, x, v, 0) for v in ([1, 0], [1], [[1, 0, 1], [0, 1, 1]])]
    outputs += parts(m, "SPLIT", [m.constant(-1), x], [(2, 4, 6, 2)] * 4, g.SplitOptions(4))
    outputs += parts(m, "SPLIT", [m.constant(0), x], [(1, 4, 6, 8)] * 2, g.SplitOptions(2))
    inputs = [x, m.constant([1, -1, 2]), m.constant(2)]
    outputs += parts(m, "SPLIT_V", inputs, [(2, 4, 1, 8), (2, 4, 3, 8), (2, 4, 2, 8)], g.SplitOptions(3))
    outputs += parts(m, "UNPACK", [x], [(2, 6, 8)] * 4, g.UnpackOptions(4, 1))
    outputs.append(m.same("PACK", [outputs[-1], outputs[-2]], (2, 6, 8, 2), g.PackOptions(2, -1)))
    for counts in ([1, 2, 1, 3], [3, 2, 2, 2]):
        shape = tuple(count * side for count, side in zip(counts, (2, 4, 6, 8), strict=True))
        outputs.append(m.same("TILE", [x, m.constant(counts)], shape))
    deep = m.same("SPACE_TO_DEPTH", [x], (2, 2, 3, 32), g.BlockSizeOptions(2))
    outputs += [deep, m.same("DEPTH_TO_SPACE", [deep], (2, 4, 6, 8), g.BlockSizeOptions(2))]
    outputs.append(m.same("TRANSPOSE", [x, m.constant([3, 1, 0, 2])], (8, 4, 2, 6)))
    cut = [m.constant(v) for v in ([1, 3, 5, 0], [0, -9, 1, 9], [1, -1, -2, 3])]
    outputs.append(m.same("STRIDED_SLICE", [x, *cut], (4, 2, 3), g.StridedSliceOptions(0, 0, 0, 0, 1)))
    outputs.append(m.same("SLICE", [x, m.constant([1, 1, 0, 0]), m.constant([1, 2, -1, -1])], (1, 2, 6, 8)))
    return m.graph(outputs)


@pytest.mark.toolchain
def test_generated_moves_equal_the_simulator(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc")
    assert_generated_c_equals_simulator(moving_graph(), tmp_path)


@pytest.mark.toolchain
def test_generated_moves_of_the_input_and_of_six_axes_equal_the_simulator(
    tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    """Parts of the caller's input that are outputs must be copied; what only the network reads stays there."""
    require_tool("gcc")
    m = maker.GraphMaker(2)
    x = m.input((2, 3, 2, 3, 2, 3), *SOFT)
    outputs = [m.same("TRANSPOSE", [x, m.constant([5, 3, 1, 0, 2, 4])], (3, 3, 3, 2, 2, 2))]
    # Eight axes after merging, two more than the kernel has.
    outputs.append(m.same("TILE", [x, m.constant([1, 2, 2, 2, 2, 1])], (2, 6, 4, 6, 4, 3)))
    first, second = parts(m, "UNPACK", [x], [(3, 2, 3, 2, 3)] * 2, g.UnpackOptions(2, 0))
    outputs.append(m.add("RELU", [first], (3, 2, 3, 2, 3), SOFT))
    assert_generated_c_equals_simulator(m.graph([*outputs, second]), tmp_path)


def plan_of(graph: g.Graph) -> Plan:
    steps = lower(graph)
    return make_plan(graph, steps, lambda step: scratch_bytes(graph, step), SHARING)


def test_make_plan_blocks_of_a_split_stay_in_its_input() -> None:
    m = maker.GraphMaker(3)
    x = m.conv(m.input((1, 32, 24, 4)), 4, (1, 1))
    params = m.params(x)
    halves = [m.tensor((1, 16, 24, 4), "int8", maker.quantization(*params)) for _ in range(2)]
    m.operators.append(g.Operator("SPLIT", (m.constant(1), x), tuple(halves), g.SplitOptions(2)))
    graph = m.graph([m.conv(half, 3) for half in halves])
    plan = plan_of(graph)
    assert plan.kinds[1] == "SPLIT"
    assert plan.elided == {1}
    assert [plan.address(half) - plan.address(x) for half in halves] == [0, 16 * 24 * 4]


def test_make_plan_part_that_would_keep_a_large_tensor_is_copied() -> None:
    """One row of a big tensor is read at the end: keeping all of it would cost more than a copy."""
    m = maker.GraphMaker(4)
    x = m.conv(m.input((1, 16, 16, 2)), 8, (1, 1))
    row = m.same("SLICE", [x, m.constant([0, 3, 0, 0]), m.constant([1, 1, -1, -1])], (1, 1, 16, 8))
    y = m.conv(m.pool("MAX_POOL_2D", x, 1, 1), 8, (1, 1))
    y = m.conv(m.conv(y, 8, (1, 1)), 8, (1, 1))
    graph = m.graph([m.add("ADD", [y, row], (1, 16, 16, 8), (0.1, 0), g.ElementwiseOptions())])
    plan = plan_of(graph)
    number = plan.kinds.index("SLICE")
    assert number not in plan.elided
    assert plan.views[row].buffer != plan.views[x].buffer
