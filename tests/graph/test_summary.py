from __future__ import annotations

from pathlib import Path

import numpy as np

from edgedet.graph.flatbuffer import read_tflite
from edgedet.graph.graph import ConvOptions, ElementwiseOptions, Graph, NoOptions, Operator, Quantization, Tensor
from edgedet.graph.summary import live_bytes, summarize


def tensor(name: str, *shape: int, data: np.ndarray | None = None) -> Tensor:
    return Tensor(name, shape, "int8", Quantization(np.array([0.1], np.float32), np.array([0])), data)


def chain() -> Graph:
    tensors = (
        tensor("x", 1, 4, 4, 2),  # 32 bytes
        tensor("w", 8, 1, 1, 2, data=np.ones((8, 1, 1, 2), np.int8)),
        tensor("a", 1, 4, 4, 8),  # 128
        tensor("b", 1, 4, 4, 8),
        tensor("y", 1, 4, 4, 8),
    )
    operators = (
        Operator("CONV_2D", (0, 1), (2,), ConvOptions()),
        Operator("LOGISTIC", (2,), (3,), NoOptions()),
        Operator("MUL", (2, 3), (4,), ElementwiseOptions()),
    )
    return Graph(tensors, operators, (0,), (4,))


def test_live_bytes_counts_tensors_from_writer_to_last_reader() -> None:
    assert live_bytes(chain()) == [32 + 128, 128 + 128, 3 * 128]


def test_live_bytes_unread_output_lives_to_the_end() -> None:
    graph = chain()
    assert live_bytes(Graph(graph.tensors, graph.operators, (0,), (4, 2)))[-1] == 3 * 128
    assert live_bytes(Graph(graph.tensors, graph.operators[:2], (0,), (2, 3))) == [160, 256]


def test_summarize_counts_macs_constants_and_peak() -> None:
    found = summarize(chain())
    assert found.operators == {"CONV_2D": 1, "LOGISTIC": 1, "MUL": 1}
    assert (found.macs, found.weight_bytes, found.tensors, found.operator_count) == (4 * 4 * 8 * 2, 16, 5, 3)
    assert (found.peak_activation_bytes, found.peak_operator) == (384, 2)


def test_summarize_example_matches_published_numbers(shared_dir: Path) -> None:
    found = summarize(read_tflite(shared_dir / "data" / "example_15_ops_int8.tflite"))
    assert (found.operator_count, found.macs, found.peak_activation_bytes) == (15, 7_833_600, 110_592)
    text = found.to_text()
    assert "MACs                   7,833,600" in text
    assert "input" in text
    assert not text.endswith("\n")
