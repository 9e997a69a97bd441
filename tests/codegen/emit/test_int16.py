"""int16 activations in generated C: 0 LSB against the simulator and, on the way, its witnesses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import graph_maker as maker
import numpy as np
import pytest
from generated import assert_generated_c_equals_simulator
from int16_graphs import SOFT, Int16Maker, all_convolutions, all_operators
from operator_graphs import graph_of
from witnesses import assert_equals_witnesses

from edgedet.codegen.emit.compute import check_operators
from edgedet.codegen.program import build_program
from edgedet.errors import UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import serialize
from edgedet.runtimes.generated_c import HostModule, QemuModule
from edgedet.simulate.simulator import Simulator


def equal(found: list[np.ndarray], expected: tuple[np.ndarray, ...]) -> bool:
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.toolchain
@pytest.mark.parametrize("make", [all_convolutions, all_operators])
def test_generated_c_of_int16_equals_the_interpreters(make: Callable[[], g.Graph], require_tool: Callable[..., str]):
    require_tool("cc")
    pytest.importorskip("ai_edge_litert.interpreter")
    pytest.importorskip("tflite_micro")
    graph = make()
    inputs = Int16Maker(1).wide_codes(graph)
    expected = assert_equals_witnesses(graph, inputs)
    assert equal(HostModule(serialize(graph), graph)(*inputs), tuple(expected[index] for index in graph.outputs))


@pytest.mark.toolchain
@pytest.mark.parametrize("make", [all_convolutions, all_operators])
def test_generated_c_of_int16_is_clean_under_sanitizers(
    make: Callable[[], g.Graph], tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("gcc")
    assert_generated_c_equals_simulator(make(), tmp_path)


@pytest.mark.toolchain
@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m55"])
def test_generated_c_of_int16_on_chip_equals_the_simulator(cpu: str, require_tool: Callable[..., str]) -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    graph = all_operators()
    inputs = Int16Maker(2).wide_codes(graph)
    assert equal(QemuModule(serialize(graph), graph, cpu)(*inputs), Simulator(graph).invoke(*inputs))


def wide_stem() -> g.Graph:
    """int16 at full resolution, which patches must cut: QUANTIZE, convolutions, SiLU, an addition."""
    m = Int16Maker(8)
    x = m.input((1, 40, 32, 3), 0.05, -3)
    a = m.wide_conv(m.cast(x, "int16", SOFT), 8, kernel=(3, 3))
    soft = m.wide("LOGISTIC", [a], (1, 40, 32, 8), 1 / 32768)
    options = g.ElementwiseOptions(pot_scale_int16=False)
    b = m.wide("MUL", [a, soft], (1, 40, 32, 8), m.scale(a), options)
    b = m.wide_conv(b, 8, kernel=(5, 5), depthwise=True)
    b = m.wide("ADD", [a, b], (1, 40, 32, 8), 2 * m.scale(a), options)
    b = m.wide_conv(b, 8, kernel=(3, 3), stride=(4, 4))
    return m.graph([m.cast(b, "int8", 128 * m.scale(b))])


@pytest.mark.toolchain
def test_patches_of_int16_equal_the_simulator(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc")
    graph = wide_stem()
    whole = build_program(graph, graph.outputs, None).plan.arena_bytes
    report = assert_generated_c_equals_simulator(graph, tmp_path, ram_bytes=whole // 2)
    assert report.patches is not None
    assert report.arena_bytes <= whole // 2


def test_int16_tensors_take_two_bytes_of_the_plan() -> None:
    m = Int16Maker(0)
    x = m.wide_input((1, 6, 6, 4))
    graph = m.graph([m.wide_conv(x, 8, kernel=(1, 1))])
    plan = build_program(graph, graph.outputs, None).plan
    assert sorted(buffer.size_bytes for buffer in plan.buffers) == [6 * 6 * 4 * 2, 6 * 6 * 8 * 2]


def test_concatenation_of_int16_is_written_in_place() -> None:
    m = Int16Maker(0)
    x = m.wide_input((1, 6, 6, 4))
    first = m.wide_conv(x, 8, kernel=(1, 1))
    second = m.wide_conv(x, 6, kernel=(3, 3))
    scale = maker.quantization(m.scale(first))
    m.tensors[second] = replace(m.tensors[second], quantization=scale)
    joined = m.wide("CONCATENATION", [first, second], (1, 6, 6, 14), m.scale(first), g.ConcatOptions(3))
    graph = m.graph([m.wide_conv(joined, 3, kernel=(1, 1))])
    program = build_program(graph, graph.outputs, None)
    assert program.plan.views[second].offset == program.plan.views[first].offset + 8 * 2
    assert len(program.plan.elided) == 1


def test_check_operators_names_an_operator_without_an_int16_kernel() -> None:
    with pytest.raises(UnsupportedOpError, match=r"operator 0 \(PRELU, .*is int16, and the C kernel of this operator"):
        check_operators(graph_of("PRELU", "int16"))


def test_convolution_whose_accumulator_could_reach_2_to_the_47_is_refused() -> None:
    m = Int16Maker(0)
    out = m.wide_conv(m.wide_input((1, 2, 2, 3)), 2, kernel=(1, 1))
    graph = m.graph([out])
    bias = m.operators[-1].inputs[2]
    codes = np.array([5, -(2**47)], np.int64)
    tensors = tuple(replace(t, data=codes) if i == bias else t for i, t in enumerate(graph.tensors))
    with pytest.raises(UnsupportedOpError, match=r"the accumulator of channel 1 can reach .*up to 2\^47"):
        build_program(replace(graph, tensors=tensors), graph.outputs, None)
