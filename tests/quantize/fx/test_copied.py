"""A copy is what `copy.deepcopy` gives: the same numbers and code, nothing shared that can change."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import GraphModule, Tracer

from edgedet.quantize.calibration.observers import MinMaxObserver
from edgedet.quantize.fx.copied import copied
from edgedet.quantize.fx.fake_quant import FakeQuant, QuantConv2d
from edgedet.quantize.fx.qparams import AffineParams


class Shared(nn.Module):
    """A layer used twice, weights tied between two layers, a list that is no module, a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.first = QuantConv2d(nn.Conv2d(3, 3, 3), "first", "relu", (1, 1, 1, 1))
        self.again = self.first
        self.block = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4))
        self.tied = nn.Conv2d(3, 4, 1)
        self.tied.weight = self.block[0].weight
        self.quant = FakeQuant("x", AffineParams(np.float32(0.5), 3))
        self.quant.observer = MinMaxObserver()
        self.notes = [1, {"a": [2]}]
        self.tied.register_forward_hook(_hook)

    def forward(self, x: Any) -> Any:
        x = self.again(self.first(x))
        return self.quant(self.block(x) + self.tied(x))


class Leaves(Tracer):
    """Every layer stays a call of its module, as in a prepared graph."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not isinstance(m, nn.Sequential)


def _hook(module: nn.Module, inputs: Any, output: Any) -> None:
    return None


def storages(network: nn.Module) -> set[int]:
    return {t.data_ptr() for t in (*network.parameters(), *network.buffers()) if t.numel()}


def plain(network: nn.Module) -> Iterator[tuple[str, Any]]:
    for path, module in network.named_modules():
        for name, value in vars(module).items():
            if not name.startswith("_") and isinstance(value, (int, str, tuple, list)):
                yield f"{path}.{name}", value


@pytest.mark.parametrize("traced", [False, True])
def test_copied_is_what_deepcopy_gives(traced: bool) -> None:
    torch.manual_seed(0)
    network: nn.Module = Shared().eval()
    if traced:
        network = GraphModule(network, Leaves().trace(network))
    ours, torchs = copied(network), copy.deepcopy(network)
    assert list(ours.state_dict()) == list(torchs.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), torchs.state_dict().values(), strict=True))
    assert list(plain(ours)) == list(plain(torchs)) == list(plain(network))
    assert [type(m).__name__ for m in ours.modules()] == [type(m).__name__ for m in torchs.modules()]
    assert not storages(ours) & storages(network)
    assert ours.get_parameter("block.0.weight") is ours.tied.weight
    assert ours.quant.observer is not network.quant.observer
    if isinstance(ours, GraphModule):
        assert ours.code == torchs.code
        assert [n.format_node() for n in ours.graph.nodes] == [n.format_node() for n in torchs.graph.nodes]
        assert ours.graph is not network.graph
    else:
        assert ours.first is ours.again
        assert ours.notes == network.notes
        assert ours.notes[1] is not network.notes[1]
        assert list(ours.tied._forward_hooks.values()) == [_hook]


def test_copied_changes_nothing_of_the_original() -> None:
    network = Shared()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ours = copied(network)
    with torch.no_grad():
        for value in (*ours.parameters(), *ours.buffers()):
            value.add_(1)
    ours.quant.set_params(AffineParams(np.float32(2.0), 0))
    ours.first.activation = "none"
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.first.activation == "relu"
    assert network.quant.params == AffineParams(np.float32(0.5), 3)
    assert ours.first.weight.requires_grad


def test_copied_keeps_frozen_parameters_and_their_layout() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3)).requires_grad_(False).to(memory_format=torch.channels_last)
    weight = copied(network)[0].weight
    assert not weight.requires_grad
    assert weight.stride() == network[0].weight.stride()
