"""Third step: fuse convolutions with padding and activation, and put one FakeQuant behind each int8 result."""

from __future__ import annotations

import operator

import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedet.contracts import PreprocessSpec
from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.net.foreign import Constant, Requantize, add_relu, add_relu6, prelu
from edgedet.net.rtmdet import RTMDet
from edgedet.quantize.fx.copied import copied
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d, QuantConvTranspose2d, QuantWeights
from edgedet.quantize.fx.fold import fold_batch_norm
from edgedet.quantize.fx.lower_activations import lower_activations
from edgedet.quantize.fx.qparams import LOGISTIC_PARAMS, TANH_PARAMS, UNIT_PARAMS, AffineParams, input_params
from edgedet.quantize.fx.shared_scales import (
    COPYING_FUNCTIONS,
    COPYING_MODULES,
    KEEPING_MODULES,
    copies_codes,
    keeps_scale,
    shared_scale_groups,
)

FUNCTIONS = (operator.add, operator.sub, operator.mul, add_relu, add_relu6, prelu, torch.mean, *COPYING_FUNCTIONS)
_UNARY = (nn.Sigmoid, nn.Tanh, nn.Softmax, nn.Hardswish, nn.ReLU, nn.LeakyReLU)
MODULES = (FakeQuant, QuantWeights, Constant, Requantize, *_UNARY, *KEEPING_MODULES, *COPYING_MODULES)


def prepare(lowered: GraphModule, input_params: AffineParams) -> GraphModule:
    """Turn a lowered float graph into one that can be calibrated.

    Args:
        lowered: graph without BatchNorm, SiLU and hard sigmoid, with one input; not changed.
        input_params: scale and zero point of the input, which the preprocessing contract decides.
    Returns:
        A new graph of `QuantConv2d`, `FakeQuant` (one instance for each shared-scale group) and plain torch operators.
    Raises:
        UnsupportedOpError: an operator without an int8 form.
        ConversionError: a group holds a tensor with a prescribed scale and others that need another one.
    """
    prepared = copied(lowered)
    fuse_convolutions(prepared)
    check_supported(prepared)
    _insert_fake_quants(prepared, input_params)
    prepared.graph.lint()
    prepared.delete_all_unused_submodules()
    prepared.recompile()
    return prepared


def quantized_by(node: Node, modules: dict[str, nn.Module]) -> FakeQuant:
    """The FakeQuant that decides the scale of a node's result in a prepared graph.

    Args:
        node: any node but the output.
        modules: of the graph, by path.
    Raises:
        ConversionError: the graph is not prepared.
    """
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, FakeQuant):
        return module
    if copies_codes(node, modules):
        found = {quantized_by(source, modules) for source in node.all_input_nodes}
    else:
        users = [modules.get(str(user.target)) for user in node.users if user.op == "call_module"]
        found = {user for user in users if isinstance(user, FakeQuant)}
        if len(node.users) != 1:
            found = set()
    if len(found) != 1:
        raise ConversionError(
            f"{node.name}: has {len(found)} scales, expected 1; pass the graph through prepare() first"
        )
    return found.pop()


def requantizes(node: Node, modules: dict[str, nn.Module]) -> bool:
    """True for a FakeQuant behind a tensor that has its own scale already: a QUANTIZE in the file.

    Args:
        node: of a prepared graph.
        modules: of the graph, by path.
    """
    module = modules.get(str(node.target)) if node.op == "call_module" else None
    return isinstance(module, FakeQuant) and quantized_by(node.all_input_nodes[0], modules) is not module


