"""Constants that lie behind the flatbuffer, as ai-edge-quantizer and converters of large models write them."""

from __future__ import annotations

import flatbuffers
import graph_maker as maker
import numpy as np
import pytest

from edgedet.errors import ConversionError
from edgedet.graph.flatbuffer import parse_tflite, serialize

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
litert = pytest.importorskip("ai_edge_litert.interpreter")


def move_outside(data: bytes) -> bytes:
    """The same model with the data of every buffer behind the flatbuffer, at multiples of 16 bytes."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    contents = {}
    for number, buffer in enumerate(model.buffers):
        if buffer.data is not None and len(buffer.data):
            contents[number] = bytes(buffer.data)
            buffer.data, buffer.offset, buffer.size = None, 2, len(contents[number])

    def packed() -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    end = -(-len(packed()) // 16) * 16  # the offsets are of fixed width: the length stays
    tail = b""
    for number, content in contents.items():
        model.buffers[number].offset = end + len(tail)
        tail += content + bytes(-len(content) % 16)
    head = packed()
    return head + bytes(end - len(head)) + tail


@pytest.fixture(scope="module")
def files() -> tuple[bytes, bytes]:
    """A small network, and the same with its constants outside."""
    m = maker.GraphMaker(3)
    x = m.conv(m.input((1, 9, 8, 3)), 5, stride=(2, 2), activation="RELU6")
    inside = serialize(m.graph([m.conv(x, 4, depthwise=False)]))
    return inside, move_outside(inside)


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
