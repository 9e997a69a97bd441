"""Quantization-aware training on another device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from far_device import FarTensor, far_device
from random_weights import random_detector
from torch.utils._pytree import tree_leaves, tree_map

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.data.coco.build import load_split
from edgedet.finetune.qat_trainer import QatTrainer
from edgedet.graph.flatbuffer import serialize
from edgedet.net.runtime import TorchRuntime
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.calibration.images import image_batches
from edgedet.quantize.fx.prepare import prepare_model
from edgedet.quantize.fx.to_graph import graph_from_fx
from edgedet.training.parallel.hardware import Hardware

FILE = load_model_file(
    "rtmdet_pico_relu6", ("batch=4", "epochs=2", "deepen=0.1", "stacked_convs=1", "mosaic=0.0", "widen=0.07")
)
SPEC = PreprocessSpec(64, 32)


def make_trainer(data: Path, distill: bool, hardware: Hardware | None = None) -> QatTrainer:
    split = load_split(data, "train")
    network = random_detector(FILE.model, 2, seed=0)
    calibrated = calibrate(prepare_model(network, SPEC), image_batches(split.images[:4], SPEC))
    outputs = OutputSpec(split.class_names)
    return QatTrainer(calibrated, FILE.train, SPEC, outputs, split, 0, network if distill else None, hardware)


def epoch(trainer: QatTrainer, number: int) -> list[float]:
    """Losses of one epoch of two steps; the ranges freeze at the fourth step."""
    batches = trainer._loader.epoch(number, strong=False)
    return [trainer.step(batch, 2 * number + index, 1e-3).total for index, batch in enumerate(batches)]


def copy_of(state: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, state)
    return result


@pytest.mark.parametrize("distill", [pytest.param(False, marks=pytest.mark.long), True])
def test_steps_on_a_device_and_back_give_the_file_of_the_cpu(
    tiny_coco_once: Path, monkeypatch: pytest.MonkeyPatch, distill: bool
) -> None:
    """The first epoch on a device that refuses to mix its tensors with the CPU's, both on the CPU, both there."""
    # For `prod` torch has another formula of the gradient on the device meta.
    monkeypatch.setattr(torch.Tensor, "prod", lambda sides, dim: sides.select(dim, 0) * sides.select(dim, 1))
    outputs = OutputSpec(("red", "green"))
    here = make_trainer(tiny_coco_once, distill)
    expected = epoch(here, 0), epoch(here, 1)
    assert here.ranges_frozen
    data = serialize(graph_from_fx(here.frozen(), SPEC, outputs))
    with far_device() as device:
        there = make_trainer(tiny_coco_once, distill, Hardware(device))
        assert {p.device for p in there.model.parameters()} == {device}
        assert epoch(there, 0) == expected[0]
        state = copy_of(there.state())
        assert epoch(there, 1) == expected[1]
        frozen = there.frozen()
        assert serialize(graph_from_fx(frozen, SPEC, outputs)) == data
        runtime = TorchRuntime(frozen.to(device), SPEC, outputs)
        found = runtime.invoke(runtime.prepare(np.full((32, 64, 3), 99, np.uint8)))
    assert not any(isinstance(leaf, FarTensor) for leaf in tree_leaves(state))
    assert len(found) == 6
    back = make_trainer(tiny_coco_once, distill)
    back.load_state(state)
    assert epoch(back, 1) == expected[1]
