"""Where TFLite's reference kernels (LiteRT 2.3.0) and TFLite Micro part: edgedet follows TFLite Micro.

What docs/arithmetic.md and `open_reference` say about it. A newer ai-edge-litert that makes a test of a difference fail
has moved: measure again, and say so there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import read_tflite, serialize
from edgedet.runtimes.interpreters import open_reference, open_tflm
from edgedet.runtimes.parity import compare_runtimes
from edgedet.simulate.simulator import Simulator

pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra runtime")
pytest.importorskip("tflite_micro", reason="needs the extra tflm")

EVERY_CODE = np.arange(-128, 128, dtype=np.int8)


def int8_tensor(name: str, size: int, scale: float, zero_point: int) -> g.Tensor:
    quantization = g.Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))
    return g.Tensor(name, (1, size), "int8", quantization)


def outputs_of(graph: g.Graph, *inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(simulator, TFLite Micro, TFLite's reference kernels), flat."""
    data = serialize(graph)
    runs = (Simulator(graph).invoke, open_tflm("test", data, graph)[1], open_reference("test", data)[1])
    ours, chip, reference = (run(*inputs)[0].ravel() for run in runs)
    return ours, chip, reference


@pytest.mark.parametrize(("name", "lsb"), [("derived_fc_litert_vs_tflm", 1), ("mlperf_ad_int8io", 2)])
def test_fully_connected_per_tensor_is_rounded_twice_by_tflm_once_by_litert(
    shared_dir: Path, name: str, lsb: int
) -> None:
    path = shared_dir / "data" / "tflite" / f"{name}.tflite"
    tflm, ref = compare_runtimes(name, path.read_bytes(), read_tflite(path), ("tflm", "ref"), images=10)
    assert tflm.difference == 0
    assert ref.difference == lsb


@pytest.mark.parametrize(
    ("kind", "source", "target", "code", "tflm", "reference"),
    [
        ("LOGISTIC", (0.02844490483403206, 19), (1 / 256, -128), 61, 68, 69),
        ("LOGISTIC", (0.005649111699312925, 44), (1 / 256, -128), -72, -40, -41),
        ("TANH", (0.025125036016106606, 35), (1 / 128, 0), 25, -32, -31),
    ],
)
def test_unary_table_differs_in_one_code(
    kind: str, source: tuple[float, int], target: tuple[float, int], code: int, tflm: int, reference: int
) -> None:
    tensors = (int8_tensor("x", 256, *source), int8_tensor("y", 256, *target))
    graph = g.Graph(tensors, (g.Operator(kind, (0,), (1,)),), (0,), (1,))
    ours, chip, theirs = outputs_of(graph, EVERY_CODE[None])
    np.testing.assert_array_equal(ours, chip)
    assert (ours[code + 128], theirs[code + 128]) == (tflm, reference)
    assert np.abs(ours.astype(int) - theirs).sum() <= 2


def test_mul_multiplier_in_float64_by_tflm_in_float32_by_litert() -> None:
    tensors = (
        int8_tensor("a", 65536, 0.1263734996318817, -78),
        int8_tensor("b", 65536, 0.05994611606001854, 33),
        int8_tensor("y", 65536, 0.2700567841529846, -79),
    )
    graph = g.Graph(tensors, (g.Operator("MUL", (0, 1), (2,), g.ElementwiseOptions()),), (0, 1), (2,))
    ours, chip, theirs = outputs_of(graph, np.repeat(EVERY_CODE, 256)[None], np.tile(EVERY_CODE, 256)[None])
    np.testing.assert_array_equal(ours, chip)
    pair = (-109 + 128) * 256 + (-109 + 128)
    assert (ours[pair], theirs[pair]) == (45, 44)
    gap = np.abs(ours.astype(int) - theirs)
    assert gap.max() == 1
    assert np.count_nonzero(gap) < 25
