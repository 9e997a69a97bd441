"""The prepared graph of a QDQ network: its pairs are the FakeQuants, nothing is calibrated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.exchange.onnx_in.qdq.pairs import CODES, StoredCodes
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d, QuantWeights
from edgedet.quantize.fx.prepare import channels_last, check_supported, fuse_convolutions, prescribed, quantized_by
from edgedet.quantize.fx.qparams import AffineParams
from edgedet.quantize.fx.shared_scales import copies_codes, keeps_scale

_BIAS_STEPS = 1e-5  # of a bias scale: exporters multiply input and weight scale in float32 or float64


def frozen_of_pairs(
    module: GraphModule,
    weights: dict[str, tuple[str, str]],
    stored: dict[str, StoredCodes],
    path: Path,
) -> GraphModule:
    """Fake-quantized graph with integer codes, for `graph_from_fx`.

    Args:
        module: float graph with a FakeQuant for each pair; not used afterwards.
        weights: path of a layer -> names of its constants.
        stored: name of a constant -> what the file holds.
        path: of the file, for errors.
    Raises:
        ConversionError: a tensor without a scale, or weights without codes.
        UnsupportedOpError: an operator without an int8 form.
    """
    fuse_convolutions(module)
    check_supported(module)
    _share_scales(module)
    _one_for_each_scale(module)
    _require_scales(module, path)
    module.delete_all_unused_submodules()
    module.recompile()
    modules = dict(module.named_modules(remove_duplicate=False))
    for node in module.graph.nodes:
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, QuantWeights):
            _take_codes(layer, weights[str(node.target)], stored, quantized_by(node.all_input_nodes[0], modules), path)
    return channels_last(module)


def _share_scales(module: GraphModule) -> None:
    """Round in front of operators with one scale for input and output, and behind those with a prescribed one."""
    modules = dict(module.named_modules(remove_duplicate=False))
    plain = input_params_of_nobody()
    _one_for_each_scale(module)
    for node in list(module.graph.nodes):
        if node.op not in ("call_module", "call_function") or isinstance(modules.get(str(node.target)), FakeQuant):
            continue
        behind = _quant_behind(node, modules)
        wanted = None if behind is None else modules[str(behind.target)]
        if keeps_scale(node, modules) and isinstance(wanted, FakeQuant) and behind is not None:
            for source in node.all_input_nodes:
                if _params_of(source, modules) != wanted.params:
                    _round(module, source, node, wanted.params)
            if copies_codes(node, modules):
                behind.replace_all_uses_with(node)
                node.meta[CODES] = (*node.meta.get(CODES, ()), *behind.meta.get(CODES, ()))
                module.graph.erase_node(behind)
            modules = dict(module.named_modules(remove_duplicate=False))
        fixed = prescribed(node, modules, plain)
        if fixed is not None and isinstance(wanted, FakeQuant) and wanted.params != fixed:
            assert behind is not None
            _round(module, node, behind, fixed)
            modules = dict(module.named_modules(remove_duplicate=False))


def _one_for_each_scale(module: GraphModule) -> None:
    """One FakeQuant for all tensors of equal parameters: who shares a scale is told by that."""
    modules = dict(module.named_modules(remove_duplicate=False))
    first: dict[AffineParams, str] = {}
    for node in module.graph.nodes:
        quant = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(quant, FakeQuant):
            node.target = first.setdefault(quant.params, str(node.target))


def input_params_of_nobody() -> AffineParams:
    """Stands for the input's, which the file says itself."""
    return AffineParams(np.float32(1), 0)


def _quant_behind(node: Node, modules: dict[str, nn.Module]) -> Node | None:
    """The only reader of a node, when it is a FakeQuant."""
    users = list(node.users)
    alone = len(users) == 1 and isinstance(modules.get(str(users[0].target)), FakeQuant)
    return users[0] if alone else None


def _params_of(node: Node, modules: dict[str, nn.Module]) -> AffineParams | None:
    try:
        return quantized_by(node, modules).params
    except ConversionError:
        return None


def _round(module: GraphModule, source: Node, reader: Node, params: AffineParams) -> None:
    """FakeQuant between a node and one of its readers."""
    path, number = f"rounded_{source.name}", 1
    while any(name == path for name, _ in module.named_modules()):
        number += 1
        path = f"rounded_{source.name}_{number}"
    module.add_submodule(path, FakeQuant(source.name, params))
    with module.graph.inserting_before(reader):
        rounded = module.graph.call_module(path, (source,))
    reader.replace_input_with(source, rounded)


def _require_scales(module: GraphModule, path: Path) -> None:
    modules = dict(module.named_modules(remove_duplicate=False))
    for node in module.graph.nodes:
        if node.op != "output" and not isinstance(modules.get(str(node.target)), FakeQuant):
            try:
                quantized_by(node, modules)
            except ConversionError as error:
                raise ConversionError(
                    f"{path}: {node.name}: no QuantizeLinear follows it, or several do; quantize all operators, "
                    "activations and weights, and export again, or give the float network"
                ) from error


def _take_codes(
    layer: QuantWeights,
    names: tuple[str, str],
    stored: dict[str, StoredCodes],
    source: FakeQuant,
    path: Path,
) -> None:
    weight, bias = stored.get(names[0]), stored.get(names[1])
    if weight is None or weight.zero_point or weight.codes.dtype != np.int8:
        raise UnsupportedOpError(f"{path}: {layer.name}: its weights {names[0]} must be 8 bits with zero point 0")
    count = len(layer.weight)
    scales = np.broadcast_to(weight.scale, (count,)).astype(np.float32)
    codes = weight.codes if isinstance(layer, QuantConv2d) else weight.codes.swapaxes(0, 1)
    layer.set_weight_codes(scales.copy(), np.ascontiguousarray(codes))
    layer.freeze(source.params)
    if bias is None:
        return
    expected = source.params.scale * scales.astype(np.float64)
    if bias.codes.dtype != np.int32 or not np.allclose(bias.scale, expected, rtol=_BIAS_STEPS, atol=0):
        raise UnsupportedOpError(
            f"{path}: {layer.name}: the scale of its bias is not input scale x weight scale, as TFLite needs it"
        )
    layer.bias_code = torch.from_numpy(bias.codes.copy())
    layer.bias_scale = torch.from_numpy(np.broadcast_to(bias.scale, (count,)).astype(np.float32).copy())
