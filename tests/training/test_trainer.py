"""Training steps on another device, and in every precision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from far_device import FarTensor, far_device

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.coco.build import load_split
from edgedet.errors import EdgedetError
from edgedet.training.parallel.hardware import Hardware
from edgedet.training.trainer import Trainer

SMALL = ("batch=4", "epochs=2", "threads=1", "deepen=0.1", "stacked_convs=1", "bf16=false")


@pytest.fixture
def plain_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Areas as width times height: for `prod` torch has another formula of the gradient on the device meta."""
    monkeypatch.setattr(torch.Tensor, "prod", lambda sides, dim: sides.select(dim, 0) * sides.select(dim, 1))


def make_trainer(data: Path, hardware: Hardware | None = None, *overrides: str) -> Trainer:
    split = load_split(data, "train")
    file = load_model_file("rtmdet_pico_relu6", (*SMALL, *overrides))
    return Trainer(file, PreprocessSpec(96, 64), OutputSpec(split.class_names), split, 0, hardware=hardware)


def epoch(trainer: Trainer, number: int) -> list[float]:
    """Losses of the steps of one epoch."""
    return [trainer.step(batch, 2 * number + index, 1e-3).total for index, batch in enumerate(trainer.batches(number))]


def assert_same_state(first: Any, second: Any) -> None:
    if isinstance(first, torch.Tensor):
        assert type(first) is type(second)
        assert not isinstance(first, FarTensor)
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same_state(first[key], second[key])
    elif isinstance(first, list):
        for one, other in zip(first, second, strict=True):
            assert_same_state(one, other)
    else:
        assert first == second


@pytest.mark.usefixtures("plain_products")
def test_step_on_a_device_equals_the_cpu_and_its_state_is_of_the_cpu(tiny_coco_once: Path) -> None:
    here = make_trainer(tiny_coco_once)
    expected = epoch(here, 0) + epoch(here, 1)
    with far_device() as device:
        there = make_trainer(tiny_coco_once, Hardware(device))
        assert {p.device for p in there.model.parameters()} == {device}
        assert epoch(there, 0) + epoch(there, 1) == expected
        weights, state = there.averaged_weights(), there.state()
    assert_same_state(weights, here.averaged_weights())
    assert_same_state(state, here.state())


@pytest.mark.usefixtures("plain_products")
def test_load_state_of_another_device_goes_on_as_if_it_had_not_been_interrupted(tiny_coco_once: Path) -> None:
    whole = make_trainer(tiny_coco_once)
    epoch(whole, 0)
    weights, state = whole.averaged_weights(), whole.state()
    weights, state = torch.utils._pytree.tree_map(
        lambda x: x.clone() if isinstance(x, torch.Tensor) else x, (weights, state)
    )
    expected = epoch(whole, 1)
    with far_device() as device:
        there = make_trainer(tiny_coco_once, Hardware(device))
        there.load_state(weights, state)
        assert epoch(there, 1) == expected
        weights, state = there.averaged_weights(), there.state()
    assert_same_state(weights, whole.averaged_weights())
    back = make_trainer(tiny_coco_once)
    back.load_state(weights, state)
    assert_same_state(back.state(), whole.state())


@pytest.mark.parametrize("name", ["cpu", "cuda"])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.05), ("float16", 0.02)])
def test_step_in_every_precision_learns_about_the_same(
    tiny_coco_once: Path, name: str, precision: str, tolerance: float
) -> None:
    """Losses of about 2; one rounding is 2^-9 in bfloat16 and 2^-12 in float16, and they add up over 50 layers."""
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU, or EDGEDET_TEST_CUDA=1 is not set")
    exact = epoch(make_trainer(tiny_coco_once), 0)
    trainer = make_trainer(tiny_coco_once, Hardware(torch.device(name), precision))
    assert trainer.dtype == getattr(torch, precision)
    # float16 may skip its first steps, until its factor is small enough; the first loss is before any step.
    assert epoch(trainer, 0)[0] == pytest.approx(exact[0], rel=tolerance)
    assert ("scaler" in trainer.state()) == (precision == "float16")


def test_state_in_float16_goes_on_with_the_same_factor(tiny_coco_once: Path) -> None:
    hardware = Hardware(precision="float16")
    whole = make_trainer(tiny_coco_once, hardware)
    epoch(whole, 0)
    weights, state = torch.utils._pytree.tree_map(
        lambda x: x.clone() if isinstance(x, torch.Tensor) else x, (whole.averaged_weights(), whole.state())
    )
    assert state["scaler"]["scale"] < 65536.0  # torch's first factor, too large for the first gradients here
    resumed = make_trainer(tiny_coco_once, hardware)
    resumed.load_state(weights, state)
    assert epoch(resumed, 1) == epoch(whole, 1)
    assert_same_state(resumed.state(), whole.state())


def test_step_in_float16_that_never_fits_is_an_error(tiny_coco_once: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(tiny_coco_once, Hardware(precision="float16"))
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    monkeypatch.setattr(trainer._scaler, "get_scale", lambda: 0.5)
    with pytest.raises(EdgedetError, match="gradient inf at iteration 1: training diverged"):
        epoch(trainer, 0)


def test_hardware_precision_follows_the_model_file_and_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Hardware(torch.device("cuda", 0))
    for capability, expected in (((9, 0), torch.bfloat16), ((7, 5), torch.float16), ((6, 1), torch.float32)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert gpu.dtype(bf16=True) == expected
        assert gpu.dtype(bf16=False) == torch.float32
    assert replace(gpu, precision="float16").dtype(bf16=True) == torch.float16
    assert Hardware(torch.device("mps")).dtype(bf16=True) == torch.float32
