"""uint8 files converted to int8: 0 LSB against LiteRT's uint8 reference kernels, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import generated
import graph_maker as maker
import numpy as np
import pytest

from edgedet.commands.main import main
from edgedet.errors import UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import parse_tflite, read_tflite, serialize, write_tflite
from edgedet.graph.prepare.uint8_to_int8 import is_uint8, uint8_to_int8
from edgedet.numerics.integer import multiply_by_quantized_multiplier, quantize_multiplier
from edgedet.simulate.simulator import Simulator

litert = pytest.importorskip("ai_edge_litert.interpreter")


class Uint8Maker(maker.GraphMaker):  # type: ignore[misc]  # loaded by path
    """The int8 maker's operators, written as uint8 with random zero points of weights."""

    def as_uint8(self, outputs: list[int], weight_zero_points: tuple[int, int] = (128, 128)) -> g.Graph:
        graph = self.graph(outputs)
        weights = {
            o.inputs[1] for o in graph.operators if o.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
        }
        tensors = []
        for index, tensor in enumerate(graph.tensors):
            if tensor.dtype != "int8":
                tensors.append(tensor)
                continue
            zero = int(self.rng.integers(*weight_zero_points, endpoint=True)) if index in weights else 128
            quant = maker.quantization(tensor.quantization.scale, int(tensor.quantization.zero_point[0]) + zero)
            data = None
            if tensor.data is not None:
                data = np.clip(tensor.data.astype(np.int16) + zero, 0, 255).astype(np.uint8)
            tensors.append(replace(tensor, dtype="uint8", quantization=quant, data=data))
        return replace(graph, tensors=tuple(tensors))


