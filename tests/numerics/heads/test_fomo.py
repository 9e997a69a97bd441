from __future__ import annotations

import math

import numpy as np
import pytest

from edgedet.contracts import OutputSpec
from edgedet.errors import ShapeError
from edgedet.head_spec import HeadSpec
from edgedet.numerics.heads.decode import decode_outputs
from edgedet.numerics.heads.fomo import quantized_score_threshold

SIZE = (64, 48)


def spec_of(scores: str = "none") -> OutputSpec:
    head = HeadSpec(kind="fomo", coding="cells", scores=scores, background=True, tensors=("map_8",))
    return OutputSpec(("a", "b"), strides=(8,), score_threshold=0.4, head=head)


def reference(scores: np.ndarray, threshold: float) -> list[tuple[float, int, list[float]]]:
    """Union-find over pairs of touching cells."""
    height, width, _ = scores.shape
    owned = {}
    for y in range(height):
        for x in range(width):
            best = max(range(3), key=lambda k: scores[y, x, k])
            if best > 0 and scores[y, x, best] > threshold:
                owned[y, x] = best - 1
    group = {cell: cell for cell in owned}
    for _ in owned:  # enough rounds for the longest chain
        for a in owned:
            for b in owned:
                if owned[a] == owned[b] and max(abs(a[0] - b[0]), abs(a[1] - b[1])) == 1:
                    group[a] = group[b] = min(group[a], group[b])
    found = []
    for root in sorted(set(group.values())):
        cells = [c for c in owned if group[c] == root]
        weights = [float(scores[y, x, owned[root] + 1]) for y, x in cells]
        cx = sum(w * (x + 0.5) for w, (_, x) in zip(weights, cells, strict=True)) / sum(weights) * 8
        cy = sum(w * (y + 0.5) for w, (y, _) in zip(weights, cells, strict=True)) / sum(weights) * 8
        found.append((max(weights), owned[root], [cx - 4, cy - 4, cx + 4, cy + 4]))
    return sorted(found, key=lambda f: -f[0])


@pytest.mark.parametrize("scores", ["none", "softmax"])
def test_cells_touching_cells_of_a_class_are_one_centroid(scores: str) -> None:
    logits = np.random.default_rng(0).normal(0, 1.2, (1, 6, 8, 3)).astype(np.float32)
    logits[..., 0] += 0.6
    powers = np.exp(logits.astype(np.float64))
    probabilities = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
    found = decode_outputs([logits if scores == "softmax" else probabilities], spec_of(scores), SIZE)
    expected = reference(probabilities[0], 0.4)
    assert len(found) == len(expected) > 2
    assert len(expected) < (probabilities[0, ..., 1:].max(axis=-1) > 0.4).sum()  # something was merged
    assert found.labels.tolist() == [e[1] for e in expected]
    np.testing.assert_allclose(found.scores, [e[0] for e in expected], rtol=1e-6)
    np.testing.assert_allclose(found.boxes, [e[2] for e in expected], rtol=1e-5)


def test_cells_by_hand() -> None:
    values = np.zeros((1, 6, 8, 3), np.float32)
    values[..., 0] = 1.0
    values[0, 1, 2] = (0.1, 0.9, 0)
    values[0, 2, 3] = (0.4, 0.6, 0)  # touches at a corner: the same object
    values[0, 5, 7] = (0.2, 0, 0.8)
    values[0, 4, 6] = (0.49, 0.51, 0)  # touches another class: an object of its own
    found = decode_outputs([values], spec_of(), SIZE)
    assert found.labels.tolist() == [0, 1, 0]
    centre = ((0.9 * 2.5 + 0.6 * 3.5) / 1.5 * 8, (0.9 * 1.5 + 0.6 * 2.5) / 1.5 * 8)
    np.testing.assert_allclose(found.boxes[0], [centre[0] - 4, centre[1] - 4, centre[0] + 4, centre[1] + 4], rtol=1e-6)
    assert found.boxes[1].tolist() == [56, 40, 64, 48]
    assert math.isclose(found.scores[2], 0.51, rel_tol=1e-6)


def test_cells_background_everywhere_gives_nothing_even_at_threshold_zero() -> None:
    values = np.tile(np.array([0.5, 0.3, 0.2], np.float32), (1, 6, 8, 1))
    assert len(decode_outputs([values], spec_of(), SIZE, 0.0)) == 0


def test_cells_wrong_outputs_raise() -> None:
    with pytest.raises(ShapeError, match="expected one heat map, found 2"):
        decode_outputs([np.zeros((1, 6, 8, 3), np.float32)] * 2, spec_of(), SIZE)
    with pytest.raises(ShapeError, match=r"map_8: expected one of \(1, 6, 8, 3\)"):
        decode_outputs([np.zeros((1, 8, 6, 3), np.float32)], spec_of(), SIZE)


def test_quantized_score_threshold_is_the_first_code_above() -> None:
    assert quantized_score_threshold(0.5, 1 / 256, -128) == 1  # q = 0 is 0.5: not higher
    assert quantized_score_threshold(0.4, 1 / 256, -128) == -25
    assert quantized_score_threshold(0.999, 1 / 256, -128) == 128
    assert quantized_score_threshold(0.001, 0.01, 127) == 128
