"""int16 activations (16x8) for single layers: int8 weights, int16 in and out, with borders to the int8 rest.

TFLite's 16x8 operators read and write int16. So a layer whose result is to be int16 computes in 16 bits, and so does
every layer that reads this result; otherwise the precision would be lost before anybody uses it. Where such an
operator meets an int8 tensor, a QUANTIZE stands in between. The int16 scale at a border is 1/128 of the int8 scale:
widening is exact, narrowing rounds once. A tensor between nothing but 16-bit operators becomes int16 itself, which
saves its two borders.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
from torch import nn
from torch.fx import GraphModule, Node

from edgedet.errors import ConfigError
from edgedet.quantize.fx.copied import copied
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.prepare import quantized_by
from edgedet.quantize.fx.qparams import (
    LOGISTIC_PARAMS,
    LOGISTIC_PARAMS_16,
    UNIT_PARAMS,
    UNIT_PARAMS_16,
    AffineParams,
)
from edgedet.quantize.fx.shared_scales import copies_codes

AUTO = "auto"  # in place of layer names: `choose_int16` decides
_CONTRACT_NAMES = re.compile(r"input|(cls|box)_\d+")  # of tensors in the file
_WIDE_PARAMS = {LOGISTIC_PARAMS: LOGISTIC_PARAMS_16, UNIT_PARAMS: UNIT_PARAMS_16}


def check_int16_option(layers: Sequence[str]) -> None:
    """Raises ConfigError when `auto` stands beside layer names."""
    if AUTO in layers and len(layers) > 1:
        raise ConfigError(f"`int16` {','.join(layers)}: expected `{AUTO}` alone, or names of layers")


def layer_quants(prepared: GraphModule) -> dict[str, FakeQuant]:
    """Name of each layer, as users write it -> the FakeQuant of its result.

    Args:
        prepared: from `prepare`.
    """
    modules = dict(prepared.named_modules(remove_duplicate=False))
    nodes = [
        node
        for node in prepared.graph.nodes
        if node.op != "output" and not isinstance(modules.get(str(node.target)), FakeQuant)
    ]
    found = {str(node.target): quantized_by(node, modules) for node in nodes if node.op == "call_module"}
    return found | {node.name: quantized_by(node, modules) for node in nodes}


def unknown_layer(option: str, layer: str, known: Iterable[str]) -> ConfigError:
    """Error to raise for a layer that the network does not have.

    Args:
        option: as the user wrote it.
        layer: its name.
        known: names of all layers.
    """
    near = ", ".join(difflib.get_close_matches(layer, list(known), 3, 0.3))
    help_ = f"similar names: {near}" if near else "`edgedet inspect` and the ranges in report.json show the names"
    return ConfigError(f"{option}: the network has no layer {layer!r}; {help_}")


def can_widen(prepared: GraphModule) -> dict[str, FakeQuant]:
    """Groups whose result may be int16: name -> FakeQuant.

    Not those that enter or leave the network, which the contracts keep int8, nor those of operators without an int16
    kernel.

    Args:
        prepared: from `prepare`.
    """
    modules = dict(prepared.named_modules(remove_duplicate=False))
    quants = {quant.name: quant for quant in modules.values() if isinstance(quant, FakeQuant)}
    reasons = _refusals(prepared, modules)
    return {name: quant for name, quant in quants.items() if name not in reasons}


def groups_of(prepared: GraphModule, layers: Collection[str], option: str = "`int16`") -> tuple[str, ...]:
    """Names of the groups that hold these layers' results.

    Args:
        prepared: from `prepare`.
        layers: names as `edgedet inspect` and the file give them.
        option: for errors.
    Raises:
        ConfigError: an unknown layer, or one that can't be int16.
    """
    known = layer_quants(prepared)
    reasons = _refusals(prepared, dict(prepared.named_modules(remove_duplicate=False)))
    for layer in layers:
        if layer == AUTO:
            raise ConfigError(f"{option} {AUTO}: only quantize_checkpoint and QAT choose; give names of layers here")
        if _CONTRACT_NAMES.fullmatch(layer):
            raise ConfigError(f"{option} {layer}: it enters or leaves the network, and the contract says int8")
        if layer not in known:
            raise unknown_layer(f"{option} {layer}", layer, known)
        if known[layer].name in reasons:
            raise ConfigError(
                f"{option} {layer}: {reasons[known[layer].name]}; name another layer, or use {option} auto"
            )
    return tuple(dict.fromkeys(known[layer].name for layer in layers))


def widen(prepared: GraphModule, names: Collection[str]) -> GraphModule:
    """Give groups int16 results, their operators 16 bits, and put borders in between.

    Args:
        prepared: from `prepare`, calibrated or not; not changed.
        names: of groups, from `groups_of` or `can_widen`.
    Returns:
        A new graph, to be calibrated: `set_ranges` settles its borders.
    """
    result = copied(prepared)
    modules = dict(result.named_modules(remove_duplicate=False))
    wide = _closure(result, modules, {q for q in modules.values() if isinstance(q, FakeQuant) and q.name in names})
    prescribed = {quant.name: quant.params for quant in wide if quant.fixed}  # for int8 copies
    for quant in wide:
        if quant.fixed:
            quant.set_params(_WIDE_PARAMS[quant.params])
        elif quant.bits == 8:
            quant.bits = 16
            quant.scale.zero_()  # of another width
            quant.zero_point.zero_()
    plan = []
    for node in _computing(result, modules):
        sources = [(source, quantized_by(source, modules)) for source in node.all_input_nodes]
        target = quantized_by(node, modules)
        is_wide = _computes_wide(node, modules) and not wide.isdisjoint({target, *(quant for _, quant in sources)})
        plan.append((node, is_wide, target, sources))
    borders: dict[tuple[Node, int], Node] = {}
    for node, is_wide, target, sources in plan:  # a plan, because borders change what quantized_by() finds
        bits = 16 if is_wide else 8
        for source, quant in sources:
            if (quant in wide) != is_wide:
                if (source, bits) not in borders:
                    borders[source, bits] = _border(result, source, quant.name, bits, prescribed.get(quant.name))
                node.replace_input_with(source, borders[source, bits])
        if is_wide and target not in wide:
            border = _border(result, node, target.name, 16)
            node.replace_all_uses_with(border)
            border.args = (node,)  # it replaced itself, too
    result.graph.lint()
    result.recompile()
    return result


def int16_names(graph_module: GraphModule) -> tuple[str, ...]:
    """Names of the groups of a widened graph whose results are int16, borders not counted."""
    quants = [module for module in graph_module.modules() if isinstance(module, FakeQuant)]
    return tuple(quant.name for quant in quants if quant.bits == 16 and not quant.border)


def border_bases(graph_module: GraphModule) -> dict[FakeQuant, FakeQuant]:
    """Each border of a widened graph -> the int8 FakeQuant that its scale follows."""
    quants = [module for module in graph_module.modules() if isinstance(module, FakeQuant)]
    narrow = {quant.name: quant for quant in quants if quant.bits == 8}
    return {quant: narrow[quant.name] for quant in quants if quant.border}


def settle_borders(graph_module: GraphModule) -> None:
    """Set the scales of all borders, in place.

    Args:
        graph_module: widened or not; all other scales are set.
    """
    for border, base in border_bases(graph_module).items():
        border.set_params(base.params.widened)


def _refusals(prepared: GraphModule, modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """Group -> why its result can't be int16."""
    reasons: dict[str, str] = {}
    known = dict(modules)
    computing = set(_computing(prepared, known))
    for node in prepared.graph.nodes:
        if node.op == "output":
            for source in node.all_input_nodes:
                reasons[quantized_by(source, known).name] = "it is an output of the network, and the contract says int8"
        elif node.op == "placeholder":
            reasons[quantized_by(node, known).name] = "it is the network's input, and the contract says int8"
        elif node in computing and not _computes_wide(node, known):
            what = type(known[str(node.target)]).__name__ if node.op == "call_module" else node.name
            reasons.setdefault(quantized_by(node, known).name, f"TFLite Micro has no int16 kernel for {what}")
    return reasons


