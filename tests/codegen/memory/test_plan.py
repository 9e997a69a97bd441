"""The plan is executed: every step reads and writes the arena's bytes where the plan says, and nothing may get lost."""

from __future__ import annotations

import graph_maker as maker
import numpy as np
import pytest

from edgedet.codegen.emit.compute import SHARING, scratch_bytes
from edgedet.codegen.memory.picture import plan_picture
from edgedet.codegen.memory.plan import Plan, make_plan
from edgedet.codegen.steps import TABLE, Step, lower
from edgedet.graph import graph as g
from edgedet.simulate.simulator import Simulator

GARBAGE = 0x55


class ArenaRunner:
    """Runs a graph step by step in one block of bytes, with the simulator's kernels for the arithmetic."""

    def __init__(self, graph: g.Graph, steps: tuple[Step, ...], plan: Plan) -> None:
        self.graph, self.steps, self.plan = graph, steps, plan
        self.simulator = Simulator(graph)
        self.arena = np.full(plan.arena_bytes, GARBAGE, np.uint8).view(np.int8)

    def view(self, index: int) -> np.ndarray:
        """The tensor inside the arena."""
        shape = self.graph.tensors[index].shape
        pitch = self.plan.views[index].pitch
        strides = [pitch] * len(shape)
        strides[-1] = 1
        for axis in range(len(shape) - 3, -1, -1):
            strides[axis] = strides[axis + 1] * shape[axis + 1]
        start = self.plan.address(index)
        assert start + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) < self.arena.size
        return np.lib.stride_tricks.as_strided(self.arena[start:], shape, strides)

    def run(self, q_inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        for index, array in zip(self.graph.inputs, q_inputs, strict=True):
            self.view(index)[...] = array
        for number, step in enumerate(self.steps):
            if number in self.plan.elided:
                continue
            results = self.compute(step)
            if self.plan.scratch[number] >= 0:  # a kernel may leave anything there
                buffer = self.plan.buffers[self.plan.scratch[number]]
                self.arena[buffer.offset : buffer.end] = GARBAGE
            for index, value in results.items():
                self.view(index)[...] = value
        return [self.view(index).copy() for index in self.graph.outputs]

    def compute(self, step: Step) -> dict[int, np.ndarray]:
        """Values of the step's outputs; tensors inside a fused step exist only here."""
        values: dict[int, np.ndarray] = {}
        for number in step.operators:
            operator = self.graph.operators[number]
            inputs = []
            for index in operator.inputs:
                if index < 0:
                    continue
                data = self.graph.tensors[index].data
                inputs.append(data if data is not None else values.get(index))
                if inputs[-1] is None:
                    inputs[-1] = self.view(index).copy()
            outputs = [np.empty(self.graph.tensors[i].shape, np.int8) for i in operator.outputs]
            self.simulator._kernels[number](inputs, outputs)
            values.update(zip(operator.outputs, outputs, strict=True))
        return {index: values[index] for index in step.outputs}


def check(graph: g.Graph, codes: tuple[np.ndarray, ...]) -> tuple[tuple[Step, ...], Plan]:
    """Plan, run in the arena, compare with the simulator; gives steps and plan."""
    steps = lower(graph)
    plan = make_plan(graph, steps, lambda step: scratch_bytes(graph, step), SHARING)
    expected = Simulator(graph).invoke(*codes)
    found = ArenaRunner(graph, steps, plan).run(codes)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert plan.bound_bytes <= plan.arena_bytes <= 1.05 * plan.bound_bytes
    return steps, plan


def silu(m, x: int) -> int:
    squashed = m.add("LOGISTIC", [x], m.tensors[x].shape, (1 / 256, -128))
    return m.add("MUL", [x, squashed], m.tensors[x].shape, (m.scale(x), 0), g.ElementwiseOptions())


def test_make_plan_concatenation_of_convolutions_needs_no_copy() -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 8, 10, 4))
    a = m.conv(x, 6)
    b = m.alias_scale(m.conv(x, 10, (1, 1)), a)
    y = m.concat([a, b])
    out = m.conv(y, 5)
    graph = m.graph([out])
    steps, plan = check(graph, m.codes(graph))
    assert [step.kind for n, step in enumerate(steps) if n in plan.elided] == ["CONCATENATION"]
    assert plan.views[a].pitch == plan.views[b].pitch == 16
    assert plan.views[b].offset == 6


