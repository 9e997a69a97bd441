"""Patch by patch: the same bytes as in one go, and the recomputation is counted right."""

from __future__ import annotations

from collections.abc import Callable

import graph_maker as maker
import numpy as np
import pytest

from edgedet.codegen.emit.compute import SHARING, scratch_bytes
from edgedet.codegen.memory.patch_search import plan_within, smallest_plan
from edgedet.codegen.memory.patches import Patching, apply_patching, cut_points, local_steps
from edgedet.codegen.memory.plan import make_plan
from edgedet.codegen.program import build_program
from edgedet.codegen.steps import Step, lower, macs_of
from edgedet.errors import ConfigError
from edgedet.graph import graph as g
from edgedet.runtimes import c_program, generated_c
from edgedet.simulate.simulator import Simulator


def stem(seed: int = 0) -> g.Graph:
    """Odd sizes, all local steps: strides, dilation, pools, a folded PAD, ADD, SiLU, nested concatenations."""
    m = maker.GraphMaker(seed)
    x = m.input((1, 37, 29, 3))
    padded = m.same("PAD", [x, m.constant([[0, 0], [1, 2], [2, 0], [0, 0]])], (1, 40, 31, 3))
    a = m.conv(padded, 6, (3, 3), (2, 2), "VALID", activation="RELU6")
    squashed = m.add("LOGISTIC", [a], m.tensors[a].shape, (1 / 256, -128))
    a = m.add("MUL", [a, squashed], m.tensors[a].shape, (m.scale(a), -3), g.ElementwiseOptions())
    b = m.conv(a, 6, (5, 3), (1, 1), depthwise=True)
    c = m.add("ADD", [a, b], m.tensors[a].shape, (m.scale(a) * 1.4, 5), g.ElementwiseOptions())
    d = m.alias_scale(m.conv(c, 4, (3, 3), dilation=(2, 1)), c)
    e = m.pool("MAX_POOL_2D", c, 5, 1)
    joined = m.concat([d, e])
    f = m.pool("AVERAGE_POOL_2D", joined, 3, 2)
    h = m.alias_scale(m.conv(f, 5, (3, 3)), f)
    cut = m.conv(m.concat([h, f]), 8, (1, 1))
    mean = m.add("MEAN", [cut, m.constant([1, 2])], (1, 1, 1, 8), (0.02, 4), g.ReduceOptions(True))
    return m.graph([m.add("MUL", [cut, mean], m.tensors[cut].shape, (0.03, 2), g.ElementwiseOptions()), mean])


def test_cut_points_end_where_one_tensor_is_alive_and_before_the_mean() -> None:
    graph = stem()
    steps = lower(graph)
    cuts = cut_points(graph, steps)
    kinds = [step.kind for step in steps]
    assert max(cuts) == kinds.index("MEAN")
    for number in cuts:
        made = {index for step in steps[:number] for index in step.outputs}
        read = {index for step in steps[number:] for index in step.inputs}
        assert made & read == {steps[number - 1].outputs[0]}


@pytest.mark.toolchain
@pytest.mark.parametrize("grid", [(1, 2), (2, 1), (2, 2), (3, 4), (5, 3)])
@pytest.mark.parametrize("depth", [0, 2, -1])
def test_patched_network_equals_the_simulator(
    grid: tuple[int, int], depth: int, require_tool: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("cc")
    graph = stem(grid[0])
    codes = np.random.default_rng(1).integers(-128, 128, (1, 37, 29, 3)).astype(np.int8)
    expected = Simulator(graph).invoke(codes)
    cut = cut_points(graph, lower(graph))[depth]

    def patched_program(whole: g.Graph, outputs: tuple[int, ...], *arguments: object) -> object:
        """`build_program` with this patching instead of a search for one."""
        patched, steps = apply_patching(whole, lower(whole), Patching(cut, *grid))
        monkeypatch.setattr("edgedet.codegen.program.lower", lambda _: steps)
        return build_program(patched, outputs, *arguments)

    monkeypatch.setattr(c_program, "build_program", patched_program)
    found = generated_c.HostModule(b"", graph)(codes)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def scratch(graph: g.Graph, step: Step) -> int:
    return scratch_bytes(graph, step)


def plain(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return steps


def test_plan_within_limit_takes_the_cheapest_patching_and_counts_it() -> None:
    graph = maker.rtmdet_like(96)
    steps = lower(graph)
    whole = make_plan(graph, steps, lambda step: scratch(graph, step), SHARING)
    limit = int(0.9 * whole.arena_bytes)
    patched, run, plan, report = plan_within(limit, graph, steps, plain, scratch, SHARING, 0)
    assert plan.arena_bytes <= limit
    assert plan.arena_bytes <= 1.05 * plan.bound_bytes
    assert report is not None
    assert report.macs == sum(macs_of(patched, step) for step in run) > report.macs_whole
    assert report.macs_whole == sum(macs_of(graph, step) for step in steps)
    assert report.arena_whole_bytes == whole.arena_bytes
    assert f"{100 * report.overhead:.2f} % more MACs" in report.text()
    assert plan_within(limit, graph, steps, plain, scratch, SHARING, 0)[2:] == (plan, report)


def test_plan_within_generous_limit_leaves_the_network_whole() -> None:
    graph = maker.rtmdet_like(64)
    steps = lower(graph)
    _, run, plan, report = plan_within(10**9, graph, steps, plain, scratch, SHARING, 0)
    assert run == steps
    assert report is None
    assert plan_within(plan.arena_bytes, graph, steps, plain, scratch, SHARING, 0)[3] is None


def test_plan_within_impossible_limit_names_the_smallest_that_works() -> None:
    graph = maker.rtmdet_like(64)
    steps = lower(graph)
    with pytest.raises(ConfigError, match=r"the smallest arena for this model is ([\d,]+) bytes") as error:
        plan_within(1000, graph, steps, plain, scratch, SHARING, 0)
    smallest = int(str(error.value).split("model is ")[1].split(" bytes")[0].replace(",", ""))
    assert smallest_plan(graph, steps, scratch, SHARING, 0)[0].arena_bytes == smallest
    assert plan_within(smallest, graph, steps, plain, scratch, SHARING, 0)[2].arena_bytes <= smallest


def test_smallest_plan_of_layers_without_rows_and_columns_is_that_of_the_whole() -> None:
    m = maker.GraphMaker(3)
    x = m.input((1, 6, 4, 8))
    flat = m.same("RESHAPE", [x, m.constant([1, 4, 6, 8])], (1, 4, 6, 8), g.ReshapeOptions((1, 4, 6, 8)))
    graph = m.graph([m.conv(m.conv(flat, 8, (3, 3)), 8, (3, 3))])
    steps = lower(graph)
    assert local_steps(graph, steps) == 0
    plan, patching = smallest_plan(graph, steps, scratch, SHARING, 0)
    assert patching is None
    assert plan == make_plan(graph, steps, lambda step: scratch(graph, step), SHARING, 0)
    assert local_steps(stem(), lower(stem())) == max(cut_points(stem(), lower(stem())))


def test_cut_points_window_inside_a_wide_pad_is_not_cut() -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 8, 8, 3))
    padded = m.same("PAD", [x, m.constant([[0, 0], [0, 6], [0, 6], [0, 0]])], (1, 14, 14, 3))
    y = m.conv(padded, 4, (3, 3), (1, 1), "VALID")
    graph = m.graph([m.conv(m.conv(y, 4), 4)])
    steps = lower(graph)
    assert steps[0].pad == (0, 0)
    assert cut_points(graph, steps) == []
