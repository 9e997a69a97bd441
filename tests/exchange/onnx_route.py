"""A second way from a fake-quantized network to an int8 file, which shares no code with edgedet's writer.

torch -> ONNX -> onnxsim -> onnx-graphsurgeon -> onnx2tf -> float TFLite -> ai-edge-quantizer. Scales and weights are
those of the torch network. Converters keep neither names nor order, so tensors are found again by the values that they
have on one picture.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from torch.fx import GraphModule

from edgedet.diagnose.rebuild import without_rounding
from edgedet.quantize.fx.fake_quant import QuantConv2d
from edgedet.quantize.fx.prepare import quantized_by
from edgedet.quantize.fx.qparams import AffineParams
from edgedet.quantize.fx.walk import GraphWalk

SCRIPT = Path(__file__).with_name("onnx2tf_offline.py")
# Largest difference of a tensor in two float runtimes, as a fraction of its largest value. They add in another order:
# float32 rounding over 50 convolutions in a row, measured up to 1e-5.
SAME = 1e-4
# Two tensors with different scales must differ by more than this, or it is left to chance which is which.
DIFFERENT = 1e-3


@dataclass(frozen=True, eq=False)
class Known:
    """A tensor of the torch network."""

    label: str
    value: np.ndarray  # float32 NHWC, on the probe
    params: AffineParams


@dataclass(frozen=True, eq=False)
class Constants:
    """Integer numbers of one convolution."""

    kind: str  # CONV_2D or DEPTHWISE_CONV_2D
    weight: np.ndarray  # int8, TFLite's layout
    weight_scale: np.ndarray  # float32 (O,)
    bias: np.ndarray  # int32 (O,)
    bias_scale: np.ndarray  # float32 (O,)

    @property
    def key(self) -> tuple[object, ...]:
        """Hashable: equal exactly when every number is."""
        arrays = (self.weight, self.weight_scale, self.bias, self.bias_scale)
        return (self.kind, *((a.dtype.str, a.shape, a.tobytes()) for a in arrays))


@dataclass(frozen=True, eq=False)
class Crossed:
    """What came out of the second way."""

    onnx: bytes  # simplified, float
    data: bytes  # int8 .tflite
    outputs: tuple[str, ...]  # names of the file's output tensors, in the order of the torch network's outputs
    activations: int  # tensors found by value
    weights: int
    worst_match: float  # largest difference of a pair, as a fraction of its largest value
    closest_other: float  # smallest difference to a tensor with another scale


def export_onnx(network: GraphModule, probe: torch.Tensor) -> bytes:
    """ONNX file of a float network, simplified.

    Args:
        network: NCHW, a tuple of outputs.
        probe: float32 (1, 3, H, W).
    """
    import onnx
    import onnx_graphsurgeon
    import onnxsim

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter over TorchScript is called legacy, but it needs no further package; onnxsim folds what it leaves.
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (probe,), buffer, dynamo=False, opset_version=17)
    model, same = onnxsim.simplify(onnx.load_from_string(buffer.getvalue()))
    assert same, "onnxsim changed what the network computes"
    clean = onnx_graphsurgeon.import_onnx(model).cleanup().toposort()
    return onnx_graphsurgeon.export_onnx(clean).SerializeToString()


def float_tflite(model: bytes, folder: Path) -> bytes:
    """Float .tflite that onnx2tf makes of an ONNX file; `folder` is for its files."""
    source, target = folder / "model.onnx", folder / "onnx2tf"
    source.write_bytes(model)
    # One thread: TensorFlow otherwise starts one for each core for each of its pools.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, str(SCRIPT), str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, f"onnx2tf failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return (target / "model_float32.tflite").read_bytes()


def known_tensors(frozen: GraphModule, network: GraphModule, probe: torch.Tensor) -> list[Known]:
    """Every tensor of the fake-quantized network, with its value in the float network and its scale.

    Args:
        frozen: gives the scales.
        network: the same without rounding.
        probe: float32 (1, 3, H, W).
    """
    modules = dict(frozen.named_modules(remove_duplicate=False))
    values = {node.name: value for node, value in GraphWalk(network).values(probe).items()}
    found = []

    def add(label: str, value: torch.Tensor, params: AffineParams) -> None:
        found.append(Known(label, np.ascontiguousarray(value.numpy().transpose(0, 2, 3, 1)), params))

    for node in frozen.graph.nodes:
        if node.op == "output":
            continue
        params = quantized_by(node, modules).params
        add(node.name, values[node.name], params)
        conv = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(conv, QuantConv2d):
            continue
        source = node.all_input_nodes[0]
        if any(conv.padding):
            add(f"{node.name}.padded", conv.pad(values[source.name]), quantized_by(source, modules).params)
        if conv.activation == "unit":
            # A clamp to 0..1 stays operators of its own in the other file, where ours saturates. Before the clamp the
            # same scale holds: what saturates there, the clamp would have cut off.
            with torch.inference_mode():
                plain = conv.convolve(values[source.name])
            add(f"{node.name}.plain", plain, params)
            add(f"{node.name}.minimum", plain.clamp(max=1.0), params)
            add(f"{node.name}.maximum", plain.clamp(min=0.0), params)
    return found


def read_tflite(data: bytes) -> tuple[Any, Any]:
    """(model, its only subgraph), schema objects."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    assert len(model.subgraphs) == 1
    for buffer in model.buffers:
        if buffer.offset > 1:  # ai-edge-quantizer puts larger constants behind the flatbuffer
            buffer.data = np.frombuffer(data, np.uint8, buffer.size, buffer.offset)
    return model, model.subgraphs[0]


