"""Constants that lie behind the flatbuffer, as ai-edge-quantizer and converters of large models write them."""

from __future__ import annotations

from typing import Any

import flatbuffers
import foreign_files
import graph_maker as maker
import numpy as np
import pytest

from edgedet.errors import ConversionError
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import bytes_inside, parse_tflite, serialize
from edgedet.graph.tflite.flatbuffer_read import outside_bytes

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
litert = pytest.importorskip("ai_edge_litert.interpreter")


@pytest.fixture(scope="module")
def files() -> tuple[bytes, bytes]:
    """A small network, and the same with its constants outside."""
    m = maker.GraphMaker(3)
    x = m.conv(m.input((1, 9, 8, 3)), 5, stride=(2, 2), activation="RELU6")
    inside = serialize(m.graph([m.conv(x, 4, depthwise=False)]))
    return inside, foreign_files.move_outside(inside)


def test_parse_constants_behind_the_flatbuffer_are_the_same(files: tuple[bytes, bytes]) -> None:
    inside, outside = (parse_tflite(data, "file") for data in files)
    assert inside == outside
    assert any(isinstance(t.data, np.ndarray) and t.data.size > 16 for t in outside.tensors)


def test_files_with_constants_outside_mean_the_same_to_tflite(files: tuple[bytes, bytes]) -> None:
    codes = np.random.default_rng(0).integers(-128, 128, (1, 9, 8, 3)).astype(np.int8)
    results = []
    for data in files:
        interpreter = litert.Interpreter(
            model_content=data, experimental_op_resolver_type=litert.OpResolverType.BUILTIN_REF
        )
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], codes)
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy())
    np.testing.assert_array_equal(*results)


def test_serialize_brings_constants_inside(files: tuple[bytes, bytes]) -> None:
    inside, outside = files
    assert serialize(parse_tflite(outside, "file")) == serialize(parse_tflite(inside, "file"))


@pytest.mark.parametrize("cut", [16, 17, 100])  # the last constant may end with up to 15 bytes of padding
def test_parse_truncated_constants_outside_are_an_error(files: tuple[bytes, bytes], cut: int) -> None:
    with pytest.raises(ConversionError, match=r"reaches to byte \d+, the file has \d+; it is truncated"):
        parse_tflite(files[1][:-cut], "file")


def test_parse_overlapping_offsets_outside_never_read_behind_the_end(files: tuple[bytes, bytes]) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(files[1], 0))
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.offset = 2**63
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(ConversionError, match="truncated"):
        parse_tflite(bytes(builder.Output()), "file")


def test_bytes_inside_are_the_file_itself_or_the_graph_written_anew(files: tuple[bytes, bytes]) -> None:
    inside, outside = files
    graph = parse_tflite(outside, "file")
    assert bytes_inside(inside, graph) is inside
    assert bytes_inside(outside, graph) == serialize(graph)
    assert outside_bytes(outside) == sum(t.data.nbytes for t in graph.tensors if t.data is not None)
    assert outside_bytes(inside) == outside_bytes(serialize(graph)) == 0


def test_large_custom_options_behind_the_flatbuffer_come_inside() -> None:
    def edit(model: Any) -> None:
        out = foreign_files.add_tensor(model, [1, 4])
        code = schema.BuiltinOperator.CUSTOM
        foreign_files.add_operator(
            model, code, [0], [out], custom="big", largeCustomOptionsOffset=2, largeCustomOptionsSize=8
        )

    first = foreign_files.edited(foreign_files.plain(), edit)

    def point(model: Any) -> None:
        model.subgraphs[0].operators[-1].largeCustomOptionsOffset = len(first)

    data = foreign_files.edited(first, point)
    assert len(data) == len(first)
    graph = parse_tflite(data + b"flexible", "file")
    assert graph.operators[-1].options == g.OpaqueOptions(graph.operators[-1].options.reason, custom=b"flexible")
    assert outside_bytes(data + b"flexible") == 8
    assert parse_tflite(serialize(graph), "again") == graph
    with pytest.raises(ConversionError, match=r"operator 2: its data reaches to byte \d+, the file has \d+; it is"):
        parse_tflite(data + b"flex", "file")
