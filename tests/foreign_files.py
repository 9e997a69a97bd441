"""Files with what edgedet can't run, made with LiteRT's object API; not a test itself."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import flatbuffers
import graph_maker as maker
import pytest

from edgedet.graph.flatbuffer import serialize

schema = pytest.importorskip("ai_edge_litert.schema_py_generated")


def plain() -> bytes:
    """A small int8 network: two convolutions."""
    m = maker.GraphMaker(3)
    x = m.conv(m.input((1, 9, 8, 3), name="image"), 5, stride=(2, 2), activation="RELU6")
    return serialize(m.graph([m.conv(x, 4, name="scores")]))


def edited(data: bytes, edit: Callable[[Any], None]) -> bytes:
    """A file with changes to its ModelT."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    edit(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def add_tensor(model: Any, shape: list[int], kind: int = 9, subgraph: int = 0, **fields: Any) -> int:
    """A tensor without data; `fields` of TensorT."""
    tensor = schema.TensorT()
    tensor.shape, tensor.type, tensor.name, tensor.buffer = shape, kind, b"extra", 0
    for name, value in fields.items():
        assert hasattr(tensor, name), name
        setattr(tensor, name, value)
    model.subgraphs[subgraph].tensors.append(tensor)
    return len(model.subgraphs[subgraph].tensors) - 1


def add_data(model: Any, content: bytes) -> int:
    """A buffer."""
    buffer = schema.BufferT()
    buffer.data = list(content)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def add_operator(
    model: Any,
    code: int,
    inputs: list[int],
    outputs: list[int],
    subgraph: int = 0,
    custom: str = "",
    options: Any = None,
    **fields: Any,
) -> None:
    """An operator with a code of its own; `options`: an options object of the schema."""
    opcode = schema.OperatorCodeT()
    opcode.builtinCode, opcode.deprecatedBuiltinCode, opcode.version = code, min(code, 127), 2
    opcode.customCode = custom or None
    model.operatorCodes.append(opcode)
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = len(model.operatorCodes) - 1, inputs, outputs
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        operator.builtinOptions = options
    for name, value in fields.items():
        assert hasattr(operator, name), name
        setattr(operator, name, value)
    model.subgraphs[subgraph].operators.append(operator)


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


def everything() -> bytes:
    """A file with most of what edgedet can't run, its constants and a label file behind the flatbuffer."""

    def edit(model: Any) -> None:
        state = add_tensor(model, [1, 6], isVariable=True)
        options = schema.SVDFOptionsT()
        options.rank = 2
        result = add_tensor(model, [1, 4], shapeSignature=[-1, 4])
        scores = model.subgraphs[0].outputs[0]
        add_operator(model, schema.BuiltinOperator.SVDF, [scores, scores, scores, -1, state], [result], options=options)
        found = add_tensor(model, [1, 4], kind=0)
        add_operator(model, schema.BuiltinOperator.CUSTOM, [result], [found], custom="my_op", customOptions=[1, 2, 3])
        add_tensor(model, [2], kind=1, buffer=add_data(model, bytes(4)))
        body = schema.SubGraphT()
        body.name, body.tensors, body.operators, body.inputs, body.outputs = b"body", [], [], [0], [1]
        model.subgraphs.append(body)
        ends = [add_tensor(model, [1, 4], subgraph=1) for _ in range(2)]
        add_operator(model, schema.BuiltinOperator.ABS, ends[:1], ends[1:], subgraph=1)
        signature, source = schema.SignatureDefT(), schema.TensorMapT()
        source.name, source.tensorIndex = b"picture", model.subgraphs[0].inputs[0]
        signature.signatureKey, signature.inputs, signature.outputs = b"main", [source], []
        model.signatureDefs = [signature]

    content = io.BytesIO(move_outside(edited(plain(), edit)))
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    return content.getvalue()
