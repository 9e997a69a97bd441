from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgedet.errors import ToolchainError
from edgedet.graph.flatbuffer import parse_tflite, read_tflite
from edgedet.graph.graph import Graph, Operator, Tensor, TransposeConvOptions
from edgedet.runtimes import tflm_arena as arena
from edgedet.runtimes.tflm_arena import cmsis_nn_margin, measure_arena
from edgedet.simulate.simulator import Simulator

pytest.importorskip("tflite_micro")


def graph_of(kind: str, input_shape: tuple[int, ...], weight_shape: tuple[int, ...]) -> Graph:
    tensors = (Tensor("x", input_shape, "int8"), Tensor("w", weight_shape, "int8"))
    return Graph(tensors, (Operator(kind, (0, 1), ()),), (), ())


def probe(work: Path, arena_bytes: int, outputs: int) -> int:
    """Exit status of a run in exactly this arena."""
    return arena._run_probe(work, arena_bytes, arena_bytes, outputs).returncode


@pytest.mark.parametrize(
    ("kind", "input_shape", "weight_shape", "expected"),
    [
        # Measured on this layer: 17,140 bytes with CMSIS-NN, 13,248 with the wheel; the column buffer is 4,608.
        ("CONV_2D", (1, 8, 8, 128), (128, 3, 3, 128), 4 * 128 * 9 + 16),
        ("CONV_2D", (1, 8, 8, 3), (8, 3, 3, 3), 4 * 32 + 16),  # 27 rounded up to 32, the MVE column
        ("DEPTHWISE_CONV_2D", (1, 8, 8, 64), (1, 5, 5, 64), 4 * 124 * 25 + 16),  # MVE blocks
        ("DEPTHWISE_CONV_2D", (1, 8, 8, 512), (1, 3, 3, 512), 2 * 512 * 9 + 16),  # DSP copy
        ("DEPTHWISE_CONV_2D", (1, 8, 8, 1), (1, 3, 3, 8), 4 * 124 * 9 + 4 * 16 + 72 + 8 + 16),
        ("FULLY_CONNECTED", (1, 64), (10, 64), 80 + 256 + 16 + 48),
        ("SVDF", (1, 16), (8, 16), 32 + 16 + 32),
        ("ADD", (1, 8, 8, 8), (1, 8, 8, 8), 0),
    ],
)
def test_cmsis_nn_margin_one_operator_gives_its_scratch(
    kind: str, input_shape: tuple[int, ...], weight_shape: tuple[int, ...], expected: int
) -> None:
    assert cmsis_nn_margin(graph_of(kind, input_shape, weight_shape), 100_000) == expected


def test_cmsis_nn_margin_transpose_conv_counts_columns_and_turned_weights() -> None:
    shapes = {"shape": (4,), "weights": (8, 3, 3, 16), "x": (1, 5, 6, 16), "y": (1, 10, 12, 8)}
    tensors = tuple(Tensor(name, shape, "int8") for name, shape in shapes.items())
    graph = Graph(tensors, (Operator("TRANSPOSE_CONV", (0, 1, 2), (3,), TransposeConvOptions(stride=(2, 2))),), (), ())
    columns = 4 * 8 * 3 * (5 * 2 + 3)  # 1,248: more than the convolution's 4 * 144
    assert cmsis_nn_margin(graph, 100_000) == -(-(columns + 8 * 9 * 16) // 16) * 16 + 16


def test_cmsis_nn_margin_lstm_keeps_the_biases_of_its_gates() -> None:
    tensors = tuple(Tensor(name, (20, 9), "int8") for name in "abc")
    graph = Graph(tensors, (Operator("UNIDIRECTIONAL_SEQUENCE_LSTM", (0, 1, 2), ()),), (), ())
    assert cmsis_nn_margin(graph, 100_000) == 8 * 160


def test_cmsis_nn_margin_two_operators_count_the_larger_once() -> None:
    one = graph_of("CONV_2D", (1, 8, 8, 16), (8, 3, 3, 16))
    two = Graph(one.tensors, one.operators * 2, (), ())
    assert cmsis_nn_margin(two, 100_000) == cmsis_nn_margin(one, 100_000) + 16


def test_cmsis_nn_margin_lists_larger_than_the_room_decide() -> None:
    graph = graph_of("CONV_2D", (1, 8, 8, 16), (8, 1, 1, 16))  # 64 bytes of scratch
    lists = 2 * 32 + 2 * 40 + 512 + 96
    assert cmsis_nn_margin(graph, lists - 320) == 320 + 16
    assert cmsis_nn_margin(graph, lists) == 64 + 16


def test_measure_arena_tiny_model_is_the_smallest_that_allocates(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny_model.read_bytes()
    graph = parse_tflite(data, "tiny")
    q_input = np.random.default_rng(0).integers(-128, 128, (1, 32, 64, 3)).astype(np.int8)
    report, outputs = measure_arena(data, graph, (q_input,))
    assert report.measured_bytes % 16 == 0
    assert report.head_bytes + report.tail_bytes <= report.measured_bytes < report.head_bytes + report.tail_bytes + 16
    assert report.total_bytes == report.measured_bytes + report.margin_bytes
    for ours, theirs in zip(Simulator(graph).invoke(q_input), outputs, strict=True):
        np.testing.assert_array_equal(ours, theirs)

    (tmp_path / "model.tflite").write_bytes(data)
    np.savez(tmp_path / "inputs.npz", q_input)
    assert probe(tmp_path, report.measured_bytes, 6) == 0
    assert probe(tmp_path, report.measured_bytes - 512, 6) == 3
    # Far too small: TFLM crashes in its constructor, which is why the probe is a process of its own.
    assert probe(tmp_path, 64, 6) < 0


def test_measure_arena_deep_and_narrow_model_has_room_for_the_planner(deep_model: Path, tmp_path: Path) -> None:
    graph = read_tflite(deep_model)
    q_input = np.zeros((1, 32, 32, 3), np.int8)
    report, outputs = measure_arena(deep_model.read_bytes(), graph, (q_input,))
    # TFLM's own report leaves out the lists of its planner.
    assert report.measured_bytes > report.head_bytes + report.tail_bytes + 1000
    np.testing.assert_array_equal(outputs[0], Simulator(graph).invoke(q_input)[0])
    (tmp_path / "model.tflite").write_bytes(deep_model.read_bytes())
    np.savez(tmp_path / "inputs.npz", q_input)
    assert probe(tmp_path, report.measured_bytes, 1) == 0
    assert probe(tmp_path, report.measured_bytes - 16, 1) != 0


def test_measure_arena_unsupported_model_names_the_reason(tiny_model: Path) -> None:
    graph = read_tflite(tiny_model)
    with pytest.raises(ToolchainError, match="TFLite Micro refuses the model"):
        measure_arena(tiny_model.read_bytes(), graph, (np.zeros((1, 8, 8, 3), np.int8),))
