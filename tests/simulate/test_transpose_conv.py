"""TRANSPOSE_CONV: 0 LSB against TFLite's reference kernels and TFLite Micro."""

from __future__ import annotations

import graph_maker as maker
import numpy as np
import pytest
from witnesses import assert_equals_witnesses

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.simulate.simulator import Simulator

pytest.importorskip("ai_edge_litert.interpreter")
pytest.importorskip("tflite_micro")

CASES = {
    "2x2/2": {"kernel": (2, 2)},
    "3x3/2": {"kernel": (3, 3)},
    "4x4/2": {"kernel": (4, 4)},
    "3x3/1": {"stride": (1, 1)},
    "1x1/3": {"kernel": (1, 1), "stride": (3, 3)},
    "5x2/3x1": {"kernel": (5, 2), "stride": (3, 1)},
    "valid": {"padding": "VALID"},
    "valid, kernel below stride": {"kernel": (2, 2), "stride": (3, 3), "padding": "VALID"},
    "same, one less": {"sides": (7, 9)},
    "valid, one more": {"padding": "VALID", "sides": (10, 12)},
    "relu": {"activation": "RELU"},
    "relu6": {"activation": "RELU6"},
    "per tensor": {"per_channel": False},
    "no bias": {"bias": False},
    "saturating": {"spread": 4.0},
    "narrow": {"spread": 0.002},
}


def assert_equals_both(graph: g.Graph, m: maker.GraphMaker, reference: bool = True) -> None:
    assert_equals_witnesses(graph, m.codes(graph), reference=reference)


@pytest.mark.parametrize("case", CASES)
def test_transpose_conv_equals_both_interpreters(case: str) -> None:
    m = maker.GraphMaker(len(case))
    x = m.input((2, 4, 5, 6), 0.05, -13)
    assert_equals_both(m.graph([m.transpose_conv(x, 7, **CASES[case])]), m)


@pytest.mark.parametrize("zero_point", [-128, 0, 127])
def test_transpose_conv_of_one_pixel_equals_both_interpreters(zero_point: int) -> None:
    m = maker.GraphMaker(1)
    x = m.input((1, 1, 1, 32), 0.05, zero_point)
    assert_equals_both(m.graph([m.transpose_conv(x, 3), m.transpose_conv(x, 1, (2, 3), padding="VALID")]), m)


def test_transpose_conv_upsampling_decoder_equals_both_interpreters() -> None:
    m = maker.GraphMaker(2)
    x = m.conv(m.input((1, 12, 16, 3)), 8, stride=(2, 2), activation="RELU6")
    y = m.transpose_conv(m.conv(x, 16, stride=(2, 2), activation="RELU6"), 8, (4, 4), activation="RELU")
    y = m.add("ADD", [x, y], m.tensors[x].shape, (0.05, -100), g.ElementwiseOptions())
    assert_equals_both(m.graph([m.transpose_conv(y, 2, (2, 2))]), m)


def with_shape(m: maker.GraphMaker, y: int, shape: object) -> g.Graph:
    """The graph with another output shape as the operator's first input."""
    index = m.operators[-1].inputs[0]
    old, data = m.tensors[index], np.asarray(shape, np.int32)
    m.tensors[index] = g.Tensor(old.name, data.shape, old.dtype, None, data)
    return m.graph([y])


def test_transpose_conv_other_shape_than_declared_is_refused() -> None:
    m = maker.GraphMaker(1)
    y = m.transpose_conv(m.input((1, 4, 4, 2)), 3)
    with pytest.raises(ConversionError, match=r"has shape \(1, 8, 8, 3\), computed \(1, 8, 9, 3\)"):
        Simulator(with_shape(m, y, (1, 8, 9, 3)))


def test_transpose_conv_wrong_depth_is_refused() -> None:
    m = maker.GraphMaker(1)
    x, other = m.input((1, 4, 4, 2)), m.input((1, 4, 4, 5))
    y = m.transpose_conv(x, 3)
    old = m.operators[-1]
    m.operators[-1] = g.Operator(old.kind, (*old.inputs[:2], other, old.inputs[3]), old.outputs, old.options)
    with pytest.raises(UnsupportedOpError, match=r"shapes \(1, 4, 4, 5\) x \(3, 3, 3, 2\) -> .* do not fit"):
        Simulator(m.graph([y]))
