"""C of TRANSPOSE_CONV equals the simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import graph_maker as maker
import numpy as np
import pytest
from generated import assert_generated_c_equals_simulator

from edgedet.codegen.program import build_program
from edgedet.codegen.steps import lower, macs_of
from edgedet.errors import UnsupportedOpError
from edgedet.graph import graph as g


def with_constant(m: maker.GraphMaker, index: int, data: np.ndarray) -> None:
    old = m.tensors[index]
    m.tensors[index] = g.Tensor(old.name, data.shape, old.dtype, old.quantization, data)


@pytest.mark.toolchain
def test_generated_transpose_conv_equals_the_simulator(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc")
    m = maker.GraphMaker(1)
    x, pixel = m.input((2, 4, 5, 6), 0.05, -13), m.input((1, 1, 1, 9), 0.05, 127)
    outputs = [
        m.transpose_conv(x, 7, kernel, stride) for kernel in ((2, 2), (3, 3), (4, 5)) for stride in ((2, 2), (3, 1))
    ]
    outputs.append(m.transpose_conv(x, 3, (2, 2), (3, 3), padding="VALID", activation="RELU6"))
    outputs.append(m.transpose_conv(x, 3, (3, 3), padding="VALID", sides=(10, 12), bias=False))
    outputs.append(m.transpose_conv(x, 3, sides=(7, 9), spread=4.0, per_channel=False))
    outputs.append(m.transpose_conv(pixel, 4, (3, 2), activation="RELU"))
    # Written into, and read from, a part of every pixel of a wider tensor.
    wide = m.transpose_conv(x, 5, (1, 1), (1, 1))
    joined = m.concat([wide, m.alias_scale(m.conv(x, 3), wide)])
    outputs.append(m.transpose_conv(joined, 2))
    assert_generated_c_equals_simulator(m.graph(outputs), tmp_path)


def test_macs_of_transpose_conv_counts_every_tap_of_every_input() -> None:
    m = maker.GraphMaker(2)
    graph = m.graph([m.transpose_conv(m.input((2, 4, 5, 6)), 7, (3, 2))])
    (step,) = lower(graph)
    assert macs_of(graph, step) == (2 * 4 * 5 * 6) * (3 * 2 * 7)


def test_transpose_conv_accumulators_that_meet_are_bounded() -> None:
    """Four taps of 127 * 255 * 3 meet at an output of a 4x4 filter with stride 2, and not sixteen."""
    m = maker.GraphMaker(2)
    y = m.transpose_conv(m.input((1, 2, 2, 3), 0.05, -128), 2, (4, 4))
    weights, bias = m.operators[0].inputs[1], m.operators[0].inputs[3]
    with_constant(m, weights, np.full((2, 4, 4, 3), 127, np.int8))
    most = 2**31 - 1 - 4 * 127 * 255 * 3
    with_constant(m, bias, np.array([-(2**31), most], np.int32))
    graph = m.graph([y])
    with pytest.raises(UnsupportedOpError, match="an accumulator can reach 2147483648, more than int32 holds"):
        build_program(graph, graph.outputs, None)
    with_constant(m, bias, np.array([-(2**31) + 1, most], np.int32))
    build_program(m.graph([y]), graph.outputs, None)
    with_constant(m, bias, np.array([0, most + 1], np.int32))
    with pytest.raises(UnsupportedOpError, match="an accumulator can reach 2147483648"):
        build_program(m.graph([y]), graph.outputs, None)