def constant(model: Any, tensor: Any) -> np.ndarray | None:
    """Data of a float32, int32 or int8 tensor; None when it is computed."""
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        return None
    dtype = {0: np.float32, 2: np.int32, 9: np.int8}[tensor.type]
    return np.asarray(data, np.uint8).view(dtype).reshape(tensor.shape)


def kind_of(model: Any, operator: Any) -> str:
    """Name of an operator in TFLite's BuiltinOperator."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return next(name for name, value in vars(schema.BuiltinOperator).items() if value == number)


def conv_operators(model: Any, graph: Any) -> list[tuple[str, Any, Any]]:
    """(kind, weight tensor, bias tensor) of each convolution."""
    kinds = [(kind_of(model, operator), operator) for operator in graph.operators]
    return [
        (kind, graph.tensors[operator.inputs[1]], graph.tensors[operator.inputs[2]])
        for kind, operator in kinds
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D")
    ]


def conv_constants(data: bytes) -> list[Constants]:
    """Numbers of every convolution of an int8 file."""
    model, graph = read_tflite(data)
    found = []
    for kind, weight, bias in conv_operators(model, graph):
        arrays = [constant(model, weight), np.float32(weight.quantization.scale)]
        arrays += [constant(model, bias), np.float32(bias.quantization.scale)]
        found.append(Constants(kind, *arrays))
    return found


def float_values(data: bytes, probe: np.ndarray) -> tuple[dict[str, np.ndarray], list[str]]:
    """Value of every computed tensor of a float file, by name, and the names of its outputs.

    Args:
        data: the file.
        probe: float32 (1, H, W, 3).
    """
    model, graph = read_tflite(data)
    interpreter = Interpreter(
        model_content=data,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(graph.inputs[0], probe)
    interpreter.invoke()
    names = [tensor.name.decode() for tensor in graph.tensors]
    assert len(set(names)) == len(names)
    values = {
        name: interpreter.get_tensor(index)
        for index, (name, tensor) in enumerate(zip(names, graph.tensors, strict=True))
        if constant(model, tensor) is None
    }
    return values, [names[index] for index in graph.outputs]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference as a fraction of the largest value; infinite for different shapes."""
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a - b).max() / max(np.abs(a).max(), np.abs(b).max(), 1e-30))


