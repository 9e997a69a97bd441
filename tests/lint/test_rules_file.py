from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import foreign_files as files
import numpy as np
import pytest

from edgedet.commands.main import main
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import parse_tflite, read_tflite
from edgedet.lint.api import lint
from edgedet.lint.finding import Finding

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
Codes = Callable[..., dict[str, Finding]]


def findings(path: Path, edit: Callable[[Any], None]) -> dict[str, Finding]:
    path.write_bytes(files.edited(files.plain(), edit))
    return {finding.code: finding for finding in lint(path).findings}


def test_unknown_and_custom_operators_are_named_with_their_position(tmp_path: Path) -> None:
    def edit(model: Any) -> None:
        for code, custom in ((schema.BuiltinOperator.SVDF, ""), (schema.BuiltinOperator.CUSTOM, "my_op")):
            source, target = model.subgraphs[0].outputs[0], files.add_tensor(model, [1, 4])
            files.add_operator(model, code, [source], [target], custom=custom)

    found = findings(tmp_path / "m.tflite", edit)
    assert set(found) == {"unsupported-operator", "no-tflm-kernel", "no-contract"}
    where = ("operator 2 (SVDF, writes 'extra')", "operator 3 (CUSTOM (my_op), writes 'extra')")
    assert found["unsupported-operator"].where == tuple(f"{place} is not supported" for place in where)
    assert found["no-tflm-kernel"].where == ("extra (CUSTOM (my_op))",)  # TFLite Micro has SVDF


def test_files_after_an_accelerators_compiler_get_the_true_answer(tmp_path: Path) -> None:
    def edit(model: Any) -> None:
        target = files.add_tensor(model, [1, 4])
        files.add_operator(model, schema.BuiltinOperator.CUSTOM, [3], [target], custom="edgetpu-custom-op")

    found = findings(tmp_path / "m.tflite", edit)
    assert set(found) == {"compiled-for-accelerator", "no-contract"}
    assert "compiled by the Edge TPU compiler for Google Coral" in found["compiled-for-accelerator"].why
    assert "before the compiler" in found["compiled-for-accelerator"].fix


def test_variables_foreign_types_and_subgraphs_are_named_with_their_position(tmp_path: Path) -> None:
    def edit(model: Any) -> None:
        files.add_tensor(model, [1, 4], isVariable=True)
        files.add_tensor(model, [1, 4], 5)
        body = schema.SubGraphT()
        body.name, body.tensors, body.operators, body.inputs, body.outputs = b"body", [], [], [], []
        model.subgraphs.append(body)

    found = findings(tmp_path / "m.tflite", edit)
    assert set(found) == {"unsupported-tensor", "several-subgraphs", "no-contract"}
    first, second = found["unsupported-tensor"].where
    assert first == "tensor 7 ('extra'): is a variable, state from one inference to the next"
    assert second.startswith("tensor 8 ('extra'): type string is not one of int8, ")
    assert found["several-subgraphs"].where == ("subgraph 1 ('body', 0 operators)",)


def test_data_behind_the_flatbuffer_is_an_error_that_convert_mends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside_file = files.move_outside(files.plain())
    path, mended = tmp_path / "outside.tflite", tmp_path / "inside.tflite"
    path.write_bytes(outside_file)
    found = {finding.code: finding for finding in lint(path).findings}
    assert found["data-behind-flatbuffer"].severity == "error"
    assert "scores of 0, without any error" in found["data-behind-flatbuffer"].why
    assert found["data-behind-flatbuffer"].command == f"edgedet convert {path} --out FILE.tflite"
    assert main(["convert", str(path), "--out", str(mended)]) == 0
    assert capsys.readouterr().err == ""
    assert {finding.code for finding in lint(mended).findings} == set(found) - {"data-behind-flatbuffer"}
    assert read_tflite(mended) == parse_tflite(outside_file, "outside")


def test_uint8_is_quantized_but_has_no_kernel_in_tflite_micro(maker: ModuleType, codes: Codes) -> None:
    quantization = maker.quantization(0.5, 128)
    tensors = tuple(g.Tensor(name, (1, 32, 32, 3), "uint8", quantization) for name in ("x", "y"))
    graph = g.Graph(tensors, (g.Operator("ADD", (0, 0), (1,), g.ElementwiseOptions()),), (0,), (1,))
    found = codes(graph)
    assert set(found) == {"uint8-kernels", "input-type"}
    assert found["uint8-kernels"].where == ("y (ADD)",)


@pytest.mark.parametrize(
    ("shape", "nchw"),
    [
        ((1, 3, 96, 64), True),
        ((1, 1, 96, 96), True),
        ((1, 96, 64, 3), False),
        ((1, 96, 96, 1), False),
        ((1, 1, 49, 8), False),
    ],
)
def test_nchw_input_is_recognised(maker: ModuleType, codes: Codes, shape: tuple[int, ...], nchw: bool) -> None:
    m = maker.GraphMaker(0)
    y = m.same("RELU", [m.input(shape)], shape)
    assert ("nchw-input" in codes(m.graph([y]))) is nchw


def test_bias_of_zeros_has_no_wrong_scale_and_another_axis_is_told(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    y = m.conv(m.input((1, 32, 32, 3)), 4)
    bias = m.operators[0].inputs[2]
    old = m.tensors[bias]
    scale = old.quantization.scale * 3
    for data, axis, expected in (
        (old.data, 0, {"bias-scale"}),
        (np.zeros_like(old.data), 0, set()),
        (np.zeros_like(old.data), 3, {"bias-axis"}),
    ):
        m.tensors[bias] = g.Tensor(old.name, old.shape, "int32", maker.quantization(scale, 0, axis), data)
        assert set(codes(m.graph([y]))) == expected


@pytest.mark.parametrize("shape", [(1, 640), (1, 49, 10, 1)])
def test_inputs_that_are_no_pictures_get_no_advice_about_pixels(
    maker: ModuleType, codes: Codes, shape: tuple[int, ...]
) -> None:
    m = maker.GraphMaker(0)
    assert codes(m.graph([m.same("RELU", [m.input(shape, 0.4, 83)], shape)])).keys() == {"unfused-relu"}
