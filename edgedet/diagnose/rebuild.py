"""Int8 file + checkpoint -> the torch networks in between, so that every step of a quantization can be run again.

Whatever made the file (calibration, equalization, adaptive rounding, fine-tuning) ended in scales and codes, and those
stand in the file. They are put into the checkpoint's prepared graph; converting it must give the file's graph again.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedet.diagnose.gains import channel_gains
from edgedet.errors import ConfigError, ConversionError
from edgedet.graph.graph import Graph, Operator, Quantization, Tensor
from edgedet.net.checkpoint import Checkpoint
from edgedet.quantize.fx.copied import copied
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.int16 import groups_of, settle_borders, widen
from edgedet.quantize.fx.prepare import prepare_model, quantized_by, requantizes
from edgedet.quantize.fx.qparams import AffineParams
from edgedet.quantize.fx.to_graph import BORDER_SUFFIX, graph_from_fx

# Share of the weights that differ from the checkpoint's by more than one step, above which the file was fine-tuned.
# Rounding, up or down, never moves a weight that far, and clipped ones are not counted.
FINE_TUNED_SHARE = 0.001


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """The networks behind one int8 file. Node names are the same in `folded`, `scaled` and `frozen`."""

    folded: GraphModule  # float32, BatchNorm folded, no rounding: computes what the checkpoint computes
    scaled: GraphModule  # the same function; inner channels rescaled as in the file (equalization)
    frozen: GraphModule  # fake-quantized: every number is the file's
    tensors: dict[str, int]  # FX node -> index of the file's tensor that holds its result
    gains: dict[str, np.ndarray]  # FX node -> float64 (C,): values in `scaled` / values in `folded`
    rescaled: bool  # some gain is not 1
    weight_distance: float  # RMS of file's weights - scaled float weights, weight steps
    weights_moved: float  # share of the weights for which that is more than one step, 0..1

    @property
    def fine_tuned(self) -> bool:
        """True when the weights differ by more than rounding: QAT, or another checkpoint of the same training."""
        return self.weights_moved > FINE_TUNED_SHARE


def rebuild(graph: Graph, checkpoint: Checkpoint, source: str) -> Rebuilt:
    """Rebuild the float and the fake-quantized network of an int8 file.

    Args:
        graph: of a file that edgedet quantized.
        checkpoint: what it was quantized from.
        source: name of the file, for errors.
    Returns:
        The networks.
    Raises:
        ConversionError: the file was not made from a checkpoint of this architecture, classes and input size.
    """
    prepared = _widened_like(prepare_model(checkpoint.build(), checkpoint.preprocess), graph, source)
    frozen = copied(prepared)
    modules = dict(frozen.named_modules(remove_duplicate=False))
    tensors = _match(frozen, modules, graph, source)
    for node in frozen.graph.nodes:
        if node.name in tensors:
            _take_scale(quantized_by(node, modules), graph.tensors[tensors[node.name]], source)
    settle_borders(frozen)
    for node, number in _operators(frozen, modules, graph, source).items():
        conv = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(conv, QuantConv2d):
            _take_codes(conv, graph, graph.operators[number], source)
    _check_same(graph_from_fx(frozen, checkpoint.preprocess, checkpoint.outputs), graph, source)
    found = channel_gains(prepared, frozen)
    gains = found or {name: np.ones(1) for name in tensors}
    scaled = _scale_weights(prepared, gains) if found else prepared
    distance, moved = _weight_distance(scaled, frozen)
    return Rebuilt(
        folded=without_rounding(prepared),
        scaled=without_rounding(scaled),
        frozen=frozen,
        tensors=tensors,
        gains=gains,
        rescaled=found is not None,
        weight_distance=distance,
        weights_moved=moved,
    )


def without_rounding(graph_module: GraphModule, convolutions: GraphModule | None = None) -> GraphModule:
    """The network with float activations.

    Args:
        graph_module: prepared or frozen; not changed.
        convolutions: take the convolutions' weights from here instead.
    Returns:
        A copy whose FakeQuants pass everything on.
    """
    return _replaced(graph_module, convolutions, keep_rounding=False)


def with_weights_of(frozen: GraphModule, floating: GraphModule) -> GraphModule:
    """The network with int8 activations and float weights.

    Args:
        frozen: gives the scales of the activations; not changed.
        floating: gives weights and biases, in the same domain (`Rebuilt.scaled`).
    """
    return _replaced(frozen, floating, keep_rounding=True)


def computing_nodes(graph_module: GraphModule, modules: dict[str, nn.Module]) -> list[Node]:
    """Nodes that become operators, in the order of the graph."""
    return [
        node
        for node in graph_module.graph.nodes
        if node.op in ("call_module", "call_function")
        and (not isinstance(modules.get(str(node.target)), FakeQuant) or requantizes(node, modules))
    ]


def _replaced(graph_module: GraphModule, convolutions: GraphModule | None, keep_rounding: bool) -> GraphModule:
    result = copied(graph_module)
    for path, module in list(result.named_modules(remove_duplicate=False)):
        if isinstance(module, FakeQuant) and not keep_rounding:
            result.set_submodule(path, nn.Identity())
        elif isinstance(module, QuantConv2d) and convolutions is not None:
            result.set_submodule(path, copied(convolutions.get_submodule(path)))
    return result


def _widened_like(prepared: GraphModule, graph: Graph, source: str) -> GraphModule:
    """The prepared network with int16 results where the file has them."""
    modules = dict(prepared.named_modules(remove_duplicate=False))
    nodes = computing_nodes(prepared, modules)
    operators = [op for op in graph.operators if op.kind != "QUANTIZE" and not _is_padding(op, graph)]
    if all(graph.tensors[op.outputs[0]].dtype == "int8" for op in operators) or len(nodes) != len(operators):
        return prepared  # where the numbers differ, `_operators` says so
    results = [(node, graph.tensors[op.outputs[0]]) for node, op in zip(nodes, operators, strict=True)]
    wide = [n for n, tensor in results if tensor.dtype == "int16" and not tensor.name.endswith(BORDER_SUFFIX)]
    try:
        names = groups_of(prepared, [node.name for node in wide], source)
    except ConfigError as error:
        raise ConversionError(f"{source}: not an int16 file of `edgedet quantize`: {error}") from error
    return widen(prepared, names)


def _is_padding(op: Operator, graph: Graph) -> bool:
    """True for the PAD in front of a convolution, which belongs to no node."""
    return op.kind == "PAD" and graph.tensors[op.outputs[0]].name.endswith(".padded")


def _operators(graph_module: GraphModule, modules: dict[str, nn.Module], graph: Graph, source: str) -> dict[Node, int]:
    """Operator of each computing node; the PADs in front of convolutions belong to none."""
    nodes = computing_nodes(graph_module, modules)
    numbers = [number for number, op in enumerate(graph.operators) if not _is_padding(op, graph)]
    if len(nodes) != len(numbers):
        raise ConversionError(
            f"{source}: {len(numbers)} operators, the checkpoint's network has {len(nodes)}; give the checkpoint that "
            "this file was quantized from, and a file of `edgedet quantize`"
        )
    return dict(zip(nodes, numbers, strict=True))


def _match(graph_module: GraphModule, modules: dict[str, nn.Module], graph: Graph, source: str) -> dict[str, int]:
    """Node name -> tensor index, the network's input included."""
    found = {node.name: graph.inputs[0] for node in graph_module.graph.nodes if node.op == "placeholder"}
    for node, number in _operators(graph_module, modules, graph, source).items():
        op = graph.operators[number]
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        is_conv = op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D")
        is_product = {operator.add: "ADD", operator.mul: "MUL"}.get(node.target)  # type: ignore[arg-type]
        if is_conv != isinstance(module, QuantConv2d) or (is_product is not None and is_product != op.kind):
            raise ConversionError(
                f"{source}: operator {number} is {op.kind}, the checkpoint's network has {node.name} there; give the "
                "checkpoint that this file was quantized from"
            )
        found[node.name] = op.outputs[0]
    return found


