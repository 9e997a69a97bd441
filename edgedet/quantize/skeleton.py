"""An int8 graph with the shapes of a network and arbitrary codes: what plans memory, without training or images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule, symbolic_trace
from torch.overrides import TorchFunctionMode

from edgedet.config import ModelConfig
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.graph.graph import Graph
from edgedet.net.families import build_detector, int8_form
from edgedet.net.rtmdet import RTMDet
from edgedet.numerics.affine import WEIGHT_MAX
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.lower_activations import lower_activations
from edgedet.quantize.fx.prepare import prepare
from edgedet.quantize.fx.qparams import AffineParams, input_params
from edgedet.quantize.fx.to_graph import graph_from_fx


def skeleton_graph(config: ModelConfig, preprocess: PreprocessSpec, outputs: OutputSpec, seed: int = 0) -> Graph:
    """The graph that quantizing a network of this architecture gives, with drawn weights and made-up scales.

    Operators, shapes and types are those of a trained network: nothing else decides a memory plan. The network itself
    never gets memory, so even rtmdet_x takes seconds.

    Args:
        config: architecture.
        preprocess: input contract.
        outputs: output contract; its classes are counted.
        seed: of the weights.
    Returns:
        The graph, with contracts.
    Raises:
        UnsupportedOpError: the architecture has no int8 form.
    """
    config, outputs = int8_form(config, outputs)
    network = weightless_detector(config, len(outputs.class_names), preprocess.channels).eval()
    with torch.device("meta"):
        traced = symbolic_trace(_folded(network))
    prepared = prepare(lower_activations(traced), input_params(preprocess))
    _fill(prepared, np.random.default_rng(seed))
    return graph_from_fx(prepared, preprocess, outputs)


def weightless_detector(config: ModelConfig, num_classes: int, in_channels: int) -> RTMDet:
    """The network on torch's device `meta`: shapes without values. Arguments as of `build_detector`."""
    with torch.device("meta"), _NoDraws():
        return build_detector(config, num_classes, in_channels)


def _folded(network: nn.Module) -> nn.Module:
    """The network without BatchNorms and hard sigmoids, in place, as folding and lowering leave it."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
            if isinstance(child, nn.Hardsigmoid):
                setattr(parent, name, nn.Hardtanh(0.0, 1.0))
    return network


class _NoDraws(TorchFunctionMode):
    """Leaves `nn.init.normal_` out: for tensors without values, torch imports its compiler for it, two seconds."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The function's result; of the draw, the tensor as it is."""
        kwargs = kwargs or {}
        return kwargs["tensor"] if func is nn.init.normal_ else func(*args, **kwargs)


def _fill(prepared: GraphModule, rng: np.random.Generator) -> None:
    """Codes and scales for everything, drawn, because equal constants would be stored once."""
    for module in prepared.modules():
        if isinstance(module, FakeQuant) and not module.fixed:
            module.set_params(AffineParams(np.float32(rng.uniform(0.04, 0.06)), 0))
        if isinstance(module, QuantConv2d):
            shape = tuple(module.weight.shape)
            codes = rng.integers(-WEIGHT_MAX, WEIGHT_MAX + 1, shape, np.int8)
            scales = rng.uniform(0.5, 1.0, shape[0]).astype(np.float32) / np.float32(WEIGHT_MAX)
            module.weight_scale, module.weight_code = torch.from_numpy(scales), torch.from_numpy(codes)
            module.bias_scale = torch.from_numpy(scales)
            module.bias_code = torch.from_numpy(rng.integers(-1000, 1000, shape[0], np.int32))
