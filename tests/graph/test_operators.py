from __future__ import annotations

import pytest

from edgedet.graph.operators import same_padding


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation"),
    [(8, 3, 1, 1), (8, 3, 2, 1), (7, 3, 2, 1), (9, 5, 2, 1), (8, 1, 2, 1), (9, 3, 1, 2), (8, 4, 2, 1)],
)
def test_same_padding_equals_tflite(size: int, kernel: int, stride: int, dilation: int) -> None:
    before, after = same_padding(size, (kernel - 1) * dilation + 1, stride)
    outputs = (size + before + after - (kernel - 1) * dilation - 1) // stride + 1
    assert outputs == -(-size // stride)
    assert 0 <= after - before <= 1
