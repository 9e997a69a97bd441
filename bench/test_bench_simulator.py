"""Simulator on a network of the size of rtmdet_nano_ncadc_relu6: `pytest bench/test_bench_simulator.py`.

Set OPENBLAS_NUM_THREADS=1 on a busy machine: OpenBLAS waits for its second thread at every one of 80 small products.
"""

from __future__ import annotations

import graph_maker as maker
import numpy as np
import pytest

from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.summary import summarize
from edgedet.simulate.simulator import Simulator


@pytest.fixture(scope="module")
def data() -> bytes:
    return serialize(maker.rtmdet_like(192))


def test_invoke_nano_192(benchmark: object, data: bytes) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    graph = parse_tflite(data, "bench")
    assert summarize(graph).macs > 330e6
    simulator = Simulator(graph)
    x = np.random.default_rng(0).integers(-128, 128, (1, 192, 192, 3)).astype(np.int8)
    reference = litert.Interpreter(model_content=data, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF)
    reference.allocate_tensors()
    reference.set_tensor(graph.inputs[0], x)
    reference.invoke()
    for index, codes in zip(graph.outputs, simulator.invoke(x), strict=True):
        np.testing.assert_array_equal(codes, reference.get_tensor(index))
    benchmark(simulator.invoke, x)  # type: ignore[operator]


def test_build_nano_192(benchmark: object, data: bytes) -> None:
    graph = parse_tflite(data, "bench")
    benchmark(Simulator, graph)  # type: ignore[operator]


def test_parse_nano_192(benchmark: object, data: bytes) -> None:
    assert serialize(parse_tflite(data, "bench")) == data
    benchmark(parse_tflite, data, "bench")  # type: ignore[operator]


def test_serialize_nano_192(benchmark: object, data: bytes) -> None:
    graph = parse_tflite(data, "bench")
    assert serialize(graph) == data
    benchmark(serialize, graph)  # type: ignore[operator]
