"""What stands in a compiled file: TFLite's biases, multipliers and rounding, and the weights of the file."""

from __future__ import annotations

from dataclasses import replace

import graph_maker
import npu_commands
import numpy as np
import pytest
from tiny_detector import tiny_graph

from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.graph import Graph
from edgedet.npu.cores import NpuOptions, npu_setup
from edgedet.npu.vela import compile_for_npu

pytest.importorskip("ethosu", reason="needs the extra vela (ethos-u-vela)")
IN_PLACE = NpuOptions("Sram_Only")  # constants are read where they are, and not copied first


def compiled(graph: Graph, target: str) -> Graph:
    data = compile_for_npu(serialize(graph), "x", npu_setup(target, IN_PLACE)).data
    return parse_tflite(data, "compiled")


@pytest.mark.parametrize("target", ["ethos-u55-32", "ethos-u55-256", "ethos-u65-256"])
def test_every_convolution_has_tflites_numbers_and_rounding(target: str) -> None:
    graph = tiny_graph()
    found = npu_commands.compare(graph, compiled(graph, target))
    assert found.equal == found.convolutions == 14
    assert found.rounding == (0,)  # as TFLite's reference kernels
    assert found.other_commands == 0
    assert (found.tables, found.equal_tables) == (1, 1)


def test_silu_has_tflites_table_and_multiplier() -> None:
    m = graph_maker.GraphMaker(1)
    y = m.conv(m.input((1, 16, 16, 3)), 16, activation="NONE")
    shape = m.tensors[y].shape
    gate = m.add("LOGISTIC", [y], shape, (1 / 256, -128))
    product = m.add("MUL", [y, gate], shape, (0.021, -100), graph_maker.g.ElementwiseOptions(pot_scale_int16=False))
    graph = m.graph([product])
    found = npu_commands.compare(graph, compiled(graph, "ethos-u55-64"))
    assert (found.equal_tables, found.tables, found.equal_products, found.products) == (1, 1, 1, 1)
    assert found.rounding == (0,)


def test_a_whole_network_has_them_too() -> None:
    graph = graph_maker.rtmdet_like(64)
    found = npu_commands.compare(graph, compiled(graph, "ethos-u55-64"))
    assert found.equal == found.convolutions > 80
    assert (found.rounding, found.other_commands) == ((0,), 0)
    assert found.equal_sums == found.sums > 0


def test_another_bias_scale_or_weight_is_noticed() -> None:
    graph = tiny_graph()
    file = compiled(graph, "ethos-u55-64")
    conv = graph.operators[3]
    for position in (1, 2):
        tensors = list(graph.tensors)
        data = np.array(tensors[conv.inputs[position]].data)
        data.flat[0] += 1 if data.flat[0] < 100 else -1
        tensors[conv.inputs[position]] = replace(tensors[conv.inputs[position]], data=data)
        found = npu_commands.compare(replace(graph, tensors=tuple(tensors)), file)
        assert found.equal == found.convolutions - 1
    tensors = list(graph.tensors)
    out = tensors[conv.outputs[0]]
    scale = out.quantization.scale * np.float32(1.001)
    tensors[conv.outputs[0]] = replace(out, quantization=replace(out.quantization, scale=scale))
    found = npu_commands.compare(replace(graph, tensors=tuple(tensors)), file)
    assert found.equal < found.convolutions
