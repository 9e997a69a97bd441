"""A scale of its own for every tensor whose scale is prescribed, where it would have to share one with others.

TFLite prescribes the scale of LOGISTIC, SOFTMAX and TANH, and the contract that of the input. edgedet's own detectors
concatenate none of them with anything else. In networks from elsewhere a QUANTIZE brings such a tensor to the shared
scale; it costs an operator and a rounding, as it does wherever such a network is quantized.
"""

from __future__ import annotations

from torch.fx import GraphModule

from edgedet.net.foreign import Requantize
from edgedet.quantize.fx.copied import copied
from edgedet.quantize.fx.prepare import prescribed
from edgedet.quantize.fx.qparams import AffineParams
from edgedet.quantize.fx.shared_scales import keeps_scale, shared_scale_groups


def separate_prescribed(graph_module: GraphModule, input_params: AffineParams) -> tuple[GraphModule, tuple[str, ...]]:
    """Put a `Requantize` behind every prescribed tensor of a group that holds others.

    Args:
        graph_module: float graph; not changed.
        input_params: scale and zero point of the input.
    Returns:
        A new graph of the same function, and the names of the tensors.
    """
    result = copied(graph_module)
    modules = dict(result.named_modules(remove_duplicate=False))
    names: list[str] = []
    for group in shared_scale_groups(result):
        makers = [node for node in group if not keeps_scale(node, modules)]
        wanted = {node: prescribed(node, modules, input_params) for node in makers}
        if len(set(wanted.values())) < 2:
            continue
        for node, params in wanted.items():
            inside = [user for user in node.users if user in group]
            if params is None or not inside:
                continue
            path = f"{node.name}_requantized"
            result.add_submodule(path, Requantize())
            with result.graph.inserting_after(node):
                moved = result.graph.call_module(path, (node,))
            for user in inside:
                user.replace_input_with(node, moved)
            names.append(node.name)
    result.recompile()
    return result, tuple(names)
