"""Every shipped model through the whole chain at 64x64: a training step, PTQ, the file, the same bytes everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tflite_micro")

import torch
from every_model import EVERY_MODEL
from random_weights import random_detector, random_pictures

from edgedet.catalog import model_sizes
from edgedet.config import available_models, load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.paths import DataPaths
from edgedet.data.pictures.preprocess import normalize
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.model import int8_model
from edgedet.graph.summary import summarize
from edgedet.net.families import build_detector
from edgedet.quantize.api import quantize_model
from edgedet.runtimes import generated_c
from edgedet.runtimes.c_program import make_program
from edgedet.runtimes.parity import compare_runtimes
from edgedet.training.trainer import Trainer

SIDE = 64  # px
OUTPUTS = OutputSpec(class_names=("first", "second"))
# Of each kind of network one, the rest by `make test-models`: l and x take minutes, and more than 2 GB in training.
ALWAYS = (("rtmdet_nano_half_ncadc_relu6", 3), ("rtmdet_tiny", 3), ("rtmdet_mnv4", 1))
OTHERS = [(name, 3) for name in available_models() if (name, 3) not in ALWAYS]


@pytest.fixture(autouse=True)
def _quick_compilation(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = tuple("-O1" if flag == "-O3" else flag for flag in generated_c.HOST_FLAGS if flag != "-march=native")
    monkeypatch.setattr(generated_c, "HOST_FLAGS", flags)


@pytest.mark.toolchain
@pytest.mark.parametrize(("name", "channels"), [*ALWAYS, *(pytest.param(*case, marks=EVERY_MODEL) for case in OTHERS)])
def test_model_trains_a_step_and_gives_the_same_bytes_everywhere(
    name: str, channels: int, tiny_coco_once: Path
) -> None:
    overrides = (f"channels={channels}", "train.batch=2", "threads=1", "bf16=false")
    file = load_model_file(name, overrides)
    preprocess = file.preprocess.spec((SIDE, SIDE))
    start = random_detector(file.model, 2, seed=1, in_channels=channels).state_dict()
    trainer = Trainer(file, preprocess, OUTPUTS, DataPaths(tiny_coco_once).load("train"), 0, start)
    losses = trainer.step(next(iter(trainer.batches(0))), 0, 1e-3)
    assert np.isfinite(losses.total)
    trained = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    changed = [key for key, value in trained.items() if not torch.equal(value, start[key])]
    assert any(key.startswith("backbone.stem.0") for key in changed)

    network = build_detector(file.model, 2, channels)
    network.load_state_dict(trained)
    pictures = random_pictures(4, SIDE, SIDE, seed=2)[..., :channels]
    batch = torch.from_numpy(np.stack([normalize(picture, preprocess) for picture in pictures])).permute(0, 3, 1, 2)
    graph = quantize_model(network.eval(), preprocess, OUTPUTS, [batch]).graph
    data = serialize(graph)
    for parity in compare_runtimes(name, data, parse_tflite(data, name), ("tflm", "c99"), images=1):
        assert parity.exact, parity
    program = make_program(graph, int8_model(graph, Path(name))).program
    sizes = model_sizes(name, (SIDE, SIDE), 2, overrides)
    assert sizes.arena_bytes == program.plan.arena_bytes
    # Channel shifts of small layers that happen to be equal are stored once.
    constants = program.constants.weights.values().nbytes + program.constants.words.values().nbytes
    assert -1024 < sizes.flash_bytes - constants < sizes.shared_head_bytes + 1024
    assert sizes.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert sizes.macs == summarize(graph).macs
    assert dict(sizes.operators) == summarize(graph).operators
