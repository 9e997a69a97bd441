"""All exact runtimes on random inputs."""

from __future__ import annotations

import graph_maker as maker
import numpy as np
import pytest

from edgedet.errors import ConfigError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import serialize
from edgedet.runtimes.parity import Parity, compare_runtimes, largest_difference, random_inputs


def test_compare_runtimes_two_inputs_all_exact() -> None:
    pytest.importorskip("ai_edge_litert.interpreter")
    pytest.importorskip("tflite_micro")
    m = maker.GraphMaker(0)
    first, second = m.input((1, 5, 4, 3), 0.05, -3), m.input((1, 5, 4, 3), 0.02, 7)
    graph = m.graph([m.conv(m.add("ADD", [first, second], (1, 5, 4, 3), (0.06, 1), g.ElementwiseOptions()), 4)])
    found = compare_runtimes("x.tflite", serialize(graph), graph, ("ref", "tflm"))
    assert found == (Parity("ref", 0.0), Parity("tflm", 0.0))
    assert all(parity.exact for parity in found)


def test_compare_runtimes_finds_a_difference() -> None:
    """The bytes of one file with the graph of another: every output is one code higher."""
    pytest.importorskip("tflite_micro")
    m = maker.GraphMaker(0)
    x = m.input((1, 4, 4, 2), 0.05, 0)
    graph = m.graph([m.add("RELU", [x], (1, 4, 4, 2), (0.05, 0))])
    shifted = maker.GraphMaker(0)
    y = shifted.input((1, 4, 4, 2), 0.05, 0)
    other = shifted.graph([shifted.add("RELU", [y], (1, 4, 4, 2), (0.05, 1))])
    (found,) = compare_runtimes("x.tflite", serialize(other), graph, ("tflm",))
    assert found == Parity("tflm", 1.0)
    assert not found.exact


def test_compare_runtimes_refusal_is_a_result() -> None:
    pytest.importorskip("tflite_micro")
    m = maker.GraphMaker(0)
    x = m.input((1, 4, 4, 2), 0.05, 0)
    graph = m.graph([m.same("RELU_N1_TO_1", [x], (1, 4, 4, 2))])  # TFLite Micro has no such kernel
    (found,) = compare_runtimes("x.tflite", serialize(graph), graph, ("tflm",))
    assert found.difference is None
    assert not found.exact
    assert found.refusal.startswith("x.tflite: tflite-micro ")


def test_compare_runtimes_unknown_runtime_lists_the_known_ones() -> None:
    graph = maker.GraphMaker(0).graph([])
    with pytest.raises(ConfigError, match=r"can't compare xnnpack; expected some of ref, tflm, c99"):
        compare_runtimes("x.tflite", b"", graph, ("xnnpack",))


def test_random_inputs_float_goes_beyond_what_its_quantize_holds() -> None:
    m = maker.GraphMaker(0)
    x = m.tensor((1, 100, 100, 1), "float32")
    m.inputs.append(x)
    graph = m.graph([m.add("QUANTIZE", [x], (1, 100, 100, 1), (0.5, -128))])
    (values,) = random_inputs(graph, np.random.default_rng(0))
    assert values.dtype == np.float32
    assert -12.75 <= values.min() < 0.0
    assert 127.5 < values.max() <= 127.5 + 12.76


def test_random_inputs_codes_reach_both_ends() -> None:
    m = maker.GraphMaker(0)
    graph = m.graph([m.input((1, 100, 100, 1))])
    (codes,) = random_inputs(graph, np.random.default_rng(0))
    assert (codes.dtype, codes.min(), codes.max()) == (np.int8, -128, 127)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (np.array([1, 2], np.int8), np.array([1, 2], np.int8), 0.0),
        (np.array([-128], np.int8), np.array([127], np.int8), 255.0),
        (np.array([1], np.int8), np.array([1], np.int16), np.inf),
        (np.array([1, 1], np.int8), np.array([[1, 1]], np.int8), np.inf),
        (np.array([0.5], np.float32), np.array([0.25], np.float32), 0.25),
        (np.array([np.nan], np.float32), np.array([0.25], np.float32), np.inf),
        (np.array([np.nan], np.float32), np.array([np.nan], np.float32), 0.0),
    ],
)
def test_largest_difference(first: np.ndarray, second: np.ndarray, expected: float) -> None:
    assert largest_difference(first, second) == expected


def test_largest_difference_sees_the_sign_of_zero() -> None:
    assert largest_difference(np.array([0.0], np.float32), np.array([-0.0], np.float32)) > 0.0
