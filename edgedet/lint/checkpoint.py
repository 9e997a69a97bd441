"""A checkpoint as lint sees it: the graph that its int8 file will have, before any calibration."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgedet.lint.finding import Subject
from edgedet.net.checkpoint import load_checkpoint
from edgedet.quantize.fx.fake_quant import FakeQuant
from edgedet.quantize.fx.prepare import freeze, prepare_model
from edgedet.quantize.fx.qparams import AffineParams
from edgedet.quantize.fx.to_graph import graph_from_fx

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
    checkpoint = load_checkpoint(path).int8_form()
    prepared = prepare_model(checkpoint.build(), checkpoint.preprocess)
    for module in prepared.modules():
        if isinstance(module, FakeQuant) and not module.fixed:
            module.set_params(_ANY)
    graph = graph_from_fx(freeze(prepared), checkpoint.preprocess, checkpoint.outputs)
    return Subject(str(path), "checkpoint", graph)
