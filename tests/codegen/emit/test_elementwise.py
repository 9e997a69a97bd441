"""C of MAXIMUM, MINIMUM, PRELU, LEAKY_RELU, TANH and ABS equals the simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import graph_maker as maker
import numpy as np
import pytest
from generated import assert_generated_c_equals_simulator

from edgedet.codegen.steps import lower
from edgedet.graph import graph as g

PLANE = (2, 7, 5, 6)


def constant(m: maker.GraphMaker, shape: tuple[int, ...], params: tuple[float, int]) -> int:
    codes = m.rng.integers(-128, 128, shape).astype(np.int8)
    return m.tensor(shape, "int8", maker.quantization(*params), codes)


@pytest.mark.toolchain
def test_generated_elementwise_equals_the_simulator(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc")
    m = maker.GraphMaker(1)
    soft, slope = (0.05, -7), (0.004, 100)
    x, second = m.input(PLANE, *soft), m.input(PLANE, *soft)
    row, image = m.input((1, 1, 5, 6), *soft), m.input((1, 7, 5, 6), *soft)
    others = [second, row, image, constant(m, (6,), soft), constant(m, (7, 1, 1), soft), constant(m, (1,), soft)]
    outputs = [m.same(kind, [x, other], PLANE) for other in others for kind in ("MAXIMUM", "MINIMUM")]
    outputs += [m.same("MAXIMUM", [other, x], PLANE) for other in others]
    outputs.append(m.same("MINIMUM", [constant(m, (2, 7, 1, 1), soft), row], PLANE))
    for alpha in (constant(m, shape, slope) for shape in ((1, 1, 6), (6,), (7, 5, 1), (1,), PLANE)):
        outputs += [m.add("PRELU", [x, alpha], PLANE, params) for params in ((0.003, -128), (0.05, 127), (0.9, 5))]
    outputs.append(m.add("PRELU", [x, second], PLANE, (0.02, 3)))
    for alpha in (0.1, 3.0, -0.4):
        outputs.append(m.add("LEAKY_RELU", [x], PLANE, (0.04, 3), g.LeakyReluOptions(float(np.float32(alpha)))))
    outputs += [
        m.add("TANH", [x], PLANE, (1 / 128, 0)),
        m.add("ABS", [x], PLANE, soft),
        m.add("ABS", [x], PLANE, slope),
    ]
    assert_generated_c_equals_simulator(m.graph(outputs), tmp_path)


def test_lower_clipping_between_constants_becomes_one_table() -> None:
    m = maker.GraphMaker(2)
    x = m.input((1, 4, 4, 3), 0.05, -7)
    low, high, slope = (constant(m, (1,), params) for params in ((0.05, -7), (0.05, -7), (0.01, 4)))
    y = m.same("MINIMUM", [m.same("MAXIMUM", [x, low], (1, 4, 4, 3)), high], (1, 4, 4, 3))
    (step,) = lower(m.graph([m.add("PRELU", [y, slope], (1, 4, 4, 3), (0.02, 9))]))
    assert step.kind == "TABLE"