def _computing(graph_module: GraphModule, modules: dict[str, nn.Module]) -> list[Node]:
    """Nodes whose result is rounded anew."""
    return [
        node
        for node in graph_module.graph.nodes
        if node.op in ("call_module", "call_function")
        and not isinstance(modules.get(str(node.target)), FakeQuant)
        and not copies_codes(node, modules)
    ]


def _computes_wide(node: Node, modules: Mapping[str, nn.Module]) -> bool:
    """True for operators with an int16 kernel in TFLite and in TFLite Micro; HARD_SWISH has none."""
    if node.op == "call_module":
        return isinstance(modules[str(node.target)], QuantConv2d | nn.Sigmoid)
    return node.target in (operator.add, operator.mul, torch.mean)


def _closure(graph_module: GraphModule, modules: dict[str, nn.Module], wide: set[FakeQuant]) -> set[FakeQuant]:
    """The wide groups, and all groups between operators that compute in 16 bits anyway."""
    candidates = set(can_widen(graph_module).values())
    ends: dict[FakeQuant, list[Node]] = {quant: [] for quant in candidates}
    around: dict[Node, list[FakeQuant]] = {}
    for node in _computing(graph_module, modules):
        around[node] = [quantized_by(n, modules) for n in (node, *node.all_input_nodes)]
        for quant in {*around[node]} & candidates:
            ends[quant].append(node)
    while True:
        computing = {n for n, quants in around.items() if _computes_wide(n, modules) and wide.intersection(quants)}
        more = {quant for quant, nodes in ends.items() if quant not in wide and nodes and computing.issuperset(nodes)}
        if not more:
            return wide
        wide = wide | more


def _border(
    graph_module: GraphModule, source: Node, name: str, bits: int, prescribed: AffineParams | None = None
) -> Node:
    """Insert a FakeQuant behind a node; its users are the caller's to change.

    Args:
        graph_module: changed in place.
        source: the node.
        name: of its group.
        bits: 16, or 8 for a copy of an int16 tensor.
        prescribed: of that copy, where the int8 scale is prescribed.
    """
    path = f"fake_quants.{source.name}_int{bits}"
    fixed = prescribed if bits == 8 else None
    graph_module.add_submodule(path, FakeQuant(name, fixed, bits, border=bits == 16))
    with graph_module.graph.inserting_after(source):
        return graph_module.graph.call_module(path, (source,))
