from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import serialize
from edgedet.lint.finding import Finding

Codes = Callable[..., dict[str, Finding]]


def test_no_tflm_kernel_names_the_operators(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.input((1, 32, 32, 3))
    y = m.same("TILE", [x], (1, 32, 32, 6))
    z = m.same("CUSTOM (FlexErf)", [y], (1, 10, 4))
    finding = codes(m.graph([z]))["no-tflm-kernel"]
    assert finding.severity == "error"
    assert finding.where == ("t1 (TILE)", "t2 (CUSTOM (FlexErf))")


def test_no_tflm_kernel_known_operators_are_fine(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(1)
    assert codes(m.graph([m.conv(m.input((1, 32, 32, 3)), 4)])) == {}


def refused_by_tflm(m: ModuleType, kind: str) -> g.Graph:
    """An operator that TFLite Micro has, in a form that its kernel does not take."""
    if kind == "GATHER":
        x = m.input((1, 4, 6, 8))
        return m.graph([m.same("GATHER", [x, m.constant([1, 2], "int64")], (1, 4, 6, 2), g.GatherOptions(-1))])
    if kind == "TRANSPOSE":
        x = m.input((1, 2, 3, 2, 2, 2))
        return m.graph([m.same("TRANSPOSE", [x, m.constant([0, 2, 1, 3, 4, 5])], (1, 3, 2, 2, 2, 2))])
    x = m.input((1, 2, 3, 2, 2))
    ends = [m.constant(v) for v in ([0] * 5, [1, 2, 2, 2, 2], [1] * 5)]
    return m.graph([m.same("STRIDED_SLICE", [x, *ends], (1, 2, 2, 2, 2), g.StridedSliceOptions())])


@pytest.mark.parametrize(
    ("kind", "reason"), [("GATHER", "int64 indices"), ("TRANSPOSE", "6 axes"), ("STRIDED_SLICE", "5 axes")]
)
def test_tflm_kernel_limit_is_where_tflm_refuses(maker: ModuleType, codes: Codes, kind: str, reason: str) -> None:
    tflm = pytest.importorskip("tflite_micro")
    graph = refused_by_tflm(maker.GraphMaker(0), kind)
    finding = codes(graph)["tflm-kernel-limit"]
    assert finding.severity == "error"
    assert f"{kind} with {reason}" in finding.why
    with pytest.raises(RuntimeError):
        tflm.runtime.Interpreter.from_bytes(serialize(graph), arena_size=100_000)


def test_tflm_kernel_limit_forms_that_it_takes_are_fine(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.input((1, 2, 4, 6, 8))
    y = m.same("TRANSPOSE", [x, m.constant([0, 1, 3, 2, 4])], (1, 2, 6, 4, 8))
    y = m.same("GATHER", [y, m.constant([0, 3])], (1, 2, 6, 4, 2), g.GatherOptions(-1))
    assert "tflm-kernel-limit" not in codes(m.graph([y]))


def test_silu_product_with_own_sigmoid_only(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3)), 4)
    other = m.conv(x, 4)
    gate = m.add("LOGISTIC", [x], m.tensors[x].shape, (1 / 256, -128))
    swish = m.add("MUL", [x, gate], m.tensors[x].shape, (0.02, -100), g.ElementwiseOptions(), name="swish")
    found = codes(m.graph([m.conv(swish, 4)]), "checkpoint")
    assert found["silu"].where == ("swish",)
    assert found["silu"].command == "edgedet substitute it.tflite --activation relu6 --data DIR --out RUN"
    assert codes(m.graph([m.conv(swish, 4)]))["silu"].command.split()[2] == "CKPT"
    m.operators[-3:] = []
    m.operators[-1] = g.Operator("MUL", (other, gate), (swish,), g.ElementwiseOptions())
    assert "silu" not in codes(m.graph([swish]))


def test_channel_attention_mean_that_gates_its_map(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3)), 8)
    axes = m.constant([1, 2])
    mean = m.add("MEAN", [x, axes], (1, 1, 1, 8), (0.02, 0), g.ReduceOptions(True))
    gate = m.conv(mean, 8, (1, 1), activation="RELU")
    product = m.add("MUL", [x, gate], m.tensors[x].shape, (0.02, 0), g.ElementwiseOptions(), name="gated")
    found = codes(m.graph([m.conv(product, 4)]))
    assert found["channel-attention"].where == ("gated",)
    assert "--no-channel-attention" in found["channel-attention"].command
    classifier = maker.GraphMaker(0)
    x = classifier.conv(classifier.input((1, 32, 32, 3)), 8)
    mean = classifier.add("MEAN", [x, classifier.constant([1, 2])], (1, 1, 1, 8), (0.02, 0), g.ReduceOptions(True))
    assert codes(classifier.graph([classifier.conv(mean, 8, (1, 1))])) == {}


