"""Graph to TFLite flatbuffer: the same graph always gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
import tflite

from edgedet.graph.flatbuffer_read import IDENTIFIER, SCHEMA_VERSION
from edgedet.graph.graph import Graph, Operator, Tensor
from edgedet.graph.op_options import operator_version, write_options

_ALIGNMENT = 16  # of constants; TFLM reads them in place, CMSIS-NN with vector loads
_PLACEHOLDER = 127  # old readers see this in the byte field when the operator's number does not fit
_TYPES = {
    "int8": tflite.TensorType.INT8,
    "int16": tflite.TensorType.INT16,
    "int32": tflite.TensorType.INT32,
    "int64": tflite.TensorType.INT64,
    "uint8": tflite.TensorType.UINT8,
    "float32": tflite.TensorType.FLOAT32,
    "bool": tflite.TensorType.BOOL,
}


def build(graph: Graph) -> bytes:
    """Serialize a checked graph; see `flatbuffer.serialize`."""
    builder = flatbuffers.Builder(1 << 16)
    constants = [tensor for tensor in graph.tensors if tensor.data is not None]
    blobs = [tensor.data.tobytes() for tensor in constants if tensor.data is not None]
    blobs += [blob for _, blob in graph.metadata]
    buffers = [_buffer(builder, b"")] + [_buffer(builder, blob) for blob in blobs]  # buffer 0: "no data"
    slots = iter(range(1, len(constants) + 1))
    tensors = [_tensor(builder, tensor, 0 if tensor.data is None else next(slots)) for tensor in graph.tensors]
    codes = [(op.kind, max(op.version, operator_version(op, graph.tensors))) for op in graph.operators]
    unique = list(dict.fromkeys(codes))
    operators = [_operator(builder, op, unique.index(code)) for op, code in zip(graph.operators, codes, strict=True)]
    opcodes = [_opcode(builder, kind, version) for kind, version in unique]
    metadata = [_metadata(builder, name, 1 + len(constants) + i) for i, (name, _) in enumerate(graph.metadata)]
    subgraph = _subgraph(builder, graph, tensors, operators)
    _model(builder, graph.description, opcodes, subgraph, buffers, metadata)
    return bytes(builder.Output())


def _offsets(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _ints(builder: flatbuffers.Builder, values: Sequence[int]) -> int:
    return builder.CreateNumpyVector(np.array(values, np.int32))


def _buffer(builder: flatbuffers.Builder, blob: bytes) -> int:
    data = 0
    if blob:
        builder.Prep(_ALIGNMENT, len(blob))
        data = builder.CreateByteVector(blob)
    tflite.BufferStart(builder)
    if blob:
        tflite.BufferAddData(builder, data)
    return tflite.BufferEnd(builder)


def _tensor(builder: flatbuffers.Builder, tensor: Tensor, buffer: int) -> int:
    name = builder.CreateString(tensor.name)
    shape = _ints(builder, tensor.shape)
    quantization = 0
    if tensor.quantization is not None:
        scale = builder.CreateNumpyVector(tensor.quantization.scale.astype(np.float32))
        zero_point = builder.CreateNumpyVector(tensor.quantization.zero_point.astype(np.int64))
        tflite.QuantizationParametersStart(builder)
        tflite.QuantizationParametersAddScale(builder, scale)
        tflite.QuantizationParametersAddZeroPoint(builder, zero_point)
        tflite.QuantizationParametersAddQuantizedDimension(builder, tensor.quantization.axis)
        quantization = tflite.QuantizationParametersEnd(builder)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, _TYPES[tensor.dtype])
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddName(builder, name)
    if quantization:
        tflite.TensorAddQuantization(builder, quantization)
    return tflite.TensorEnd(builder)


def _operator(builder: flatbuffers.Builder, operator: Operator, opcode: int) -> int:
    options_type, options = write_options(builder, operator.kind, operator.options)
    inputs = _ints(builder, operator.inputs)
    outputs = _ints(builder, operator.outputs)
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, opcode)
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    if options:
        tflite.OperatorAddBuiltinOptionsType(builder, options_type)
        tflite.OperatorAddBuiltinOptions(builder, options)
    return tflite.OperatorEnd(builder)


def _opcode(builder: flatbuffers.Builder, kind: str, version: int) -> int:
    code = getattr(tflite.BuiltinOperator, kind)
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, _PLACEHOLDER))
    tflite.OperatorCodeAddVersion(builder, version)
    tflite.OperatorCodeAddBuiltinCode(builder, code)
    return tflite.OperatorCodeEnd(builder)


def _metadata(builder: flatbuffers.Builder, name: str, buffer: int) -> int:
    text = builder.CreateString(name)
    tflite.MetadataStart(builder)
    tflite.MetadataAddName(builder, text)
    tflite.MetadataAddBuffer(builder, buffer)
    return tflite.MetadataEnd(builder)


def _subgraph(builder: flatbuffers.Builder, graph: Graph, tensors: list[int], operators: list[int]) -> int:
    name = builder.CreateString("main")
    tensor_vector = _offsets(builder, tensors)
    operator_vector = _offsets(builder, operators)
    inputs = _ints(builder, graph.inputs)
    outputs = _ints(builder, graph.outputs)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensor_vector)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operator_vector)
    tflite.SubGraphAddName(builder, name)
    return tflite.SubGraphEnd(builder)


def _model(
    builder: flatbuffers.Builder,
    description: str,
    opcodes: list[int],
    subgraph: int,
    buffers: list[int],
    metadata: list[int],
) -> None:
    text = builder.CreateString(description)
    opcode_vector = _offsets(builder, opcodes)
    subgraph_vector = _offsets(builder, [subgraph])
    buffer_vector = _offsets(builder, buffers)
    metadata_vector = _offsets(builder, metadata) if metadata else 0
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, SCHEMA_VERSION)
    tflite.ModelAddOperatorCodes(builder, opcode_vector)
    tflite.ModelAddSubgraphs(builder, subgraph_vector)
    tflite.ModelAddDescription(builder, text)
    tflite.ModelAddBuffers(builder, buffer_vector)
    if metadata:
        tflite.ModelAddMetadata(builder, metadata_vector)
    builder.Finish(tflite.ModelEnd(builder), file_identifier=IDENTIFIER)
