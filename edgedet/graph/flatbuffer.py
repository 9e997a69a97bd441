"""Reading and writing `.tflite`: the joint between making a model and using it."""

from __future__ import annotations

from pathlib import Path

from edgedet.errors import ConversionError
from edgedet.fileio import atomic_write_bytes, read_bytes
from edgedet.graph.check import check_form, refuse_unwritable
from edgedet.graph.graph import Graph
from edgedet.graph.tflite import flatbuffer_read, flatbuffer_write


def read_tflite(path: Path | str) -> Graph:
    """Read a `.tflite` of any maker.

    What edgedet can't run stays in the graph under its name; `check.check_graph` says what that is.

    Args:
        path: the file.
    Returns:
        The graph, every index of it sound; constants are read-only views.
    Raises:
        ConversionError: no such file, damaged or truncated.
    """
    try:
        data = read_bytes(Path(path))
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
    """Bytes of a `.tflite`; the same graph always gives the same bytes. All data lie inside the flatbuffer.

    An operator of version 1 is given the smallest one that has a kernel for its types and options, so that a graph
    made in Python need not know the version table; another version, from a file, stays.

    Args:
        graph: any graph that was read, or that `check_form` accepts.
    Raises:
        ConversionError, UnsupportedOpError: the graph would not be readable, or a part of it can't be written again.
    """
    check_form(graph, "graph to write")
    refuse_unwritable(graph, "graph to write")
    return flatbuffer_write.build(graph)


def bytes_inside(data: bytes, graph: Graph) -> bytes:
    """Bytes of a file for TFLite Micro, which silently takes zeros for constants behind the flatbuffer.

    Args:
        data: the whole file.
        graph: what was read from it.
    Returns:
        `data` itself when everything lies inside; else the graph written anew.
    Raises:
        ConversionError: as `serialize`.
    """
    return serialize(graph) if flatbuffer_read.outside_bytes(data) else data


def write_tflite(graph: Graph, path: Path | str) -> None:
    """Write a `.tflite`, whole or not at all; as `serialize`."""
    atomic_write_bytes(Path(path), serialize(graph))
