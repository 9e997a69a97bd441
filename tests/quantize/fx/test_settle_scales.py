"""Characterizes where two interpreters disagree, and checks that settled scales remove it."""

from __future__ import annotations

import operator

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from torch import nn
from torch.fx import GraphModule, symbolic_trace

from edgedet.contracts import PreprocessSpec
from edgedet.graph.flatbuffer import serialize
from edgedet.graph.graph import ElementwiseOptions, Graph, Operator, Quantization, Tensor
from edgedet.quantize.calibration.calibrate import calibrate
from edgedet.quantize.fx.fake_quant import FakeQuant
from edgedet.quantize.fx.lower_activations import lower_activations
from edgedet.quantize.fx.prepare import prepare, quantized_by
from edgedet.quantize.fx.qparams import LOGISTIC_PARAMS, UNIT_PARAMS, AffineParams, input_params
from edgedet.quantize.fx.settle_scales import logistic_agrees, mul_agrees, settle_scales

tflite_micro = pytest.importorskip("tflite_micro")

PIXELS = input_params(PreprocessSpec(32, 32))
CODES = np.arange(-128, 128, dtype=np.int8)


def tensor(name: str, shape: tuple[int, ...], params: AffineParams) -> Tensor:
    quantization = Quantization(np.array([params.scale], np.float32), np.array([params.zero_point], np.int64))
    return Tensor(name, shape, "int8", quantization)


def run_both(graph: Graph, inputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Output of TFLite's reference kernels and of TFLite Micro."""
    data = serialize(graph)
    reference = Interpreter(model_content=data, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    reference.allocate_tensors()
    micro = tflite_micro.runtime.Interpreter.from_bytes(data, arena_size=1 << 20)
    for i, (detail, value) in enumerate(zip(reference.get_input_details(), inputs, strict=True)):
        reference.set_tensor(detail["index"], value)
        micro.set_input(value, i)
    reference.invoke()
    micro.invoke()
    return reference.get_tensor(reference.get_output_details()[0]["index"]), micro.get_output(0)


def run_logistic(source: AffineParams) -> tuple[np.ndarray, np.ndarray]:
    shape = (1, 1, 1, 256)
    tensors = tensor("a", shape, source), tensor("b", shape, LOGISTIC_PARAMS)
    return run_both(Graph(tensors, (Operator("LOGISTIC", (0,), (1,)),), (0,), (1,)), [CODES.reshape(shape)])


def run_mul(first: AffineParams, second: AffineParams, target: AffineParams) -> tuple[np.ndarray, np.ndarray]:
    shape = (1, 1, 256, 256)
    tensors = tensor("a", shape, first), tensor("b", shape, second), tensor("c", shape, target)
    graph = Graph(tensors, (Operator("MUL", (0, 1), (2,), ElementwiseOptions()),), (0, 1), (2,))
    a, b = np.meshgrid(CODES, CODES, indexing="ij")
    return run_both(graph, [a.reshape(shape), b.reshape(shape)])


@pytest.mark.parametrize(("scale", "zero_point"), [(0.0334399, -46), (0.015910769, -85), (0.012962738, -43)])
def test_logistic_agrees_where_interpreters_differ_is_false(scale, zero_point):
    source = AffineParams(np.float32(scale), zero_point)
    reference, micro = run_logistic(source)
    assert np.abs(reference.astype(int) - micro).max() == 1
    assert not logistic_agrees(source)


def random_params(rng: np.random.Generator) -> AffineParams:
    return AffineParams(np.float32(np.exp(rng.uniform(-5, -2))), int(rng.integers(-128, 128)))


def test_logistic_agrees_true_means_equal_interpreters():
    rng = np.random.default_rng(0)
    agreeing = [params for params in (random_params(rng) for _ in range(200)) if logistic_agrees(params)]
    assert len(agreeing) > 180
    for params in agreeing:
        np.testing.assert_array_equal(*run_logistic(params))


def test_mul_agrees_is_exactly_what_interpreters_do():
    rng = np.random.default_rng(1)
    said = []
    for i in range(120):
        first, target = random_params(rng), random_params(rng)
        second = (LOGISTIC_PARAMS, UNIT_PARAMS, random_params(rng))[i % 3]
        # a realistic output range: the largest product about fills it
        target = AffineParams(np.float32(first.scale * second.scale * rng.uniform(60, 255)), target.zero_point)
        reference, micro = run_mul(first, second, target)
        said.append(mul_agrees(first, second, target))
        assert said[-1] == np.array_equal(reference, micro)
    assert not all(said)
    assert any(said)


class Gates(nn.Module):
    """Two SiLUs in one concatenation, and one channel attention on it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(8, 8, 1)
        self.silu_a, self.silu_b, self.gate = nn.SiLU(), nn.SiLU(), nn.Hardsigmoid()

    def forward(self, x):
        y = torch.cat((self.silu_a(self.a(x)), self.silu_b(self.b(x))), 1)
        return y * self.gate(self.fc(torch.mean(y, (2, 3), keepdim=True)))


def disagreements(graph_module: GraphModule) -> int:
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    bad = 0
    for node in graph_module.graph.nodes:
        sources = [quantized_by(source, modules).params for source in node.all_input_nodes]
        if node.target is operator.mul:
            bad += not mul_agrees(*sources, quantized_by(node, modules).params)
        elif node.op == "call_module" and isinstance(modules[node.target], nn.Sigmoid):
            bad += not logistic_agrees(*sources)
    return bad


def test_settle_scales_random_networks_agree_and_hardly_move():
    rng = np.random.default_rng(2)
    bad = 0
    for seed in range(4):
        torch.manual_seed(seed)
        prepared = prepare(lower_activations(symbolic_trace(Gates())), PIXELS)
        calibrated = calibrate(prepared, [torch.rand(1, 3, 8, 8)])
        assert disagreements(calibrated) == 0
        quants = [m for m in calibrated.modules() if isinstance(m, FakeQuant) and not m.fixed]
        for _ in range(100):  # until scales are drawn that need settling
            for quant in quants:
                scale = np.float32(quant.params.scale * rng.uniform(0.9, 1.1))
                quant.set_params(AffineParams(scale, quant.params.zero_point))
            if disagreements(calibrated):
                break
        bad += disagreements(calibrated)
        before = [quant.params for quant in quants]
        settle_scales(calibrated)
        assert disagreements(calibrated) == 0
        for quant, old in zip(quants, before, strict=True):
            assert 1 <= quant.params.scale / old.scale < 1.01
            assert quant.params.zero_point == old.zero_point
    assert bad >= 4
