"""A checkpoint as lint sees it: the graph that its int8 file will have, before any calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgedet.convert.from_fx import graph_from_fx
from edgedet.lint.finding import Subject
from edgedet.quantize.api import prepare_model
from edgedet.quantize.calibrate import freeze
from edgedet.quantize.fake_quant import FakeQuant
from edgedet.quantize.qparams import AffineParams
from edgedet.train.checkpoint import load_checkpoint

_ANY = AffineParams(np.float32(0.05), -20)  # the rules about scales do not look at checkpoints


def checkpoint_subject(path: Path) -> Subject:
    """Fold, lower and convert a checkpoint with scales that mean nothing.

    Args:
        path: checkpoint of edgedet.
    Returns:
        What the rules look at.
    Raises:
        CheckpointError: not a checkpoint.
        ConversionError, UnsupportedOpError: the network has no int8 form.
    """
    checkpoint = load_checkpoint(path)
    prepared = prepare_model(checkpoint.build(), checkpoint.preprocess)
    for module in prepared.modules():
        if isinstance(module, FakeQuant) and not module.fixed:
            module.set_params(_ANY)
    graph = graph_from_fx(freeze(prepared), checkpoint.preprocess, checkpoint.outputs)
    return Subject(str(path), "checkpoint", graph)
