"""A network at another size, against the same architecture built there."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model, int8_model
from edgedet.hardware.resized import resized
from edgedet.quantize.skeleton import skeleton_graph
from edgedet.runtimes.c_program import make_program


def built(name: str, width: int, height: int) -> Int8Model:
    file = load_model_file(name)
    graph = skeleton_graph(file.model, file.preprocess.spec((width, height)), OutputSpec(("a", "b", "c")))
    return int8_model(graph, Path(name))


def sizes(model: Int8Model) -> tuple[int, int]:
    program = make_program(model.graph, model).program
    return program.plan.arena_bytes, program.constants.nbytes


def shapes(graph: Graph) -> list[tuple[int, ...]]:
    return [tensor.shape for tensor in graph.tensors]


# relu6: padding inside; the other has channel attention (MEAN, MUL) and SiLU.
@pytest.mark.parametrize("name", ["rtmdet_nano_half", pytest.param("rtmdet_pico_relu6", marks=pytest.mark.long)])
def test_resized_is_the_network_built_at_that_size(name: str) -> None:
    at_96, at_64 = built(name, 96, 64), built(name, 64, 96)
    found = resized(at_96, 64, 96)
    assert found is not None
    assert shapes(found) == shapes(at_64.graph)
    assert sizes(int8_model(found, Path(name))) == sizes(at_64)


def test_resized_to_its_own_size_changes_nothing(toy_model: Path) -> None:
    from edgedet.graph.model import load_int8_model

    model = load_int8_model(toy_model)
    found = resized(model, model.preprocess.width, model.preprocess.height)
    assert found is not None
    assert found.tensors == model.graph.tensors
    assert found.operators == model.graph.operators
