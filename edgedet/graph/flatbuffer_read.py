"""TFLite flatbuffer to graph, for files from strangers: every offset may be wrong and every number absurd."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import tflite

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.graph.check import check_graph
from edgedet.graph.graph import Graph, NoOptions, Operator, Options, Quantization, Tensor
from edgedet.graph.op_options import SPECS, read_options

IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
_MAX_ITEMS = 100_000  # tensors, operators, buffers: far above any model, low enough to fail at once
_KINDS = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
_DTYPES = {
    tflite.TensorType.INT8: "int8",
    tflite.TensorType.INT16: "int16",
    tflite.TensorType.INT32: "int32",
    tflite.TensorType.INT64: "int64",
    tflite.TensorType.UINT8: "uint8",
    tflite.TensorType.FLOAT32: "float32",
    tflite.TensorType.BOOL: "bool",
}
_TYPE_NAMES = {code: name for name, code in vars(tflite.TensorType).items() if isinstance(code, int)}
# Slot of a string in its table's vtable: 4 + 2 * the field's position in the schema.
_TENSOR_NAME, _MODEL_DESCRIPTION, _METADATA_NAME, _CUSTOM_CODE = 10, 10, 4, 6


def parse(data: bytes, source: str) -> Graph:
    """Parse and check a TFLite model; see `flatbuffer.parse_tflite`."""
    graph = _parse(data, source, loose=False)
    check_graph(graph, source)
    return graph


def _parse(data: bytes, source: str, loose: bool) -> Graph:
    if len(data) < 16:
        raise ConversionError(f"{source}: {len(data)} bytes are not a TFLite model; the file is empty or truncated")
    if data[4:8] != IDENTIFIER:
        raise ConversionError(f"{source}: not a TFLite model: bytes 4..8 are {data[4:8]!r}, expected {IDENTIFIER!r}")
    try:
        return _Reader(data, source, loose).graph()
    except (struct.error, IndexError, ValueError, TypeError, OverflowError) as error:
        # The flatbuffers accessors follow offsets without checks of their own; this is how a wrong one ends.
        raise ConversionError(
            f"{source}: the file is damaged or truncated ({len(data)} bytes read; {error}); export or copy it again"
        ) from error


def parse_loosely(data: bytes, source: str) -> Graph:
    """Parse a TFLite model that edgedet may not be able to run: float, mixed, with operators that it does not know.

    For reports about a file. An operator that edgedet does not carry has no options, and the graph is not checked,
    except that every index is one.

    Args:
        data: the whole file.
        source: its name, for errors.
    Raises:
        ConversionError: not a TFLite model, damaged or truncated.
    """
    graph = _parse(data, source, loose=True)
    count = len(graph.tensors)
    for number, operator in enumerate(graph.operators):
        spec = SPECS.get(operator.kind)
        if spec is not None and (len(operator.inputs) < spec.min_inputs or not operator.outputs):
            raise ConversionError(f"{source}: operator {number} ({operator.kind}) lacks inputs or outputs")
    indices = [index for op in graph.operators for index in (*op.inputs, *op.outputs)]
    if not all(-1 <= index < count for index in (*indices, *graph.inputs, *graph.outputs)):
        raise ConversionError(f"{source}: an operator names a tensor that is not there; the file is damaged")
    if any(index < 0 for op in graph.operators for index in op.outputs) or min((*graph.inputs, *graph.outputs, 0)) < 0:
        raise ConversionError(f"{source}: an output without a tensor; the file is damaged")
    return graph


class _Reader:
    """One pass over a flatbuffer."""

    def __init__(self, data: bytes, source: str, loose: bool = False) -> None:
        self.data = data
        self.source = source
        self.loose = loose
        self.model = tflite.Model.GetRootAs(data, 0)

    def graph(self) -> Graph:
        model = self.model
        if model.Version() != SCHEMA_VERSION:
            raise ConversionError(f"{self.source}: schema version {model.Version()}, expected {SCHEMA_VERSION}")
        if model.SubgraphsLength() != 1:
            raise ConversionError(
                f"{self.source}: {model.SubgraphsLength()} subgraphs, expected 1; export the model without "
                "control flow and with one signature"
            )
        subgraph = model.Subgraphs(0)
        buffers = self._count("buffers", model.BuffersLength())
        tensors = tuple(
            self._tensor(subgraph.Tensors(i), i, buffers)
            for i in range(self._count("tensors", subgraph.TensorsLength()))
        )
        codes = self._operator_codes()
        operators = tuple(
            self._operator(subgraph.Operators(i), i, codes)
            for i in range(self._count("operators", subgraph.OperatorsLength()))
        )
        return Graph(
            tensors=tensors,
            operators=operators,
            inputs=self._ints(subgraph, "Inputs"),
            outputs=self._ints(subgraph, "Outputs"),
            metadata=self._metadata(buffers),
            description=self._text(model, _MODEL_DESCRIPTION),
        )

    def _count(self, what: str, count: int) -> int:
        if count > _MAX_ITEMS or count * 4 > len(self.data):
            raise ConversionError(f"{self.source}: claims {count} {what}; the file is damaged or truncated")
        return count

    def _ints(self, table: Any, name: str) -> tuple[int, ...]:
        length = self._count(name.lower(), getattr(table, f"{name}Length")())
        return tuple(getattr(table, f"{name}AsNumpy")().tolist()) if length else ()

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
            raise ValueError(f"a string of {length} bytes reaches behind the end")
        return text.decode("utf-8")

    def _buffer(self, index: int, count: int, where: str) -> np.ndarray:
        """uint8 (n,) view of a buffer; empty for none."""
        if not 0 <= index < count:
            raise ConversionError(f"{where}: buffer {index}, but there are {count} buffers")
        buffer = self.model.Buffers(index)
        if buffer.Offset() > 1:  # data behind the flatbuffer, as ai-edge-quantizer writes it; 0 and 1 mean inside
            start, end = buffer.Offset(), buffer.Offset() + buffer.Size()
            if end > len(self.data):
                raise ConversionError(
                    f"{where}: its data reaches to byte {end}, the file has {len(self.data)}; it is truncated"
                )
            return np.frombuffer(self.data, np.uint8)[start:end]
        if not buffer.DataLength():
            return np.empty(0, np.uint8)
        return buffer.DataAsNumpy()

    def _tensor(self, tensor: tflite.Tensor, index: int, buffers: int) -> Tensor:
        name = self._text(tensor, _TENSOR_NAME)
        where = f"{self.source}: tensor {index} ({name!r})"
        dtype = _DTYPES.get(tensor.Type())
        kind = _TYPE_NAMES.get(tensor.Type(), f"number {tensor.Type()}")
        if dtype is None and self.loose:
            raw = self._buffer(tensor.Buffer(), buffers, where)
            return Tensor(name, self._ints(tensor, "Shape"), kind.lower(), None, raw if raw.size else None)
        if dtype is None:
            raise ConversionError(f"{where}: type {kind} is not supported, only {', '.join(_DTYPES.values())}")
        if tensor.IsVariable() or tensor.Sparsity() is not None:
            raise ConversionError(f"{where}: variable and sparse tensors are not supported; export a plain model")
        shape = self._ints(tensor, "Shape")
        if len(shape) > 8 or any(side < 1 for side in shape):
            raise ConversionError(f"{where}: shape {shape[:8]} is not fixed and positive; export with a static shape")
        raw = self._buffer(tensor.Buffer(), buffers, where)
        data = None
        if raw.size:
            expected = math.prod(shape) * np.dtype(dtype).itemsize
            if raw.size != expected:
                raise ConversionError(f"{where}: {dtype} {shape} needs {expected} bytes, its buffer holds {raw.size}")
            data = raw.view(dtype).reshape(shape)
        return Tensor(name, shape, dtype, self._quantization(tensor, where), data)

    def _quantization(self, tensor: tflite.Tensor, where: str) -> Quantization | None:
        table = tensor.Quantization()
        if table is None or not table.ScaleLength():
            return None
        if table.DetailsType():
            raise ConversionError(f"{where}: custom quantization is not supported, only scale and zero point")
        scale = table.ScaleAsNumpy()
        zero_point = table.ZeroPointAsNumpy() if table.ZeroPointLength() else np.zeros(1, np.int64)
        if zero_point.size == 1:  # some converters write one zero point for all channels
            zero_point = np.repeat(zero_point, scale.size)
        return Quantization(scale, zero_point, int(table.QuantizedDimension()))

    def _operator_codes(self) -> tuple[tuple[str, int], ...]:
        """(kind, version) of every opcode."""
        codes = []
        for i in range(self._count("operator codes", self.model.OperatorCodesLength())):
            code = self.model.OperatorCodes(i)
            # Files from before 2020 have only the byte field; newer ones fill both.
            number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
            kind = _KINDS.get(number, f"number {number}")
            if kind == "CUSTOM":
                kind = f"CUSTOM ({self._text(code, _CUSTOM_CODE)})"
            codes.append((kind, code.Version()))
        return tuple(codes)

    def _operator(self, operator: tflite.Operator, index: int, codes: tuple[tuple[str, int], ...]) -> Operator:
        opcode = operator.OpcodeIndex()
        if not 0 <= opcode < len(codes):
            raise ConversionError(f"{self.source}: operator {index} has code {opcode}, there are {len(codes)} codes")
        kind, version = codes[opcode]
        options: Options = NoOptions()
        try:
            options = read_options(kind, operator, f"{self.source}: operator {index}")
        except UnsupportedOpError:
            if not self.loose:
                raise
        return Operator(kind, self._ints(operator, "Inputs"), self._ints(operator, "Outputs"), options, version)

    def _metadata(self, buffers: int) -> tuple[tuple[str, bytes], ...]:
        entries = []
        for i in range(self._count("metadata entries", self.model.MetadataLength())):
            entry = self.model.Metadata(i)
            name = self._text(entry, _METADATA_NAME)
            entries.append((name, self._buffer(entry.Buffer(), buffers, f"{self.source}: metadata {name!r}").tobytes()))
        return tuple(entries)
