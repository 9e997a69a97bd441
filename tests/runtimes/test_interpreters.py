from __future__ import annotations

import foreign_files
import numpy as np
import pytest

from edgedet.graph.flatbuffer import parse_tflite
from edgedet.runtimes.interpreters import open_reference, open_tflm
from edgedet.simulate.simulator import Simulator

tflite_micro = pytest.importorskip("tflite_micro")


def test_open_tflm_gives_the_true_values_where_constants_lie_behind_the_flatbuffer() -> None:
    data = foreign_files.move_outside(foreign_files.plain())
    graph = parse_tflite(data, "outside")
    codes = np.random.default_rng(0).integers(-128, 128, (1, 9, 8, 3)).astype(np.int8)
    (expected,) = Simulator(graph).invoke(codes)
    np.testing.assert_array_equal(open_tflm("outside", data, graph)[1](codes)[0], expected)
    np.testing.assert_array_equal(open_reference("outside", data)[1](codes)[0], expected)
    # What lint warns of: the same bytes, as they are, give other values without any error.
    chip = tflite_micro.runtime.Interpreter.from_bytes(data)
    chip.set_input(codes, 0)
    chip.invoke()
    assert not np.array_equal(chip.get_output(0), expected)
