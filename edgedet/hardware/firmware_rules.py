"""What ready-made firmware for a board expects of a model, and what of that a file breaks."""

from __future__ import annotations

import math

from edgedet.graph.graph import Graph

_STRIDES = (8, 16, 32)
# Of SSCMA-Micro: told apart by the last side and the number of cells; see edgedet/exchange/export/sscma.py.
_BOX_SIDES = 4


def broken_rules(contract: str, graph: Graph) -> tuple[str, ...]:
    """What keeps ready-made firmware from running a file.

    Args:
        contract: one of `hardware.board.CONTRACTS`.
        graph: as the file holds it.
    Returns:
        A sentence for each rule that is broken; such firmware itself says nothing.
    """
    return _sscma(graph) if contract == "sscma-micro" else ()


def _sscma(graph: Graph) -> tuple[str, ...]:
    """SSCMA-Micro and RTMDet."""
    broken = []
    sources = [graph.tensors[index] for index in graph.inputs]
    shape = sources[0].shape if len(sources) == 1 else ()
    if len(sources) != 1 or sources[0].dtype != "int8" or len(shape) != 4:
        found = ", ".join(f"{tensor.dtype} {_text(tensor.shape)}" for tensor in sources)
        broken.append(f"one int8 input (1, side, side, channels), found {found or 'none'}")
    else:
        _, height, width, channels = shape
        if height != width or width % 32:
            broken.append(f"a square input with a side divisible by 32, found {width}x{height}")
        if channels not in (1, 3):
            broken.append(f"an input of 1 or 3 channels, found {channels}")
    results = [graph.tensors[index] for index in graph.outputs]
    if len(results) != 2 * len(_STRIDES):
        broken.append(f"exactly six outputs, found {len(results)}")
    if kinds := sorted({tensor.dtype for tensor in results} - {"int8"}):
        broken.append(f"int8 outputs, found {', '.join(kinds)}")
    odd = [tensor for tensor in results if len(tensor.shape) != 3]
    if odd:
        broken.append(f"outputs of rank 3 (1, cells, channels), found {_text(odd[0].shape)}")
        return tuple(broken)
    last = [tensor.shape[2] for tensor in results]
    if last and set(last) == {_BOX_SIDES}:
        broken.append("another number of classes than 4: class and box tensors have the same shape then")
    elif last.count(_BOX_SIDES) != len(_STRIDES) or len(set(last) - {_BOX_SIDES}) != 1:
        broken.append(f"three outputs of 4 channels and three of the classes, found {', '.join(map(str, last))}")
    if len(shape) == 4:
        cells = sorted(2 * [math.ceil(shape[1] / stride) * math.ceil(shape[2] / stride) for stride in _STRIDES])
        if sorted(tensor.shape[1] for tensor in results) != cells:
            broken.append(f"cells of the strides 8, 16, 32, found {', '.join(str(t.shape[1]) for t in results)}")
    return tuple(broken)


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "()"
