"""Operator versions for int16; that interpreters accept them is tested with the simulator."""

from __future__ import annotations

import flatbuffers
import graph_maker as maker
import numpy as np
import pytest

from edgedet.errors import UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.tflite.op_versions import operator_version
from edgedet.simulate.simulator import Simulator

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
Interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter
tflite_micro = pytest.importorskip("tflite_micro")

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


def without_options(data: bytes) -> bytes:
    """The same file with no options table at any operator, as converters write RESHAPE."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for operator in model.subgraphs[0].operators:
        operator.builtinOptions, operator.builtinOptionsType = None, 0
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def reshape_chain(options: bool) -> g.Graph:
    """A RESHAPE with its shape in input 1, one with -1 in it, both with or without the shape in the options."""
    m = maker.GraphMaker(0)
    x = m.input((1, 4, 6, 4))
    flat = m.same("RESHAPE", [x, m.constant([1, 24, 4])], (1, 24, 4), g.ReshapeOptions((1, 24, 4) if options else ()))
    wide = m.same("RESHAPE", [flat, m.constant([2, -1])], (2, 48), g.ReshapeOptions((2, -1) if options else ()))
    return m.graph([wide])


def test_reshape_without_options_reads_writes_and_runs_as_with_them() -> None:
    bare = without_options(serialize(reshape_chain(options=True)))
    graph = parse_tflite(bare, "bare")
    assert [op.options for op in graph.operators] == [g.ReshapeOptions(), g.ReshapeOptions()]
    assert parse_tflite(serialize(graph), "again") == graph
    codes = np.random.default_rng(0).integers(-128, 128, (1, 4, 6, 4)).astype(np.int8)
    for data in (bare, serialize(graph), serialize(reshape_chain(options=True))):
        (found,) = Simulator(parse_tflite(data, "reshape")).invoke(codes)
        np.testing.assert_array_equal(found, codes.reshape(2, 48))
        chip = tflite_micro.runtime.Interpreter.from_bytes(data)
        chip.set_input(codes, 0)
        chip.invoke()
        np.testing.assert_array_equal(chip.get_output(0), found)
        reference = Interpreter(model_content=data)
        reference.allocate_tensors()
        reference.set_tensor(reference.get_input_details()[0]["index"], codes)
        reference.invoke()
        np.testing.assert_array_equal(reference.get_tensor(reference.get_output_details()[0]["index"]), found)


@pytest.mark.parametrize(
    ("kind", "options", "absent"),
    [
        ("SQUEEZE", g.SqueezeOptions((0,)), g.SqueezeOptions()),
        ("SOFTMAX", g.SoftmaxOptions(1.0), g.SoftmaxOptions(0.0)),  # TFLite reads zero, not the schema's default
    ],
)
def test_absent_options_are_zero_as_tflite_reads_them(kind: str, options: g.Options, absent: g.Options) -> None:
    m = maker.GraphMaker(0)
    graph = m.graph([m.same(kind, [m.input((1, 4, 4, 4))], (1, 4, 4, 4), options)])
    assert parse_tflite(without_options(serialize(graph)), "bare").operators[0].options == absent


def test_absent_options_that_have_no_zero_are_refused_by_who_runs_the_file() -> None:
    m = maker.GraphMaker(0)
    data = without_options(
        serialize(
            m.graph(
                [
                    m.pool(
                        "MAX_POOL_2D",
                        m.input((1, 4, 4, 4)),
                        2,
                        2,
                    )
                ]
            )
        )
    )
    graph = parse_tflite(data, "bare")
    assert serialize(graph) == serialize(parse_tflite(serialize(graph), "again"))
    message = r"operator 0 \(MAX_POOL_2D, writes 't1'\) needs Pool2DOptions with filter, stride, found no options"
    with pytest.raises(UnsupportedOpError, match=message):
        Simulator(graph)
