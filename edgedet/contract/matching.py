"""Which output of a file plays which role of a head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgedet.contracts import OutputSpec
from edgedet.errors import ConfigError
from edgedet.graph.graph import Graph, Tensor
from edgedet.head_spec import part_and_stride
from edgedet.numerics.heads.layout import accepts

IN_ORDER = ("none", "detections")  # codings whose tensors stand in the order of the file
MOST = 2  # matchings that are looked for: one is an answer, two are an ambiguity


def match_roles(
    graph: Graph,
    outputs: OutputSpec,
    size: tuple[int, int],
    given: Mapping[str, str],
    layout: str | None,
) -> list[dict[str, int]]:
    """Ways to give every role one output of a fitting shape.

    Args:
        graph: of the file.
        outputs: contract to be tried.
        size: (width, height) of the input, px.
        given: role -> name of the tensor, from the caller.
        layout: `sscma` decides between outputs of equal shape by their order.
    Returns:
        Role -> position in graph.outputs; none when the head does not fit, two when the shapes leave it open.
    Raises:
        ConfigError: `given` names a tensor that is no output.
    """
    tensors = [graph.tensors[index] for index in graph.outputs]
    names = [tensor.name for tensor in tensors]
    for role, name in given.items():
        if names.count(name) != 1:
            raise ConfigError(f"outputs: {role}={name}: no output has this name; they are {', '.join(names)}")
    if set(given) - set(outputs.tensor_names) or (len(outputs.tensor_names) != len(tensors) and not given):
        return []
    if outputs.head.coding in IN_ORDER and not given:
        fits = all(accepts(t.shape, role, outputs, size) for role, t in zip(outputs.tensor_names, tensors, strict=True))
        return [{role: position for position, role in enumerate(outputs.tensor_names)}] if fits else []
    choices = [_choices(role, tensors, outputs, size, given) for role in outputs.tensor_names]
    found: list[dict[str, int]] = []
    _search(list(outputs.tensor_names), choices, {}, found)
    if len(found) > 1:
        ordered = _in_order(outputs, choices, layout)
        return [ordered] if ordered is not None else found
    return found


def _choices(
    role: str, tensors: Sequence[Tensor], outputs: OutputSpec, size: tuple[int, int], given: Mapping[str, str]
) -> list[int]:
    fitting = [i for i, tensor in enumerate(tensors) if accepts(tensor.shape, role, outputs, size)]
    name = given.get(role, role)
    named = [i for i in fitting if tensors[i].name == name]
    # A tensor that is called as its role is the one; so files that edgedet wrote lose nothing with their metadata.
    return named if named or role in given else fitting


def _search(roles: list[str], choices: list[list[int]], taken: dict[str, int], found: list[dict[str, int]]) -> None:
    """Depth first; fills `found` up to MOST."""
    if len(found) == MOST:
        return
    if len(taken) == len(roles):
        found.append(dict(taken))
        return
    role, options = roles[len(taken)], choices[len(taken)]
    for option in options:
        if option not in taken.values():
            taken[role] = option
            _search(roles, choices, taken, found)
            del taken[role]


def _in_order(outputs: OutputSpec, choices: list[list[int]], layout: str | None) -> dict[str, int] | None:
    """SSCMA's order: the class tensors by stride, then the box tensors by stride."""
    if layout != "sscma":
        return None
    parts = {"cls": 0, "obj": 1, "box": 2}
    roles = sorted(outputs.tensor_names, key=lambda role: (parts.get(part_and_stride(role)[0], 3), _stride(role)))
    found: dict[str, int] = {}
    for role in roles:
        options = [i for i in choices[outputs.tensor_names.index(role)] if i not in found.values()]
        if not options:
            return None
        found[role] = min(options)
    return found


def _stride(role: str) -> int:
    return part_and_stride(role)[1] or 0