def litert_outputs(graph: g.Graph, inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    interpreter = litert.Interpreter(
        model_content=serialize(graph), experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    for index, codes in zip(graph.inputs, inputs, strict=True):
        interpreter.set_tensor(index, codes)
    interpreter.invoke()
    return [interpreter.get_tensor(index) for index in graph.outputs]


def assert_converted_exactly(graph: g.Graph, images: int = 2) -> g.Graph:
    """Run the uint8 graph in LiteRT and the int8 one in the simulator."""
    converted = parse_tflite(serialize(uint8_to_int8(graph, "test")), "test")
    assert not any(tensor.dtype == "uint8" for tensor in converted.tensors)
    simulator, rng = Simulator(converted), np.random.default_rng(0)
    for _ in range(images):
        inputs = tuple(rng.integers(0, 256, graph.tensors[i].shape).astype(np.uint8) for i in graph.inputs)
        found = simulator.invoke(*((codes ^ 128).view(np.int8) for codes in inputs))
        for ours, theirs in zip(found, litert_outputs(graph, inputs), strict=True):
            np.testing.assert_array_equal(ours.view(np.uint8) ^ 128 if ours.dtype == np.int8 else ours, theirs)
    return converted


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("activation", ["NONE", "RELU", "RELU6"])
@pytest.mark.parametrize("seed", range(4))
def test_convolutions_equal_litert(depthwise: bool, activation: str, seed: int) -> None:
    m = Uint8Maker(seed)
    x = m.input((1, 13, 11, 6), 1 / 127.5 if seed else 0.02, int(m.rng.integers(-128, 127)))
    y = m.conv(x, 6, (3, 3), (2, 1), activation=activation, depthwise=depthwise, per_channel=False)
    y = m.conv(y, 12, (1, 1), per_channel=False, zero_point=int(m.rng.integers(-128, 127)))
    assert_converted_exactly(m.as_uint8([y], (126, 130)))


def fully_connected(m: Uint8Maker, x: int, channels: int) -> int:
    depth = m.tensors[x].shape[-1]
    weights = m.rng.integers(-100, 100, (channels, depth)).astype(np.int8)
    scale = float(np.float32(0.013))
    bias = m.rng.integers(-5000, 5000, channels).astype(np.int32)
    inputs = [
        x,
        m.tensor(weights.shape, "int8", maker.quantization(scale), weights),
        m.tensor((channels,), "int32", maker.quantization(scale * m.scale(x)), bias),
    ]
    return m.add("FULLY_CONNECTED", inputs, (m.tensors[x].shape[0], channels), (0.09, 5), g.FullyConnectedOptions())


@pytest.mark.parametrize("seed", range(4))
def test_fully_connected_equals_the_uint8_kernel(seed: int) -> None:
    """Of TFLite up to 2.14 (fully_connected.h); LiteRT 2.3.0 rounds once and differs by 1 in rare codes."""
    m = Uint8Maker(seed)
    graph = m.as_uint8([fully_connected(m, m.input((50, 40), 0.017, -3), 30)], (120, 140))
    x = np.random.default_rng(seed).integers(0, 256, (50, 40)).astype(np.uint8)
    offset = [int(tensor.quantization.zero_point[0]) for tensor in graph.tensors]
    scale = [np.float32(tensor.quantization.scale[0]) for tensor in graph.tensors]
    _, weights, bias, _ = (tensor.data for tensor in graph.tensors)
    sums = (x.astype(np.int64) - offset[0]) @ (weights.astype(np.int64) - offset[1]).T + bias
    multiplier, shift = quantize_multiplier(float(scale[0] * scale[1]) / float(scale[3]))
    expected = np.clip(multiply_by_quantized_multiplier(sums, multiplier, shift) + offset[3], 0, 255)
    (found,) = Simulator(uint8_to_int8(graph, "test")).invoke((x ^ 128).view(np.int8))
    np.testing.assert_array_equal(found.astype(np.int64) + 128, expected)
    assert np.abs(litert_outputs(graph, (x,))[0].astype(int) - expected).max() <= 1


ALL_CODES = (1, 16, 16, 2)


def elementwise(m: Uint8Maker, kind: str) -> int:
    x, y = m.input(ALL_CODES, 0.021, -9), m.input(ALL_CODES, 0.034, 12)
    return m.add(kind, [x, y], ALL_CODES, (0.05 if kind != "MUL" else 0.013, 3), g.ElementwiseOptions("RELU"))


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL"])
def test_elementwise_operators_equal_litert(kind: str) -> None:
    m = Uint8Maker(0)
    assert_converted_exactly(m.as_uint8([elementwise(m, kind)]), images=40)


@pytest.mark.parametrize("kind", ["RELU", "LEAKY_RELU", "QUANTIZE"])
def test_functions_of_one_code_equal_litert(kind: str) -> None:
    m = Uint8Maker(0)
    options = g.LeakyReluOptions(0.11) if kind == "LEAKY_RELU" else g.NoOptions()
    x = m.input((1, 64, 64, 2), 0.021, -9)
    y = m.pool("MAX_POOL_2D", x, 1, 1)  # something that is uint8 for sure
    assert_converted_exactly(m.as_uint8([m.add(kind, [y], (1, 64, 64, 2), (0.017, -20), options)]))


def moving_graph(m: Uint8Maker) -> g.Graph:
    """Operators that only move codes, with int32 parameters."""
    x, other = m.input((1, 6, 8, 4), 0.02, 5), m.input((1, 6, 8, 2), 0.02, 5)
    y = m.concat([x, other])
    y = m.same("PAD", [y, m.constant([[0, 0], [1, 0], [0, 2], [0, 0]])], (1, 7, 10, 6))
    y = m.same("RESIZE_NEAREST_NEIGHBOR", [y, m.constant([14, 20])], (1, 14, 20, 6), g.ResizeOptions())
    y = m.pool("AVERAGE_POOL_2D", m.pool("MAX_POOL_2D", y, 3, 2), 3, 1, "VALID")
    batch, height, width, depth = m.tensors[y].shape
    y = m.same("TRANSPOSE", [y, m.constant([0, 3, 1, 2])], (batch, depth, height, width))
    y = m.same("RESHAPE", [y], (batch, depth * height * width), g.ReshapeOptions((batch, depth * height * width)))
    return m.as_uint8([y])


def test_moving_operators_equal_litert() -> None:
    assert_converted_exactly(moving_graph(Uint8Maker(0)))


def test_borders_of_uint8_networks_equal_litert() -> None:
    """A uint8 network with a float end: DEQUANTIZE takes the int8 codes."""
    m = Uint8Maker(3)
    y = m.conv(m.input((1, 9, 9, 3)), 5, per_channel=False)
    graph = m.as_uint8([y])
    out = g.Tensor("real", graph.tensors[y].shape, "float32")
    graph = replace(
        graph,
        tensors=(*graph.tensors, out),
        operators=(*graph.operators, g.Operator("DEQUANTIZE", (y,), (len(graph.tensors),))),
        outputs=(len(graph.tensors),),
    )
    assert_converted_exactly(graph)


def test_real_file_equals_litert(shared_dir: Path) -> None:
    graph = read_tflite(shared_dir / "data" / "tflite" / "coral_split_concat.tflite")
    assert is_uint8(graph)
    converted = assert_converted_exactly(graph)
    assert [converted.tensors[index].dtype for index in converted.inputs] == ["int8"] * 3


def test_int8_graph_is_left_alone() -> None:
    m = maker.GraphMaker(0)
    graph = m.graph([m.conv(m.input((1, 8, 8, 3)), 4)])
    assert not is_uint8(graph)
    assert uint8_to_int8(graph, "test") is graph


def test_weights_beyond_int8_are_refused() -> None:
    m = Uint8Maker(0)
    y = m.conv(m.input((1, 8, 8, 3)), 4, per_channel=False)
    graph = m.as_uint8([y])
    index = graph.operators[0].inputs[1]
    tensors = list(graph.tensors)
    tensors[index] = replace(tensors[index], quantization=maker.quantization(tensors[index].quantization.scale, 10))
    with pytest.raises(
        UnsupportedOpError, match=r"test: a uint8 file .* operator 0 \(CONV_2D.*codes from their zero point 10"
    ):
        uint8_to_int8(replace(graph, tensors=tuple(tensors)), "test")


def test_even_average_pool_is_refused() -> None:
    m = Uint8Maker(0)
    graph = m.as_uint8([m.pool("AVERAGE_POOL_2D", m.input((1, 8, 8, 3)), 2, 2)])
    with pytest.raises(UnsupportedOpError, match="averages even numbers of values"):
        uint8_to_int8(graph, "test")
    assert_converted_exactly(
        Uint8Maker.as_uint8(m := Uint8Maker(1), [m.pool("AVERAGE_POOL_2D", m.input((1, 9, 9, 3)), 3, 3)])
    )


@pytest.mark.parametrize("kind", ["LOGISTIC", "SOFTMAX", "TANH"])
def test_operators_with_other_arithmetic_are_refused(kind: str) -> None:
    m = Uint8Maker(0)
    params = (1 / 128, 0) if kind == "TANH" else (1 / 256, -128)
    options = g.SoftmaxOptions() if kind == "SOFTMAX" else g.NoOptions()
    graph = m.as_uint8([m.add(kind, [m.input((1, 8))], (1, 8), params, options)])
    with pytest.raises(UnsupportedOpError, match=rf"operator 0 \({kind}.*can give different codes"):
        uint8_to_int8(graph, "test")


@pytest.mark.toolchain
def test_uint8_file_is_converted_when_it_is_deployed(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc")
    report = generated.assert_generated_c_equals_simulator(moving_graph(Uint8Maker(0)), tmp_path)
    assert "changed:   uint8 file, converted exactly to int8" in report.text()


def test_convert_int8_writes_the_int8_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = moving_graph(Uint8Maker(0))
    write_tflite(graph, tmp_path / "old.tflite")
    old, new = str(tmp_path / "old.tflite"), str(tmp_path / "new.tflite")
    assert main(["convert", old, "--int8", "--out", new]) == 0
    assert "converted exactly to int8" in " ".join(capsys.readouterr().out.split())
    assert read_tflite(new) == parse_tflite(serialize(uint8_to_int8(graph, "test")), "test")
    assert main(["convert", old, "--int8"]) == 2
    assert "give its name with --out" in capsys.readouterr().err
    assert main(["convert", new, "--int8", "--out", old]) == 2
    assert "is int8 from end to end" in capsys.readouterr().err
    assert read_tflite(old) == parse_tflite(serialize(graph), "test")
