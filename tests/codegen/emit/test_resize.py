"""C of the resizing operators equals the simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import graph_maker as maker
import pytest
from generated import assert_generated_c_equals_simulator

from edgedet.graph import graph as g

OPTIONS = (g.ResizeOptions(), g.ResizeOptions(True), g.ResizeOptions(False, True))


@pytest.mark.toolchain
def test_generated_resizes_equal_the_simulator(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc")
    m = maker.GraphMaker(1)
    x, pixel = m.input((2, 3, 5, 4), 0.05, -7), m.input((1, 1, 1, 3), 0.05, -7)
    outputs = []
    for kind in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"):
        for options in OPTIONS:
            for size in ((6, 10), (7, 13), (2, 3), (1, 1)):
                outputs.append(m.same(kind, [x, m.constant(size)], (2, *size, 4), options))
            outputs.append(m.same(kind, [pixel, m.constant([33, 2])], (1, 33, 2, 3), options))
    # From, and into, a part of every pixel of a wider tensor.
    deep = m.concat([x, x])
    wide = m.same("RESIZE_BILINEAR", [deep, m.constant([6, 6])], (2, 6, 6, 8), g.ResizeOptions())
    outputs.append(m.concat([wide, m.same("RESIZE_BILINEAR", [x, m.constant([6, 6])], (2, 6, 6, 4), OPTIONS[2])]))
    assert_generated_c_equals_simulator(m.graph(outputs), tmp_path)
