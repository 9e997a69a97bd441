"""Activation substitution in a trained network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from edgedet.config import ModelConfig
from edgedet.errors import ConfigError
from edgedet.net.checkpoint import Checkpoint
from edgedet.net.families import build_detector
from edgedet.net.layers import ChannelAttention, CSPLayer
from edgedet.quantize.fx.prepare import prepare_model


def substitute(
    checkpoint: Checkpoint, activation: str, channel_attention: bool, batches: Sequence[Tensor]
) -> Checkpoint:
    """Replace activations and drop channel attention in a trained network, without training.

    Weights are carried over. A dropped attention leaves its mean factor of each channel behind, in the weights of the
    convolution that reads it. BatchNorm statistics are measured anew, because another activation shifts all of them.

    Args:
        checkpoint: trained; not changed.
        activation: of the new network, one of `ACTIVATIONS`.
        channel_attention: whether the new network has it; True only when the old one has it.
        batches: float32 (N, C, H, W), normalized: training images.
    Returns:
        The new checkpoint, without resume state.
    Raises:
        ConfigError: attention asked for that the checkpoint does not have.
    """
    old = checkpoint.model_config
    if channel_attention and not old.channel_attention:
        raise ConfigError(f"{old.name} has no channel attention to keep")
    config = substituted_config(old, activation, channel_attention)
    weights = dict(checkpoint.weights)
    if not channel_attention and old.channel_attention:
        weights = _without_attention(checkpoint, batches)
    fresh = Checkpoint(config, checkpoint.preprocess, checkpoint.outputs, weights, dict(checkpoint.info))
    model = fresh.build()
    measure_batch_norms(model, batches)
    return replace(fresh, weights={name: value.contiguous() for name, value in model.state_dict().items()})


def substituted_config(old: ModelConfig, activation: str, channel_attention: bool) -> ModelConfig:
    """The architecture after a substitution, with a name that says what changed."""
    name = old.name + (f"_{activation}" if activation != old.activation else "")
    name += "_nca" if channel_attention != old.channel_attention else ""
    return replace(old, name=name, activation=activation, channel_attention=channel_attention)


def prepare_substituted(checkpoint: Checkpoint, activation: str | None, channel_attention: bool) -> GraphModule:
    """The network after a substitution, prepared, with weights that mean nothing: for its names of layers.

    Args:
        checkpoint: before the substitution.
        activation: of the new network; None: as it is.
        channel_attention: False: without.
    Returns:
        Not calibrated; for `require_layers`.
    """
    old = checkpoint.model_config
    config = substituted_config(old, activation or old.activation, channel_attention and old.channel_attention)
    network = build_detector(config, checkpoint.num_classes, checkpoint.preprocess.channels)
    return prepare_model(network.eval(), checkpoint.preprocess)


def _without_attention(checkpoint: Checkpoint, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Weights in which each attention is replaced by its mean factors."""
    model = checkpoint.build()
    factors: dict[str, list[Tensor]] = {}
    handles = []
    for path, module in model.named_modules():
        if isinstance(module, ChannelAttention):
            kept = factors[path.rpartition(".")[0]] = []
            handles.append(module.act.register_forward_hook(lambda _m, _i, out, kept=kept: kept.append(out.detach())))
    with torch.inference_mode():
        for batch in batches:
            model(batch)
    for handle in handles:
        handle.remove()
    weights = {name: value for name, value in checkpoint.weights.items() if ".attention." not in name}
    for path, seen in factors.items():
        layer = model.get_submodule(path)
        assert isinstance(layer, CSPLayer)
        mean = torch.cat(seen).mean(0).flatten().clone()
        key = f"{path}.final_conv.conv.weight"
        weights[key] = checkpoint.weights[key] * mean[None, :, None, None]
    return weights


def measure_batch_norms(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of every BatchNorm by the mean over batches, in place; the mode stays.

    Args:
        model: float32 network.
        batches: float32 (N, C, H, W), normalized; large enough for statistics.
    """
    training = model.training
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative mean
    model.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(training)