def fuse_convolutions(graph_module: GraphModule) -> None:
    """Replace [zero padding +] convolution [+ activation] by one QuantConv2d."""
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    graph = graph_module.graph
    used: set[str] = set()
    for node in list(graph.nodes):
        conv = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(conv, nn.ConvTranspose2d):
            graph_module.set_submodule(str(node.target), QuantConvTranspose2d(conv, str(node.target)))
        if not isinstance(conv, nn.Conv2d):
            continue
        name = str(node.target)
        padding = _own_padding(conv, name)
        source = node.args[0]
        assert isinstance(source, Node)
        pad = modules.get(str(source.target)) if source.op == "call_module" and len(source.users) == 1 else None
        if isinstance(pad, nn.ZeroPad2d):
            left, right, top, bottom = padding
            before = pad.padding
            padding = (left + before[0], right + before[1], top + before[2], bottom + before[3])
        activation, end = _fused_activation(node, modules)
        path = name
        while path in used:
            path += "_again"  # one convolution called several times: each call gets scales of its own
        used.add(path)
        graph_module.add_submodule(path, QuantConv2d(conv, path, activation, padding))
        node.target = path
        if isinstance(pad, nn.ZeroPad2d):
            node.args = source.args
            graph.erase_node(source)
        if end is not node:
            end.replace_all_uses_with(node)
            graph.erase_node(end)


def _own_padding(conv: nn.Conv2d, name: str) -> tuple[int, int, int, int]:
    """Padding of a torch convolution as (left, right, top, bottom)."""
    if isinstance(conv.padding, str) or conv.padding_mode != "zeros":
        raise UnsupportedOpError(
            f"{name}: padding {conv.padding!r} with mode {conv.padding_mode!r} is not supported; use a number of zeros"
        )
    if conv.groups not in (1, conv.in_channels) or (conv.groups > 1 and conv.out_channels != conv.in_channels):
        raise UnsupportedOpError(
            f"{name}: {conv.groups} groups of {conv.in_channels} -> {conv.out_channels} channels are not supported; "
            "use 1 group, or a depthwise convolution"
        )
    return conv.padding[1], conv.padding[1], conv.padding[0], conv.padding[0]


def _fused_activation(conv_node: Node, modules: dict[str, nn.Module]) -> tuple[str, Node]:
    """Name of the activation that is fused into a convolution, and the last node of the fusion."""
    if len(conv_node.users) == 1:
        user = next(iter(conv_node.users))
        module = modules.get(str(user.target)) if user.op == "call_module" else None
        # type() because ReLU6 is a Hardtanh.
        if type(module) is nn.ReLU:
            return "relu", user
        if type(module) is nn.ReLU6:
            return "relu6", user
        if type(module) is nn.Hardtanh and (module.min_val, module.max_val) == (0.0, 1.0):
            return "unit", user
    return "none", conv_node


def check_supported(graph_module: GraphModule) -> None:
    """Raises UnsupportedOpError for what has no int8 form in a graph with fused convolutions."""
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    inputs = [node.name for node in graph_module.graph.nodes if node.op == "placeholder"]
    if len(inputs) != 1:
        raise UnsupportedOpError(f"the network has inputs {inputs}, expected exactly one")
    for node in graph_module.graph.nodes:
        if node.op == "call_module" and not isinstance(modules[str(node.target)], MODULES):
            what = type(modules[str(node.target)]).__name__
        elif (node.op == "call_function" and node.target not in FUNCTIONS) or node.op in ("call_method", "get_attr"):
            what = getattr(node.target, "__name__", str(node.target))
        else:
            continue
        names = ", ".join(["Conv2d with BatchNorm2d and ReLU, ReLU6, SiLU, Hardswish or Hardsigmoid"]
                          + [m.__name__ for m in COPYING_MODULES] + [f.__name__ for f in FUNCTIONS])  # fmt: skip
        raise UnsupportedOpError(f"{node.name}: {what} has no int8 form at this place; supported are {names}")


def _insert_fake_quants(graph_module: GraphModule, input_params: AffineParams) -> None:
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    labels: set[str] = set()
    for group in shared_scale_groups(graph_module):
        producers = [node for node in group if not copies_codes(node, modules)]
        fixed = _fixed_params(producers, modules, input_params)
        first = producers[0]
        path = f"fake_quants.{first.name}"
        label = str(first.target) if first.op == "call_module" else first.name
        if label in labels:
            label = first.name  # a module that is called again
        labels.add(label)
        graph_module.add_submodule(path, FakeQuant(label, fixed))
        for node in producers:
            with graph_module.graph.inserting_after(node):
                rounded = graph_module.graph.call_module(path, (node,))
            node.replace_all_uses_with(rounded)
            rounded.args = (node,)  # it replaced itself, too