def _take_scale(quant: FakeQuant, tensor: Tensor, source: str) -> None:
    """Set a FakeQuant from a tensor; the last conversion check finds tensors that contradict each other."""
    dtype = f"int{quant.bits}"
    if tensor.dtype != dtype or tensor.quantization is None or tensor.quantization.scale.size != 1:
        raise ConversionError(f"{source}: tensor {tensor.name!r} is {tensor.dtype}, expected {dtype} with one scale")
    scale, zero_point = tensor.quantization.scale[0], int(tensor.quantization.zero_point[0])
    if not quant.fixed:
        quant.set_params(AffineParams(np.float32(scale), zero_point, quant.bits))


def _take_codes(conv: QuantConv2d, graph: Graph, op: Operator, source: str) -> None:
    """Give a convolution the file's integer weights and bias."""
    codes, weight_scale = _constant(graph, op.inputs[1], source)
    bias, bias_scale = _constant(graph, op.inputs[2], source)
    # OHWI -> OIHW; depthwise (1, H, W, C) -> (C, 1, H, W).
    codes = codes.transpose(3, 0, 1, 2) if op.kind == "DEPTHWISE_CONV_2D" else codes.transpose(0, 3, 1, 2)
    if codes.shape != tuple(conv.weight.shape):
        raise ConversionError(
            f"{source}: {conv.name}: weights {codes.shape}, the checkpoint has {tuple(conv.weight.shape)} "
            "(output, input, height, width); give the checkpoint that this file was quantized from"
        )
    scales = np.broadcast_to(weight_scale.scale, len(codes)).copy()
    conv.weight_scale, conv.weight_code = torch.from_numpy(scales), torch.from_numpy(codes.copy())
    conv.bias_scale, conv.bias_code = torch.from_numpy(bias_scale.scale.copy()), torch.from_numpy(bias.copy())
    conv.weight = nn.Parameter(torch.from_numpy(codes * scales[:, None, None, None]))
    conv.bias = nn.Parameter(torch.from_numpy((bias * bias_scale.scale.astype(np.float64)).astype(np.float32)))


