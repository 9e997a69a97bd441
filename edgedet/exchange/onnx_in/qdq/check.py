"""Whether a taken-over network computes what its QDQ file says: each operator alone, from the same values.

All together would not tell: both sides add float32 in orders of their own, a sum at a tie becomes another code, and the
codes behind it differ in turn, by about a step of an output in the mean after a hundred operators. So onnxruntime gets
the network's own codes of every quantized tensor, takes them for what the file's scales make of them, and is asked for
the next codes only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from edgedet.errors import ConversionError
from edgedet.exchange.onnx_in.equal import onnx_outputs
from edgedet.exchange.onnx_in.load import OnnxNetwork
from edgedet.exchange.onnx_in.qdq.pairs import CODES, FileCodes
from edgedet.quantize.fx.fake_quant import FakeQuant
from edgedet.quantize.fx.prepare import quantized_by
from edgedet.quantize.fx.qparams import AffineParams

ONE_STEP = 1.0  # a float32 sum at a tie
_ROUNDING = 1e-2  # steps: of (code - zero point) * scale, float32
GIVEN = "edgedet/given/"  # in front of the name of a tensor of codes: the input that stands for it


@dataclass(frozen=True)
class TakenOverCheck:
    """Differences to onnxruntime, each tensor from the same codes in front of it."""

    tensors: int
    codes: int
    differing: int  # codes
    largest: float  # steps

    def text(self) -> str:
        """One phrase."""
        return (
            f"{self.tensors} quantized tensors, each from the same inputs as onnxruntime's: {self.differing} of "
            f"{self.codes} codes differ, by {self.largest:.2g} steps at most"
        )


class _Recorder(Interpreter):
    """Keeps the value of every node."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.values: dict[Node, Tensor] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.op != "output":
            self.values[n] = result
        return result


def check_taken_over(
    network: OnnxNetwork, frozen: GraphModule, outputs: Sequence[str], picture: np.ndarray
) -> TakenOverCheck:
    """Compare the codes of every quantized tensor with what onnxruntime makes of the ones in front of it.

    Args:
        network: the QDQ file.
        frozen: the fake-quantized graph that the int8 file is written from; its nodes know their codes' names.
        outputs: names, in the file, of its outputs.
        picture: float32 (1, C, H, W).
    Returns:
        How far they differ.
    Raises:
        ConversionError: a tensor differs by more than rounding explains; it is named.
    """
    recorder = _Recorder(frozen)
    with torch.no_grad():
        recorder.run(torch.from_numpy(picture))
    modules = dict(frozen.named_modules(remove_duplicate=False))
    nodes = {codes: node for node in frozen.graph.nodes for codes in node.meta.get(CODES, ())}
    params = {node: quantized_by(node, modules).params for node in frozen.graph.nodes if node.op != "output"}
    ours = {codes.name: _codes(recorder.values[node], params[node], codes) for codes, node in nodes.items()}
    feeds = {network.input_name: picture, **{GIVEN + name: value for name, value in ours.items()}}
    compared = {codes.name: (node, 1.0) for codes, node in nodes.items()}  # (node, what one step is)
    ends = next(node for node in frozen.graph.nodes if node.op == "output").all_input_nodes
    for name, node in zip(outputs, ends, strict=True):
        ours[name], compared[name] = recorder.values[node].numpy(), (node, float(params[node].scale))
    found = onnx_outputs(_apart(network, ours, nodes), feeds, list(compared), network.path)
    differing, count, largest = 0, 0, 0.0
    for (name, (node, step)), theirs in zip(compared.items(), found, strict=True):
        if ours[name].shape != theirs.shape:
            raise ConversionError(
                f"{network.path}: {name} has shape {ours[name].shape}, onnxruntime's has {theirs.shape}"
            )
        steps = np.abs(ours[name].astype(np.float64) - theirs) / step
        worst = float(steps.max(initial=0.0))
        allowed = ONE_STEP + _rounded_before(node, modules) / (2 * float(params[node].scale))
        if not worst <= allowed + _ROUNDING:
            raise ConversionError(
                f"{network.path}: {name}: the int8 network computes it up to {worst:.3g} steps away from onnxruntime, "
                f"from the same inputs; allowed is {allowed:.3g}. Nothing was written; please report this file"
            )
        differing, count, largest = differing + int((steps > 0.5).sum()), count + steps.size, max(largest, worst)
    return TakenOverCheck(len(nodes), count, differing, largest)


def _codes(values: Tensor, params: AffineParams, codes: FileCodes) -> np.ndarray:
    """Values on the grid of the int8 network, as the codes that the file would hold."""
    whole = np.rint(values.numpy() / params.scale) + params.zero_point + codes.shift
    return np.ascontiguousarray(whole.astype(codes.dtype))


def _apart(network: OnnxNetwork, values: Mapping[str, np.ndarray], codes: Iterable[FileCodes]) -> Any:
    """The file with every DequantizeLinear reading an input instead of what QuantizeLinear made."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    given = {tensor.name: GIVEN + tensor.name for tensor in codes}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear":
            node.input[0] = given.get(node.input[0], node.input[0])
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(
            given[tensor.name], onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype), values[tensor.name].shape
        )
        for tensor in codes
    )
    return model


def _rounded_before(node: Node, modules: Mapping[str, nn.Module]) -> float:
    """Largest scale among the roundings, not the file's, between this tensor and the quantized ones it comes from."""
    largest, pending = 0.0, list(node.all_input_nodes)
    while pending:
        source = pending.pop()
        if source.meta.get(CODES):
            continue
        quant = modules.get(str(source.target)) if source.op == "call_module" else None
        if isinstance(quant, FakeQuant):
            largest = max(largest, float(quant.params.scale))
        pending += source.all_input_nodes
    return largest
