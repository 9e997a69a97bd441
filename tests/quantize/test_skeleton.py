from __future__ import annotations

import numpy as np
import pytest
import torch
from random_weights import random_detector, random_pictures

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec
from edgedet.graph.graph import Graph
from edgedet.graph.metadata import read_contracts
from edgedet.quantize.api import quantize_model
from edgedet.quantize.skeleton import skeleton_graph
from edgedet.simulate.simulator import Simulator

OUTPUTS = OutputSpec(class_names=("a", "b"))


def form(graph: Graph) -> list[object]:
    """Everything but names, codes and scales."""

    def tensor(index: int) -> object:
        found = graph.tensors[index]
        assert found.quantization is not None or found.dtype == "int32"
        scales = 0 if found.quantization is None else found.quantization.scale.size
        return found.shape, found.dtype, scales, found.data is not None

    return [
        (op.kind, op.options, [tensor(i) for i in op.inputs], [tensor(i) for i in op.outputs]) for op in graph.operators
    ]


@pytest.mark.parametrize("name", ["rtmdet_nano_half", "rtmdet_mnv4"])
def test_skeleton_graph_has_the_form_of_a_quantized_network(name: str) -> None:
    file = load_model_file(name)
    preprocess = file.preprocess.spec((96, 64))
    network = random_detector(file.model, 2, seed=0, width=96)
    pictures = random_pictures(2, 96, 64, seed=1).astype(np.float32) / 255
    quantized = quantize_model(network, preprocess, OUTPUTS, [torch.from_numpy(pictures).permute(0, 3, 1, 2)])
    skeleton = skeleton_graph(file.model, preprocess, OUTPUTS)
    assert form(skeleton) == form(quantized.graph)
    assert skeleton.metadata == quantized.graph.metadata
    Simulator(skeleton)  # accepts it


def test_skeleton_graph_same_seed_gives_the_same_graph_and_draws_nothing_of_torch() -> None:
    file = load_model_file("rtmdet_pico_relu6")
    preprocess = file.preprocess.spec((64, 64))
    state = torch.random.get_rng_state()
    first, again = (skeleton_graph(file.model, preprocess, OUTPUTS, seed=3) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, two in zip(first.tensors, again.tensors, strict=True):
        assert one.data is None or np.array_equal(one.data, two.data)


def test_skeleton_graph_exponential_boxes_are_left_to_the_decoder() -> None:
    file = load_model_file("rtmdet_pico_relu6", ("exp_boxes=true",))
    plain = load_model_file("rtmdet_pico_relu6")
    preprocess = file.preprocess.spec((64, 64))
    found = skeleton_graph(file.model, preprocess, OUTPUTS)
    assert found.operators == skeleton_graph(plain.model, preprocess, OUTPUTS).operators
    assert read_contracts(found, "skeleton").outputs.head.coding == "log_distance"
