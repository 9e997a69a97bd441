"""Checks that a graph keeps its promises, so that everything behind the file can index without asking."""

from __future__ import annotations

import math

import numpy as np

from edgedet.errors import ConversionError
from edgedet.graph.graph import Graph, Operator, Tensor
from edgedet.graph.op_options import check_options, operator_spec

DTYPES = ("int8", "int16", "int32", "int64", "uint8", "float32", "bool")
MAX_RANK = 6
MAX_TENSOR_BYTES = 2**30  # of one activation; a microcontroller has a thousandth of it
_FLOAT_BRIDGES = ("QUANTIZE", "DEQUANTIZE", "EXP")  # the only operators of an int8 model that may touch float32


def check_graph(graph: Graph, source: str) -> None:
    """Check indices, shapes, buffers, quantization and the order of operators.

    Args:
        graph: of a file, or about to be written to one.
        source: name of the file, for errors.
    Raises:
        ConversionError: anything that would make a reader of the graph fail or compute nonsense.
        UnsupportedOpError: an operator that edgedet does not carry.
    """
    for index, tensor in enumerate(graph.tensors):
        _check_tensor(tensor, f"{source}: tensor {index} ({tensor.name!r})")
    if not graph.inputs or not graph.outputs or not graph.operators:
        raise ConversionError(
            f"{source}: a model needs inputs, outputs and operators; found {len(graph.inputs)}, "
            f"{len(graph.outputs)} and {len(graph.operators)}"
        )
    _check_order(graph, source)


def _check_tensor(tensor: Tensor, where: str) -> None:
    if tensor.dtype not in DTYPES:
        raise ConversionError(f"{where}: type {tensor.dtype} is not one of {', '.join(DTYPES)}")
    if len(tensor.shape) > MAX_RANK or any(not 1 <= side < 2**31 for side in tensor.shape):
        raise ConversionError(f"{where}: shape {tensor.shape} must have at most {MAX_RANK} sides, each at least 1")
    size_bytes = math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
    if size_bytes > MAX_TENSOR_BYTES:
        raise ConversionError(f"{where}: shape {tensor.shape} takes {size_bytes} bytes, more than {MAX_TENSOR_BYTES}")
    if tensor.data is not None and (tensor.data.shape != tensor.shape or tensor.data.dtype != np.dtype(tensor.dtype)):
        raise ConversionError(
            f"{where}: expected data of {tensor.dtype} {tensor.shape}, got {tensor.data.dtype} {tensor.data.shape}"
        )
    if tensor.quantization is not None:
        _check_quantization(tensor, where)


def _check_quantization(tensor: Tensor, where: str) -> None:
    quantization = tensor.quantization
    assert quantization is not None
    scale, zero_point, axis = quantization.scale, quantization.zero_point, quantization.axis
    if scale.ndim != 1 or scale.shape != zero_point.shape or not scale.size:
        raise ConversionError(f"{where}: {scale.shape} scales and {zero_point.shape} zero points must be (n,) alike")
    if scale.size > 1 and (not 0 <= axis < len(tensor.shape) or tensor.shape[axis] != scale.size):
        raise ConversionError(f"{where}: {scale.size} scales along axis {axis} do not fit the shape {tensor.shape}")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ConversionError(f"{where}: every scale must be finite and positive, smallest is {scale.min()}")
    if tensor.dtype not in ("int8", "uint8", "int16", "int32", "int64"):
        raise ConversionError(f"{where}: a tensor of type {tensor.dtype} can't be quantized")
    limits = np.iinfo(tensor.dtype)
    if (zero_point < limits.min).any() or (zero_point > limits.max).any():
        raise ConversionError(f"{where}: zero point outside {tensor.dtype}: {zero_point.min()}..{zero_point.max()}")
    wide = tensor.dtype in ("int16", "int32", "int64")
    if (wide or scale.size > 1) and zero_point.any():
        raise ConversionError(f"{where}: {tensor.dtype} with {scale.size} scales must have zero point 0")


def _check_order(graph: Graph, source: str) -> None:
    count = len(graph.tensors)
    for role, indices in (("input", graph.inputs), ("output", graph.outputs)):
        for index in indices:
            if not 0 <= index < count:
                raise ConversionError(f"{source}: model {role} is tensor {index}, but there are {count} tensors")
    produced = {index for index, tensor in enumerate(graph.tensors) if tensor.data is not None} | set(graph.inputs)
    if len(set(graph.inputs)) != len(graph.inputs) or any(graph.tensors[i].data is not None for i in graph.inputs):
        raise ConversionError(f"{source}: model inputs {graph.inputs} must differ and must not be constants")
    for number, operator in enumerate(graph.operators):
        where = f"{source}: operator {number} ({operator.kind})"
        _check_operator(operator, graph.tensors, where)
        for index in operator.inputs:
            if index >= 0 and index not in produced:
                raise ConversionError(
                    f"{where}: reads tensor {index} ({graph.tensors[index].name!r}), which no earlier operator "
                    "produces; operators must stand in execution order, without cycles"
                )
        for index in operator.outputs:
            if index in produced:
                raise ConversionError(f"{where}: writes tensor {index}, which is a constant, an input or written twice")
            produced.add(index)
    for index in graph.outputs:
        if index not in produced:
            name = graph.tensors[index].name
            raise ConversionError(f"{source}: model output {name!r} is not produced by any operator")


def _check_operator(operator: Operator, tensors: tuple[Tensor, ...], where: str) -> None:
    spec = operator_spec(operator.kind, where)
    if not spec.min_inputs <= len(operator.inputs) <= spec.max_inputs:
        expected = f"{spec.min_inputs} to {spec.max_inputs}"
        raise ConversionError(f"{where}: {len(operator.inputs)} inputs, expected {expected}")
    if not 1 <= len(operator.outputs) <= spec.max_outputs:
        raise ConversionError(f"{where}: {len(operator.outputs)} outputs, expected 1 to {spec.max_outputs}")
    for position, index in enumerate(operator.inputs):
        absent = index == -1 and position in spec.optional_inputs
        if not absent and not 0 <= index < len(tensors):
            raise ConversionError(f"{where}: input {position} is tensor {index}, but there are {len(tensors)} tensors")
    for position, index in enumerate(operator.outputs):
        if not 0 <= index < len(tensors):
            raise ConversionError(f"{where}: output {position} is tensor {index}, but there are {len(tensors)} tensors")
    check_options(operator.kind, operator.options, where)
    if operator.version < 1:
        raise ConversionError(f"{where}: version {operator.version} must be at least 1")
    _check_types(operator, tensors, where)


def _check_types(operator: Operator, tensors: tuple[Tensor, ...], where: str) -> None:
    for index in (*operator.inputs, *operator.outputs):
        if index < 0:
            continue
        tensor = tensors[index]
        if tensor.dtype == "float32" and operator.kind not in _FLOAT_BRIDGES:
            raise ConversionError(
                f"{where}: tensor {tensor.name!r} is float32; edgedet takes fully int8 models. "
                "Quantize weights and activations first (edgedet quantize)"
            )
        if tensor.dtype in ("int8", "uint8", "int16") and tensor.quantization is None:
            raise ConversionError(f"{where}: tensor {tensor.name!r} is {tensor.dtype} but has no scale and zero point")
