"""Checks that a graph keeps its promises, so that everything behind the file can index without asking.

`check_form` is for every graph that is read or written. `check_graph` is for those who run one or make C of one: it
refuses by name and position what edgedet has no arithmetic for.
"""

from __future__ import annotations

import numpy as np

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.graph.graph import Graph, OpaqueOptions, Operator, Quantization, Signature, Subgraph, Tensor
from edgedet.graph.prepare.fold_shapes import folded_operators
from edgedet.graph.tflite.dtypes import numpy_dtype, tensor_bytes
from edgedet.graph.tflite.op_options import SPECS, check_operands, check_options
from edgedet.graph.tflite.opaque import compiled_reason

DTYPES = ("int8", "int16", "int32", "int64", "uint8", "float32", "bool")
MAX_RANK = 6
MAX_TENSOR_BYTES = 2**30  # of one activation; a microcontroller has a thousandth of it
_FLOAT_BRIDGES = ("QUANTIZE", "DEQUANTIZE", "EXP")  # the only operators of an int8 model that may touch float32


def check_form(graph: Graph, source: str) -> None:
    """Check indices, data, options and scales: what reading and writing a graph needs, whatever it holds.

    Args:
        graph: of a file, or about to be written to one.
        source: name of the file, for errors.
    Raises:
        ConversionError: an index without a tensor, or parts that contradict each other.
        UnsupportedOpError: an operator made in Python that edgedet can't carry, or with other operands than it takes.
    """
    subgraphs = graph.subgraphs
    for number, subgraph in enumerate(subgraphs):
        where = source if number == 0 else f"{source}: subgraph {number} ({subgraph.name!r})"
        for index, tensor in enumerate(subgraph.tensors):
            _check_tensor_form(tensor, f"{where}: tensor {index} ({tensor.name!r})")
        _check_indices(subgraph, where)
    for signature in graph.signatures:
        _check_signature(signature, subgraphs, source)


def _check_tensor_form(tensor: Tensor, where: str) -> None:
    if len(tensor.shape) and not -1 <= min(tensor.shape) <= max(tensor.shape) < 2**31:
        raise ConversionError(f"{where}: shape {tensor.shape} has sides that are no 32-bit lengths")
    if tensor.quantization is not None:
        _check_quantization_form(tensor.quantization, where)
    if tensor.data is None or tensor.extras.unwritable:
        return
    numpy = numpy_dtype(tensor.dtype)
    shape = tensor.data.shape if numpy is None else tensor.shape
    if tensor.data.shape != shape or tensor.data.dtype != (np.dtype(np.uint8) if numpy is None else numpy):
        raise ConversionError(
            f"{where}: expected data of {tensor.dtype} {tensor.shape}, got {tensor.data.dtype} {tensor.data.shape}"
        )


def _check_quantization_form(quantization: Quantization, where: str) -> None:
    scale, zero_point = quantization.scale, quantization.zero_point
    if scale.ndim != 1 or scale.shape != zero_point.shape or not scale.size:
        raise ConversionError(f"{where}: {scale.shape} scales and {zero_point.shape} zero points must be (n,) alike")


def _check_indices(subgraph: Subgraph, where: str) -> None:
    count = len(subgraph.tensors)
    for role, indices in (("input", subgraph.inputs), ("output", subgraph.outputs)):
        for index in indices:
            if not 0 <= index < count:
                raise ConversionError(f"{where}: model {role} is tensor {index}, but there are {count} tensors")
    for number, operator in enumerate(subgraph.operators):
        what = f"{where}: operator {number} ({operator.kind})"
        for position, index in enumerate(operator.inputs):
            if not -1 <= index < count:
                raise ConversionError(f"{what}: input {position} is tensor {index}, but there are {count} tensors")
        for position, index in enumerate(operator.outputs):
            if not 0 <= index < count:
                raise ConversionError(f"{what}: output {position} is tensor {index}, but there are {count} tensors")
        if operator.version < 0:
            raise ConversionError(f"{what}: version {operator.version}, expected 1 or more; the file is damaged")
        if isinstance(operator.options, OpaqueOptions):
            if not all(-1 <= index < count for index in operator.options.intermediates):
                raise ConversionError(f"{what}: an intermediate is no tensor; there are {count} tensors")
            continue
        try:
            check_operands(operator.kind, operator.inputs, operator.outputs)
        except UnsupportedOpError as reason:
            error = ConversionError if operator.kind in SPECS else UnsupportedOpError
            raise error(f"{what} {reason}") from reason
        check_options(operator.kind, operator.options, what)


