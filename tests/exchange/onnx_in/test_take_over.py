"""Networks that were quantized elsewhere: parameters compared with ==, results with onnxruntime's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_maker import OnnxMaker
from quantize_command import quantized

from edgedet.contract.request import ContractRequest
from edgedet.contracts import PreprocessSpec
from edgedet.data.paths import DataPaths
from edgedet.data.pictures.preprocess import load_pixels, normalize
from edgedet.errors import ConversionError
from edgedet.exchange.onnx_in import take_over
from edgedet.exchange.onnx_in.api import quantize_onnx
from edgedet.exchange.onnx_in.equal import onnx_outputs
from edgedet.exchange.onnx_in.qdq import graph as qdq_graph
from edgedet.exchange.onnx_in.qdq.pairs import PAIR, QuantizedOperators
from edgedet.exchange.onnx_in.request import OnnxRequest
from edgedet.graph.graph import Graph
from edgedet.graph.model import load_int8_model
from edgedet.quantize.api import QuantizeRequest
from edgedet.quantize.fx.fake_quant import QuantConv2d
from edgedet.runtimes.open import open_runtime

SIZE = (96, 64)
PREPROCESS = PreprocessSpec(*SIZE)


def float_network(folder: Path) -> Path:
    """Fused and lone activations, a pool, a sum, a gate, a concatenation, resizing."""
    m = OnnxMaker()
    y = m.add("Relu", [m.conv("x", 3, 8, stride=2)])
    z = m.add("Relu", [m.conv(y, 8, 8, group=8)])
    y = m.add("Add", [y, m.conv(z, 8, 8, 1)])
    gate = m.add("Sigmoid", [m.conv(y, 8, 8, 1)])
    y = m.add("Mul", [y, gate])
    pooled = m.add("MaxPool", [m.conv(y, 8, 8, stride=2)], kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
    scales = [m.constant([], "float32"), m.constant([1, 1, 2, 2])]
    up = m.add("Resize", [pooled, *scales], coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    return m.save(folder / "float.onnx", [m.conv(m.add("Concat", [y, up], axis=1), 16, 5, 1)], (1, 3, SIZE[1], SIZE[0]))


def pictures(folder: Path) -> list[np.ndarray]:
    paths = sorted((folder / "train").glob("*.png"))
    return [normalize(load_pixels(path, PREPROCESS)[None], PREPROCESS).transpose(0, 3, 1, 2).copy() for path in paths]


def statically_quantized(source: Path, target: Path, data: Path, unsigned: bool) -> Path:
    """By onnxruntime's own tool."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(pictures(data))

        def get_next(self) -> dict[str, Any] | None:
            picture = next(self._left, None)
            return None if picture is None else {"x": picture}

    quantize_static(
        str(source),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8 if unsigned else QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    return target


def taken_over(path: Path, data: Path, out: Path) -> Path:
    request = QuantizeRequest(path, DataPaths(data), out)
    contract = ContractRequest(path, mean=(0.0,), std=(255.0,), channels="RGB")
    return quantize_onnx(OnnxRequest(request, contract)).model


def weights_of(graph: Graph) -> dict[str, tuple[bytes, bytes]]:
    return {
        tensor.name: (tensor.data.tobytes(), tensor.quantization.scale.tobytes())
        for op in graph.operators
        if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D")
        for tensor in (graph.tensors[i] for i in op.inputs[1:3])
        if tensor.data is not None and tensor.quantization is not None
    }


@pytest.mark.parametrize("unsigned", [True, False])
def test_take_over_keeps_every_parameter_and_computes_the_same(unsigned: bool, tmp_path: Path, toy_data: Path) -> None:
    import onnx

    path = statically_quantized(float_network(tmp_path), tmp_path / "qdq.onnx", toy_data, unsigned)
    model = load_int8_model(taken_over(path, toy_data, tmp_path / "q"))
    source = onnx.load(str(path))
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in source.graph.initializer}
    shift = 128 if unsigned else 0
    found = {
        (np.float32(t.quantization.scale[0]), int(t.quantization.zero_point[0]))
        for t in model.graph.tensors
        if t.quantization is not None and t.data is None
    }
    expected = {
        (constants[n.input[1]].item(), int(constants[n.input[2]].item()) - shift)
        for n in source.graph.node
        if n.op_type == "QuantizeLinear" and constants[n.input[1]].size == 1
    }
    # LOGISTIC's prescribed scale stands beside the file's; the rest is the file's, bit for bit.
    assert found - expected == {(np.float32(1 / 256), -128)} - expected
    assert expected - found == set()
    codes = {value.tobytes() for value in constants.values() if value.dtype == np.int32 and value.ndim == 1}
    assert {t.data.tobytes() for t in model.graph.tensors if t.dtype == "int32" and t.quantization is not None} <= codes
    # Against onnxruntime, which rounds floats: 1 step at a tie of each of ten layers, more behind a sum of both ways.
    runtime = open_runtime(model.path, "sim")
    for picture in pictures(toy_data)[:2]:
        (wanted,) = onnx_outputs(source, {"x": picture}, [source.graph.output[0].name], path)
        pixels = (picture[0].transpose(1, 2, 0) * 255).round().astype(np.uint8)
        raw = runtime.invoke(runtime.prepare(pixels))[0]
        real = (raw.astype(np.float32) - model.zero_points[0]) * np.float32(model.scales[0])
        steps = np.abs(real.transpose(0, 3, 1, 2) - wanted) / model.scales[0]
        assert steps.max() < 8
        assert steps.mean() < 0.5


