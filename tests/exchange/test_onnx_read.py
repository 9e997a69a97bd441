from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedet.errors import ConversionError
from edgedet.lint.api import lint, read_subject

onnx = pytest.importorskip("onnx")


class OnnxMaker:
    """Adds nodes one after the other; every method returns the name of the new tensor."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"y{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, values: Any, dtype: str = "float32") -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def conv(self, x: str, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, **attributes: Any) -> str:
        group = attributes.get("group", 1)
        weight = self.constant(np.zeros((outputs, inputs // group, kernel, kernel)))
        options = {"strides": [stride] * 2, "pads": [kernel // 2] * 4, **attributes}
        return self.add("Conv", [x, weight], kernel_shape=[kernel] * 2, **options)

    def save(self, path: Path, outputs: list[str], shape: tuple[Any, ...] = (1, 3, 64, 96)) -> Path:
        make, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            self.nodes, "g", [make("x", kind, shape)], [make(o, kind, None) for o in outputs], self.constants
        )
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), str(path))
        return path


def codes(path: Path) -> dict[str, tuple[str, ...]]:
    return {finding.code: finding.where for finding in lint(path).findings}


def test_onnx_clean_network_has_no_findings(tmp_path: Path) -> None:
    m = OnnxMaker()
    y = m.add("Relu", [m.conv("x", 3, 8, stride=2, pads=[0, 0, 1, 1])])
    y = m.add("Clip", [m.conv(y, 8, 8, group=8), m.constant(0.0), m.constant(6.0)])
    cls, box = m.conv(y, 8, 3, 1), m.conv(y, 8, 4, 1)
    path = m.save(tmp_path / "m.onnx", [cls, m.add("Transpose", [box], perm=[0, 2, 3, 1])])
    assert codes(path) == {}
    graph = read_subject(path).graph
    assert [op.kind for op in graph.operators] == [
        "CONV_2D", "RELU", "DEPTHWISE_CONV_2D", "RELU6", "CONV_2D", "CONV_2D",
    ]  # fmt: skip
    assert graph.tensors[graph.inputs[0]].shape == (1, 64, 96, 3)
    assert [graph.tensors[i].shape for i in graph.outputs] == [(1, 32, 48, 3), (1, 32, 48, 4)]


def test_onnx_detector_with_everything_wrong(tmp_path: Path) -> None:
    m = OnnxMaker()
    y = m.conv("x", 3, 8, stride=2)
    y = m.add("Mul", [y, m.add("Sigmoid", [y])])
    pooled = m.add("MaxPool", [y], kernel_shape=[13, 13], pads=[6] * 4, strides=[1, 1])
    y = m.add("Relu", [m.add("Concat", [y, pooled], axis=1)])
    scores, boxes = m.add("Sigmoid", [m.conv(y, 16, 3, 1)]), m.conv(y, 16, 4, 1)
    joined = m.add("Concat", [boxes, scores], axis=1)
    flat = m.add("Reshape", [joined, m.constant([1, 7, -1], "int64")])
    out = m.add("Transpose", [flat], perm=[0, 2, 1])
    out = m.add("Erf", [out])
    found = codes(m.save(tmp_path / "m.onnx", [out, flat]))
    assert set(found) == {
        "no-tflm-kernel", "shared-output-scale", "sigmoid-at-output", "silu", "symmetric-padding", "large-pool",
        "transpose", "unfused-relu",
    }  # fmt: skip
    assert found["shared-output-scale"] == (joined,)
    assert found["no-tflm-kernel"] == (f"{out} (Erf)",)
    assert found["large-pool"] == (f"{pooled} (13x13)",)


def test_onnx_dynamic_batch_and_unknown_sizes_are_read(tmp_path: Path) -> None:
    m = OnnxMaker()
    path = m.save(tmp_path / "m.onnx", [m.conv("x", 3, 8, stride=2)], ("batch", 3, "height", "width"))
    assert codes(path) == {"symmetric-padding": ("y0.padded",)}


def test_onnx_unreadable_file_raises(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"\xff\xff something else")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name in ("no.onnx", "empty.onnx", "absent.onnx"):
        with pytest.raises(ConversionError, match=name):
            lint(tmp_path / name)