def _check_signature(signature: Signature, subgraphs: tuple[Subgraph, ...], source: str) -> None:
    where = f"{source}: signature {signature.key!r}"
    if not 0 <= signature.subgraph < len(subgraphs):
        raise ConversionError(f"{where}: subgraph {signature.subgraph}, but there are {len(subgraphs)}")
    count = len(subgraphs[signature.subgraph].tensors)
    for name, index in (*signature.inputs, *signature.outputs):
        if not 0 <= index < count:
            raise ConversionError(f"{where}: {name!r} is tensor {index}, but there are {count} tensors")


def refuse_compiled(graph: Graph, source: str) -> None:
    """Refuse a file that the compiler of an accelerator has changed: nothing on this computer runs it.

    Args:
        graph: checked by `check_form`.
        source: name of the file, for errors.
    Raises:
        UnsupportedOpError: names the operator and the compiler, and says what to give instead.
    """
    for number, operator in enumerate(graph.operators):
        reason = compiled_reason(operator.kind)
        if reason:
            raise UnsupportedOpError(f"{source}: {operator_where(graph, number)} {reason}")


def refuse_unwritable(graph: Graph, source: str) -> None:
    """Refuse what a write would lose.

    Args:
        graph: checked by `check_form`.
        source: name of the file, for errors.
    Raises:
        ConversionError: names the operator or tensor.
    """
    for number, subgraph in enumerate(graph.subgraphs):
        where = source if number == 0 else f"{source}: subgraph {number} ({subgraph.name!r})"
        for index, tensor in enumerate(subgraph.tensors):
            if tensor.extras.unwritable:
                raise ConversionError(
                    f"{where}: tensor {index} ({tensor.name!r}) is {tensor.extras.unwritable}, which edgedet shows but "
                    "can't write; keep the file as it is, or export a plain model"
                )
        for index, operator in enumerate(subgraph.operators):
            if isinstance(operator.options, OpaqueOptions) and operator.options.unwritable:
                what = f"{operator_where(subgraph, index)} has {operator.options.unwritable}"
                raise ConversionError(f"{where}: {what}, which edgedet shows but can't write; keep the file as it is")


def check_graph(graph: Graph, source: str) -> None:
    """Check that edgedet can run a graph: `check_form`, and its operators, types, shapes, scales and order.

    Args:
        graph: of a file, or made in Python.
        source: name of the file, for errors.
    Raises:
        ConversionError: anything that would make a reader of the graph fail or compute nonsense.
        UnsupportedOpError: an operator that edgedet has no meaning for.
    """
    check_form(graph, source)
    refusals = foreign_operators(graph)
    if refusals:
        raise UnsupportedOpError(f"{source}: {refusals[0]}")
    if graph.others:
        names = ", ".join(repr(other.name) for other in graph.others)
        raise ConversionError(
            f"{source}: {1 + len(graph.others)} subgraphs, of which {names} can't run; export the model without "
            "control flow and variables, and with one signature"
        )
    for index, tensor in enumerate(graph.tensors):
        _check_tensor(tensor, f"{source}: tensor {index} ({tensor.name!r})")
    if not graph.inputs or not graph.outputs or not graph.operators:
        raise ConversionError(
            f"{source}: a model needs inputs, outputs and operators; found {len(graph.inputs)}, "
            f"{len(graph.outputs)} and {len(graph.operators)}"
        )
    _check_order(graph, source)


def operator_where(subgraph: Subgraph | Graph, number: int) -> str:
    """An operator in messages: position, kind, and the tensor that it writes."""
    operator = subgraph.operators[number]
    writes = f", writes {subgraph.tensors[operator.outputs[0]].name!r}" if operator.outputs else ""
    return f"operator {number} ({operator.kind}{writes})"


