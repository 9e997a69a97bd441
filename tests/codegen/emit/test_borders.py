"""QUANTIZE and DEQUANTIZE at the ends of a network in generated C: every bit as the simulator, on host and chip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import border_graphs as borders
import generated
import numpy as np
import pytest

from edgedet.deploy.api import deploy
from edgedet.deploy.golden import drawn_input
from edgedet.errors import UnsupportedOpError
from edgedet.graph.flatbuffer import read_tflite, write_tflite
from edgedet.runtimes.generated_c import HostModule, QemuModule
from edgedet.simulate.simulator import Simulator

pytestmark = pytest.mark.toolchain

FLOAT = ("float32", 0.0, 0)


def assert_bits_equal(found: list[np.ndarray], expected: tuple[np.ndarray, ...]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.tobytes() == theirs.tobytes()


def all_codes(dtype: str) -> np.ndarray:
    limits = np.iinfo(dtype)
    return np.arange(limits.min, limits.max + 1).astype(dtype).reshape(1, -1, 16, 16)


@pytest.mark.parametrize("target", [("int8", 0.37, -11), ("int16", 0.0123, 0)])
def test_float_to_codes_equals_the_simulator(target: tuple[str, float, int], require_tool: Callable[..., str]) -> None:
    require_tool("cc")
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 20_000, np.uint32).view(np.float32)  # NaN, infinities and denormals among them
    ties = (np.arange(-(2**17), 2**17) / 2 * np.float32(target[1])).astype(np.float32)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 2.0**31, -(2.0**31), 3e38], np.float32)
    near = np.concatenate([np.nextafter(ties, np.float32(-np.inf)), ties, np.nextafter(ties, np.float32(np.inf))])
    flat = np.concatenate([bits, special, near])
    x = np.resize(flat, (1, 64, 128, 100))
    graph = borders.one_cast(x.shape, FLOAT, target)
    assert_bits_equal(HostModule(b"", graph)(x), Simulator(graph).invoke(x))


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (("int8", 0.37, -11), FLOAT),
        (("uint8", 0.37, 200), FLOAT),
        (("int16", 0.0123, 0), FLOAT),
        (("uint8", 0.02, 3), ("int8", 0.031, -125)),
        (("int8", 0.02, -7), ("uint8", 0.013, 250)),
        (("int8", 0.02, 5), ("int16", 0.0001, 0)),
        (("int16", 0.0001, 0), ("int8", 0.02, 5)),
        (("int16", 0.5, 0), ("int8", 0.02, 5)),
        (("int16", 0.01, 0), ("int16", 0.013, 0)),
    ],
)
def test_every_code_equals_the_simulator(
    source: tuple[str, float, int], target: tuple[str, float, int], require_tool: Callable[..., str]
) -> None:
    require_tool("cc")
    x = all_codes(source[0])
    graph = borders.one_cast(x.shape, source, target)
    assert_bits_equal(HostModule(b"", graph)(x), Simulator(graph).invoke(x))


def test_network_with_all_kinds_of_ends_builds_clean_and_passes(
    tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("gcc")
    report = generated.assert_generated_c_equals_simulator(borders.detector_with_borders(), tmp_path)
    header = (report.out / "model.h").read_text(encoding="utf-8")
    assert "edgedet_invoke(const float *input0, const int16_t *input1, const uint8_t *input2, void *arena," in header
    assert "\nvoid *edgedet_input_at(" in header


def test_float_network_has_typed_pointers(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc")
    m = borders.BorderMaker(2)
    x = m.cast(m.end((2, 9, 7, 3), "float32"), "int8", 0.02, -3)
    report = generated.assert_generated_c_equals_simulator(m.graph([m.cast(m.conv(x, 4), "float32")]), tmp_path)
    header = (report.out / "model.h").read_text(encoding="utf-8")
    assert "\nfloat *edgedet_input_at(void *arena, int index);" in header
    assert "\nconst float *edgedet_output_at(const void *arena, int index);" in header
    assert "input: float32 [2][9][7][3], 1512 bytes" in header


def test_table_behind_a_border_is_fused(require_tool: Callable[..., str]) -> None:
    """uint8 -> int8 -> LOGISTIC is one table, and takes a uint8 pointer."""
    require_tool("cc")
    m = borders.BorderMaker(2)
    x = m.cast(m.end((1, 4, 8, 8), "uint8", 0.05, 128), "int8", 0.05, 0)
    graph = m.graph([m.add("LOGISTIC", [x], (1, 4, 8, 8), (1 / 256, -128))])
    module = HostModule(b"", graph)
    codes = all_codes("uint8").reshape(1, 4, 8, 8)
    assert_bits_equal(module(codes), Simulator(graph).invoke(codes))


def test_float_border_is_cut_into_patches(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc")
    m = borders.BorderMaker(2)
    x = m.cast(m.end((1, 32, 32, 3), "float32"), "int8", 0.02, -3)
    x = m.conv(m.conv(x, 16, activation="RELU"), 16, (3, 3), (2, 2))
    graph = m.graph([m.cast(m.conv(x, 4, (3, 3), (2, 2)), "float32")])
    write_tflite(graph, tmp_path / "model.tflite")
    whole = deploy(tmp_path / "model.tflite", "c99", tmp_path / "whole")
    report = generated.assert_generated_c_equals_simulator(graph, tmp_path, ram_bytes=round(0.9 * whole.arena_bytes))
    assert report.patches is not None


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m55"])
def test_network_with_all_kinds_of_ends_on_emulated_chip(cpu: str, require_tool: Callable[..., str]) -> None:
    require_tool("arm-none-eabi-gcc")
    require_tool("qemu-system-arm")
    graph = borders.detector_with_borders()
    inputs = [drawn_input(graph, index, index) for index in graph.inputs]
    assert_bits_equal(QemuModule(b"", graph, cpu)(*inputs), Simulator(graph).invoke(*inputs))


@pytest.mark.parametrize("name", ["mit_mcunet_detection", "mlperf_ad_fullint"])
def test_real_file_with_float_ends(name: str, shared_dir: Path, require_tool: Callable[..., str]) -> None:
    require_tool("cc")
    tflm = pytest.importorskip("tflite_micro")
    path = shared_dir / "data" / "tflite" / f"{name}.tflite"
    graph, data = read_tflite(path), path.read_bytes()
    chip = tflm.runtime.Interpreter.from_bytes(data, arena_size=4_000_000)
    simulator, module = Simulator(graph), HostModule(data, graph)
    for seed in range(2):
        inputs = [drawn_input(graph, index, seed) for index in graph.inputs]
        expected = simulator.invoke(*inputs)
        chip.set_input(inputs[0], 0)
        chip.invoke()
        assert_bits_equal([chip.get_output(i) for i in range(len(graph.outputs))], expected)
        assert_bits_equal(module(*inputs), expected)


def test_scales_out_of_reach_are_refused() -> None:
    graph = borders.one_cast((1, 4, 4, 4), ("int16", 1.0, 0), ("int8", 1e-6, 0))
    with pytest.raises(UnsupportedOpError, match="is outside what the kernel computes"):
        HostModule(b"", graph)