def padded(maker: ModuleType, stride: int) -> g.Graph:
    """PAD, then a 3x3 convolution."""
    m = maker.GraphMaker(0)
    x = m.input((1, 32, 32, 3))
    pads = m.constant([[0, 0], [1, 1], [1, 1], [0, 0]])
    wide = m.same("PAD", [x, pads], (1, 34, 34, 3))
    return m.graph([m.conv(wide, 4, stride=(stride, stride), padding="VALID")])


def test_symmetric_padding_in_front_of_a_strided_convolution(maker: ModuleType, codes: Codes) -> None:
    found = codes(padded(maker, 2))
    assert set(found) == {"symmetric-padding"}
    assert "model.padding=same" in found["symmetric-padding"].command
    assert codes(padded(maker, 1)) == {}


@pytest.mark.parametrize(("size", "expected"), [(5, False), (9, True), (13, True)])
def test_large_pool(maker: ModuleType, codes: Codes, size: int, expected: bool) -> None:
    m = maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3)), 4)
    found = codes(m.graph([m.pool("MAX_POOL_2D", x, size, 1)]))
    assert ("large-pool" in found) == expected
    assert not expected or f"({size}x{size})" in found["large-pool"].where[0]


def test_transpose_unless_it_only_moves_ones(maker: ModuleType, codes: Codes) -> None:
    for shape, expected in (((1, 32, 32, 3), True), ((1, 1, 1, 8), False)):
        m = maker.GraphMaker(0)
        x = m.input((1, 32, 32, 3)) if expected else m.conv(m.input((1, 32, 32, 3)), 8, (32, 32), padding="VALID")
        y = m.same("TRANSPOSE", [x, m.constant([0, 3, 1, 2])], (shape[0], shape[3], *shape[1:3]))
        assert ("transpose" in codes(m.graph([y]))) == expected


def test_standalone_relu_scales_decide_the_severity(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3)), 4)
    wrong = m.add("RELU6", [x], m.tensors[x].shape, (6 / 255, -128), name="wrong")
    extra = m.same("RELU", [wrong], m.tensors[x].shape)
    found = codes(m.graph([m.conv(extra, 4, activation="RELU6")]))
    assert found["standalone-relu"].severity == "error"
    assert found["standalone-relu"].where == ("wrong",)
    assert found["unfused-relu"].where == (m.tensors[extra].name,)
    # an ONNX file has no fused activations yet: the first follows a convolution, the second does not
    found = codes(m.graph([m.conv(extra, 4)]), "onnx")
    assert "standalone-relu" not in found
    assert found["unfused-relu"].where == (m.tensors[extra].name,)


@pytest.mark.parametrize(
    ("shape", "code"),
    [((1, 96, 64, 3), ""), ((1, 100, 96, 3), "input-size"), ((1, 16, 32, 3), "input-size"), ((2, 32, 32, 3), "batch")],
)
def test_input_size(maker: ModuleType, codes: Codes, shape: tuple[int, ...], code: str) -> None:
    m = maker.GraphMaker(0)
    x = m.conv(m.input(shape), 4)
    batch, height, width, _ = m.tensors[x].shape
    larger = (batch, 2 * height, 2 * width, 4)
    y = m.same("RESIZE_NEAREST_NEIGHBOR", [x, m.constant(larger[1:3])], larger, g.ResizeOptions())
    assert set(codes(m.graph([y]))) == ({code} if code else set())


def test_input_size_without_a_pyramid_may_be_any(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    assert codes(m.graph([m.conv(m.input((1, 49, 10, 1)), 4)])) == {}


def test_input_size_nchw_looks_at_rows_and_columns(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.input((1, 3, 96, 64))
    x = m.conv(m.same("TRANSPOSE", [x, m.constant([0, 2, 3, 1])], (1, 96, 64, 3)), 4)
    y = m.same("RESIZE_NEAREST_NEIGHBOR", [x, m.constant([192, 128])], (1, 192, 128, 4), g.ResizeOptions())
    assert set(codes(m.graph([y]))) == {"nchw-input", "transpose"}
