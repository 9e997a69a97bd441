from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
from random_weights import random_detector

from edgedet.config import load_model_file
from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.graph import graph as g
from edgedet.graph.flatbuffer import serialize
from edgedet.lint.api import lint_subject
from edgedet.lint.finding import Finding, Subject
from edgedet.lint.rules_int16 import NO_INT16_KERNEL
from edgedet.quantize.api import quantize_model

Codes = Callable[..., dict[str, Finding]]
CODES = {"int16-layers", "int16-kernel", "int16-bias", "logistic-scale"}


def widened(layers: tuple[str, ...]) -> g.Graph:
    import torch

    file = load_model_file("rtmdet_nano")
    spec = PreprocessSpec(32, 32)
    model = random_detector(file.model, 1, seed=0, width=32, height=32)
    pictures = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return quantize_model(model, spec, OutputSpec(("a",)), [pictures], int16=layers).graph


@pytest.fixture(scope="module")
def wide() -> g.Graph:
    return widened(("backbone.stem.1.conv",))


def found_in(graph: g.Graph) -> dict[str, Finding]:
    return {f.code: f for f in lint_subject(Subject("file", "tflite", graph)).findings if f.code in CODES}


def changed(graph: g.Graph, name: str, **fields: object) -> g.Graph:
    tensors = tuple(dataclasses.replace(t, **fields) if t.name == name else t for t in graph.tensors)
    return dataclasses.replace(graph, tensors=tensors)


def test_int16_layers_of_a_sound_file_are_an_info(wide: g.Graph) -> None:
    assert serialize(wide)
    found = found_in(wide)
    assert set(found) == {"int16-layers"}
    assert found["int16-layers"].severity == "info"
    assert "backbone.stem.1.conv" in found["int16-layers"].where
    assert found["int16-layers"].command == "edgedet quantize CKPT --data DIR --out RUN"  # without, to compare


def test_int8_file_has_no_int16_findings(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    assert not CODES & set(codes(m.graph([m.conv(m.input((1, 32, 32, 3)), 4)])))


def test_int32_bias_of_a_16x8_convolution_is_an_error(wide: g.Graph) -> None:
    name = "backbone.stem.1.conv.bias"
    bias = next(t for t in wide.tensors if t.name == name)
    assert bias.dtype == "int64"
    assert bias.data is not None
    found = found_in(changed(wide, name, dtype="int32", data=bias.data.astype(np.int32)))
    assert found["int16-bias"].severity == "error"
    assert found["int16-bias"].where == ("backbone.stem.1.conv",)


def test_int16_logistic_with_another_scale_is_an_error(wide: g.Graph) -> None:
    name = "backbone.stem.1.activate_sigmoid"
    other = g.Quantization(np.array([1 / 16384], np.float32), np.array([0], np.int64))
    assert found_in(changed(wide, name, quantization=other))["logistic-scale"].where == (name,)


def test_operator_without_int16_kernel_is_an_error(wide: g.Graph) -> None:
    kinds = [op.kind for op in wide.operators]
    first = next(n for n, op in enumerate(wide.operators) if op.kind == "LOGISTIC" and _reads_int16(wide, op))
    assert kinds[first] not in NO_INT16_KERNEL
    broken = dataclasses.replace(wide.operators[first], kind="HARD_SWISH")
    operators = (*wide.operators[:first], broken, *wide.operators[first + 1 :])
    found = found_in(dataclasses.replace(wide, operators=operators))
    assert found["int16-kernel"].severity == "error"
    assert found["int16-kernel"].where == ("backbone.stem.1.activate_sigmoid (HARD_SWISH)",)


def _reads_int16(graph: g.Graph, op: g.Operator) -> bool:
    return graph.tensors[op.inputs[0]].dtype == "int16"


def test_copying_operator_between_widths_has_unequal_scales(maker: ModuleType, codes: Codes) -> None:
    m = maker.GraphMaker(0)
    x = m.conv(m.input((1, 32, 32, 3)), 4)
    y = m.add("QUANTIZE", [x], m.tensors[x].shape, (0.5, 0), name="wide")
    m.tensors[y] = dataclasses.replace(m.tensors[y], dtype="int16")
    z = m.add("MAX_POOL_2D", [y], m.tensors[x].shape, (0.5, 0), options=g.PoolOptions((1, 1), (1, 1)), name="pool")
    assert codes(m.graph([z]))["unequal-scales"].where == ("pool (MAX_POOL_2D)",)


def test_file_with_int16_activations_only_is_no_float_model(wide: g.Graph) -> None:
    index = {t.name: n for n, t in enumerate(wide.tensors)}
    convolution = next(op for op in wide.operators if op.outputs[0] == index["backbone.stem.1.conv"])
    alone = dataclasses.replace(
        wide, operators=(convolution,), inputs=(convolution.inputs[0],), outputs=convolution.outputs
    )
    used = {*convolution.inputs, *convolution.outputs}
    tensors = tuple(
        t if n in used else dataclasses.replace(t, dtype="int32", data=np.zeros(t.shape, np.int32), quantization=None)
        for n, t in enumerate(alone.tensors)
    )
    found = lint_subject(Subject("file", "tflite", dataclasses.replace(alone, tensors=tensors))).findings
    assert "float-model" not in {f.code for f in found}
    assert "int16-layers" in {f.code for f in found}


def test_silu_with_int16_in_the_middle_is_still_a_silu(wide: g.Graph) -> None:
    whole = widened(("mul_9", "mul_12"))
    counts = [
        next(len(f.where) for f in lint_subject(Subject("file", "tflite", graph)).findings if f.code == "silu")
        for graph in (wide, whole)
    ]
    assert counts == [82, 82]