def test_make_plan_nested_concatenations_share_one_buffer() -> None:
    m = maker.GraphMaker(2)
    x = m.input((1, 6, 6, 4))
    a = m.conv(x, 4)
    b = m.alias_scale(m.conv(a, 4), a)
    inner = m.concat([a, b])
    c = m.alias_scale(m.conv(inner, 3), a)
    outer = m.concat([c, inner])
    graph = m.graph([m.conv(outer, 5)])
    _, plan = check(graph, m.codes(graph))
    assert len({plan.views[t].buffer for t in (a, b, c, inner, outer)}) == 1
    assert len(plan.elided) == 2


def test_make_plan_tensor_in_two_concatenations_is_copied_once() -> None:
    m = maker.GraphMaker(3)
    x = m.input((1, 6, 6, 4))
    a = m.conv(x, 4)
    b = m.alias_scale(m.conv(a, 4), a)
    c = m.alias_scale(m.conv(b, 4), a)
    first, second = m.concat([a, b]), m.concat([c, a, a])
    graph = m.graph([m.conv(first, 3), m.conv(second, 3)])
    _, plan = check(graph, m.codes(graph))
    assert len(plan.elided) <= 1


def test_make_plan_concatenation_of_model_input_and_output_is_copied() -> None:
    m = maker.GraphMaker(4)
    x = m.input((1, 6, 6, 4))
    a = m.alias_scale(m.conv(x, 4), x)
    y = m.concat([x, a])
    graph = m.graph([a, y])
    _, plan = check(graph, m.codes(graph))
    assert not plan.elided


def test_make_plan_concatenation_along_rows_is_contiguous() -> None:
    m = maker.GraphMaker(5)
    x = m.input((1, 6, 6, 4))
    a = m.conv(x, 4)
    b = m.alias_scale(m.conv(a, 4), a)
    y = m.same("CONCATENATION", [a, b], (1, 12, 6, 4), g.ConcatOptions(1))
    graph = m.graph([m.conv(y, 3)])
    _, plan = check(graph, m.codes(graph))
    assert plan.views[b].offset == 6 * 6 * 4
    assert plan.views[b].pitch == 4


def test_make_plan_add_is_done_in_place_only_when_its_input_dies() -> None:
    m = maker.GraphMaker(6)
    x = m.input((1, 6, 6, 4))
    a, options = m.conv(x, 4), g.ElementwiseOptions()
    b = m.conv(a, 4)
    dying = m.add("ADD", [a, b], (1, 6, 6, 4), (0.05, 3), options)
    kept = m.add("ADD", [dying, dying], (1, 6, 6, 4), (0.07, -3), options)
    last = m.add("MUL", [kept, dying], (1, 6, 6, 4), (0.06, 1), options)
    graph = m.graph([last])
    _, plan = check(graph, m.codes(graph))
    assert plan.views[dying].buffer in (plan.views[a].buffer, plan.views[b].buffer)
    assert plan.views[kept].buffer != plan.views[dying].buffer


def test_make_plan_reshape_of_input_as_output_is_a_copy() -> None:
    m = maker.GraphMaker(7)
    x = m.input((1, 4, 4, 4))
    shape = m.constant([1, 64])
    flat = m.same("RESHAPE", [x, shape], (1, 64), g.ReshapeOptions((1, 64)))
    again = m.same("RESHAPE", [flat, m.constant([1, 8, 8])], (1, 8, 8), g.ReshapeOptions((1, 8, 8)))
    graph = m.graph([flat, again])
    _, plan = check(graph, m.codes(graph))
    assert not plan.elided or plan.views[again].buffer == plan.views[flat].buffer
    assert plan.views[flat].buffer != plan.views[x].buffer


