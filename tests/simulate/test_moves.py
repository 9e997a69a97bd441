"""Operators that only move codes: 0 LSB against TFLite's reference kernels and TFLite Micro."""

from __future__ import annotations

from pathlib import Path

import graph_maker as maker
import numpy as np
import pytest
from witnesses import assert_equals_witnesses

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import read_tflite
from edgedet.simulate.simulator import Simulator

pytest.importorskip("ai_edge_litert.interpreter")
pytest.importorskip("tflite_micro")


def assert_equal(m: maker.GraphMaker, outputs: list[int], tflm: bool = True) -> None:
    graph = m.graph(outputs)
    assert_equals_witnesses(graph, m.codes(graph), tflm=tflm)


def parts(m: maker.GraphMaker, kind: str, inputs: list[int], shapes: list[tuple], options: g.Options) -> list[int]:
    """An operator with several outputs of its input's scale."""
    source = next(i for i in inputs if m.tensors[i].dtype == "int8")
    outs = [m.tensor(shape, "int8", maker.quantization(*m.params(source))) for shape in shapes]
    m.operators.append(g.Operator(kind, tuple(inputs), tuple(outs), options))
    return outs


def gather(m: maker.GraphMaker, x: int, indices: object, axis: int, dtype: str = "int32") -> int:
    shape, values = m.tensors[x].shape, np.asarray(indices)
    at = axis % len(shape)
    inputs = [x, m.constant(values, dtype)]
    return m.same("GATHER", inputs, (*shape[:at], *values.shape, *shape[at + 1 :]), g.GatherOptions(axis))


@pytest.mark.parametrize("shape", [(1, 4, 6, 5), (2, 3, 7, 6), (1, 1, 5, 5), (9, 5)])
def test_gather_equals_both_interpreters(shape: tuple[int, ...]) -> None:
    m = maker.GraphMaker(1)
    x = m.input(shape, 0.05, -7)
    outputs = []
    for axis in range(-len(shape), len(shape)):
        side = shape[axis]
        lists = [m.rng.integers(0, side, 7), range(side), range(side)[::-1], [side - 1], [0] * 4, range(0, side, 2)]
        outputs += [gather(m, x, list(indices), axis) for indices in lists]
    outputs.append(gather(m, x, 1 if shape[1] > 1 else 0, 1))  # no axis is left of a single index
    outputs.append(gather(m, x, [[0, 2, 4], [3, 1, 2]], -1))
    outputs.append(gather(m, x, [[0, 1], [2, 3]], -1))
    assert_equal(m, outputs)


def test_gather_with_int64_indices_equals_the_reference() -> None:
    """TFLite Micro takes int32 indices only."""
    m = maker.GraphMaker(2)
    x = m.input((1, 4, 6, 8), 0.05, -7)
    assert_equal(m, [gather(m, x, v, -1, "int64") for v in ([4, 5, 6, 7], [3, 0, 3])], tflm=False)


@pytest.mark.parametrize(("indices", "axis", "batch_dims"), [([6], -1, 0), ([-1], -1, 0), ([0], 4, 0), ([0], 1, 1)])
def test_gather_outside_its_input_is_refused(indices: list[int], axis: int, batch_dims: int) -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 4, 5, 6))
    y = m.same("GATHER", [x, m.constant(indices)], (1, 4, 5, 1), g.GatherOptions(axis, batch_dims))
    with pytest.raises(UnsupportedOpError, match=r"operator 0 \(GATHER, writes 't2'\): (indices|axis|batch_dims)"):
        Simulator(m.graph([y]))


def test_gather_with_computed_indices_is_refused() -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 4, 5, 6))
    m.inputs.append(m.tensor((2,), "int32", None, name="where"))
    y = m.same("GATHER", [x, m.inputs[1]], (1, 4, 5, 2), g.GatherOptions(-1))
    with pytest.raises(UnsupportedOpError, match="the indices must be a constant, but 'where' is computed"):
        Simulator(m.graph([y]))


