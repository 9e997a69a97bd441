"""SSCMA-Micro's rules: our own file breaks them, the exported one does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toy_detector import write_toy_model

from edgedet.exchange.export.sscma import sscma_graph
from edgedet.graph.flatbuffer import read_tflite
from edgedet.graph.graph import Graph
from edgedet.graph.model import load_int8_model
from edgedet.hardware.firmware_rules import broken_rules

SSCMA = "sscma-micro"


@pytest.fixture(scope="module")
def flat(toy_model: Path) -> Graph:
    """The toy with outputs as SSCMA-Micro takes them, and a square input."""
    graph = sscma_graph(load_int8_model(toy_model))
    return with_input(graph, (1, 64, 64, 3))


def with_input(graph: Graph, shape: tuple[int, ...]) -> Graph:
    """Another shape of the input and the outputs that follow from it; what is between does not matter to the rules."""
    tensors = list(graph.tensors)
    tensors[graph.inputs[0]] = replace(tensors[graph.inputs[0]], shape=shape)
    for index, stride in zip(graph.outputs, (8, 16, 32, 8, 16, 32), strict=True):
        cells = -(-shape[1] // stride) * -(-shape[2] // stride)
        tensors[index] = replace(tensors[index], shape=(1, cells, tensors[index].shape[2]))
    return replace(graph, tensors=tuple(tensors))


def test_broken_rules_own_file_has_outputs_of_another_rank(toy_model: Path) -> None:
    broken = broken_rules(SSCMA, read_tflite(toy_model))
    assert any("outputs of rank 3" in rule for rule in broken)
    assert broken_rules("", read_tflite(toy_model)) == ()


def test_broken_rules_exported_file_breaks_none(flat: Graph) -> None:
    assert broken_rules(SSCMA, flat) == ()


@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        ((1, 64, 96, 3), "a square input with a side divisible by 32, found 96x64"),
        ((1, 80, 80, 3), "a square input with a side divisible by 32, found 80x80"),
        ((1, 64, 64, 2), "an input of 1 or 3 channels, found 2"),
    ],
)
def test_broken_rules_of_the_input(flat: Graph, shape: tuple[int, ...], rule: str) -> None:
    assert broken_rules(SSCMA, with_input(flat, shape)) == (rule,)


def test_broken_rules_of_the_outputs(flat: Graph, tmp_path: Path) -> None:
    assert "exactly six outputs, found 5" in broken_rules(SSCMA, replace(flat, outputs=flat.outputs[:5]))
    four = sscma_graph(load_int8_model(write_toy_model(tmp_path / "four.tflite", classes=4)))
    assert "another number of classes than 4: class and box tensors have the same shape then" in broken_rules(
        SSCMA, with_input(four, (1, 64, 64, 3))
    )
    tensors = list(flat.tensors)
    tensors[flat.outputs[0]] = replace(tensors[flat.outputs[0]], dtype="float32")
    assert "int8 outputs, found float32" in broken_rules(SSCMA, replace(flat, tensors=tuple(tensors)))
    tensors = list(flat.tensors)
    tensors[flat.outputs[0]] = replace(tensors[flat.outputs[0]], shape=(1, 63, 3))
    (rule,) = broken_rules(SSCMA, replace(flat, tensors=tuple(tensors)))
    assert rule.startswith("cells of the strides 8, 16, 32, found 63")
