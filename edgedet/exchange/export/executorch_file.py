"""ExecuTorch program of a detector, with XNNPACK for what it knows."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from edgedet.errors import ToolchainError
from edgedet.exchange.export.check import FLOAT32, Check, compare
from edgedet.exchange.export.subject import FloatDetector


def write_executorch(subject: FloatDetector, path: Path) -> Check:
    """Write the .pte and check it in ExecuTorch's own runtime.

    Args:
        subject: the detector.
        path: to write.
    Returns:
        The check.
    Raises:
        ConversionError: the file computes something else.
        ToolchainError: the installed ExecuTorch does not go with the installed torch.
    """
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
        from executorch.runtime import Runtime
    except (ImportError, AttributeError) as error:
        raise ToolchainError(
            f"executorch can't be used with torch {torch.__version__}: {error}; install the version of executorch that "
            "was made for this torch"
        ) from error
    x = torch.from_numpy(subject.x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(subject.model, (x,))
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        path.write_bytes(lowered.to_executorch().buffer)
    method = Runtime.get().load_program(path).load_method("forward")
    found = [output.numpy() for output in method.execute([x])]
    result = compare(subject.names, subject.expected, found, FLOAT32, "float32 sums in another order")
    return Check(subject.picture, "the torch network", f"ExecuTorch: {result}")