def _fixed_params(
    producers: list[Node], modules: dict[str, nn.Module], input_params: AffineParams
) -> AffineParams | None:
    """Prescribed parameters of a group; None when calibration decides.

    A group may only be fixed when each of its producers prescribes the same: the scale of a sigmoid shows 0..1 and
    would cut off everything else that is concatenated with it.
    """
    choosing = [node for node in producers if not keeps_scale(node, modules)]
    wanted = {node.name: prescribed(node, modules, input_params) for node in choosing}
    if len(set(wanted.values())) > 1:
        raise ConversionError(
            f"{', '.join(wanted)} must share one scale because they are concatenated, but "
            + ", ".join(f"{n} prescribes {p.scale}, {p.zero_point}" for n, p in wanted.items() if p is not None)
            + "; put a convolution in front of the concatenation"
        )
    return next(iter(wanted.values()))


def prescribed(node: Node, modules: dict[str, nn.Module], input_params: AffineParams) -> AffineParams | None:
    """Parameters that TFLite or the contract prescribe for a node's result; None: calibration decides.

    Args:
        node: of a graph without FakeQuants.
        modules: of the graph, by path.
        input_params: of the input.
    """
    if node.op == "placeholder":
        return input_params
    module = modules[str(node.target)] if node.op == "call_module" else None
    if isinstance(module, nn.Sigmoid | nn.Softmax):
        return LOGISTIC_PARAMS
    if isinstance(module, nn.Tanh):
        return TANH_PARAMS
    if isinstance(module, QuantConv2d) and module.activation == "unit":
        return UNIT_PARAMS
    return None


def refuse_exponential_boxes(model: nn.Module) -> None:
    """Raises UnsupportedOpError for a float detector whose boxes are exponentials, and says how to leave them out."""
    if isinstance(model, RTMDet) and model.bbox_head.exp_boxes:
        raise UnsupportedOpError(
            "model.exp_boxes: the boxes of this network are exponentials, which int8 has no kernel for; quantize "
            "`checkpoint.int8_form()`: its network gives their logarithms, and its contract leaves exp() to the decoder"
        )


def prepare_model(model: nn.Module, preprocess: PreprocessSpec) -> GraphModule:
    """Fold, lower and prepare a float network; the result can be calibrated.

    Args:
        model: float32, NCHW; not changed.
        preprocess: input contract.
    Returns:
        The graph with one FakeQuant for each group of tensors that share a scale.
    Raises:
        ConversionError, UnsupportedOpError: see `fold_batch_norm`, `lower_activations`, `prepare`.
    """
    refuse_exponential_boxes(model)
    return prepare(lower_activations(fold_batch_norm(model)), input_params(preprocess))


def freeze(calibrated: GraphModule) -> GraphModule:
    """Give every convolution its integer codes.

    Args:
        calibrated: from `calibrate`; not changed.
    Returns:
        A new graph: the fake-quantized network, float in and out, whose numbers are exactly those of the int8 file.
    Raises:
        ConversionError: NaN weights, or a bias that does not fit into int32.
    """
    frozen = copied(calibrated)
    modules = dict(frozen.named_modules(remove_duplicate=False))
    for node in frozen.graph.nodes:
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, QuantWeights):
            source = node.args[0]
            assert isinstance(source, Node)
            module.freeze(quantized_by(source, modules).params)
    return channels_last(frozen)


def channels_last(graph_module: GraphModule) -> GraphModule:
    """The same graph, weights laid out for channels-last inputs, which torch's CPU convolutions are faster with."""
    result: GraphModule = graph_module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return result
