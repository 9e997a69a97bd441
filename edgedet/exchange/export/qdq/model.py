"""int8 graph -> QDQ ONNX with exactly its scales, zero points, weights and biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgedet.errors import ConfigError
from edgedet.exchange.export.qdq.builder import INT16_OPSET, QdqBuilder
from edgedet.exchange.export.qdq.operators import emit
from edgedet.graph.graph import Graph

OPSETS = (13, 21)  # smallest: QuantizeLinear for each channel; largest that is tested
DEFAULT_OPSET = 17


def default_opset(graph: Graph) -> int:
    """Opset when none is asked for: as old as the graph's types allow, so that many tools read it."""
    return INT16_OPSET if any(tensor.dtype == "int16" for tensor in graph.tensors) else DEFAULT_OPSET


def qdq_model(graph: Graph, outputs: Sequence[int] | None = None, opset: int | None = None) -> bytes:
    """QDQ ONNX model of a graph.

    Args:
        graph: int8, or int8 and int16, batch 1; as `load_tflite` gives it.
        outputs: positions in `graph.outputs`, in the order that the model shall have; None: as they stand.
        opset: 13..21; None: `default_opset`.
    Returns:
        Bytes of the model: float32 inputs and outputs with the names of the graph's tensors, NCHW where they have four
        axes.
    Raises:
        ConfigError: opset outside the range.
        UnsupportedOpError: an operator or type without a form here; int16 below opset 21.
        ConversionError: a tensor without scale.
    """
    builder = QdqBuilder(graph, _checked_opset(graph, opset))
    for index in graph.inputs:
        builder.take_input(index)
    for number in range(len(graph.operators)):
        emit(builder, number)
    chosen = range(len(graph.outputs)) if outputs is None else outputs
    inputs = {index: builder.name(index) for index in graph.inputs}
    return _finished(builder, inputs, [graph.outputs[position] for position in chosen])


def operators_apart(graph: Graph, opset: int | None = None) -> tuple[bytes, tuple[int, ...], tuple[int, ...]]:
    """The same operators, none reading another: what each gives from any inputs can be compared with the graph's.

    Args:
        graph: as in `qdq_model`.
        opset: as in `qdq_model`.
    Returns:
        (the model, indices of the tensors that it reads, of those that it writes).
    Raises:
        As `qdq_model`.
    """
    builder = QdqBuilder(graph, _checked_opset(graph, opset), apart=True)
    for number in range(len(graph.operators)):
        emit(builder, number)
    assert builder.given is not None
    made = tuple(index for operator in graph.operators for index in operator.outputs)
    return _finished(builder, builder.given, made), tuple(builder.given), made


def _checked_opset(graph: Graph, opset: int | None) -> int:
    opset = default_opset(graph) if opset is None else opset
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ConfigError(f"`opset` {opset}: QDQ ONNX is written for opset {OPSETS[0]} to {OPSETS[1]}")
    return opset


def _finished(builder: QdqBuilder, inputs: Mapping[int, str], outputs: Sequence[int]) -> bytes:
    from onnx import TensorProto, checker, helper

    def value_info(index: int, name: str) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, nchw(builder.graph.tensors[index].shape))

    ends = (
        [value_info(index, name) for index, name in inputs.items()],
        [value_info(index, builder.name(index)) for index in outputs],
    )
    body = helper.make_graph(builder.nodes, "edgedet", *ends, builder.initializers)
    opsets = [helper.make_opsetid("", builder.opset)]
    version = helper.find_min_ir_version_for(opsets)
    model = helper.make_model(body, opset_imports=opsets, producer_name="edgedet", ir_version=version)
    checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def nchw(shape: Sequence[int]) -> tuple[int, ...]:
    """Shape in ONNX of a tensor with this shape in the graph."""
    return tuple(shape) if len(shape) != 4 else (shape[0], shape[3], shape[1], shape[2])
