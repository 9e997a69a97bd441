"""A small checkpoint with lifelike random weights, for the formats that are made from one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from random_weights import random_detector

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.data.pictures.drawn_picture import draw_pixels
from edgedet.net.checkpoint import Checkpoint, save_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rtmdet_pico_relu6 with half of its convolutions, 64x32 px, 3 classes."""
    file = load_model_file("rtmdet_pico_relu6")
    config = replace(file.model, depthwise="none", stacked_convs=1)
    network = random_detector(config, 3, 4, 32, 32)
    path = tmp_path_factory.mktemp("export") / "small.pt"
    spec = file.preprocess.spec((64, 32))
    save_checkpoint(Checkpoint(config, spec, OutputSpec(("a", "b", "c")), network.state_dict(), {}), path)
    return path


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture file of another shape than the network's input."""
    path = tmp_path_factory.mktemp("picture") / "photo.png"
    Image.fromarray(np.ascontiguousarray(draw_pixels(60, 80, 9))).save(path)
    return path
