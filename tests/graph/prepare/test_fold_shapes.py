"""Arithmetic on shapes becomes constants: the same outputs as TFLite Micro, which computes it at every inference."""

from __future__ import annotations

from pathlib import Path

import generated
import graph_maker as maker
import numpy as np
import pytest

from edgedet.graph import graph as g
from edgedet.graph.check import foreign_operators
from edgedet.graph.flatbuffer import parse_tflite, serialize, write_tflite
from edgedet.graph.prepare.fold_shapes import fold_shapes
from edgedet.graph.prepare.load import load_tflite, prepare_tflite
from edgedet.simulate.simulator import Simulator

tflm = pytest.importorskip("tflite_micro")

SHAPE_OPTIONS = g.OpaqueOptions("no meaning", "ShapeOptions", (g.OpaqueField("OutType", "", 2),))
ADD = g.ElementwiseOptions()


class ShapeMaker(maker.GraphMaker):  # type: ignore[misc]  # loaded by path
    """Operators on int32 tensors."""

    def ints(
        self, kind: str, inputs: list[int], shape: tuple[int, ...], options: g.Options, dtype: str = "int32"
    ) -> int:
        out = self.tensor(shape, dtype)
        self.operators.append(g.Operator(kind, tuple(inputs), (out,), options))
        return out

    def shape_of(self, x: int) -> int:
        return self.ints("SHAPE", [x], (len(self.tensors[x].shape),), SHAPE_OPTIONS)

    def side(self, shape: int, axis: int) -> int:
        """One side as a number: STRIDED_SLICE with the axis shrunk."""
        bounds = [self.constant([value]) for value in (axis, axis + 1, 1)]
        return self.ints("STRIDED_SLICE", [shape, *bounds], (), g.StridedSliceOptions(shrink_axis_mask=1))


def keras_flatten() -> g.Graph:
    """(1, h, w, c) -> (1, h * w * c): SHAPE, STRIDED_SLICE, PACK, RESHAPE, as Keras writes Reshape layers."""
    m = ShapeMaker(0)
    x = m.conv(m.input((1, 6, 5, 3)), 4)
    batch = m.side(m.shape_of(x), 0)
    shape = m.ints("PACK", [batch, m.constant(120)], (2,), g.PackOptions(2, 0))
    y = m.same("RESHAPE", [x, shape], (1, 120), g.ReshapeOptions())
    return m.graph([m.same("RESHAPE", [y, m.constant([1, 10, 12])], (1, 10, 12), g.ReshapeOptions())])


def computed_resize() -> g.Graph:
    """Sizes of a resize: twice the input's, by MUL of a slice, and a concatenation for the RESHAPE behind it."""
    m = ShapeMaker(1)
    x = m.conv(m.input((1, 4, 7, 3)), 4)
    sides = m.shape_of(x)
    bounds = [m.constant([value]) for value in (1, 3, 1)]
    plane = m.ints("STRIDED_SLICE", [sides, *bounds], (2,), g.StridedSliceOptions())
    double = m.ints("MUL", [plane, m.constant([2, 2])], (2,), ADD)
    y = m.same("RESIZE_NEAREST_NEIGHBOR", [x, double], (1, 8, 14, 4), g.ResizeOptions())
    joined = m.ints("CONCATENATION", [m.constant([1]), m.constant([112, 4])], (3,), g.ConcatOptions(0))
    return m.graph([m.same("RESHAPE", [y, joined], (1, 112, 4), g.ReshapeOptions())])


