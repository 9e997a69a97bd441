"""SOFTMAX of int8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgedet.graph.operators import softmax_exponentials
from edgedet.numerics.softmax import softmax
from edgedet.simulate.workspace import Kernel, KernelContext


def softmax_kernel(ctx: KernelContext) -> Kernel:
    """SOFTMAX along the last axis."""
    ctx.require_shape(ctx.input(0).shape)
    exps = softmax_exponentials(ctx)

    def run(inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> None:
        outputs[0][...] = softmax(inputs[0], exps)

    return run
