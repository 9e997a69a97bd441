"""EXP between DEQUANTIZE and QUANTIZE: computed in float by the interpreters, a table in generated C."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from border_graphs import BorderMaker

from edgedet.codegen.steps import lower
from edgedet.errors import UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import serialize
from edgedet.numerics.affine import exp_float32
from edgedet.runtimes.generated_c import HostModule
from edgedet.runtimes.interpreters import open_reference, open_tflm
from edgedet.runtimes.parity import Parity, compare_runtimes
from edgedet.simulate.simulator import Simulator

SHAPE = (1, 16, 16, 1)


class IslandMaker(BorderMaker):
    """Adds EXP."""

    def exp(self, x: int) -> int:
        out = self.tensor(self.tensors[x].shape, "float32")
        self.operators.append(g.Operator("EXP", (x,), (out,)))
        return out


def island(
    source: tuple[str, float, int] = ("int8", 0.05, 3), target: tuple[str, float, int] = ("int8", 0.02, -128)
) -> g.Graph:
    m = IslandMaker(0)
    return m.graph([m.cast(m.exp(m.cast(m.end(SHAPE, *source), "float32")), *target)])


def all_codes(dtype: str) -> np.ndarray:
    return np.arange(256, dtype=np.uint8).view(dtype).reshape(SHAPE)


@pytest.mark.parametrize(
    ("scale", "target"),
    [
        (1e-6, ("int8", 0.0039, -128)),
        (0.003, ("int8", 0.01, -128)),
        (0.05, ("int8", 2.5, -128)),
        (0.05, ("int8", 0.02, 5)),  # most codes saturate
        (0.15, ("int8", 1.5, 127)),
    ],
)
def test_island_all_codes_equal_both_interpreters(scale: float, target: tuple[str, float, int]) -> None:
    pytest.importorskip("ai_edge_litert.interpreter")
    pytest.importorskip("tflite_micro")
    graph = island(("int8", scale, 3), target)
    data = serialize(graph)
    (expected,) = Simulator(graph).invoke(all_codes("int8"))
    for _, run in (open_reference("x", data), open_tflm("x", data, graph)):
        (found,) = run(all_codes("int8"))
        assert np.array_equal(found, expected)


@pytest.mark.toolchain
def test_island_is_one_table_in_c(require_tool: Callable[..., str]) -> None:
    require_tool("cc")
    graph = island()
    (step,) = lower(graph)
    assert (step.kind, step.operators) == ("TABLE", (0, 1, 2))
    (expected,) = Simulator(graph).invoke(all_codes("int8"))
    (found,) = HostModule(b"", graph)(all_codes("int8"))
    assert np.array_equal(found, expected)


@pytest.mark.toolchain
def test_island_joins_the_tables_around_it(require_tool: Callable[..., str]) -> None:
    require_tool("cc")
    m = IslandMaker(0)
    x = m.end(SHAPE, "int8", 0.05, 3)
    half = m.tensor((1,), "int8", m.tensors[x].quantization, np.array([13], np.int8))
    y = m.add("MUL", [x, half], SHAPE, (0.05, 40), g.ElementwiseOptions())
    y = m.cast(m.exp(m.cast(y, "float32")), "int8", 0.02, -128)
    graph = m.graph([m.add("RELU", [y], SHAPE, (0.02, -128))])
    assert [step.kind for step in lower(graph)] == ["TABLE"]
    assert compare_runtimes("x", serialize(graph), graph, ("c99",)) == (Parity("c99", 0.0),)


def test_dequantize_and_quantize_without_anything_between_are_a_table() -> None:
    m = IslandMaker(0)
    graph = m.graph([m.cast(m.cast(m.end(SHAPE, "int8", 0.05, 3), "float32"), "int8", 0.03, -7)])
    assert [step.kind for step in lower(graph)] == ["TABLE"]
    (expected,) = Simulator(graph).invoke(all_codes("int8"))
    (table,) = (step.table for step in lower(graph))
    assert table is not None
    assert np.array_equal(table[all_codes("int8").view(np.uint8)], expected)


@pytest.mark.toolchain
def test_float_value_with_a_second_reader_is_refused(require_tool: Callable[..., str]) -> None:
    require_tool("cc")
    m = IslandMaker(0)
    value = m.exp(m.cast(m.end(SHAPE, "int8", 0.05, 3), "float32"))
    graph = m.graph([m.cast(value, "int8", 0.02, -128), value])
    Simulator(graph)
    with pytest.raises(UnsupportedOpError, match=r"operator 1 \(EXP.*float arithmetic in C; between a DEQUANTIZE"):
        HostModule(b"", graph)


def test_exp_float32_is_rounded_to_nearest() -> None:
    """Neighbours are no closer to what float64 says."""
    values = np.linspace(-100, 88, 10_001).astype(np.float32)
    found, exact = exp_float32(values), np.exp(values.astype(np.float64))
    gap = np.abs(found - exact)
    for direction in (-np.inf, np.inf):
        assert (gap <= np.abs(np.nextafter(found, np.float32(direction)).astype(np.float64) - exact)).all()


def test_exp_float32_overflows_to_infinity() -> None:
    assert exp_float32(np.array([89.0, -200.0], np.float32)).tolist() == [np.inf, 0.0]
