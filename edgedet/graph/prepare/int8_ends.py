"""int8 inputs and outputs in the place of float32, uint8 and int16 ones, where only QUANTIZE or DEQUANTIZE is between.

A float input takes four bytes of RAM a value, and what writes it usually has bytes; the caller of the changed network
gives and takes codes. Nothing else changes: every code inside is the same.
"""

from __future__ import annotations

from dataclasses import replace

from edgedet.graph.graph import Graph, OpaqueOptions, Operator, Signature

_CASTS = ("QUANTIZE", "DEQUANTIZE")
_PLAN = "OfflineMemoryAllocation"  # metadata with an entry for each tensor, by number: void after a change


def with_int8_ends(graph: Graph) -> Graph:
    """The graph without QUANTIZE and DEQUANTIZE between its ends and int8 tensors.

    Args:
        graph: any graph.
    Returns:
        The graph with such inputs and outputs replaced by the int8 tensor behind or before them, which takes over the
        name. An end whose tensor is read or written otherwise, too, stays as it is; the same graph when all do.
        Tensors are numbered anew.
    """
    inputs = _inputs(graph)
    ends = {**inputs, **_outputs(graph, {index for _, index in inputs.values()})}
    gone = {number for number, _ in ends.values()}
    if len(gone) in (0, len(graph.operators)):
        return graph
    new = {old: index for old, (_, index) in ends.items()}
    tensors = list(graph.tensors)
    for old, index in new.items():
        name = tensors[old].name
        tensors[index] = replace(tensors[index], name=name)
    return _renumbered(
        replace(
            graph,
            tensors=tuple(tensors),
            operators=tuple(o for number, o in enumerate(graph.operators) if number not in gone),
            inputs=tuple(new.get(index, index) for index in graph.inputs),
            outputs=tuple(new.get(index, index) for index in graph.outputs),
            signatures=tuple(_renamed(signature, new) for signature in graph.signatures),
        ),
        gone=set(new),
    )


def _renumbered(graph: Graph, gone: set[int]) -> Graph:
    """The graph without tensors that nothing names any more; TFLite Micro would keep memory for them."""
    kept = [index for index in range(len(graph.tensors)) if index not in gone]
    new = {-1: -1, **{old: index for index, old in enumerate(kept)}}

    def operator(old: Operator) -> Operator:
        options = old.options
        if isinstance(options, OpaqueOptions):
            options = replace(options, intermediates=tuple(new[index] for index in options.intermediates))
        inputs, outputs = (tuple(new[index] for index in indices) for indices in (old.inputs, old.outputs))
        return replace(old, inputs=inputs, outputs=outputs, options=options)

    return replace(
        graph,
        tensors=tuple(graph.tensors[index] for index in kept),
        operators=tuple(operator(old) for old in graph.operators),
        inputs=tuple(new[index] for index in graph.inputs),
        outputs=tuple(new[index] for index in graph.outputs),
        signatures=tuple(_renamed(signature, new) for signature in graph.signatures),
        metadata=tuple(entry for entry in graph.metadata if entry[0] != _PLAN),
    )


def _renamed(signature: Signature, new: dict[int, int]) -> Signature:
    """A signature whose tensors have other numbers."""
    if signature.subgraph:
        return signature
    inputs, outputs = (
        tuple((name, new.get(index, index)) for name, index in ends) for ends in (signature.inputs, signature.outputs)
    )
    return replace(signature, inputs=inputs, outputs=outputs)


def _inputs(graph: Graph) -> dict[int, tuple[int, int]]:
    """Input -> (the only operator that reads it, the int8 tensor that this one writes)."""
    found = {}
    for index in graph.inputs:
        readers = [number for number, operator in enumerate(graph.operators) if index in operator.inputs]
        if len(readers) == 1 and index not in graph.outputs and graph.tensors[index].dtype != "int8":
            operator = graph.operators[readers[0]]
            if not _is_cast(operator):
                continue
            target = operator.outputs[0]
            if graph.tensors[target].dtype == "int8" and target not in graph.outputs:
                found[index] = readers[0], target
    return found


def _outputs(graph: Graph, inputs: set[int]) -> dict[int, tuple[int, int]]:
    """Output -> (the operator that writes it, the int8 tensor that this one reads); none of the new `inputs`."""
    taken = {*graph.inputs, *graph.outputs, *inputs}
    found: dict[int, tuple[int, int]] = {}
    for number, operator in enumerate(graph.operators):
        if not _is_cast(operator):
            continue
        index, source = operator.outputs[0], operator.inputs[0]
        free = graph.outputs.count(index) == 1 and not any(index in other.inputs for other in graph.operators)
        computed = graph.tensors[source].data is None and graph.tensors[source].dtype == "int8" and source not in taken
        if free and computed and graph.tensors[index].dtype != "int8":
            found[index] = number, source
            taken.add(source)  # a tensor can be one output only
    return found


def _is_cast(operator: Operator) -> bool:
    # A damaged file may leave out a tensor.
    return operator.kind in _CASTS and len(operator.inputs) == len(operator.outputs) == 1 and operator.inputs[0] >= 0
