"""SOFTMAX in generated C: every byte as the simulator, on host and chip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import generated
import graph_maker as maker
import numpy as np
import pytest

from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import read_tflite
from edgedet.runtimes.generated_c import HostModule, QemuModule
from edgedet.runtimes.parity import compare_runtimes
from edgedet.simulate.simulator import Simulator

pytestmark = pytest.mark.toolchain


def softmax_graph(shape: tuple[int, ...], scale: float, beta: float = 1.0) -> g.Graph:
    m = maker.GraphMaker(0)
    x = m.input(shape, scale, -3)
    return m.graph([m.add("SOFTMAX", [x], shape, (1 / 256, -128), g.SoftmaxOptions(beta))])


@pytest.mark.parametrize("shape", [(300, 2), (40, 10), (1, 511), (1, 4095), (2, 5, 7, 9), (6,), (3, 1)])
@pytest.mark.parametrize("scale", [0.003, 0.07, 0.4])
def test_softmax_equals_the_simulator(shape: tuple[int, ...], scale: float, require_tool: Callable[..., str]) -> None:
    require_tool("cc")
    graph, rng = softmax_graph(shape, scale), np.random.default_rng(0)
    module, simulator = HostModule(b"", graph), Simulator(graph)
    for high in (128, 10, -127):  # the last one: all codes equal
        x = rng.integers(-128, high, shape).astype(np.int8)
        np.testing.assert_array_equal(module(x)[0], simulator.invoke(x)[0])


def test_softmax_in_a_network_builds_clean_and_passes(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    """In place of what nothing reads afterwards, and into the pixels of a concatenation."""
    require_tool("gcc")
    m = maker.GraphMaker(1)
    x = m.input((1, 6, 5, 3))
    a = m.conv(x, 8)
    left = m.add("SOFTMAX", [a], (1, 6, 5, 8), (1 / 256, -128), g.SoftmaxOptions())
    right = m.add("SOFTMAX", [m.conv(x, 4)], (1, 6, 5, 4), (1 / 256, -128), g.SoftmaxOptions(0.5))
    generated.assert_generated_c_equals_simulator(m.graph([m.conv(m.concat([left, right]), 5)]), tmp_path)


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m55"])
def test_softmax_on_emulated_chip(cpu: str, require_tool: Callable[..., str]) -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    graph = softmax_graph((60, 11), 0.09)
    x = np.random.default_rng(0).integers(-128, 128, (60, 11)).astype(np.int8)
    np.testing.assert_array_equal(QemuModule(b"", graph, cpu)(x)[0], Simulator(graph).invoke(x)[0])


@pytest.mark.parametrize(
    "name", ["mlperf_resnet_quant", "mlperf_kws", "mlperf_vww", "tflm_micro_speech", "seeed_fomo_mnv2"]
)
def test_real_file_with_softmax(name: str, shared_dir: Path, require_tool: Callable[..., str]) -> None:
    require_tool("cc")
    pytest.importorskip("tflite_micro")
    path = shared_dir / "data" / "tflite" / f"{name}.tflite"
    for parity in compare_runtimes(name, path.read_bytes(), read_tflite(path), ("tflm", "c99"), images=2):
        assert parity.exact, parity
