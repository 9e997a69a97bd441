"""Decode and NMS in NumPy at 192x192, 3 classes. Marks: 3 ms at threshold 0.25, 20 ms at 0.001.

The outputs have the statistics of a trained detector: most cells are background, a few clusters of cells agree on an
object. `dense` is the worst case of threshold 0.001: every logit passes, so that the cap of candidates works.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgedet.contracts import OutputSpec
from edgedet.numerics.decode import MAX_CANDIDATES, decode_float, decode_int8, dequantize_output

pytest.importorskip("pytest_benchmark")

SPEC = OutputSpec(class_names=("a", "b", "c"))
SIDE = 192
SCALES, ZERO_POINTS = [0.08, 0.03] * 3, [60, -127] * 3


def outputs_of(background_logit: float, objects: int) -> list[np.ndarray]:
    """int8 outputs: noise around the background, and clusters of 3x3 cells that see an object."""
    rng = np.random.default_rng(7)
    outputs = []
    for level, stride in enumerate(SPEC.strides):
        cells = SIDE // stride
        logits = rng.normal(background_logit, 0.7, (1, cells, cells, 3))
        sides = rng.gamma(4.0, 0.6, (1, cells, cells, 4))
        for _ in range(objects // (level + 1)):
            row, column = rng.integers(0, cells - 2, 2)
            logits[0, row : row + 3, column : column + 3, rng.integers(0, 3)] += rng.uniform(4, 8)
        outputs.append(np.clip(np.round(logits / SCALES[0]) + ZERO_POINTS[0], -128, 127).astype(np.int8))
        outputs.append(np.clip(np.round(sides / SCALES[1]) + ZERO_POINTS[1], -128, 127).astype(np.int8))
    return outputs


CASES = {"sparse": outputs_of(-6.0, 20), "dense": outputs_of(-4.0, 20)}


@pytest.mark.parametrize("threshold", [0.25, 0.001])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", ["int8", "float"])
def test_bench_decode_192_three_classes(benchmark, form: str, case: str, threshold: float) -> None:
    q_outputs = CASES[case]
    floats = [dequantize_output(q, s, z) for q, s, z in zip(q_outputs, SCALES, ZERO_POINTS, strict=True)]
    from_int8 = decode_int8(q_outputs, SCALES, ZERO_POINTS, SPEC, score_threshold=threshold)
    from_float = decode_float(floats, SPEC, score_threshold=threshold)
    # Output first, then time.
    np.testing.assert_array_equal(from_int8.boxes, from_float.boxes)
    np.testing.assert_array_equal(from_int8.scores, from_float.scores)
    assert len(from_int8) >= 15
    benchmark.extra_info["detections"] = len(from_int8)
    benchmark.extra_info["candidates"] = candidates = sum(
        int((1 / (1 + np.exp(-cls)) > threshold).sum()) for cls in floats[0::2]
    )
    benchmark.extra_info["capped"] = candidates > MAX_CANDIDATES
    if form == "int8":
        benchmark(decode_int8, q_outputs, SCALES, ZERO_POINTS, SPEC, score_threshold=threshold)
    else:
        benchmark(decode_float, floats, SPEC, score_threshold=threshold)
