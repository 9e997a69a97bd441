from __future__ import annotations

import graph_maker
import numpy as np
import pytest

from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.npu.variants import (
    hard_swish_for_silu,
    is_no_clamp,
    large_depthwise,
    one_channel_input,
    relu_for_silu,
    reversed_concatenations,
    same_for_pads,
    silu_gates,
    small_depthwise,
    without_activations,
)

PADS = np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)


def network() -> g.Graph:
    """PAD, convolution with SiLU, depthwise 5x5 with ReLU6, CONCATENATION."""
    m = graph_maker.GraphMaker(3)
    x = m.input((1, 16, 16, 3))
    padded = m.same("PAD", [x, m.constant(PADS)], (1, 18, 18, 3))
    y = m.conv(padded, 8, (3, 3), (2, 2), activation="NONE")
    last = m.operators.pop()  # GraphMaker pads SAME
    m.tensors[y] = g.Tensor("conv", (1, 8, 8, 8), "int8", m.tensors[y].quantization)
    m.operators.append(g.Operator("CONV_2D", last.inputs, (y,), g.ConvOptions("VALID", (2, 2))))
    gate = m.add("LOGISTIC", [y], (1, 8, 8, 8), (1 / 256, -128))
    silu = m.add("MUL", [y, gate], (1, 8, 8, 8), (0.03, -100), g.ElementwiseOptions(pot_scale_int16=False), name="silu")
    large = m.conv(silu, 8, (5, 5), activation="RELU6", depthwise=True)
    joined = m.concat([large, m.alias_scale(silu, large)])
    return m.graph([joined])


def kinds(graph: g.Graph) -> list[str]:
    parse_tflite(serialize(graph), "variant")  # a file that Vela could be given
    return [operator.kind for operator in graph.operators]


def test_silu_variants_put_one_operator_in_the_place_of_two() -> None:
    graph = network()
    assert list(silu_gates(graph)) == [i for i, t in enumerate(graph.tensors) if t.name == "silu"]
    assert kinds(hard_swish_for_silu(graph)) == [
        k if k != "MUL" else "HARD_SWISH" for k in kinds(graph) if k != "LOGISTIC"
    ]
    relu = relu_for_silu(graph)
    assert kinds(relu) == [k for k in kinds(graph) if k not in ("LOGISTIC", "MUL")]
    conv = next(o for o in relu.operators if o.kind == "CONV_2D")
    assert (conv.options.activation, relu.tensors[conv.outputs[0]].name) == ("RELU", "silu")


def test_same_for_pads_reads_the_tensor_before_the_pad() -> None:
    changed = same_for_pads(network())
    assert "PAD" not in kinds(changed)
    conv = next(o for o in changed.operators if o.kind == "CONV_2D")
    assert (conv.inputs[0], conv.options.padding) == (changed.inputs[0], "SAME")


def test_same_for_pads_keeps_a_pad_that_is_read_otherwise() -> None:
    m = graph_maker.GraphMaker(0)
    x = m.input((1, 4, 4, 3))
    graph = m.graph([m.same("PAD", [x, m.constant(PADS)], (1, 6, 6, 3))])
    assert same_for_pads(graph) == graph


def test_one_channel_input_narrows_picture_pad_and_first_weights() -> None:
    graph = network()
    changed = one_channel_input(graph)
    assert kinds(changed) == kinds(graph)
    conv = next(o for o in changed.operators if o.kind == "CONV_2D")
    narrowed = (changed.inputs[0], conv.inputs[0], conv.inputs[1])
    assert [changed.tensors[i].shape[3] for i in narrowed] == [1, 1, 1]
    assert one_channel_input(changed).tensors == changed.tensors  # nothing left to narrow


def test_small_depthwise_changes_large_windows_alone() -> None:
    graph = network()
    (large,) = large_depthwise(graph)
    changed = small_depthwise(graph)
    assert kinds(changed) == kinds(graph)
    assert changed.tensors[large.inputs[1]].shape == (1, 3, 3, 8)
    assert large_depthwise(changed) == []
    assert graph.tensors[large.inputs[1]].shape == (1, 5, 5, 8)  # the original stays


def test_reversed_concatenations_and_without_activations_change_what_they_say() -> None:
    graph = network()
    joined = graph.operators[-1]
    assert reversed_concatenations(graph).operators[-1].inputs == joined.inputs[::-1]
    name = graph.tensors[large_depthwise(graph)[0].outputs[0]].name
    (bare,) = large_depthwise(without_activations(graph, {name}))
    assert bare.options.activation == "NONE"
    assert without_activations(graph, {"another"}) == graph


@pytest.mark.parametrize(
    ("scale", "zero_point", "activation", "expected"),
    [
        (6 / 255, -128, "RELU6", True),
        (6.1 / 255, -128, "RELU6", False),
        (6.1 / 255, -128, "RELU", True),
        (4 / 255, -127, "RELU6", False),
        (4 / 255, -128, "NONE", False),
    ],
)
def test_is_no_clamp_by_the_range_of_the_codes(scale: float, zero_point: int, activation: str, expected: bool) -> None:
    m = graph_maker.GraphMaker(0)
    y = m.conv(m.input((1, 4, 4, 3)), 4, activation=activation)
    m.tensors[y] = g.Tensor("y", m.tensors[y].shape, "int8", graph_maker.quantization(np.float32(scale), zero_point))
    graph = m.graph([y])
    assert is_no_clamp(graph, graph.operators[0]) == expected
