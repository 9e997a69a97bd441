"""Every operator that has a QDQ form, in onnxruntime with and without its integer kernels, against the simulator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from operator_graphs import CASES, graph_of, random_inputs

from edgedet.errors import ConfigError, ConversionError, UnsupportedOpError
from edgedet.exchange.export.onnx_file import run_onnx
from edgedet.exchange.export.qdq.model import nchw, qdq_model
from edgedet.exchange.export.qdq.operators import QDQ_KINDS
from edgedet.graph import graph as g
from edgedet.simulate.simulator import Simulator

onnxruntime = pytest.importorskip("onnxruntime")

# Floats round the exact result once, the chip's arithmetic twice or by a table: at most one step. These copy codes, or
# meet no tie in the case.
ROUNDED = {"TRANSPOSE_CONV", "MUL", "PRELU", "HARD_SWISH", "AVERAGE_POOL_2D", "RESIZE_BILINEAR"}
ROUNDED_16 = {"CONV_2D", "DEPTHWISE_CONV_2D", "LOGISTIC", "AVERAGE_POOL_2D"}
INT16_KINDS = (
    *("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "SUB", "MUL", "LOGISTIC", "QUANTIZE", "MAX_POOL_2D", "AVERAGE_POOL_2D"),
    *("MEAN", "PAD", "RESIZE_NEAREST_NEIGHBOR", "CONCATENATION", "RESHAPE", "TRANSPOSE", "SLICE"),
)


def plain_floats(data: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    """Without any optimization: what the nodes mean, in float32."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    feeds = {end.name: array for end, array in zip(session.get_inputs(), inputs, strict=True)}
    return session.run(None, feeds)


def largest_gap(graph: g.Graph, opset: int | None, run=run_onnx) -> int:
    """Steps between onnxruntime's outputs and the simulator's, on random codes."""
    codes = random_inputs(graph)
    expected = Simulator(graph).invoke(*codes)
    given = [real(graph.tensors[index], array) for index, array in zip(graph.inputs, codes, strict=True)]
    found = run(qdq_model(graph, opset=opset), *given)
    worst = 0
    for index, ours, value in zip(graph.outputs, expected, found, strict=True):
        tensor = graph.tensors[index]
        assert value.shape == nchw(tensor.shape)
        value = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
        theirs = np.rint(value / tensor.quantization.scale[0]) + tensor.quantization.zero_point[0]
        worst = max(worst, int(np.abs(theirs - ours).max()))
    return worst


def real(tensor: g.Tensor, codes: np.ndarray) -> np.ndarray:
    value = (codes.astype(np.float32) - tensor.quantization.zero_point[0]) * tensor.quantization.scale[0]
    return value.transpose(0, 3, 1, 2).astype(np.float32) if value.ndim == 4 else value.astype(np.float32)


@pytest.mark.parametrize("kind", [kind for kind in CASES if kind in QDQ_KINDS])
def test_operator_int8_equals_the_simulator(kind: str) -> None:
    graph = graph_of(kind, "int8")
    allowed = 1 if kind in ROUNDED else 0
    assert largest_gap(graph, None) <= allowed
    assert largest_gap(graph, None, plain_floats) <= allowed


@pytest.mark.parametrize("kind", INT16_KINDS)
def test_operator_int16_equals_the_simulator(kind: str) -> None:
    assert largest_gap(graph_of(kind, "int16"), None) <= (1 if kind in ROUNDED_16 else 0)


@pytest.mark.parametrize("opset", [13, 14, 17, 18, 20, 21])
@pytest.mark.parametrize("kind", ["CONV_2D", "MEAN", "SUM", "REDUCE_MAX", "PAD", "SPLIT", "RESIZE_NEAREST_NEIGHBOR"])
def test_operator_means_the_same_in_every_opset(kind: str, opset: int) -> None:
    assert largest_gap(graph_of(kind, "int8"), opset) == 0


def test_every_case_of_the_table_has_a_form_or_is_refused() -> None:
    refused = {kind for kind in CASES if kind not in QDQ_KINDS}
    assert refused == {"NEG", "ARG_MAX", "ARG_MIN", "PACK", "UNPACK", "GATHER", "TILE"}
    for kind in refused:
        with pytest.raises(UnsupportedOpError, match=f"{kind}.*has no QDQ form here.*CONV_2D"):
            qdq_model(graph_of(kind, "int8"))


@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1"])
def test_fused_activation_is_spelled_out(activation: str) -> None:
    graph = graph_of("ADD", "int8")
    (operator,) = graph.operators
    operator = replace(operator, options=replace(operator.options, activation=activation))
    assert largest_gap(replace(graph, operators=(operator,)), None) == 0


def test_slice_backwards_to_the_first_row() -> None:
    graph = graph_of("STRIDED_SLICE", "int8")
    bounds = ((0, 3, 0, 0), (1, -5, 4, 4), (1, -1, 1, 1))
    constants = [replace(t, data=np.array(v, np.int32)) for t, v in zip(graph.tensors[1:4], bounds, strict=True)]
    whole = replace(graph.tensors[4], shape=(1, 4, 4, 4))
    assert largest_gap(replace(graph, tensors=(graph.tensors[0], *constants, whole)), None) == 0


def test_tensors_of_the_same_name_stay_apart() -> None:
    graph = graph_of("ADD", "int8")
    same = replace(graph, tensors=tuple(replace(tensor, name="x") for tensor in graph.tensors))
    assert largest_gap(same, None) == 0


def test_int16_below_opset_21_is_refused_with_the_reason() -> None:
    with pytest.raises(
        UnsupportedOpError, match=r"int16, which QuantizeLinear takes from opset 21 on, found `opset` 17"
    ):
        qdq_model(graph_of("ADD", "int16"), opset=17)


def test_int16_bias_beyond_int32_is_refused() -> None:
    graph = graph_of("CONV_2D", "int16")
    tensors = list(graph.tensors)
    tensors[2] = replace(tensors[2], data=np.array([2**40, 0, 0, 0], np.int64))
    with pytest.raises(UnsupportedOpError, match=r"operator 0 \(CONV_2D.*bias 't2' has codes up to 1099511627776"):
        qdq_model(replace(graph, tensors=tuple(tensors)))


def test_hard_swish_below_opset_14_is_refused() -> None:
    with pytest.raises(UnsupportedOpError, match=r"HARD_SWISH.*from opset 14 on"):
        qdq_model(graph_of("HARD_SWISH", "int8"), opset=13)


@pytest.mark.parametrize("opset", [12, 22])
def test_opset_outside_the_range_is_refused(opset: int) -> None:
    with pytest.raises(ConfigError, match=f"`opset` {opset}: QDQ ONNX is written for opset 13 to 21"):
        qdq_model(graph_of("ADD", "int8"), opset=opset)


def test_activation_without_scale_is_refused() -> None:
    graph = graph_of("ADD", "int8")
    bare = replace(graph, tensors=(*graph.tensors[:2], replace(graph.tensors[2], quantization=None)))
    with pytest.raises(ConversionError, match="'t2' has no scale"):
        qdq_model(bare)
