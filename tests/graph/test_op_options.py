"""Operator versions for int16; that interpreters accept them is tested with the simulator."""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.op_options import operator_version

_VERSIONS = {
    "CONV_2D": 4,
    "DEPTHWISE_CONV_2D": 5,
    "ADD": 3,
    "SUB": 5,
    "MUL": 4,
    "LOGISTIC": 3,
    "CONCATENATION": 3,
    "MAX_POOL_2D": 3,
    "RESIZE_NEAREST_NEIGHBOR": 4,
    "PAD": 3,
    "RESHAPE": 1,
    "MEAN": 3,
    "TRANSPOSE": 5,
    "SLICE": 4,
    "STRIDED_SLICE": 1,
}


def tensor(name: str, dtype: str, shape: tuple[int, ...] = (1, 2, 2, 4)) -> g.Tensor:
    return g.Tensor(name, shape, dtype, g.Quantization(np.array([0.1], np.float32), np.zeros(1, np.int64)))


@pytest.mark.parametrize("kind", _VERSIONS)
def test_operator_version_int16_is_the_one_of_op_version_cc(kind: str) -> None:
    tensors = (tensor("x", "int16"), tensor("w", "int8"), tensor("y", "int16"))
    assert operator_version(g.Operator(kind, (0, 1), (2,)), tensors) == _VERSIONS[kind]


@pytest.mark.parametrize(("source", "target", "version"), [("int8", "int16", 2), ("int16", "int8", 1)])
def test_operator_version_quantize_goes_by_the_output(source: str, target: str, version: int) -> None:
    tensors = (tensor("x", source), tensor("y", target))
    assert operator_version(g.Operator("QUANTIZE", (0,), (1,)), tensors) == version


@pytest.mark.parametrize("kind", ["ADD", "SUB"])
@pytest.mark.parametrize("pot_scale", [True, False])
def test_pot_scale_int16_survives_a_file(kind: str, pot_scale: bool) -> None:
    tensors = (tensor("x", "int16"), tensor("y", "int16"))
    options = g.ElementwiseOptions("RELU", pot_scale_int16=pot_scale)
    graph = g.Graph(tensors, (g.Operator(kind, (0, 0), (1,), options),), (0,), (1,))
    assert parse_tflite(serialize(graph), "test").operators[0].options == options