def test_make_plan_part_of_a_concatenation_that_is_overwritten_later_has_its_own_memory() -> None:
    m = maker.GraphMaker(13)
    x = m.input((1, 6, 6, 4))
    a = m.conv(x, 4)
    b = m.alias_scale(m.conv(x, 4), a)
    y = m.concat([a, b])
    w = m.conv(y, 8)
    z = m.add("ADD", [y, w], (1, 6, 6, 8), (0.05, 3), g.ElementwiseOptions())
    graph = m.graph([m.conv(z, 3), m.conv(a, 3)])
    _, plan = check(graph, m.codes(graph))
    assert plan.views[z].buffer == plan.views[y].buffer == plan.views[b].buffer
    assert plan.views[a].buffer != plan.views[y].buffer


def test_make_plan_reshaped_tensor_is_not_spread_over_pixels() -> None:
    m = maker.GraphMaker(14)
    x = m.input((1, 6, 8, 4))
    a = m.conv(x, 4)
    flat = m.same("RESHAPE", [a, m.constant([1, 4, 12, 4])], (1, 4, 12, 4), g.ReshapeOptions((1, 4, 12, 4)))
    squashed = m.add("LOGISTIC", [flat], (1, 4, 12, 4), (1 / 256, -128))
    y = m.concat([m.alias_scale(m.conv(x, 3), a), a])
    graph = m.graph([squashed, m.conv(y, 3)])
    _, plan = check(graph, m.codes(graph))
    assert plan.views[a].buffer == plan.views[flat].buffer != plan.views[y].buffer


def test_make_plan_rows_joined_inside_a_channel_concatenation_stay_whole() -> None:
    m = maker.GraphMaker(16)
    x = m.input((1, 6, 6, 4))
    a = m.conv(x, 4)
    b = m.alias_scale(m.conv(a, 4), a)
    rows = m.same("CONCATENATION", [a, b], (1, 12, 6, 4), g.ConcatOptions(1))
    y = m.concat([m.alias_scale(m.conv(rows, 3), a), rows])
    graph = m.graph([m.conv(y, 3)])
    _, plan = check(graph, m.codes(graph))
    assert plan.views[a].buffer == plan.views[rows].buffer != plan.views[y].buffer


def test_lower_pad_that_is_a_model_output_stays() -> None:
    m = maker.GraphMaker(15)
    x = m.input((1, 8, 8, 4))
    padded = m.same("PAD", [x, m.constant([[0, 0], [1, 1], [1, 1], [0, 0]])], (1, 10, 10, 4))
    graph = m.graph([m.conv(padded, 4, padding="VALID"), padded])
    steps, _ = check(graph, m.codes(graph))
    assert [step.kind for step in steps] == ["PAD", "CONV_2D"]


def test_lower_pad_before_valid_convolution_is_folded() -> None:
    m = maker.GraphMaker(8)
    x = m.input((1, 9, 7, 3), zero_point=-5)
    padded = m.same("PAD", [x, m.constant([[0, 0], [1, 2], [3, 1], [0, 0]])], (1, 12, 11, 3))
    y = m.conv(padded, 4, stride=(2, 2), padding="VALID")
    z = m.conv(padded, 3, padding="SAME")
    graph = m.graph([y, z])
    steps, plan = check(graph, m.codes(graph))
    assert [(step.kind, step.pad, step.operators) for step in steps] == [
        ("CONV_2D", (1, 3), (0, 1)),
        ("CONV_2D", (1, 3), (0, 2)),
    ]
    assert padded not in plan.views


def test_lower_pad_that_something_else_reads_stays() -> None:
    m = maker.GraphMaker(9)
    x = m.input((1, 8, 8, 4))
    padded = m.same("PAD", [x, m.constant([[0, 0], [1, 1], [1, 1], [0, 0]])], (1, 10, 10, 4))
    pooled = m.pool("MAX_POOL_2D", padded, 2, 2)
    y = m.conv(padded, 4, padding="VALID")
    graph = m.graph([pooled, y])
    steps, _ = check(graph, m.codes(graph))
    assert [step.kind for step in steps] == ["PAD", "MAX_POOL_2D", "CONV_2D"]


