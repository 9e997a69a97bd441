"""Whether a written file computes what it was made from, on one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.errors import ConversionError

# float32 sums in another order, and BatchNorm folded or not: relative to the largest value of an output, 50 to 110
# convolutions in a row give up to 2e-6; 1e-4 leaves room for larger networks, and no wrong operator is below it.
FLOAT32 = 1e-4
# Weights rounded to float16 (2^-11 each, relative); measured up to 3e-3 on the networks of models/.
FLOAT16 = 2e-2


@dataclass(frozen=True)
class Check:
    """What was compared, and the result."""

    picture: str  # which one
    against: str  # what the file should equal
    result: str  # one phrase with the figure and the tolerance

    def text(self) -> str:
        """One line."""
        return f"{self.picture}, against {self.against}: {self.result}"


def compare(
    names: Sequence[str], expected: Sequence[np.ndarray], found: Sequence[np.ndarray], tolerance: float, why: str
) -> str:
    """Compare the outputs of a file with those of its source.

    Args:
        names: of the outputs.
        expected: float arrays of the source.
        found: those of the file, in the same order.
        tolerance: largest difference that is allowed, as a fraction of the largest value of the output.
        why: the reason for a difference, a noun phrase.
    Returns:
        A phrase for `Check.result`.
    Raises:
        ConversionError: another number, shape or dtype of outputs, NaN, or a larger difference.
    """
    if len(found) != len(expected):
        raise ConversionError(
            f"the written file gives {len(found)} outputs, expected {len(expected)}: {', '.join(names)}"
        )
    worst = 0.0
    for name, ours, theirs in zip(names, expected, found, strict=True):
        if ours.shape != theirs.shape:
            raise ConversionError(f"the written file's output {name} has shape {theirs.shape}, expected {ours.shape}")
        largest = max(float(np.abs(ours).max(initial=0.0)), 1e-30)
        error = float(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max(initial=0.0)) / largest
        if not error <= tolerance:
            raise ConversionError(
                f"the written file's output {name} differs by {error:.2g} of its largest value, allowed is "
                f"{tolerance:g} ({why}); nothing was kept. Please report this network"
            )
        worst = max(worst, error)
    return f"largest difference {worst:.1g} of an output's largest value, {tolerance:g} allowed ({why})"
