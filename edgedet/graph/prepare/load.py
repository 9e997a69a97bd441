"""From a file to the graph that everything runs: read, arithmetic on shapes folded, uint8 converted to int8."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgedet.errors import ConversionError
from edgedet.fileio import read_bytes
from edgedet.graph.check import check_graph
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.graph import Graph
from edgedet.graph.prepare.fold_shapes import fold_shapes
from edgedet.graph.prepare.int8_ends import with_int8_ends
from edgedet.graph.prepare.uint8_to_int8 import is_uint8, uint8_to_int8

UINT8_NOTE = "uint8 file, converted exactly to int8: its inputs and outputs are the codes of the file less 128"


@dataclass(frozen=True, eq=False)
class LoadedFile:
    """A file, ready to run."""

    data: bytes  # of the graph: the file's own, or written anew where something was changed
    graph: Graph
    notes: tuple[str, ...]  # what was changed, for a report


def load_tflite(path: Path) -> LoadedFile:
    """Read a `.tflite` to run it.

    Args:
        path: the file.
    Returns:
        Its graph and bytes. What the graph holds that can't run is for whoever runs it to refuse.
    Raises:
        ConversionError: missing or damaged file.
        UnsupportedOpError: a uint8 file that has no exact int8 form.
    """
    try:
        data = read_bytes(path)
    except OSError as error:
        raise ConversionError(f"{path}: can't read the model ({error.strerror}); check the path") from error
    return prepare_tflite(data, str(path))


def to_int8(graph: Graph, source: str) -> tuple[Graph, tuple[str, ...]]:
    """The network in int8 from end to end.

    Args:
        graph: as `read_tflite` returns it.
        source: name of its file, for errors.
    Returns:
        (the graph with uint8 converted, and with int8 inputs and outputs where a QUANTIZE or DEQUANTIZE stood; what was
        changed, one line each). The same graph and no lines when it is int8 already.
    Raises:
        UnsupportedOpError: a uint8 file that has no exact int8 form.
        ConversionError: a uint8 file that edgedet can't run.
    """
    notes = []
    if is_uint8(graph):
        graph = fold_shapes(graph)
        check_graph(graph, source)
        graph = uint8_to_int8(graph, source)
        notes.append(UINT8_NOTE)
    changed = with_int8_ends(graph)
    for role, old, new in (("input", graph.inputs, changed.inputs), ("output", graph.outputs, changed.outputs)):
        for before, after in zip(old, new, strict=True):
            affine, dtype = changed.tensors[after].quantization, graph.tensors[before].dtype
            if dtype != changed.tensors[after].dtype and affine is not None:
                notes.append(
                    f"{role} {changed.tensors[after].name!r} is int8 instead of {dtype}: real = "
                    f"(code - {int(affine.zero_point[0])}) * {float(affine.scale[0]):.9g}"
                )
    return changed, tuple(notes)


def prepare_tflite(data: bytes, source: str) -> LoadedFile:
    """As `load_tflite`, from the bytes of a file.

    Args:
        data: the whole file.
        source: its name, for errors.
    """
    whole = parse_tflite(data, source)
    graph, notes = fold_shapes(whole), []
    folded = len(whole.operators) - len(graph.operators)
    if folded:
        notes.append(f"{folded} operators on shapes became constants")
    if is_uint8(graph):
        check_graph(graph, source)
        graph = uint8_to_int8(graph, source)
        notes.append(UINT8_NOTE)
    return LoadedFile(data if graph is whole else serialize(graph), graph, tuple(notes))
