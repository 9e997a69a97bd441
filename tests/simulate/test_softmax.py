"""SOFTMAX, 0 LSB against TFLite Micro; LiteRT's own algorithm for int8 stays within 1."""

from __future__ import annotations

import graph_maker as maker
import numpy as np
import pytest
from witnesses import assert_equals_witnesses

from edgedet.errors import UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import serialize
from edgedet.simulate.simulator import Simulator

litert = pytest.importorskip("ai_edge_litert.interpreter")
tflm = pytest.importorskip("tflite_micro")

OUTPUT = (1 / 256, -128)


def softmax_graph(
    shape: tuple[int, ...], scale: float, beta: float = 1.0, zero_point: int = 0, output: tuple[float, int] = OUTPUT
) -> g.Graph:
    m = maker.GraphMaker(0)
    x = m.input(shape, scale, zero_point)
    return m.graph([m.add("SOFTMAX", [x], shape, output, g.SoftmaxOptions(beta))])


def all_pairs() -> np.ndarray:
    """Every difference of two codes, at the bottom and at the top of the range, as rows of two."""
    codes = np.arange(-128, 128)
    low, high = np.full(256, -128), np.full(256, 127)
    return np.concatenate([np.stack(pair, axis=1) for pair in ((low, codes), (codes, high))]).astype(np.int8)


@pytest.mark.parametrize("beta", [1.0, 0.3, 2.5])
@pytest.mark.parametrize("scale", [1e-7, 1e-4, 0.01, 0.0719, 1 / 16, 0.2, 0.9, 3.0, 17.0])
def test_softmax_of_every_difference_equals_tflm(scale: float, beta: float) -> None:
    x = all_pairs()
    assert_equals_witnesses(softmax_graph(x.shape, scale, beta), (x,), reference=False)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (7, 10), (1, 12), (3, 5, 4, 9), (2, 500), (6,), (2, 3, 5)])
@pytest.mark.parametrize("spread", [1, 10, 60, 255])
def test_softmax_of_random_rows_equals_tflm(shape: tuple[int, ...], spread: int) -> None:
    rng = np.random.default_rng(spread)
    for scale in (0.003, 0.05, 0.17):
        x = np.clip(np.round(rng.normal(0, spread / 3, shape)), -128, 127).astype(np.int8)
        assert_equals_witnesses(softmax_graph(shape, scale, zero_point=-3), (x,), reference=False)


def test_softmax_of_equal_codes_equals_tflm_for_every_depth() -> None:
    """The sum is the depth: every start of the division, the exact powers of two among them."""
    for depth in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256, 257, 510, 511):
        x = np.full((1, depth), 5, np.int8)
        assert_equals_witnesses(softmax_graph(x.shape, 0.1), (x,), reference=False)


@pytest.mark.parametrize("depth", [1000, 4095])
def test_softmax_of_long_rows_equals_tflm(depth: int) -> None:
    x = np.random.default_rng(depth).integers(-128, 128, (3, depth)).astype(np.int8)
    assert_equals_witnesses(softmax_graph(x.shape, 0.17), (x,), reference=False)


def test_softmax_of_more_than_511_equal_codes_is_zero() -> None:
    """Each is below half a code; TFLite Micro shifts by more than 31 bits there, and stops where it checks that."""
    for depth in (512, 513, 1000, 2048, 4095):
        x = np.full((1, depth), 5, np.int8)
        (found,) = Simulator(softmax_graph(x.shape, 0.1)).invoke(x)
        assert (found == -128).all()


def test_softmax_of_litert_differs_by_one_at_most() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (500, 10)).astype(np.int8)
    graph = softmax_graph(x.shape, 0.07)
    tflite = litert.Interpreter(
        model_content=serialize(graph), experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF
    )
    tflite.allocate_tensors()
    tflite.set_tensor(graph.inputs[0], x)
    tflite.invoke()
    (ours,) = Simulator(graph).invoke(x)
    assert np.abs(ours.astype(int) - tflite.get_tensor(graph.outputs[0])).max() <= 1


def test_softmax_that_the_kernels_refuse_is_refused() -> None:
    with pytest.raises(UnsupportedOpError, match=r"must be \(0.00390625, -128\), found \(0.25, 0\)"):
        Simulator(softmax_graph((1, 4), 0.1, output=(0.25, 0)))
    with pytest.raises(UnsupportedOpError, match="a row of 4096 values; the kernels' sum holds 4095"):
        Simulator(softmax_graph((1, 4096), 0.1))
    with pytest.raises(UnsupportedOpError, match="is too small"):
        Simulator(softmax_graph((1, 4), 1e-9))
