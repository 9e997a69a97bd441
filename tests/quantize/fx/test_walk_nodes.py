from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.fx import symbolic_trace

from edgedet.quantize.fx.walk import NodeRunner


class Fork(nn.Module):
    """One part of the graph does not depend on the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.first(x), self.second(x)
        return torch.cat((a, b), dim=1), b * 2


def test_node_runner_values_and_changed_outputs_equal_the_network() -> None:
    torch.manual_seed(0)
    model = Fork()
    x = torch.randn(2, 3, 4, 5)
    runner = NodeRunner(symbolic_trace(model))
    env = runner.values(x)
    with torch.inference_mode():
        expected = model(x)
    assert all(torch.equal(a, b) for a, b in zip(runner.outputs(env, {}), expected, strict=True))
    other = torch.zeros_like(env["first"])
    changed = runner.outputs(env, {"first": other})
    assert torch.equal(changed[0], torch.cat((other, env["second"]), 1))
    assert torch.equal(changed[1], expected[1])
    assert torch.equal(env["first"], model.first(x))