def test_take_over_of_an_own_export_is_the_same_network(tmp_path: Path, toy_data: Path) -> None:
    from edgedet.exchange.export.qdq.model import qdq_model

    first = float_network(tmp_path)
    request = QuantizeRequest(first, DataPaths(toy_data), tmp_path / "first", calib_images=6, effort="fast")
    contract = ContractRequest(first, mean=(0.0,), std=(255.0,), channels="RGB")
    original = load_int8_model(quantize_onnx(OnnxRequest(request, contract)).model)
    (tmp_path / "again.onnx").write_bytes(qdq_model(original.graph))
    again = load_int8_model(taken_over(tmp_path / "again.onnx", toy_data, tmp_path / "second"))
    assert sorted(weights_of(again.graph).values()) == sorted(weights_of(original.graph).values())
    assert [op.kind for op in again.graph.operators] == [op.kind for op in original.graph.operators]
    outputs = []
    codes = np.random.default_rng(0).integers(-128, 128, (1, SIZE[1], SIZE[0], 3), np.int8)
    for model in (original, again):
        outputs.append(open_runtime(model.path, "sim").invoke(codes)[0])
    np.testing.assert_array_equal(*outputs)


def test_take_over_with_one_wrong_scale_names_the_tensor(
    tmp_path: Path, toy_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = statically_quantized(float_network(tmp_path), tmp_path / "qdq.onnx", toy_data, unsigned=False)
    right = take_over.without_pairs
    monkeypatch.setattr(qdq_graph, "_BIAS_STEPS", 1.0)  # biases of layers behind it would tell it, too
    for number in (0, 2, 5):  # the input's, and two inside

        def wrong(*arguments: Any, number: int = number) -> QuantizedOperators:
            found = right(*arguments)
            pairs = [op for op in found.operators if op.kind == PAIR]
            params = pairs[number].attributes["params"]
            # A code of 70 becomes 68; calibration lets some reach 127.
            pairs[number].attributes["params"] = replace(params, scale=np.float32(params.scale * 1.03))
            return found

        monkeypatch.setattr(take_over, "without_pairs", wrong)
        with pytest.raises(ConversionError, match=r"computes it up to [0-9.]+ steps away from onnxruntime"):
            taken_over(path, toy_data, tmp_path / "q")
        assert not (tmp_path / "q").exists()


def test_take_over_with_one_wrong_weight_scale_names_the_tensor(
    tmp_path: Path, toy_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = statically_quantized(float_network(tmp_path), tmp_path / "qdq.onnx", toy_data, unsigned=False)
    right = qdq_graph.QuantWeights.set_weight_codes

    def wrong(layer: QuantConv2d, scales: np.ndarray, codes: np.ndarray) -> None:
        factors = np.ones(len(scales), np.float32)
        factors[0] = 1.2 if layer.weight.shape[1] == 16 else 1.0  # of one channel of the last layer
        right(layer, scales * factors, codes)

    monkeypatch.setattr(qdq_graph.QuantWeights, "set_weight_codes", wrong)
    monkeypatch.setattr(qdq_graph, "_BIAS_STEPS", 1.0)  # its bias would tell it, too
    with pytest.raises(ConversionError, match="steps away from onnxruntime"):
        taken_over(path, toy_data, tmp_path / "q")


def test_take_over_clip_that_the_scale_implies_becomes_no_operator(tmp_path: Path, toy_data: Path) -> None:
    import onnx

    m = OnnxMaker()
    y = m.add("Relu", [m.conv("x", 3, 8)])
    m.save(tmp_path / "float.onnx", [m.conv(y, 8, 5, 1)], (1, 3, SIZE[1], SIZE[0]))
    path = statically_quantized(tmp_path / "float.onnx", tmp_path / "qdq.onnx", toy_data, unsigned=True)
    model = onnx.load(str(path))
    # Its Relu is the zero point 0 of uint8. A Clip behind it, between two pairs of that scale, changes no code either.
    nodes = list(model.graph.node)
    quantize = next(n for n in nodes if n.op_type == "QuantizeLinear" and n.input[0] == y)
    bounds = [onnx.numpy_helper.from_array(np.array(end, np.float32), f"bound_{end}") for end in (0, 6)]
    model.graph.initializer.extend(bounds)
    make, parameters, place = onnx.helper.make_node, list(quantize.input[1:]), nodes.index(quantize)
    nodes[place:place] = [
        make("QuantizeLinear", [y, *parameters], ["codes"], "first_q"),
        make("DequantizeLinear", ["codes", *parameters], ["real"], "first_dq"),
        make("Clip", ["real", "bound_0", "bound_6"], ["clipped"], "clip"),
    ]
    quantize.input[0] = "clipped"
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    path.write_bytes(model.SerializeToString())
    graph = load_int8_model(taken_over(path, toy_data, tmp_path / "q")).graph
    assert [op.kind for op in graph.operators] == ["CONV_2D", "CONV_2D"]


def test_take_over_partly_quantized_network_is_refused(
    tmp_path: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx

    path = statically_quantized(float_network(tmp_path), tmp_path / "qdq.onnx", toy_data, unsigned=False)
    model = onnx.load(str(path))
    pair = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0].startswith("y4"))
    real = next(n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] == pair.output[0])
    for node in model.graph.node:
        node.input[:] = [pair.input[0] if name == real.output[0] else name for name in node.input]
    path.write_bytes(model.SerializeToString())
    out = tmp_path / "q"
    assert quantized(path, toy_data, out, "--mean", "0", "--std", "255") == 2
    assert "no QuantizeLinear follows it" in capsys.readouterr().err
    assert not out.exists()
