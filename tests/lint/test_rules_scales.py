from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest

from edgedet.graph import graph as g
from edgedet.lint.finding import Finding

Codes = Callable[..., dict[str, Finding]]


def float_tensor(m: object, shape: tuple[int, ...], name: str) -> int:
    return m.tensor(shape, "float32", name=name)  # type: ignore[attr-defined]


def test_float_island_and_float_border(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3)), 4)
    shape = m.tensors[x].shape
    inside, after = float_tensor(m, shape, "inside"), float_tensor(m, shape, "after")
    m.operators.append(g.Operator("DEQUANTIZE", (x,), (inside,)))
    m.operators.append(g.Operator("EXP", (inside,), (after,)))
    back = m.add("QUANTIZE", [after], shape, (0.1, 0))
    out = float_tensor(m, shape, "out")
    m.operators.append(g.Operator("DEQUANTIZE", (back,), (out,)))
    found = codes(m.graph([out]))
    assert found["float-island"].severity == "error"
    assert found["float-island"].where == ("inside", "after")
    assert found["float-border"].where == ("out",)
    assert "requantize" not in found


def test_float_model_is_one_finding(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x, y = float_tensor(m, (1, 32, 32, 3), "x"), float_tensor(m, (1, 32, 32, 4), "y")
    weight = m.tensor((4, 3, 3, 3), "float32", None, np.zeros((4, 3, 3, 3), np.float32))
    m.operators.append(g.Operator("CONV_2D", (x, weight), (y,), g.ConvOptions()))
    m.inputs.append(x)
    assert set(codes(m.graph([y]), has_contract=False)) == {"float-model"}
    assert codes(m.graph([y]), "onnx") == {}


def test_requantize_between_int8_tensors(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3)), 4)
    y = m.add("QUANTIZE", [x], m.tensors[x].shape, (0.5, 3), name="again")
    assert codes(m.graph([m.conv(y, 4)]))["requantize"].where == ("again",)


@pytest.mark.parametrize("kind", ["CONCATENATION", "MAX_POOL_2D", "PAD"])
def test_unequal_scales(maker: ModuleType, codes: Codes, kind: str) -> None:
    for equal in (True, False):
        m = maker.GraphMaker(0)
        x = m.conv(m.input((1, 32, 32, 3)), 4)
        y = m.conv(x, 4)
        scale, zero_point = m.params(x)
        params = (scale, zero_point) if equal else (scale, zero_point + 1)
        if kind == "CONCATENATION":
            m.alias_scale(y, x)
            out = m.add(kind, [x, y], (1, 32, 32, 8), params, g.ConcatOptions(3), "out")
        elif kind == "PAD":
            out = m.add(kind, [x, m.constant(np.zeros((4, 2)))], (1, 32, 32, 4), params, name="out")
        else:
            out = m.add(kind, [x], (1, 32, 32, 4), params, g.PoolOptions((3, 3), (1, 1)), "out")
        found = codes(m.graph([out]))
        assert ("unequal-scales" in found) == (not equal)
        if not equal:
            assert found["unequal-scales"].where == (f"out ({kind})",)
            assert found["unequal-scales"].severity == "error"


def test_unequal_scales_one_input_of_a_concatenation(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3)), 4)
    assert "unequal-scales" in codes(m.graph([m.concat([x, m.conv(x, 4)])]))


@pytest.mark.parametrize("zero_point", [-128, -127, 0, 127])
def test_input_zero_point(maker: ModuleType, codes: Codes, zero_point: int) -> None:
    m = maker.GraphMaker(0)
    found = codes(m.graph([m.conv(m.input((1, 32, 32, 3), 0.02, zero_point, "picture"), 4)]))
    assert set(found) == (set() if zero_point == -128 else {"input-zero-point"})
    if found:
        assert found["input-zero-point"].where == (f"picture: zero point {zero_point}, scale 0.02",)


def test_input_type_uint8(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.tensor((1, 32, 32, 3), "uint8", maker.quantization(1 / 255, 0), name="picture")
    m.inputs.append(x)
    y = m.conv(m.add("QUANTIZE", [x], (1, 32, 32, 3), (1 / 255, -128)), 4)
    assert set(codes(m.graph([y]))) == {"input-type"}


@pytest.mark.parametrize("depthwise", [False, True])
def test_per_tensor_weights(maker: ModuleType, codes: Codes, depthwise: bool) -> None:
    for per_channel in (True, False):
        m = maker.GraphMaker(0)
        x = m.conv(m.input((1, 32, 32, 3)), 4)
        y = m.conv(x, 4, per_channel=per_channel, depthwise=depthwise, name="conv")
        assert set(codes(m.graph([y]))) == (set() if per_channel else {"per-tensor-weights"})


def changed(graph: g.Graph, index: int, quantization: g.Quantization) -> g.Graph:
    """The graph with one tensor quantized in another way."""
    tensors = list(graph.tensors)
    tensors[index] = dataclasses.replace(tensors[index], quantization=quantization)
    return dataclasses.replace(graph, tensors=tuple(tensors))


def test_asymmetric_weights_and_bias_scale(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    graph = m.graph([m.conv(m.input((1, 32, 32, 3)), 4)])
    weight, bias = graph.operators[0].inputs[1:]
    old = graph.tensors[weight].quantization
    assert old is not None
    shifted = changed(graph, weight, g.Quantization(old.scale, old.zero_point + 1, old.axis))
    assert codes(shifted)["asymmetric-weights"].severity == "error"
    scale = graph.tensors[bias].quantization
    assert scale is not None
    for factor, expected in ((1.0005, set()), (1.01, {"bias-scale"})):
        other = g.Quantization(scale.scale * np.float32(factor), scale.zero_point)
        assert set(codes(changed(graph, bias, other))) == expected


def test_logistic_scale(maker: ModuleType, codes: Codes) -> None:
    for params, expected in (((1 / 256, -128), set()), ((1 / 255, -128), {"logistic-scale"})):
        m = maker.GraphMaker(0)
        x = m.conv(m.input((1, 32, 32, 3)), 4)
        y = m.conv(m.add("LOGISTIC", [x], m.tensors[x].shape, params), 4)
        assert set(codes(m.graph([y]))) == expected


def test_no_contract(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    graph = m.graph([m.conv(m.input((1, 32, 32, 3)), 4)])
    assert set(codes(graph, has_contract=False)) == {"no-contract"}
