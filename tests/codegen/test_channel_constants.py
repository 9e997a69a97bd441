from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from edgedet.codegen.channel_constants import REQUANT_NARROW, accumulator_ends, channel_constants
from edgedet.errors import UnsupportedOpError
from edgedet.graph.flatbuffer import read_tflite
from edgedet.runtimes.generated_c import HostModule
from edgedet.simulate.simulator import Simulator

LOWEST, HIGHEST = -(2**31), 2**31 - 1


def dense(weights: list[list[int]], bias: list[int], zero_point: int = 0, real: float = 2.0**-9):
    rows = np.array(weights, np.int8)
    return channel_constants(rows, np.array(bias, np.int32), 0, zero_point, np.full(1, real), "operator 0")


def test_accumulator_ends_are_those_over_all_inputs() -> None:
    rng = np.random.default_rng(0)
    rows, folded = rng.integers(-128, 128, (20, 4)), rng.integers(-5000, 5000, 20)
    inputs = np.array(list(product((-128, 0, 127), repeat=4)))  # sums are linear: the ends lie at extreme codes
    sums = rows @ inputs.T + folded[:, None]
    lowest, highest = accumulator_ends(rows, folded)
    assert (lowest == sums.min(axis=1)).all()
    assert (highest == sums.max(axis=1)).all()


@pytest.mark.parametrize("zero_point", [-128, 0, 127])
def test_channel_constants_bias_at_the_ends_of_int32_is_accepted_and_one_more_refused(zero_point: int) -> None:
    low = 3 * (-128 - zero_point) - 5 * (127 - zero_point)
    high = 3 * (127 - zero_point) - 5 * (-128 - zero_point)
    dense([[3, -5]], [LOWEST - low], zero_point)
    dense([[3, -5]], [HIGHEST - high], zero_point)
    for bias, end in ((LOWEST - low - 1, LOWEST - 1), (HIGHEST - high + 1, HIGHEST + 1)):
        if LOWEST <= bias <= HIGHEST:
            with pytest.raises(UnsupportedOpError, match=f"operator 0: the accumulator of channel 0 can reach {end},"):
                dense([[3, -5]], [bias], zero_point)


def test_channel_constants_dead_channel_is_accepted_and_keeps_the_others_exact() -> None:
    constants = dense([[0, 0], [1, 2]], [LOWEST, 7], zero_point=-128)
    assert constants.bias.tolist() == [LOWEST, 7 + 3 * 128]
    assert constants.flags == 0  # its accumulator is not below 2^30


def test_channel_constants_narrow_needs_every_accumulator_below_two_to_the_30() -> None:
    assert dense([[1]], [2**30 - 128]).flags == REQUANT_NARROW
    assert dense([[1]], [2**30 - 127]).flags == 0


@pytest.mark.toolchain
def test_dead_channel_file_runs_in_c_as_in_the_simulator(shared_dir: Path) -> None:
    path = shared_dir / "data" / "tflite" / "derived_dead_channel_conv.tflite"
    graph = read_tflite(path)
    x = np.random.default_rng(1).integers(-128, 128, graph.tensors[graph.inputs[0]].shape).astype(np.int8)
    expected = Simulator(graph).invoke(x)
    found = HostModule(path.read_bytes(), graph)(x)
    assert [array.tobytes() for array in found] == [array.tobytes() for array in expected]
