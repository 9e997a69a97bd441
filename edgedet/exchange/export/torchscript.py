"""TorchScript of a detector: traced and frozen, contracts in the extra file `edgedet.json`."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from edgedet.exchange.export.check import FLOAT32, Check, compare
from edgedet.exchange.export.subject import FloatDetector
from edgedet.graph.metadata import contract_metadata

CONTRACT_FILE = "edgedet.json"


def write_torchscript(subject: FloatDetector, path: Path) -> Check:
    """Write the file and check it as torch.jit.load reads it.

    Args:
        subject: the detector.
        path: to write.
    Returns:
        The check.
    Raises:
        ConversionError: the file computes something else.
    """
    x = torch.from_numpy(subject.x)
    _, contract = contract_metadata(subject.preprocess, subject.outputs)
    with warnings.catch_warnings():
        # torch.jit is called deprecated in favour of torch.export, whose files need Python.
        warnings.simplefilter("ignore")
        # Without its own check: the one below is of the file.
        traced = torch.jit.trace(subject.model, x, check_trace=False)  # type: ignore[no-untyped-call]
        frozen = torch.jit.freeze(traced)
        torch.jit.save(frozen, str(path), _extra_files={CONTRACT_FILE: contract})
        loaded = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    with torch.inference_mode():
        found = [output.numpy() for output in loaded(x)]
    result = compare(subject.names, subject.expected, found, FLOAT32, "BatchNorm folded into the convolutions")
    return Check(subject.picture, "the torch network", f"torch.jit: {result}")