def _constant(graph: Graph, index: int, source: str) -> tuple[np.ndarray, Quantization]:
    tensor = graph.tensors[index]
    if tensor.data is None or tensor.quantization is None:
        raise ConversionError(f"{source}: tensor {tensor.name!r} must be a quantized constant")
    return tensor.data, tensor.quantization


def _check_same(again: Graph, graph: Graph, source: str) -> None:
    """Raise when the rebuilt network does not convert to the file's graph."""
    for ours, theirs in zip(again.tensors, graph.tensors, strict=False):
        if ours != theirs:
            raise ConversionError(
                f"{source}: tensor {theirs.name!r} {theirs.dtype} {theirs.shape}, rebuilt from the checkpoint it is "
                f"{ours.name!r} {ours.dtype} {ours.shape}, or has other numbers; give the checkpoint that this file "
                "was quantized from"
            )
    # The version of an operator is chosen when the file is written.
    operators, others = ([replace(op, version=0) for op in g.operators] for g in (again, graph))
    if (operators, again.inputs, again.outputs) != (others, graph.inputs, graph.outputs):
        raise ConversionError(
            f"{source}: its operators are not those of the checkpoint's network; give the checkpoint that this file "
            "was quantized from"
        )


def _scale_weights(prepared: GraphModule, gains: dict[str, np.ndarray]) -> GraphModule:
    """Rescale the channels of a prepared graph; the function stays the same."""
    result = copied(prepared)
    modules = dict(result.named_modules(remove_duplicate=False))
    for node in result.graph.nodes:
        conv = modules.get(str(node.target)) if node.op == "call_module" else None
        if not isinstance(conv, QuantConv2d):
            continue
        before, after = gains[node.all_input_nodes[0].name], gains[node.name]
        weight = conv.weight.detach().numpy().astype(np.float64)
        weight = weight / (before[:, None, None, None] if conv.groups > 1 else before[None, :, None, None])
        conv.weight = nn.Parameter(torch.from_numpy((weight * after[:, None, None, None]).astype(np.float32)))
        conv.bias = nn.Parameter(torch.from_numpy((conv.bias.detach().numpy() * after).astype(np.float32)))
    return result


def _weight_distance(scaled: GraphModule, frozen: GraphModule) -> tuple[float, float]:
    """RMS distance of the weights, weight steps, and the share that moved by more than one; clipped as codes are."""
    squares, moved, count = 0.0, 0, 0
    for path, conv in frozen.named_modules():
        if isinstance(conv, QuantConv2d):
            assert conv.weight_scale is not None
            assert conv.weight_code is not None
            weight = scaled.get_submodule(path).get_parameter("weight").detach().numpy().astype(np.float64)
            steps = weight / conv.weight_scale.numpy()[:, None, None, None].astype(np.float64)
            distance = np.clip(steps, -127.5, 127.5) - conv.weight_code.numpy()
            squares, count = squares + float((distance**2).sum()), count + distance.size
            moved += int(np.count_nonzero(np.abs(distance) > 1.0))
    return float(np.sqrt(squares / max(count, 1))), moved / max(count, 1)
