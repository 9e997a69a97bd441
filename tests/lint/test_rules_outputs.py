from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from edgedet.graph import graph as g
from edgedet.lint.finding import Finding

Codes = Callable[..., dict[str, Finding]]


def two_heads(maker: ModuleType, classes: int = 3) -> tuple[object, int, int]:
    """A maker with a class tensor and a box tensor behind one convolution."""
    m = maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3)), 8, stride=(2, 2), activation="RELU6")
    return m, m.conv(x, classes, (1, 1), name="cls_2"), m.conv(x, 4, (1, 1), name="box_2")


def test_lint_clean_detector_has_no_findings(maker: ModuleType, codes: Codes) -> None:
    m, cls, box = two_heads(maker)
    assert codes(m.graph([cls, box])) == {}


def test_shared_output_scale_concatenated_heads(maker: ModuleType, codes: Codes) -> None:
    m, cls, box = two_heads(maker)
    joined = m.concat([m.alias_scale(box, cls), cls])
    flat = m.same("RESHAPE", [joined], (1, 256, 7), g.ReshapeOptions((1, 256, 7)))
    found = codes(m.graph([flat]))
    assert found["shared-output-scale"].severity == "error"
    assert found["shared-output-scale"].where == (m.tensors[joined].name,)
    # before quantization it is only a warning, and the scales do not matter
    assert codes(m.graph([flat]), "onnx")["shared-output-scale"].severity == "warning"


def test_shared_output_scale_strides_joined_cell_by_cell_is_fine(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3)), 8, stride=(2, 2), activation="RELU6")
    fine, coarse = m.conv(x, 4, (1, 1)), m.conv(x, 4, (1, 1), (2, 2))
    m.alias_scale(coarse, fine)
    rows = [
        m.same("RESHAPE", [y], (1, cells, 4), g.ReshapeOptions((1, cells, 4)))
        for y, cells in ((fine, 256), (coarse, 64))
    ]
    joined = m.add("CONCATENATION", rows, (1, 320, 4), m.params(fine), g.ConcatOptions(1))
    assert "shared-output-scale" not in codes(m.graph([joined]))


def test_shared_output_scale_channels_in_the_middle_are_found(maker: ModuleType, codes: Codes) -> None:
    m, cls, box = two_heads(maker)
    m.alias_scale(box, cls)
    rows = [m.same("RESHAPE", [y], (1, c, 256), g.ReshapeOptions((1, c, 256))) for y, c in ((box, 4), (cls, 3))]
    joined = m.add("CONCATENATION", rows, (1, 7, 256), m.params(cls), g.ConcatOptions(1), "joined")
    assert codes(m.graph([joined]))["shared-output-scale"].where == ("joined",)


def test_shared_output_scale_concatenation_inside_the_network_is_fine(maker: ModuleType, codes: Codes) -> None:
    m, cls, box = two_heads(maker)
    y = m.conv(m.concat([m.alias_scale(box, cls), cls]), 5, (1, 1))
    assert codes(m.graph([y])) == {}


@pytest.mark.parametrize("reshaped", [False, True])
def test_sigmoid_at_output(maker: ModuleType, codes: Codes, reshaped: bool) -> None:
    m, cls, box = two_heads(maker)
    scores = m.add("LOGISTIC", [cls], m.tensors[cls].shape, (1 / 256, -128), name="scores")
    out = m.same("RESHAPE", [scores], (1, 256, 3), g.ReshapeOptions((1, 256, 3))) if reshaped else scores
    found = codes(m.graph([out, box]))
    assert set(found) == {"sigmoid-at-output"}
    assert found["sigmoid-at-output"].where == ("scores",)


def test_class_tensors_one_class_and_four_classes(maker: ModuleType, codes: Codes) -> None:
    for classes, code in ((1, "one-class"), (4, "four-classes"), (2, "")):
        m, cls, box = two_heads(maker, classes)
        assert set(codes(m.graph([cls, box]))) == ({code} if code else set())