@pytest.mark.parametrize("axis", [0, 1, 3, -1, -2])
def test_split_and_unpack_equal_both_interpreters(axis: int) -> None:
    m = maker.GraphMaker(3)
    shape = (4, 2, 8, 6)
    x = m.input(shape, 0.05, 127)

    def along(size: int) -> tuple[int, ...]:
        sides = list(shape)
        sides[axis] = size
        return tuple(sides)

    side = shape[axis]
    outputs = parts(m, "SPLIT", [m.constant(axis), x], [along(side // 2)] * 2, g.SplitOptions(2))
    sizes = [1, side - 1]
    split_v = [x, m.constant(sizes), m.constant(axis)]
    outputs += parts(m, "SPLIT_V", split_v, [along(size) for size in sizes], g.SplitOptions(2))
    rest = tuple(size for i, size in enumerate(shape) if i != axis % 4)
    outputs += parts(m, "UNPACK", [x], [rest] * side, g.UnpackOptions(side, axis))
    packed = [outputs[-1], outputs[-side], outputs[-1]]
    outputs.append(m.same("PACK", packed, (*along(3),), g.PackOptions(3, axis)))
    assert_equal(m, outputs)


def test_split_v_takes_the_rest_for_minus_one() -> None:
    """Only the reference kernels are asked: TFLite Micro goes by the declared shapes."""
    m = maker.GraphMaker(3)
    x = m.input((1, 9, 2), 0.05, -3)
    inputs = [x, m.constant([2, -1, 3]), m.constant(1)]
    assert_equal(m, parts(m, "SPLIT_V", inputs, [(1, 2, 2), (1, 4, 2), (1, 3, 2)], g.SplitOptions(3)))


@pytest.mark.parametrize("sizes", [[3, 3], [9, 0], [4, 5, 0], [-1, -1]])
def test_split_v_sizes_that_do_not_fit_are_refused(sizes: list[int]) -> None:
    m = maker.GraphMaker(3)
    x = m.input((1, 9), 0.05, -3)
    outs = parts(m, "SPLIT_V", [x, m.constant(sizes), m.constant(1)], [(1, 3), (1, 6)], g.SplitOptions(2))
    with pytest.raises(UnsupportedOpError, match=r"\(1, 9\) can't be split along axis 1 into parts of"):
        Simulator(m.graph(outs))


def test_unpack_to_another_number_of_tensors_is_refused() -> None:
    m = maker.GraphMaker(3)
    x = m.input((1, 3), 0.05, -3)
    with pytest.raises(UnsupportedOpError, match="can't be unpacked along axis 1 to 2 of 2"):
        Simulator(m.graph(parts(m, "UNPACK", [x], [(1,)] * 2, g.UnpackOptions(2, 1))))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_tile_equals_the_reference(dtype: str) -> None:
    """TFLite Micro has no TILE."""
    m = maker.GraphMaker(4)
    x = m.input((1, 3, 2, 5), 0.05, -128)
    outputs = []
    for counts in ([1, 1, 1, 1], [1, 2, 3, 1], [2, 1, 1, 4], [3, 2, 2, 2]):
        shape = tuple(count * side for count, side in zip(counts, (1, 3, 2, 5), strict=True))
        outputs.append(m.same("TILE", [x, m.constant(counts, dtype)], shape))
    assert_equal(m, outputs, tflm=False)


@pytest.mark.parametrize("multiples", [[1, 2, 1], [1, 0, 1, 1]])
def test_tile_multiples_that_do_not_fit_are_refused(multiples: list[int]) -> None:
    m = maker.GraphMaker(4)
    x = m.input((1, 3, 2, 5))
    with pytest.raises(UnsupportedOpError, match=r"multiples .* do not fit input"):
        Simulator(m.graph([m.same("TILE", [x, m.constant(multiples)], (1, 6, 2, 5))]))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_depth_and_space_equal_both_interpreters(batch: int, size: int) -> None:
    m = maker.GraphMaker(5)
    x = m.input((batch, 6, 12, 18), 0.05, 4)
    wide = 18 * size * size
    squeezed = [m.same("SPACE_TO_DEPTH", [x], (batch, 6 // size, 12 // size, wide), g.BlockSizeOptions(size))]
    deep = m.input((batch, 2, 3, 5 * size * size), 0.05, 4)
    squeezed.append(m.same("DEPTH_TO_SPACE", [deep], (batch, 2 * size, 3 * size, 5), g.BlockSizeOptions(size)))
    assert_equal(m, squeezed)


def test_space_to_depth_that_does_not_divide_is_refused() -> None:
    m = maker.GraphMaker(5)
    x = m.input((1, 5, 4, 1))
    with pytest.raises(ConversionError, match="its parameters do not fit input"):
        Simulator(m.graph([m.same("SPACE_TO_DEPTH", [x], (1, 2, 2, 4), g.BlockSizeOptions(2))]))


@pytest.mark.parametrize(
    ("shape", "order"), [((2, 3, 4, 5, 6), (4, 1, 3, 0, 2)), ((2, 3, 4), (1, 2, 0)), ((3, 1, 2, 7), (3, 0, 1, 2))]
)
def test_transpose_equals_both_interpreters(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    m = maker.GraphMaker(6)
    x = m.input(shape, 0.05, 4)
    assert_equal(m, [m.same("TRANSPOSE", [x, m.constant(order)], tuple(shape[axis] for axis in order))])


def test_transpose_of_six_axes_equals_the_reference() -> None:
    """TFLite Micro stops at five."""
    m = maker.GraphMaker(6)
    shape, order = (2, 3, 2, 4, 2, 3), (5, 3, 1, 0, 2, 4)
    x = m.input(shape, 0.05, 4)
    assert_equal(m, [m.same("TRANSPOSE", [x, m.constant(order)], tuple(shape[axis] for axis in order))], tflm=False)


SLICES = {
    "whole": ([0, 0, 0, 0], [2, 5, 7, 4], [1, 1, 1, 1], g.StridedSliceOptions()),
    "backwards": ([1, 4, -1, 3], [0, 0, 0, 0], [-1, -2, -3, -1], g.StridedSliceOptions(0, 0b1010)),
    "negative": ([-1, -4, 1, 0], [2, -1, 100, 4], [1, 2, 3, 1], g.StridedSliceOptions(0, 0)),
    "masks": ([1, 9, 9, 1], [0, 0, 0, 3], [1, 1, 2, 1], g.StridedSliceOptions(0b0110, 0b0111)),
    "shrink": ([-1, 2, 0, -2], [0, 0, 7, 0], [1, 1, 1, 1], g.StridedSliceOptions(0, 0, 0, 0, 0b1011)),
    "row of the outermost": ([1, 0, 0, 0], [2, 5, 7, 4], [1, 1, 1, 1], g.StridedSliceOptions(0, 0, 0, 0, 1)),
}


@pytest.mark.parametrize("case", SLICES)
def test_strided_slice_equals_both_interpreters(case: str) -> None:
    begin, end, step, options = SLICES[case]
    m = maker.GraphMaker(7)
    x = m.input((2, 5, 7, 4), 0.05, 4)
    key: list[slice | int] = []
    for axis in range(4):
        start = None if options.begin_mask >> axis & 1 else begin[axis]
        stop = None if options.end_mask >> axis & 1 else end[axis]
        key.append(begin[axis] if options.shrink_axis_mask >> axis & 1 else slice(start, stop, step[axis]))
    shape = np.zeros((2, 5, 7, 4))[tuple(key)].shape
    y = m.same("STRIDED_SLICE", [x, *(m.constant(v) for v in (begin, end, step))], shape, options)
    assert_equal(m, [y])


def test_gather_of_another_maker_runs_like_the_reference(shared_dir: Path) -> None:
    """gd32_yolov10_front: int64 indices, which TFLite Micro refuses."""
    graph = read_tflite(shared_dir / "data" / "tflite" / "gd32_yolov10_front.tflite")
    assert_equals_witnesses(graph, maker.GraphMaker(0).codes(graph), tflm=False)