def find_params(name: str, value: np.ndarray, known: list[Known]) -> tuple[AffineParams, float, float]:
    """Scale of a tensor, the distance of the torch tensor that it is, and that of the next with another scale."""
    ranked = sorted(((distance(value, k.value), k) for k in known), key=lambda pair: pair[0])
    best, match = ranked[0]
    assert best <= SAME, f"{name} {value.shape}: no torch tensor has its values; closest is {match.label}, {best:.2g}"
    other = next((d for d, k in ranked if k.params != match.params), float("inf"))
    assert other > DIFFERENT, f"{name} {value.shape}: {match.label} and a tensor of another scale both fit, {other:.2g}"
    return match.params, best, other


def weight_ranges(data: bytes, frozen: GraphModule) -> dict[str, dict[str, np.ndarray]]:
    """Ranges, by tensor name, that give the weights of a float file the scales of the torch network."""
    by_value = {}
    for conv in frozen.modules():
        if not isinstance(conv, QuantConv2d):
            continue
        axes = (1, 2, 3, 0) if conv.groups > 1 else (0, 2, 3, 1)
        weight = np.ascontiguousarray(conv.weight.detach().numpy().transpose(axes))
        by_value[weight.shape, weight.tobytes()] = conv
    model, graph = read_tflite(data)
    ranges = {}
    for kind, weight, _ in conv_operators(model, graph):
        values = constant(model, weight)
        name = weight.name.decode()
        assert values is not None
        assert name not in ranges, f"{name}: two convolutions share these weights"
        conv = by_value[values.shape, values.tobytes()]  # bit for bit: the way may change no weight
        assert (kind == "DEPTHWISE_CONV_2D") == (conv.groups > 1)
        largest = 127 * conv.weight_scale.numpy().astype(np.float64)
        largest = largest.reshape((1, 1, 1, -1) if conv.groups > 1 else (-1, 1, 1, 1))
        ranges[name] = {"min": -largest, "max": largest}
    return ranges


def activation_range(params: AffineParams) -> dict[str, np.ndarray]:
    """Smallest and largest value that int8 codes show, as ai-edge-quantizer takes them."""
    scale = np.float64(params.scale)
    ends = {"min": (-128 - params.zero_point) * scale, "max": (127 - params.zero_point) * scale}
    return {name: np.full((1, 1, 1, 1), value) for name, value in ends.items()}


def quantize(data: bytes, ranges: dict[str, dict[str, np.ndarray]]) -> bytes:
    """int8 file that ai-edge-quantizer makes of a float file.

    Args:
        data: float .tflite.
        ranges: name of each computed tensor and each weight -> {"min", "max"}.
    """
    from ai_edge_quantizer import recipe
    from ai_edge_quantizer.quantizer import Quantizer

    quantizer = Quantizer(bytearray(data))
    quantizer.load_quantization_recipe(recipe.static_wi8_ai8())
    quantized = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False).quantized_model
    assert quantized is not None
    return bytes(quantized)


def cross(frozen: GraphModule, probe: np.ndarray, folder: Path) -> Crossed:
    """Take a network the second way.

    Args:
        frozen: fake-quantized, with integer codes.
        probe: float32 (1, H, W, 3), normalized; a picture on which no two tensors of different scale are alike.
        folder: for intermediate files.
    """
    network = without_rounding(frozen).eval()
    picture = torch.from_numpy(probe).permute(0, 3, 1, 2)
    exported = export_onnx(network, picture)
    data = float_tflite(exported, folder)
    known = known_tensors(frozen, network, picture)
    values, output_names = float_values(data, probe)
    found = {name: find_params(name, value, known) for name, value in values.items()}
    ranges = weight_ranges(data, frozen)
    with torch.inference_mode():
        outputs = [output.numpy().transpose(0, 2, 3, 1) for output in network(picture)]
    by_output = [[n for n in output_names if distance(values[n], output) <= SAME] for output in outputs]
    assert all(len(names) == 1 for names in by_output), by_output
    return Crossed(
        onnx=exported,
        data=quantize(data, ranges | {name: activation_range(params) for name, (params, _, _) in found.items()}),
        outputs=tuple(names[0] for names in by_output),
        activations=len(found),
        weights=len(ranges),
        worst_match=max(best for _, best, _ in found.values()),
        closest_other=min(other for _, _, other in found.values()),
    )