@pytest.mark.parametrize("make", [keras_flatten, computed_resize])
def test_outputs_equal_tflm(make: object) -> None:
    data = serialize(make())  # type: ignore[operator]
    graph = parse_tflite(data, "test")
    x = np.random.default_rng(0).integers(-128, 128, graph.tensors[graph.inputs[0]].shape).astype(np.int8)
    (found,) = Simulator(graph).invoke(x)
    folded = prepare_tflite(data, "test")
    assert {operator.kind for operator in folded.graph.operators} <= {"CONV_2D", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR"}
    for name, content in (("before", data), ("after", folded.data)):
        if make is computed_resize and name == "before":
            continue  # TFLite Micro wants the size of a resize as a constant
        chip = tflm.runtime.Interpreter.from_bytes(content, arena_size=1_000_000)
        chip.set_input(x, 0)
        chip.invoke()
        np.testing.assert_array_equal(found, chip.get_output(0), err_msg=name)


@pytest.mark.toolchain
def test_c_is_generated_without_the_shapes(tmp_path: Path, require_tool: object) -> None:
    require_tool("gcc")  # type: ignore[operator]
    report = generated.assert_generated_c_equals_simulator(keras_flatten(), tmp_path)
    assert {use.kind for use in report.operators} == {"CONV_2D", "RESHAPE"}
    assert "changed:   3 operators on shapes became constants" in report.text()


@pytest.mark.parametrize(
    ("kind", "operands", "options", "expected"),
    [
        ("ADD", ([3, 4], [1, 2]), ADD, [4, 6]),
        ("SUB", ([3, 4], [1, 2]), ADD, [2, 2]),
        ("MUL", ([3, 4], [5]), ADD, [15, 20]),
        ("MAXIMUM", ([3, 4], [5, 1]), g.NoOptions(), [5, 4]),
        ("MINIMUM", ([3, 4], [5, 1]), g.NoOptions(), [3, 1]),
        ("GATHER", ([7, 8, 9], [2, 0]), g.GatherOptions(0), [9, 7]),
        ("SLICE", ([7, 8, 9], [1], [2]), g.NoOptions(), [8, 9]),
        ("CONCATENATION", ([7], [8, 9]), g.ConcatOptions(0), [7, 8, 9]),
        ("SUM", ([7, 8], [0]), g.ReduceOptions(True), [15]),
        ("REDUCE_PROD", ([7, 8, 2], [0]), g.OpaqueOptions("unknown", "ReducerOptions"), [112]),
        ("FLOOR_DIV", ([7, -7], [2]), g.OpaqueOptions("unknown"), [3, -4]),
        ("FLOOR_MOD", ([7, -7], [4]), g.OpaqueOptions("unknown"), [3, 1]),
        ("RESHAPE", ([7, 8], [2, 1]), g.ReshapeOptions(), [7, 8]),
        ("CAST", ([7, 8],), g.OpaqueOptions("unknown", "CastOptions"), [7, 8]),
    ],
)
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_constants_are_folded(
    kind: str, operands: tuple[list[int], ...], options: g.Options, expected: list[int], dtype: str
) -> None:
    m = ShapeMaker(0)
    result = m.ints(kind, [m.constant(values) for values in operands], (len(expected),), options, dtype)
    graph = m.graph([m.conv(m.input((1, 4, 4, 3)), 2)])
    folded = fold_shapes(graph)
    assert [operator.kind for operator in folded.operators] == ["CONV_2D"]
    data = folded.tensors[result].data
    assert data is not None
    assert (data.dtype.name, data.tolist()) == (dtype, expected)


def test_what_can_not_be_computed_stays() -> None:
    m = ShapeMaker(0)
    source = m.tensor((2,), "int32")
    m.inputs.append(source)
    m.ints("ADD", [source, m.constant([1, 2])], (2,), ADD)  # of an input
    m.ints("FLOOR_DIV", [m.constant([7]), m.constant([0])], (1,), g.OpaqueOptions("unknown"))
    m.ints("GATHER", [m.constant([7, 8]), m.constant([5])], (1,), g.GatherOptions(0))  # outside
    m.ints("ADD", [m.constant([1]), m.constant([2])], (1,), g.ElementwiseOptions("RELU"))
    m.ints("ADD", [m.constant([1]), m.constant([2])], (3,), ADD)  # declared with another size
    output = m.ints("ADD", [m.constant([1]), m.constant([2])], (1,), ADD)
    graph = m.graph([output])
    assert fold_shapes(graph) is graph


def test_files_without_shapes_are_left_alone(tmp_path: Path) -> None:
    m = maker.GraphMaker(0)
    write_tflite(m.graph([m.conv(m.input((1, 4, 4, 3)), 2)]), tmp_path / "model.tflite")
    loaded = load_tflite(tmp_path / "model.tflite")
    assert loaded.data == (tmp_path / "model.tflite").read_bytes()
    assert loaded.notes == ()


def test_reports_do_not_call_folded_operators_unsupported() -> None:
    assert foreign_operators(keras_flatten()) == []
    m = ShapeMaker(0)
    x = m.input((1, 4, 4, 3))
    m.ints("SHAPE", [x], (4,), SHAPE_OPTIONS, "bool")
    graph = m.graph([m.conv(x, 2)])
    assert foreign_operators(graph) == ["operator 0 (SHAPE, writes 't1') no meaning"]
