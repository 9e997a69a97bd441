from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from edgedet.config import load_model_file
from edgedet.training.schedule import WeightAverage, learning_rate, parameter_groups

CONFIG = replace(load_model_file("rtmdet_pico_relu6").train, lr=1.0, min_lr_ratio=0.1, warmup_fraction=0.1)


@pytest.mark.parametrize("steps", [1, 2, 20, 1000])
def test_learning_rate_any_length_warms_up_and_ends_at_the_floor(steps: int) -> None:
    rates = [learning_rate(step, steps, CONFIG) for step in range(steps)]
    assert all(0 < rate <= 1.0 for rate in rates)
    assert max(rates) == pytest.approx(1.0)
    if steps > 2:
        assert rates[-1] == pytest.approx(0.1)
        warmup = max(1, round(steps * 0.1))
        assert rates[:warmup] == pytest.approx([(i + 1) / warmup for i in range(warmup)])
        assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_parameter_groups_norm_and_bias_without_decay() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    decayed, others = parameter_groups(model, 0.05)
    assert [p.ndim for p in decayed["params"]] == [4]
    assert decayed["weight_decay"] == 0.05
    assert len(others["params"]) == 3
    assert others["weight_decay"] == 0.0


def test_weight_average_update_equals_the_formula_and_takes_statistics() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1))
    average = WeightAverage(model, copy.deepcopy(model), decay=0.9, steps=10_000)
    start = average.model[1].running_mean.clone()
    with torch.no_grad():
        model[1].running_mean.fill_(5.0)
    average.update(step=10_000)
    torch.testing.assert_close(average.model[1].running_mean, 0.9 * start + 0.1 * 5.0)
    average.update(step=0)  # early steps forget faster: decay 1/10
    torch.testing.assert_close(average.model[1].running_mean, 0.1 * (0.9 * start + 0.5) + 0.9 * 5.0)


def test_weight_average_short_run_has_a_short_window() -> None:
    model = torch.nn.Conv2d(1, 1, 1)
    average = WeightAverage(model, copy.deepcopy(model), decay=0.9998, steps=50)
    with torch.no_grad():
        model.bias.fill_(1.0)
    average.model.bias.data.zero_()
    average.update(step=10_000)
    assert average.model.bias.item() == pytest.approx(0.2)  # window 10 % of 50 iterations
