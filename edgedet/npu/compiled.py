"""A compiled file beside the one that it was made from: what runs where, and the same contracts on other positions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgedet.errors import ConversionError
from edgedet.graph.flatbuffer import parse_tflite
from edgedet.graph.graph import Graph, Quantization, Tensor
from edgedet.graph.metadata import METADATA_NAME
from edgedet.graph.model import Int8Model
from edgedet.graph.tflite.dtypes import tensor_bytes

NPU_OPERATOR = "CUSTOM (ethos-u)"
PLAN_NAME = "OfflineMemoryAllocation"  # where Vela's commands expect the tensors in the arena


@dataclass(frozen=True)
class OnCpu:
    """An operator that the NPU does not run."""

    kind: str
    name: str  # of the tensor that it writes
    reason: str  # Vela's; empty: it gave none


@dataclass(frozen=True, eq=False)
class NpuGraph:
    """The compiled file."""

    data: bytes
    graph: Graph
    model: Int8Model | None  # with the contracts of the original; None: C follows none
    on_npu: int  # operators of the original
    on_cpu: tuple[OnCpu, ...]
    arena_bytes: int  # where the planned tensors end
    cache_bytes: int  # memory modes Dedicated_Sram: of the NPU's own SRAM; 0: it has none
    order: tuple[int, ...]  # output of the compiled file -> output of the original


def read_compiled(
    data: bytes, original: Graph, model: Int8Model | None, source: str, reasons: Mapping[str, str]
) -> NpuGraph:
    """Read what Vela wrote, and check that its ends are those of the original.

    Args:
        data: bytes of the compiled file.
        original: the graph that Vela was given.
        model: the same with contracts that C follows, if there are any.
        source: name of the original, for errors.
        reasons: name of the tensor that an operator writes -> why it is left to the CPU.
    Returns:
        The compiled graph.
    Raises:
        ConversionError: an input or output is missing or quantized otherwise, or the contracts are lost.
    """
    graph = parse_tflite(data, f"{source}, compiled by Vela")
    _same_ends(graph, original, "input", graph.inputs, original.inputs, source)
    order = _same_ends(graph, original, "output", graph.outputs, original.outputs, source)
    left = [operator for operator in graph.operators if operator.kind != NPU_OPERATOR]
    names = [graph.tensors[operator.outputs[0]].name for operator in left]
    on_cpu = tuple(OnCpu(o.kind, name, reasons.get(name, "")) for o, name in zip(left, names, strict=True))
    if len(left) == len(graph.operators):
        raise ConversionError(
            f"{source}: no operator runs on the NPU ({_first(on_cpu)}); deploy with target tflm, or change the model"
        )
    beyond = Counter(o.kind for o in left) - Counter(o.kind for o in original.operators)
    if beyond:
        raise ConversionError(
            f"{source}: Vela left operators to the CPU that the file does not have: {', '.join(beyond)}"
        )
    compiled_model = None
    if model is not None:
        if dict(graph.metadata).get(METADATA_NAME) != dict(original.metadata).get(METADATA_NAME):
            raise ConversionError(f"{source}: Vela did not keep the contracts; take the version in constraints.txt")
        back = {position: index for index, position in enumerate(order)}
        positions = tuple(back[position] for position in model.output_positions)
        compiled_model = replace(model, data=data, graph=graph, output_positions=positions)
    return NpuGraph(
        data, graph, compiled_model, len(original.operators) - len(left), on_cpu, _planned_bytes(graph, source),
        _cache_bytes(graph), order,
    )  # fmt: skip


def _first(on_cpu: tuple[OnCpu, ...]) -> str:
    one = on_cpu[0]
    return f"{one.kind} {one.name!r}: {one.reason or 'no reason given'}"[:300]


def _same_ends(
    graph: Graph, original: Graph, role: str, found: tuple[int, ...], expected: tuple[int, ...], source: str
) -> tuple[int, ...]:
    """Position in the compiled file -> position in the original; by name where names are unique, else by order."""
    old = [original.tensors[index] for index in expected]
    new = [graph.tensors[index] for index in found]
    if len(new) != len(old):
        raise ConversionError(f"{source}: {len(old)} {role}s, but {len(new)} after Vela")
    names = [tensor.name for tensor in old]
    by_name = len(set(names)) == len(names) and sorted(names) == sorted(tensor.name for tensor in new)
    order = tuple(names.index(tensor.name) if by_name else position for position, tensor in enumerate(new))
    for tensor, position in zip(new, order, strict=True):
        if _end(tensor) != _end(old[position]):
            raise ConversionError(
                f"{source}: {role} {old[position].name!r} is {_end(old[position])}, but {_end(tensor)} after Vela; "
                "please report this model"
            )
    return order


def _end(tensor: Tensor) -> tuple[str, tuple[int, ...], tuple[float, int] | None]:
    return tensor.dtype, tensor.shape, _affine(tensor.quantization)


def _affine(quantization: Quantization | None) -> tuple[float, int] | None:
    return None if quantization is None else (float(quantization.scale[0]), int(quantization.zero_point[0]))


def _planned_bytes(graph: Graph, source: str) -> int:
    """Where the tensors end that Vela has given a place; TFLite Micro keeps to it."""
    plan = np.frombuffer(dict(graph.metadata).get(PLAN_NAME, b""), "<i4")
    if plan.size != 3 + len(graph.tensors):
        raise ConversionError(
            f"{source}: the compiled file has no plan of its tensors ({PLAN_NAME}), without which the NPU would read "
            "other memory than TFLite Micro writes; take the version of Vela in constraints.txt"
        )
    placed = zip(plan[3:].tolist(), graph.tensors, strict=True)
    return max((offset + tensor_bytes(tensor) for offset, tensor in placed if offset >= 0), default=0)


def _cache_bytes(graph: Graph) -> int:
    """Of the memory that is the NPU's alone: operands are commands, constants, arena, cache, inputs."""
    operands = [operator.inputs[2:4] for operator in graph.operators if operator.kind == NPU_OPERATOR]
    return max((tensor_bytes(graph.tensors[cache]) for arena, cache in operands if arena != cache), default=0)
