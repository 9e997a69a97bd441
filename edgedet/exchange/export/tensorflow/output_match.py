"""Which output is which, where a converter keeps neither names nor order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgedet.errors import ConversionError


def match_outputs(expected: Mapping[str, np.ndarray], found: Sequence[np.ndarray]) -> dict[str, int]:
    """Find each expected output among others by its values on one picture.

    Args:
        expected: name -> values.
        found: values of the outputs in question.
    Returns:
        name -> position in `found`; each position once.
    Raises:
        ConversionError: another number of outputs, none of a shape, or two names whose nearest output is the same.
    """
    if len(found) != len(expected):
        raise ConversionError(
            f"the converter gave {len(found)} outputs, expected {len(expected)}: {', '.join(expected)}"
        )
    order: dict[str, int] = {}
    for name, values in expected.items():
        distances = [float(np.abs(values - other).max()) if values.shape == other.shape else np.inf for other in found]
        nearest = int(np.argmin(distances))
        if not np.isfinite(distances[nearest]):
            raise ConversionError(f"the converter gave no output of shape {values.shape} for {name}")
        if nearest in order.values():
            raise ConversionError(
                f"two outputs of the network are alike on this picture, so that {name} can't be told from another: "
                "check on another one, with `image`"
            )
        order[name] = nearest
    return order
