"""Graph to TFLite flatbuffer: the same graph always gives the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
import numpy as np
import tflite

from edgedet.graph.graph import Graph, OpaqueOptions, Operator, Quantization, Signature, Subgraph, Tensor, TensorExtras
from edgedet.graph.tflite.appended import append
from edgedet.graph.tflite.dtypes import dtype_number
from edgedet.graph.tflite.flatbuffer_read import IDENTIFIER, SCHEMA_VERSION
from edgedet.graph.tflite.op_options import write_options
from edgedet.graph.tflite.op_versions import operator_version
from edgedet.graph.tflite.opaque import custom_name, is_second_union, write_opaque

_ALIGNMENT = 16  # of constants; TFLM reads them in place, CMSIS-NN with vector loads
_PLACEHOLDER = 127  # old readers see this in the byte field when the operator's number does not fit
_Code = tuple[str, int]  # (kind, version)


def build(graph: Graph) -> bytes:
    """Serialize a checked graph; see `flatbuffer.serialize`."""
    builder = flatbuffers.Builder(1 << 16)
    subgraphs = graph.subgraphs
    blobs, slots = _constants(subgraphs)
    count = 1 + len(blobs)
    blobs += [blob for _, blob in graph.metadata]
    buffers = [_buffer(builder, b"")] + [_buffer(builder, blob) for blob in blobs]  # buffer 0: "no data"
    tensors = [[_tensor(builder, t, slots.get(_place(t), 0)) for t in subgraph.tensors] for subgraph in subgraphs]
    codes = [[_code(op, subgraph.tensors) for op in subgraph.operators] for subgraph in subgraphs]
    unique = list(dict.fromkeys(code for part in codes for code in part))
    operators = [
        [_operator(builder, op, unique.index(code)) for op, code in zip(subgraph.operators, part, strict=True)]
        for subgraph, part in zip(subgraphs, codes, strict=True)
    ]
    opcodes = [_opcode(builder, kind, version) for kind, version in unique]
    metadata = [_metadata(builder, name, count + i) for i, (name, _) in enumerate(graph.metadata)]
    signatures = [_signature(builder, signature) for signature in graph.signatures]
    made = [_subgraph(builder, *parts) for parts in zip(subgraphs, tensors, operators, strict=True)]
    _model(builder, graph.description, opcodes, made, buffers, metadata, signatures)
    return append(bytes(builder.Output()), graph.appended)


def _place(tensor: Tensor) -> tuple[int, int]:
    """Where a constant lies in memory, (address, bytes); (0, 0) for none and for empty ones."""
    if tensor.data is None or not tensor.data.nbytes:
        return 0, 0
    return tensor.data.__array_interface__["data"][0], tensor.data.nbytes


def _constants(subgraphs: Sequence[Subgraph]) -> tuple[list[bytes], dict[tuple[int, int], int]]:
    """Contents of the buffers of constants, and place in memory -> number of the buffer.

    Tensors that share their bytes, as weights under several signatures do, share a buffer again.
    """
    blobs: list[bytes] = []
    slots: dict[tuple[int, int], int] = {}
    for tensor in (tensor for subgraph in subgraphs for tensor in subgraph.tensors):
        place = _place(tensor)
        if tensor.data is not None and place not in slots and place[1]:
            blobs.append(tensor.data.tobytes())
            slots[place] = len(blobs)
    return blobs, slots


def _code(operator: Operator, tensors: tuple[Tensor, ...]) -> _Code:
    if operator.version:
        return operator.kind, operator.version  # the file's own
    if isinstance(operator.options, OpaqueOptions):
        return operator.kind, 1  # nothing is known of it; interpreters register custom operators as version 1
    return operator.kind, operator_version(operator, tensors)


def _offsets(builder: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    result: int = builder.EndVector()
    return result


def _ints(builder: flatbuffers.Builder, values: Sequence[int]) -> int:
    result: int = builder.CreateNumpyVector(np.array(values, np.int32))
    return result


def _buffer(builder: flatbuffers.Builder, blob: bytes) -> int:
    data = 0
    if blob:
        builder.Prep(_ALIGNMENT, len(blob))
        data = builder.CreateByteVector(blob)
    tflite.BufferStart(builder)
    if blob:
        tflite.BufferAddData(builder, data)
    result: int = tflite.BufferEnd(builder)
    return result


def _tensor(builder: flatbuffers.Builder, tensor: Tensor, buffer: int) -> int:
    name = builder.CreateString(tensor.name)
    shape = _ints(builder, tensor.shape)
    extras = tensor.extras
    signature = _ints(builder, extras.shape_signature) if extras.shape_signature else 0
    quantization = _quantization(builder, tensor.quantization, extras)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, dtype_number(tensor.dtype))
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddName(builder, name)
    if quantization:
        tflite.TensorAddQuantization(builder, quantization)
    tflite.TensorAddIsVariable(builder, extras.is_variable)
    if signature:
        tflite.TensorAddShapeSignature(builder, signature)
    tflite.TensorAddHasRank(builder, extras.has_rank)
    result: int = tflite.TensorEnd(builder)
    return result


def _quantization(builder: flatbuffers.Builder, quantization: Quantization | None, extras: TensorExtras) -> int:
    """Offset of QuantizationParameters; 0 when there is nothing to say."""
    vectors = {}
    if extras.minimum or extras.maximum:
        vectors["Min"] = builder.CreateNumpyVector(np.array(extras.minimum, np.float32))
        vectors["Max"] = builder.CreateNumpyVector(np.array(extras.maximum, np.float32))
    if quantization is not None:
        vectors["Scale"] = builder.CreateNumpyVector(quantization.scale.astype(np.float32))
        vectors["ZeroPoint"] = builder.CreateNumpyVector(quantization.zero_point.astype(np.int64))
    details = 0
    if extras.custom_quantization:
        builder.Prep(_ALIGNMENT, len(extras.custom_quantization))
        custom = builder.CreateByteVector(extras.custom_quantization)
        tflite.CustomQuantizationStart(builder)
        tflite.CustomQuantizationAddCustom(builder, custom)
        details = tflite.CustomQuantizationEnd(builder)
    if not vectors and not details:
        return 0
    tflite.QuantizationParametersStart(builder)
    for name, vector in vectors.items():
        getattr(tflite, f"QuantizationParametersAdd{name}")(builder, vector)
    if quantization is not None:
        tflite.QuantizationParametersAddQuantizedDimension(builder, quantization.axis)
    if details:
        tflite.QuantizationParametersAddDetailsType(builder, tflite.QuantizationDetails.CustomQuantization)
        tflite.QuantizationParametersAddDetails(builder, details)
    result: int = tflite.QuantizationParametersEnd(builder)
    return result


def _operator(builder: flatbuffers.Builder, operator: Operator, opcode: int) -> int:
    options = operator.options
    vectors, union = {}, "BuiltinOptions"
    if isinstance(options, OpaqueOptions):
        number, table = write_opaque(builder, options)
        union = "BuiltinOptions2" if is_second_union(options) else union
        if options.custom:
            vectors["CustomOptions"] = builder.CreateByteVector(options.custom)
        if options.intermediates:
            vectors["Intermediates"] = _ints(builder, options.intermediates)
        if options.mutating:
            vectors["MutatingVariableInputs"] = builder.CreateNumpyVector(np.array(options.mutating, np.bool_))
    else:
        number, table = write_options(builder, operator.kind, options)
    inputs = _ints(builder, operator.inputs)
    outputs = _ints(builder, operator.outputs)
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, opcode)
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    if table:
        getattr(tflite, f"OperatorAdd{union}Type")(builder, number)
        getattr(tflite, f"OperatorAdd{union}")(builder, table)
    for name, vector in vectors.items():
        getattr(tflite, f"OperatorAdd{name}")(builder, vector)
    result: int = tflite.OperatorEnd(builder)
    return result


def _opcode(builder: flatbuffers.Builder, kind: str, version: int) -> int:
    custom = custom_name(kind)
    if custom or kind == "CUSTOM ()":
        code = tflite.BuiltinOperator.CUSTOM
    elif kind.startswith("number "):
        code = int(kind.removeprefix("number "))
    else:
        code = getattr(tflite.BuiltinOperator, kind)
    name = builder.CreateString(custom) if custom else 0
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(code, _PLACEHOLDER))
    if name:
        tflite.OperatorCodeAddCustomCode(builder, name)
    tflite.OperatorCodeAddVersion(builder, version)
    tflite.OperatorCodeAddBuiltinCode(builder, code)
    result: int = tflite.OperatorCodeEnd(builder)
    return result


def _signature(builder: flatbuffers.Builder, signature: Signature) -> int:
    sides = []
    for side in (signature.inputs, signature.outputs):
        maps = []
        for name, index in side:
            text = builder.CreateString(name)
            tflite.TensorMapStart(builder)
            tflite.TensorMapAddName(builder, text)
            tflite.TensorMapAddTensorIndex(builder, index)
            maps.append(tflite.TensorMapEnd(builder))
        sides.append(_offsets(builder, maps))
    key = builder.CreateString(signature.key)
    tflite.SignatureDefStart(builder)
    tflite.SignatureDefAddInputs(builder, sides[0])
    tflite.SignatureDefAddOutputs(builder, sides[1])
    tflite.SignatureDefAddSignatureKey(builder, key)
    tflite.SignatureDefAddSubgraphIndex(builder, signature.subgraph)
    result: int = tflite.SignatureDefEnd(builder)
    return result


def _metadata(builder: flatbuffers.Builder, name: str, buffer: int) -> int:
    text = builder.CreateString(name)
    tflite.MetadataStart(builder)
    tflite.MetadataAddName(builder, text)
    tflite.MetadataAddBuffer(builder, buffer)
    result: int = tflite.MetadataEnd(builder)
    return result


def _subgraph(builder: flatbuffers.Builder, subgraph: Subgraph, tensors: list[int], operators: list[int]) -> int:
    name = builder.CreateString(subgraph.name)
    tensor_vector = _offsets(builder, tensors)
    operator_vector = _offsets(builder, operators)
    inputs = _ints(builder, subgraph.inputs)
    outputs = _ints(builder, subgraph.outputs)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensor_vector)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operator_vector)
    tflite.SubGraphAddName(builder, name)
    result: int = tflite.SubGraphEnd(builder)
    return result


def _model(
    builder: flatbuffers.Builder,
    description: str,
    opcodes: list[int],
    subgraphs: list[int],
    buffers: list[int],
    metadata: list[int],
    signatures: list[int],
) -> None:
    text = builder.CreateString(description)
    opcode_vector = _offsets(builder, opcodes)
    subgraph_vector = _offsets(builder, subgraphs)
    buffer_vector = _offsets(builder, buffers)
    metadata_vector = _offsets(builder, metadata) if metadata else 0
    signature_vector = _offsets(builder, signatures) if signatures else 0
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, SCHEMA_VERSION)
    tflite.ModelAddOperatorCodes(builder, opcode_vector)
    tflite.ModelAddSubgraphs(builder, subgraph_vector)
    tflite.ModelAddDescription(builder, text)
    tflite.ModelAddBuffers(builder, buffer_vector)
    if metadata:
        tflite.ModelAddMetadata(builder, metadata_vector)
    if signatures:
        tflite.ModelAddSignatureDefs(builder, signature_vector)
    builder.Finish(tflite.ModelEnd(builder), file_identifier=IDENTIFIER)