def test_lower_silu_and_chains_become_one_table() -> None:
    m = maker.GraphMaker(10)
    x = m.input((1, 8, 8, 4))
    y = silu(m, m.conv(x, 6))
    requantized = m.add("QUANTIZE", [y], (1, 8, 8, 6), (0.04, 7))
    half = m.tensor((1,), "int8", maker.quantization(0.01, 3), np.array([53], np.int8))
    scaled = m.add("MUL", [half, requantized], (1, 8, 8, 6), (0.02, -9), g.ElementwiseOptions())
    graph = m.graph([m.conv(scaled, 3)])
    steps, _ = check(graph, m.codes(graph))
    assert [step.kind for step in steps] == ["CONV_2D", TABLE, "CONV_2D"]
    values = np.arange(-128, 128).astype(np.int8)  # the composed table against the simulator, code by code
    table = steps[1].table
    assert table is not None
    runner = ArenaRunner(graph, steps, make_plan(graph, steps, lambda step: 0, SHARING))
    source = np.resize(values, graph.tensors[steps[1].inputs[0]].shape)
    runner.view(steps[1].inputs[0])[...] = source
    np.testing.assert_array_equal(runner.compute(steps[1])[steps[1].outputs[0]], table[source.view(np.uint8)])


def test_lower_logistic_with_a_second_reader_is_not_fused_away() -> None:
    m = maker.GraphMaker(11)
    x = m.input((1, 4, 4, 4))
    a = m.conv(x, 4)
    squashed = m.add("LOGISTIC", [a], (1, 4, 4, 4), (1 / 256, -128))
    product = m.add("MUL", [squashed, a], (1, 4, 4, 4), (0.02, 0), g.ElementwiseOptions())
    graph = m.graph([product, squashed])
    steps, _ = check(graph, m.codes(graph))
    assert [step.kind for step in steps] == ["CONV_2D", TABLE, "MUL"]


def test_lower_operator_without_readers_is_dropped() -> None:
    m = maker.GraphMaker(12)
    x = m.input((1, 4, 4, 4))
    a = m.conv(x, 4)
    m.conv(a, 8)
    graph = m.graph([a])
    steps, _ = check(graph, m.codes(graph))
    assert len(steps) == 1


@pytest.mark.parametrize("seed", range(12))
def test_make_plan_random_graphs_lose_nothing(seed: int) -> None:
    """Random mixtures of everything that shares memory."""
    m = maker.GraphMaker(seed)
    rng = np.random.default_rng(seed)
    x = m.conv(m.input((1, 6, 8, 4)), 4)
    pool = [x]
    for _ in range(14):
        a = pool[int(rng.integers(max(0, len(pool) - 4), len(pool)))]
        b = pool[int(rng.integers(len(pool)))]
        shape = m.tensors[a].shape
        match int(rng.integers(6)):
            case 0:
                y = m.conv(a, int(rng.integers(1, 7)))
            case 1:
                y = m.concat([a, m.alias_scale(m.conv(b, 3), a)])
            case 2:
                y = m.concat([a, m.alias_scale(m.conv(b, 2, (1, 1)), a), a])
            case 3 if m.tensors[b].shape == shape:
                y = m.add("ADD", [a, b], shape, (m.scale(a) * 1.5, 2), g.ElementwiseOptions())
            case 4:
                y = silu(m, a)
            case _:
                y = m.pool("MAX_POOL_2D", a, 3, 1)
        if m.tensors[y].shape[3] > 24:
            y = m.conv(y, 4)
        pool.append(y)
    graph = m.graph([pool[-1], pool[7], pool[-2]])
    steps, plan = check(graph, m.codes(graph))
    # Again and again in one arena: what an image leaves there must not reach the next one.
    runner, simulator = ArenaRunner(graph, steps, plan), Simulator(graph)
    for _ in range(2):
        codes = m.codes(graph)
        pairs = zip(runner.run(codes), simulator.invoke(*codes), strict=True)
        assert all(np.array_equal(found, expected) for found, expected in pairs)


def negated(m: maker.GraphMaker, x: int) -> int:
    """x times -1, done in place: unlike RELU, doing it to a tensor that still counts never goes unseen."""
    minus = m.tensor((1,), "int8", maker.quantization(1.0), np.array([-1], np.int8))
    return m.add("MUL", [x, minus], m.tensors[x].shape, m.params(x), g.ElementwiseOptions())


