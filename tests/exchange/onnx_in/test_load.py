"""Files that can't be taken: one sentence, exit code 2, nothing left."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_maker import OnnxMaker
from quantize_command import quantized

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.exchange.onnx_in.load import load_onnx


def plain(folder: Path, shape: tuple[Any, ...] = (1, 3, 12, 16), opset: int = 17) -> Path:
    m = OnnxMaker()
    return m.save(folder / "m.onnx", [m.add("Relu", [m.conv("x", 3, 4)])], shape, opset)


def external(folder: Path, location: str, write: bool = True) -> Path:
    model = onnx.load(str(plain(folder)))
    tensor = model.graph.initializer[0]
    if write:
        (folder / "weights.bin").write_bytes(tensor.raw_data)
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def truncated(folder: Path) -> Path:
    path = plain(folder)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def garbage(folder: Path) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(b"\xff\xfe no model")
    return path


def control_flow(folder: Path) -> Path:
    m = OnnxMaker()
    y = m.conv("x", 3, 4)
    total = m.add("ReduceSum", [y], keepdims=0)
    branches = {
        name: onnx.helper.make_graph(
            [onnx.helper.make_node(kind, [y], [name])], name, [], [onnx.helper.make_empty_tensor_value_info(name)]
        )
        for name, kind in (("then", "Relu"), ("else", "Sigmoid"))
    }
    condition = m.add("Greater", [total, m.constant(0.0)])
    out = m.add("If", [condition], then_branch=branches["then"], else_branch=branches["else"])
    return m.save(folder / "m.onnx", [out])


def foreign_operator(folder: Path) -> Path:
    m = OnnxMaker()
    y = m.add("Relu", [m.conv("x", 3, 4)])
    return m.save(folder / "m.onnx", [m.add("TRT_EfficientNMS", [y], domain="nvidia")])


def half_precision(folder: Path) -> Path:
    model = onnx.load(str(plain(folder)))
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def two_inputs(folder: Path) -> Path:
    model = onnx.load(str(plain(folder)))
    model.graph.input.append(onnx.helper.make_tensor_value_info("second", onnx.TensorProto.FLOAT, [1, 4]))
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def contradicting(folder: Path) -> Path:
    m = OnnxMaker()
    return m.save(folder / "m.onnx", [m.conv("x", 5, 4)])


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "absent": (lambda f: f / "none.onnx", "no such file; expected an .onnx file"),
    "truncated": (truncated, "truncated"),
    "garbage": (garbage, "not an ONNX model"),
    "old opset": (lambda f: plain(f, opset=6), "opset 6, expected 11 to 20"),
    "new opset": (lambda f: plain(f, opset=21), "opset 21, expected 11 to 20"),
    "dynamic": (lambda f: plain(f, ("n", 3, "h", "w")), "height and width are left open; fix them with --imgsz"),
    "batch": (lambda f: plain(f, (4, 3, 12, 16)), "expected batch 1"),
    "channels last": (lambda f: plain(f, (1, 12, 16, 3)), "is NHWC"),
    "control flow": (control_flow, r"control flow \(If\)"),
    "foreign operator": (foreign_operator, "operator nvidia::TRT_EfficientNMS is not ONNX's own"),
    "half precision": (half_precision, "float16, expected float32"),
    "two inputs": (two_inputs, "inputs x, second; expected one"),
    "weights outside": (lambda f: external(f, "../weights.bin"), "outside the folder of the model"),
    "weights at a root": (lambda f: external(f, "/etc/hostname"), "outside the folder of the model"),
    "weights missing": (lambda f: external(f, "weights.bin", write=False), r"weights.bin is missing"),
    "contradiction": (contradicting, "m.onnx: "),
}


@pytest.mark.parametrize("name", BAD)
def test_quantize_bad_onnx_is_one_sentence_and_leaves_nothing(
    name: str, tmp_path: Path, toy_data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    build, message = BAD[name]
    path = build(tmp_path)
    out = tmp_path / "out"
    assert quantized(path, toy_data, out, "--mean", "0", "--std", "255") == 2
    stderr = capfd.readouterr().err
    assert stderr.count("\n") == 1
    assert stderr.startswith("error: ")
    assert str(path) in stderr
    assert re.search(message, stderr), stderr
    assert not out.exists()


def test_load_onnx_weights_in_the_folder_are_read(tmp_path: Path) -> None:
    expected = onnx.numpy_helper.to_array(onnx.load(str(plain(tmp_path))).graph.initializer[0])
    network = load_onnx(external(tmp_path, "weights.bin"))
    found = [onnx.numpy_helper.to_array(t) for t in network.model.graph.initializer]
    assert any(np.array_equal(expected, value) for value in found)


def test_load_onnx_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(b"0" * 432)
    (folder / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ConversionError, match="outside the folder"):
        load_onnx(external(folder, "weights.bin", write=False))


def test_load_onnx_open_sizes_are_fixed(tmp_path: Path) -> None:
    network = load_onnx(plain(tmp_path, ("n", 3, "h", "w")), (32, 24))
    assert network.input_shape == (1, 3, 24, 32)
    assert network.size == (32, 24)
    assert "left open; 32x24 px" in network.notes[0]


def test_load_onnx_another_size_than_the_file_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"is 16x12 px in the file, and `imgsz` says 32x24"):
        load_onnx(plain(tmp_path), (32, 24))


def test_load_onnx_old_opset_is_brought_up(tmp_path: Path) -> None:
    network = load_onnx(plain(tmp_path, opset=9))
    assert network.notes == ("opset 9: brought to 13 by onnx's version converter",)


def test_load_onnx_folded_branches_are_no_control_flow(tmp_path: Path) -> None:
    m = OnnxMaker()
    y = m.conv("x", 3, 4)
    branches = {
        name: onnx.helper.make_graph(
            [onnx.helper.make_node(kind, [y], [name])], name, [],
            [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 4, 12, 16])],
        )
        for name, kind in (("then", "Relu"), ("else", "Sigmoid"))
    }  # fmt: skip
    condition = m.constant(True, "bool")
    out = m.add("If", [condition], then_branch=branches["then"], else_branch=branches["else"])
    try:
        network = load_onnx(m.save(tmp_path / "m.onnx", [out]))
    except UnsupportedOpError as error:
        pytest.fail(f"a constant condition was not folded: {error}")
    assert [node.op_type for node in network.model.graph.node] == ["Conv", "Relu"]
