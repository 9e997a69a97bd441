"""The float network that is exported, with one picture and what it gives for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from edgedet.contracts import OutputSpec, PreprocessSpec, require_trainable_size
from edgedet.data.pictures.drawn_picture import draw_pixels
from edgedet.data.pictures.preprocess import load_pixels, normalize
from edgedet.errors import ConversionError
from edgedet.net.checkpoint import load_checkpoint

INPUT_NAME = "input"  # as in the int8 file
DRAWN = "a drawn picture"


@dataclass(frozen=True, eq=False)
class FloatDetector:
    """A detector that is to be written, and its witness."""

    model: nn.Module  # NCHW, float32, in evaluation mode
    preprocess: PreprocessSpec
    outputs: OutputSpec
    picture: str  # which picture x is
    x: np.ndarray  # float32 (1, channels, height, width), normalized
    expected: tuple[np.ndarray, ...]  # the model's outputs for x, NCHW, contract order

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs."""
        return self.outputs.tensor_names


def load_subject(checkpoint: Path, imgsz: tuple[int, int] | None, image: Path | None) -> FloatDetector:
    """Open a checkpoint and run it on a picture.

    Args:
        checkpoint: .pt of edgedet.
        imgsz: width and height of the input, px; None: the checkpoint's.
        image: picture; None: one is drawn.
    Returns:
        The network with its outputs for the picture.
    Raises:
        CheckpointError: no checkpoint of edgedet.
        ConfigError: a size that the network can't have.
        DataError: the picture can't be read.
        ConversionError: the network gives NaN or infinity for it.
    """
    loaded = load_checkpoint(checkpoint)
    preprocess = loaded.preprocess
    if imgsz is not None:
        require_trainable_size(*imgsz)
        preprocess = replace(preprocess, width=imgsz[0], height=imgsz[1])
    if image is None:
        pixels = draw_pixels(preprocess.height, preprocess.width, 0, preprocess.channels)
    else:
        pixels = load_pixels(image, preprocess)
    x = np.ascontiguousarray(normalize(pixels, preprocess).transpose(2, 0, 1)[None])
    model = loaded.build()
    with torch.inference_mode():
        expected = tuple(output.numpy() for output in model(torch.from_numpy(x)))
    if not all(np.isfinite(output).all() for output in expected):
        raise ConversionError(f"{checkpoint}: the network gives NaN or infinity for {image or DRAWN}; train it again")
    return FloatDetector(model, preprocess, loaded.outputs, str(image or DRAWN), x, expected)