def foreign_operators(graph: Graph) -> list[str]:
    """Operators of the first subgraph that edgedet has no meaning for, each with position, name and reason.

    Arithmetic on shapes is none of them: it becomes constants before anything runs.
    """
    folded = folded_operators(graph)
    return [
        f"{operator_where(graph, number)} {operator.options.reason}"
        for number, operator in enumerate(graph.operators)
        if isinstance(operator.options, OpaqueOptions) and number not in folded
    ]


def foreign_tensors(graph: Graph) -> list[str]:
    """Tensors of the first subgraph that edgedet has no arithmetic for, each with position, name and reason."""
    found = ((f"tensor {i} ({t.name!r})", _foreign(t)) for i, t in enumerate(graph.tensors))
    return [f"{where}: {reason}" for where, reason in found if reason]


def _foreign(tensor: Tensor) -> str:
    """Why a tensor can't take part in edgedet's arithmetic; empty for those that can."""
    if tensor.dtype not in DTYPES:
        return f"type {tensor.dtype} is not one of {', '.join(DTYPES)}"
    if tensor.extras.is_variable:
        return "is a variable, state from one inference to the next; export the model without state"
    if tensor.extras.unwritable:
        return f"is {tensor.extras.unwritable}; export a plain model"
    if tensor.extras.custom_quantization:
        return "has custom quantization; edgedet takes only scale and zero point"
    if any(side < 0 for side in tensor.shape):
        return f"shape {tensor.shape} is not fixed; export with a static shape"
    return ""


def _check_tensor(tensor: Tensor, where: str) -> None:
    reason = _foreign(tensor)
    if reason:
        raise ConversionError(f"{where}: {reason}")
    smallest = 1 if tensor.data is None else 0
    if len(tensor.shape) > MAX_RANK or any(side < smallest for side in tensor.shape):
        raise ConversionError(f"{where}: shape {tensor.shape} must have at most {MAX_RANK} sides, each at least 1")
    if tensor_bytes(tensor) > MAX_TENSOR_BYTES:
        size_bytes = tensor_bytes(tensor)
        raise ConversionError(f"{where}: shape {tensor.shape} takes {size_bytes} bytes, more than {MAX_TENSOR_BYTES}")
    if tensor.quantization is not None:
        _check_quantization(tensor, tensor.quantization, where)


def _check_quantization(tensor: Tensor, quantization: Quantization, where: str) -> None:
    scale, zero_point, axis = quantization.scale, quantization.zero_point, quantization.axis
    if scale.size > 1 and len(tensor.shape) == 1:
        axis = 0  # biases of TOCO have the axis of the weights; TFLite Micro never looks at it
    if scale.size > 1 and (not 0 <= axis < len(tensor.shape) or tensor.shape[axis] != scale.size):
        raise ConversionError(f"{where}: {scale.size} scales along axis {axis} do not fit the shape {tensor.shape}")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ConversionError(f"{where}: every scale must be finite and positive, smallest is {scale.min()}")
    if tensor.dtype == "float32":
        return  # left from a converter; no kernel reads them
    if tensor.dtype == "bool":
        raise ConversionError(f"{where}: a tensor of type {tensor.dtype} can't be quantized")
    limits = np.iinfo(tensor.dtype)
    if (zero_point < limits.min).any() or (zero_point > limits.max).any():
        raise ConversionError(f"{where}: zero point outside {tensor.dtype}: {zero_point.min()}..{zero_point.max()}")
    wide = tensor.dtype in ("int16", "int32", "int64")
    if (wide or scale.size > 1) and zero_point.any():
        raise ConversionError(f"{where}: {tensor.dtype} with {scale.size} scales must have zero point 0")


def _check_order(graph: Graph, source: str) -> None:
    produced = {index for index, tensor in enumerate(graph.tensors) if tensor.data is not None} | set(graph.inputs)
    if len(set(graph.inputs)) != len(graph.inputs) or any(graph.tensors[i].data is not None for i in graph.inputs):
        raise ConversionError(f"{source}: model inputs {graph.inputs} must differ and must not be constants")
    for number, operator in enumerate(graph.operators):
        where = f"{source}: operator {number} ({operator.kind})"
        _check_types(operator, graph.tensors, where)
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
