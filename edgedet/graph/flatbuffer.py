"""Reading and writing `.tflite`: the joint between making a model and using it."""

from __future__ import annotations

from pathlib import Path

from edgedet.errors import ConversionError
from edgedet.fileio import atomic_write_bytes
from edgedet.graph import flatbuffer_read, flatbuffer_write
from edgedet.graph.check import check_graph
from edgedet.graph.graph import Graph


def read_tflite(path: Path | str) -> Graph:
    """Read an int8 `.tflite` of any maker.

    Args:
        path: the file.
    Returns:
        The checked graph; constants are read-only views.
    Raises:
        ConversionError: no such file, damaged, truncated, a float model, several subgraphs, or a broken promise.
        UnsupportedOpError: an operator or option that edgedet does not carry.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConversionError(f"{path}: can't be read ({error.strerror}); give the path of a .tflite file") from error
    return parse_tflite(data, str(path))


def parse_tflite(data: bytes, source: str) -> Graph:
    """Parse the bytes of a `.tflite`; as `read_tflite`.

    Args:
        data: the whole file.
        source: its name, for errors.
    """
    return flatbuffer_read.parse(data, source)


def serialize(graph: Graph) -> bytes:
    """Bytes of a `.tflite`; the same graph always gives the same bytes.

    An operator's version is raised to the smallest one that has a kernel for its types and options, so that a graph
    made in Python need not know the version table; one that was read keeps its own.

    Args:
        graph: any graph that `check_graph` accepts.
    Raises:
        ConversionError, UnsupportedOpError: the graph would not be readable.
    """
    check_graph(graph, "graph to write")
    return flatbuffer_write.build(graph)


def write_tflite(graph: Graph, path: Path | str) -> None:
    """Write a `.tflite`, whole or not at all; as `serialize`."""
    atomic_write_bytes(Path(path), serialize(graph))