def moved(m: maker.GraphMaker, rng: np.random.Generator, pool: list[int]) -> list[int]:
    """Tensors that a random operator makes of those at hand, all (1, rows, 4, channels) of one scale."""
    params = m.params(pool[0])
    a, b = (pool[int(rng.integers(max(0, len(pool) - 5), len(pool)))] for _ in range(2))
    shape = m.tensors[a].shape
    _, rows, width, channels = shape
    alike = m.tensors[b].shape[3] == channels

    def parts(kind: str, inputs: list[int], sizes: list[int], options: g.Options) -> list[int]:
        outs = [m.tensor((1, size, width, channels), "int8", maker.quantization(*params)) for size in sizes]
        m.operators.append(g.Operator(kind, tuple(inputs), tuple(outs), options))
        return outs

    match int(rng.integers(9)):
        case 0 if rows % 2 == 0:
            return parts("SPLIT", [m.constant(1), a], [rows // 2] * 2, g.SplitOptions(2))
        case 1 if rows > 1:
            return parts("SPLIT_V", [a, m.constant([1, rows - 1]), m.constant(1)], [1, rows - 1], g.SplitOptions(2))
        case 2:
            first = int(rng.integers(rows))
            begin, size = m.constant([0, first, 0, 0]), m.constant([1, rows - first, width, channels])
            return [m.same("SLICE", [a, begin, size], (1, rows - first, width, channels))]
        case 3 if alike and rows < 9:
            whole = (1, rows + m.tensors[b].shape[1], width, channels)
            return [m.same("CONCATENATION", [a, b], whole, g.ConcatOptions(1))]
        case 4 if m.tensors[b].shape == shape:
            return [m.same("MAXIMUM", [a, b], shape)]
        case 5 if channels < 9:
            return [m.concat([a, a])]
        case 6:
            flat = m.same("RESHAPE", [a], (rows, width * channels), g.ReshapeOptions((rows, width * channels)))
            back = m.same("GATHER", [flat, m.constant(range(rows))], (rows, width * channels), g.GatherOptions(0))
            return [m.same("RESHAPE", [back], shape, g.ReshapeOptions(shape))]
        case 7 if rows < 5:
            return [m.same("TILE", [a, m.constant([1, 2, 1, 1])], (1, 2 * rows, width, channels))]
        case _:
            return [negated(m, a)]


@pytest.mark.parametrize("seed", range(16))
def test_make_plan_parts_of_tensors_lose_nothing(seed: int) -> None:
    """Random mixtures of tensors that lie in each other, some of them overwritten in place or outputs."""
    m = maker.GraphMaker(seed)
    rng = np.random.default_rng(seed)
    source = m.input((1, 6, 4, 3), 0.05, -7)
    pool = [source, negated(m, source)]
    while len(pool) < 16:
        pool += moved(m, rng, pool)
    graph = m.graph([pool[-1], pool[-2], pool[9], pool[5]])
    steps = lower(graph)
    plan = make_plan(graph, steps, lambda step: scratch_bytes(graph, step), SHARING)
    runner, simulator = ArenaRunner(graph, steps, plan), Simulator(graph)
    for _ in range(2):  # in one arena: what an image leaves there must not reach the next one
        codes = m.codes(graph)
        pairs = zip(runner.run(codes), simulator.invoke(*codes), strict=True)
        assert all(np.array_equal(found, expected) for found, expected in pairs)


def test_make_plan_detector_reaches_the_bound() -> None:
    graph = maker.rtmdet_like(64)
    steps = lower(graph)
    plan = make_plan(graph, steps, lambda step: scratch_bytes(graph, step), SHARING)
    assert plan.arena_bytes <= 1.05 * plan.bound_bytes
    assert sum(step.kind == "CONCATENATION" for step in steps) == len(plan.elided)
    assert make_plan(graph, steps, lambda step: scratch_bytes(graph, step), SHARING) == plan


def test_plan_to_text_and_picture_name_every_buffer() -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 8, 8, 4), name="pixels & <co>")
    graph = m.graph([m.conv(x, 4, name="answer")])
    steps = lower(graph)
    plan = make_plan(graph, steps, lambda step: scratch_bytes(graph, step), SHARING)
    text, picture = plan.to_text(), plan_picture(plan, "arena")
    for name in ("pixels & <co>", "answer", "scratch of step 0 (CONV_2D)"):
        assert name in text
    assert "pixels &amp; &lt;co&gt;" in picture
    assert picture.count("<title>") == len(plan.buffers)
