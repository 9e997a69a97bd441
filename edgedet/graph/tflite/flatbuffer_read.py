"""TFLite flatbuffer to graph, for files from strangers: every offset may be wrong and every number absurd.

Every valid file is read. What edgedet has no meaning for stays in the graph under its name (`OpaqueOptions`, types,
`TensorExtras`); `check.check_graph` is for those who run a graph.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import flatbuffers
import numpy as np
import tflite

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.graph.check import check_form
from edgedet.graph.graph import (
    NO_EXTRAS,
    Graph,
    Operator,
    Options,
    Quantization,
    Signature,
    Subgraph,
    Tensor,
    TensorExtras,
)
from edgedet.graph.tflite.appended import split_appended
from edgedet.graph.tflite.damage import LOST, Damage, describe
from edgedet.graph.tflite.dtypes import dtype_name, numpy_dtype
from edgedet.graph.tflite.op_options import check_operands, read_options
from edgedet.graph.tflite.opaque import read_opaque
from edgedet.texts import other_kind

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
_MAX_ITEMS = 100_000  # tensors, operators, buffers: far above any model, low enough to fail at once
_MAX_RANK = 64
_KINDS = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
# Slots in a table's vtable: 4 + 2 * the field's position in the schema.
_TENSOR_NAME, _MODEL_DESCRIPTION, _METADATA_NAME, _CUSTOM_CODE, _SUBGRAPH_NAME = 10, 10, 4, 6, 12
_IS_VARIABLE, _MIN, _MAX, _DETAILS_TYPE = 14, 4, 6, 12
_BUILTIN_CODE, _MAP_NAME, _SIGNATURE_KEY, _EXTERNAL_BUFFER = 10, 4, 8, 24


def parse(data: bytes, source: str) -> Graph:
    """Parse a TFLite model; see `flatbuffer.parse_tflite`."""
    graph = _guarded(data, source)
    check_form(graph, source)
    return graph


def _guarded(data: bytes, source: str) -> Graph:
    if data and (kind := other_kind(data[:64])):
        raise ConversionError(f"{source}: expected a TFLite model, found {kind}")
    if len(data) < 16:
        raise ConversionError(f"{source}: {len(data)} bytes are not a TFLite model; the file is empty or truncated")
    if data[4:8] != IDENTIFIER:
        raise ConversionError(f"{source}: not a TFLite model: bytes 4..8 are {data[4:8]!r}, expected {IDENTIFIER!r}")
    reader = _Reader(data, source)
    try:
        return reader.graph()
    except (Damage, *LOST) as error:  # the flatbuffers accessors follow offsets without checks of their own
        raise ConversionError(
            f"{source}: the file is damaged or truncated: expected {reader.place} inside its {len(data)} bytes, found "
            f"{describe(error)}; export or copy it again"
        ) from error


def outside_bytes(data: bytes) -> int:
    """Bytes of constants behind the flatbuffer, which TFLite Micro ignores without a word.

    Args:
        data: a file that `parse` accepts.
    """
    model = tflite.Model.GetRootAs(data, 0)
    buffers = (model.Buffers(i) for i in range(model.BuffersLength()))
    size: int = sum(buffer.Size() for buffer in buffers if buffer.Offset() > 1)
    for subgraph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        operators = (subgraph.Operators(i) for i in range(subgraph.OperatorsLength()))
        size += sum(op.LargeCustomOptionsSize() for op in operators if op.LargeCustomOptionsOffset() > 1)
    return size


class _Reader:
    """One pass over a flatbuffer."""

    def __init__(self, data: bytes, source: str) -> None:
        self.data = data
        self.source = source
        self.place = "the header"  # what is being read, for errors

    def graph(self) -> Graph:
        self.model = model = tflite.Model.GetRootAs(self.data, 0)
        self.buffers = self._count("buffers", model.BuffersLength())
        self.codes = self._operator_codes()
        if model.Version() != SCHEMA_VERSION:
            raise ConversionError(f"{self.source}: schema version {model.Version()}, expected {SCHEMA_VERSION}")
        count = self._count("subgraphs", model.SubgraphsLength())
        if not count:
            raise ConversionError(f"{self.source}: the file has no subgraph, so no operators; export the model again")
        first, *others = (self._subgraph(model.Subgraphs(i), i) for i in range(count))
        return Graph(
            tensors=first.tensors,
            operators=first.operators,
            inputs=first.inputs,
            outputs=first.outputs,
            metadata=self._metadata(),
            description=self._text(model, _MODEL_DESCRIPTION),
            name=first.name,
            others=tuple(others),
            signatures=tuple(
                self._signature(model.SignatureDefs(i), i)
                for i in range(self._count("signatures", model.SignatureDefsLength()))
            ),
            appended=split_appended(self.data),
        )

    def _subgraph(self, subgraph: tflite.SubGraph, number: int) -> Subgraph:
        where = self.source if number == 0 else f"{self.source}: subgraph {number}"
        self.place = f"subgraph {number}"
        operators = tuple(
            self._operator(subgraph.Operators(i), f"{where}: operator {i}")
            for i in range(self._count("operators", subgraph.OperatorsLength()))
        )
        self.place = f"subgraph {number}"
        inputs = self._ints(subgraph, "Inputs")
        written = {*inputs, *(index for op in operators for index in op.outputs)}
        tensors = tuple(
            self._tensor(subgraph.Tensors(i), f"{where}: tensor {i}", i in written)
            for i in range(self._count("tensors", subgraph.TensorsLength()))
        )
        self.place = f"subgraph {number}"
        name = self._text(subgraph, _SUBGRAPH_NAME)
        return Subgraph(name, tensors, operators, inputs, self._ints(subgraph, "Outputs"))

    def _count(self, what: str, count: int) -> int:
        if count > _MAX_ITEMS or count * 4 > len(self.data):
            raise ConversionError(f"{self.source}: claims {count} {what}; the file is damaged or truncated")
        return count

    def _ints(self, table: Any, name: str) -> tuple[Any, ...]:
        """Numbers of a vector."""
        length = getattr(table, f"{name}Length")()
        if not length:
            return ()
        self._count(name.lower(), length)
        return tuple(getattr(table, f"{name}AsNumpy")().tolist())

    def _text(self, table: Any, slot: int) -> str:
        """String of a table; the generated accessors would cut it silently at the end of a truncated file."""
        position = table._tab.Offset(slot)
        if not position:
            return ""
        start = table._tab.Pos + position
        start += struct.unpack_from("<I", self.data, start)[0]
        length = struct.unpack_from("<I", self.data, start)[0]
        text = self.data[start + 4 : start + 4 + length]
        if len(text) != length:
            raise Damage(f"a name of {length} bytes, which reaches behind the end")
        return text.decode("utf-8")

    def _outside(self, start: int, size: int, where: str) -> np.ndarray:
        """uint8 (size,) view of bytes behind the flatbuffer, as ai-edge-quantizer and large models have them."""
        if start + size > len(self.data):
            raise ConversionError(
                f"{where}: its data reaches to byte {start + size}, the file has {len(self.data)}; it is truncated"
            )
        return np.frombuffer(self.data, np.uint8)[start : start + size]

    def _buffer(self, index: int, where: str) -> np.ndarray:
        """uint8 (n,) view of a buffer; empty for none, as is buffer 0 of a file without any."""
        if index == 0 == self.buffers:
            return np.empty(0, np.uint8)
        if not 0 <= index < self.buffers:
            raise ConversionError(f"{where}: buffer {index}, but there are {self.buffers} buffers")
        buffer = self.model.Buffers(index)
        if buffer.Offset() > 1:  # 0 and 1 mean inside
            return self._outside(buffer.Offset(), buffer.Size(), where)
        if not buffer.DataLength():
            return np.empty(0, np.uint8)
        result: np.ndarray = buffer.DataAsNumpy()
        return result

    def _tensor(self, tensor: tflite.Tensor, where: str, written: bool) -> Tensor:
        """One tensor; `written`: an operator or the caller writes it, so that it is no constant without bytes."""
        self.place = where.removeprefix(f"{self.source}: ")
        name = self._text(tensor, _TENSOR_NAME)
        where = f"{where} ({name!r})"
        dtype = dtype_name(tensor.Type())
        shape = self._ints(tensor, "Shape")
        if len(shape) > _MAX_RANK:
            raise ConversionError(f"{where}: {len(shape)} axes; the file is damaged")
        table = tensor.Quantization()
        extras = self._extras(tensor, table)
        raw = self._buffer(tensor.Buffer(), where)
        data = None
        if raw.size:
            data = raw if extras.unwritable else self._constant(raw, dtype, shape, where)
        elif 0 in shape and min(shape) == 0 and not written and (numpy := numpy_dtype(dtype)) is not None:
            data = np.empty(shape, numpy)  # a constant without elements, e.g. the shape of a RESHAPE to a scalar
        return Tensor(name, shape, dtype, self._quantization(table), data, extras)

    def _constant(self, raw: np.ndarray, dtype: str, shape: tuple[int, ...], where: str) -> np.ndarray:
        numpy = numpy_dtype(dtype)
        if numpy is None:
            return raw
        expected = math.prod(shape) * numpy.itemsize
        if raw.size != expected or (shape and min(shape) < 0):
            raise ConversionError(f"{where}: {dtype} {shape} needs {expected} bytes, its buffer holds {raw.size}")
        return raw.view(numpy).reshape(shape)

    def _extras(self, tensor: tflite.Tensor, table: Any) -> TensorExtras:
        """What else the file says of a tensor; `table`: its QuantizationParameters or None."""
        vtable = tensor._tab.Pos - struct.unpack_from("<i", self.data, tensor._tab.Pos)[0]
        short = struct.unpack_from("<H", self.data, vtable)[0] <= _IS_VARIABLE  # as most writers leave it
        if short and (table is None or not any(table._tab.Offset(slot) for slot in (_MIN, _MAX, _DETAILS_TYPE))):
            return NO_EXTRAS
        unwritable = "sparse" if tensor.Sparsity() is not None else ""
        if tensor.VariantTensorsLength():
            unwritable = "made of variants"
        position = tensor._tab.Offset(_EXTERNAL_BUFFER)
        if position and tensor._tab.Get(flatbuffers.number_types.Uint32Flags, position + tensor._tab.Pos):
            unwritable = "kept in another file"
        custom = b""
        minimum: tuple[float, ...] = ()
        maximum: tuple[float, ...] = ()
        if table is not None:
            minimum, maximum = self._ints(table, "Min"), self._ints(table, "Max")
            if table.DetailsType() == tflite.QuantizationDetails.CustomQuantization:
                union, details = table.Details(), tflite.CustomQuantization()
                if union is None:
                    raise Damage("custom quantization without details")
                details.Init(union.Bytes, union.Pos)
                custom = details.CustomAsNumpy().tobytes() if details.CustomLength() else b""
            elif table.DetailsType():
                unwritable = "quantized in blocks"
        signature = self._ints(tensor, "ShapeSignature")
        extras = TensorExtras(
            bool(tensor.IsVariable()), signature, bool(tensor.HasRank()), minimum, maximum, custom, unwritable
        )
        return NO_EXTRAS if extras == NO_EXTRAS else extras

    def _quantization(self, table: Any) -> Quantization | None:
        count = 0 if table is None else table.ScaleLength()
        if not count:
            return None
        self._count("scales", count)
        scale = table.ScaleAsNumpy()
        zero_point = table.ZeroPointAsNumpy() if table.ZeroPointLength() else np.zeros(1, np.int64)
        if zero_point.size == 1:  # some converters write one zero point for all channels
            zero_point = np.repeat(zero_point, scale.size)
        return Quantization(scale, zero_point, int(table.QuantizedDimension()))

    def _operator_codes(self) -> tuple[tuple[str, int], ...]:
        """(kind, version) of every opcode."""
        codes = []
        for i in range(self._count("operator codes", self.model.OperatorCodesLength())):
            self.place = f"operator code {i}"
            code = self.model.OperatorCodes(i)
            # Files from before 2020 have only the byte field, ai-edge-quantizer 0.10 fills only the newer one, most
            # writers both: TFLite takes the larger. `code.BuiltinCode()` does not, below 127 it reads the byte.
            position = code._tab.Offset(_BUILTIN_CODE)
            newer = code._tab.Get(flatbuffers.number_types.Int32Flags, position + code._tab.Pos) if position else 0
            number = max(code.DeprecatedBuiltinCode(), newer)
            kind = _KINDS.get(number, f"number {number}")
            if kind == "CUSTOM":
                kind = f"CUSTOM ({self._text(code, _CUSTOM_CODE)})"
            codes.append((kind, code.Version()))
        return tuple(codes)

    def _operator(self, operator: tflite.Operator, where: str) -> Operator:
        self.place = where.removeprefix(f"{self.source}: ")
        opcode = operator.OpcodeIndex()
        if not 0 <= opcode < len(self.codes):
            raise ConversionError(f"{where} has code {opcode}, there are {len(self.codes)} codes")
        kind, version = self.codes[opcode]
        inputs, outputs = self._ints(operator, "Inputs"), self._ints(operator, "Outputs")
        try:
            options: Options = read_options(kind, operator)
            check_operands(kind, inputs, outputs)
        except UnsupportedOpError as reason:
            options = read_opaque(operator, self._custom_options(operator, where), str(reason))
        return Operator(kind, inputs, outputs, options, version)

    def _custom_options(self, operator: tflite.Operator, where: str) -> bytes:
        if operator.LargeCustomOptionsOffset() > 1:
            size = operator.LargeCustomOptionsSize()
            return self._outside(operator.LargeCustomOptionsOffset(), size, where).tobytes()
        return operator.CustomOptionsAsNumpy().tobytes() if operator.CustomOptionsLength() else b""

    def _metadata(self) -> tuple[tuple[str, bytes], ...]:
        entries = []
        for i in range(self._count("metadata entries", self.model.MetadataLength())):
            self.place = f"metadata entry {i}"
            entry = self.model.Metadata(i)
            name = self._text(entry, _METADATA_NAME)
            entries.append((name, self._buffer(entry.Buffer(), f"{self.source}: metadata {name!r}").tobytes()))
        return tuple(entries)

    def _signature(self, signature: tflite.SignatureDef, number: int) -> Signature:
        self.place = f"signature {number}"
        sides = []
        for side in ("Inputs", "Outputs"):
            count = self._count("names", getattr(signature, f"{side}Length")())
            maps = (getattr(signature, side)(i) for i in range(count))
            sides.append(tuple((self._text(entry, _MAP_NAME), int(entry.TensorIndex())) for entry in maps))
        return Signature(self._text(signature, _SIGNATURE_KEY), sides[0], sides[1], int(signature.SubgraphIndex()))
