from __future__ import annotations

import numpy as np
import pytest

from edgedet.deploy.targets.tflm_plan import PLAN_NAME, with_offline_plan
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.runtimes.tflm_arena import measure_arena
from edgedet.simulate.simulator import Simulator

pytest.importorskip("tflite_micro", reason="needs the extra tflm")


def _stem() -> g.Graph:
    """The first layers of rtmdet_nano, small: 64x64x3 -> 32x32x8 -> 32x32x8 -> 32x32x16 -> 16x16x32."""
    rng = np.random.default_rng(0)
    activation = g.Quantization(np.array([0.05], np.float32), np.array([-3], np.int64))
    tensors = [g.Tensor("image", (1, 64, 64, 3), "int8", activation)]
    operators = []
    for number, (side, channels, stride) in enumerate([(32, 8, 2), (32, 8, 1), (32, 16, 1), (16, 32, 2)]):
        source = tensors[operators[-1].outputs[0] if operators else 0]
        weights = rng.integers(-127, 128, (channels, 3, 3, source.shape[3]), dtype=np.int8)
        scales = np.full(channels, 0.004, np.float32)
        zeros = np.zeros(channels, np.int64)
        first = len(tensors)
        tensors += [
            g.Tensor(f"w{number}", weights.shape, "int8", g.Quantization(scales, zeros), weights),
            g.Tensor(
                f"b{number}",
                (channels,),
                "int32",
                g.Quantization(scales * np.float32(0.05), zeros),
                rng.integers(-500, 500, channels, dtype=np.int32),
            ),
            g.Tensor(f"y{number}", (1, side, side, channels), "int8", activation),
        ]
        source_index = operators[-1].outputs[0] if operators else 0
        options = g.ConvOptions("SAME", (stride, stride))
        operators.append(g.Operator("CONV_2D", (source_index, first, first + 1), (first + 2,), options))
    return g.Graph(tuple(tensors), tuple(operators), (0,), (len(tensors) - 1,))


def test_with_offline_plan_saves_what_the_greedy_planner_wastes_and_changes_no_output() -> None:
    graph = parse_tflite(serialize(_stem()), "stem")
    planned = parse_tflite(serialize(with_offline_plan(graph)), "planned")
    x = np.random.default_rng(1).integers(-128, 128, (1, 64, 64, 3), dtype=np.int8)
    before, _ = measure_arena(serialize(graph), graph, (x,))
    after, outputs = measure_arena(serialize(planned), planned, (x,))
    assert after.head_bytes == 32 * 32 * (8 + 16)  # the widest pair: nothing is wasted
    assert after.measured_bytes < before.measured_bytes
    np.testing.assert_array_equal(outputs[0], Simulator(graph).invoke(x)[0])


def test_with_offline_plan_lists_every_activation_once() -> None:
    planned = with_offline_plan(_stem())
    values = np.frombuffer(dict(planned.metadata)[PLAN_NAME], "<i4")
    assert values[:3].tolist() == [1, 0, len(planned.tensors)]
    is_activation = [tensor.data is None for tensor in planned.tensors]
    assert ((values[3:] >= 0) == is_activation).all()
    assert (values[3:][is_activation] % 16 == 0).all()


def test_with_offline_plan_keeps_a_plan_that_is_there() -> None:
    planned = with_offline_plan(_stem())
    assert with_offline_plan(planned) is planned
