"""A small detector with FOMO's head; not a test itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from graph_maker import GraphMaker

from edgedet.contract.api import contract
from edgedet.contract.request import ContractRequest
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import write_tflite


def heat_map(folder: Path, softmax: bool = True) -> Path:
    """A FOMO of 3 classes with its contracts: a convolution over each 8x8 cell, and a softmax."""
    m = GraphMaker(5)
    x = m.input((1, 64, 96, 3))
    y = m.conv(x, 4, (8, 8), (8, 8), per_channel=False)
    m.tensors[y] = replace(m.tensors[y], quantization=g.Quantization(np.array([0.06], np.float32), np.zeros(1, int)))
    if softmax:
        y = m.add("SOFTMAX", [y], (1, 8, 12, 4), (1 / 256, -128), g.SoftmaxOptions(), name="scores")
    write_tflite(m.graph([y]), folder / "plain.tflite")
    out = folder / "fomo.tflite"
    options = {"head": "fomo", "classes": ("a", "b", "c"), "score_threshold": 0.4}
    contract(ContractRequest(model=folder / "plain.tflite", out=out, **options))
    return out
