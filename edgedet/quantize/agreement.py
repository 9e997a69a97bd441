"""Scales on which all int8 kernels compute the same codes.

TFLite's reference kernels and TFLite Micro use one integer arithmetic, with two exceptions, both measured with
ai-edge-litert 2.3.0 and tflite-micro 0.dev20261023:

- LOGISTIC works in fixed point, and the two round differently where the exact result lies within 1.5e-5 steps of a
  tie: once in about 1,000 pairs of input scale and zero point, for one code.
- MUL: TFLite multiplies and divides its three scales in float32, TFLite Micro in float64, so that their multipliers
  differ in the 24th bit, and with them a few of the 65,536 pairs of codes.

Calibrated ranges are not sharp to a part in a thousand. So one scale of the operator is widened by up to a few
thousandths, to one where every code has the same result in both. The file then means the same everywhere, bit for bit.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn
from torch.fx import GraphModule, Node

from edgedet.numerics.integer import multiply_by_quantized_multiplier, quantize_multiplier
from edgedet.quantize.fake_quant import FakeQuant
from edgedet.quantize.int16 import border_bases, settle_borders
from edgedet.quantize.prepare import quantized_by
from edgedet.quantize.qparams import QMAX, QMIN, AffineParams

LOGISTIC_MARGIN = 1e-4  # output steps; seven times the largest distance at which kernels were seen to disagree
CANDIDATES = 1 << 15  # neighbouring float32 scales that are searched: 0.2 to 0.4 % wide
CHECKED = 64  # of them, at most, are checked code by code; the first or second is usually right
SWEEPS = 4  # over the graph, because an operator's scales may also belong to other operators


def logistic_agrees(source: AffineParams) -> bool:
    """True when no input code of a LOGISTIC has a result close to a tie.

    Args:
        source: scale and zero point of the input; of an int16 LOGISTIC all kernels have one table.
    """
    if source.bits == 16:
        return True
    x = (np.arange(QMIN, QMAX + 1) - source.zero_point) * np.float64(source.scale)
    steps = 256.0 / (1.0 + np.exp(-x))
    return bool(np.abs(steps - np.floor(steps) - 0.5).min() > LOGISTIC_MARGIN)


def mul_agrees(first: AffineParams, second: AffineParams, target: AffineParams) -> bool:
    """True when all pairs of codes have the same product with a multiplier made in float32 and in float64.

    Args:
        first, second: scale and zero point of the inputs.
        target: of the output.
    """
    multipliers = {
        quantize_multiplier(float(first.scale * second.scale / target.scale)),
        quantize_multiplier(float(first.scale) * float(second.scale) / float(target.scale)),
    }
    if len(multipliers) == 1 or target.bits == 16:  # 2^32 pairs of int16 codes are too many to look at
        return len(multipliers) == 1
    codes = np.arange(QMIN, QMAX + 1)
    products = np.multiply.outer(codes - first.zero_point, codes - second.zero_point)
    results = [
        np.clip(multiply_by_quantized_multiplier(products, *multiplier) + target.zero_point, QMIN, QMAX)
        for multiplier in multipliers
    ]
    return np.array_equal(*results)


def settle_scales(graph_module: GraphModule) -> None:
    """Widen scales of a calibrated graph, in place, until all kernels agree on it.

    Args:
        graph_module: calibrated.
    """
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    bases = border_bases(graph_module)
    tensors = Counter(modules.get(str(node.target)) for node in graph_module.graph.nodes)
    users: dict[FakeQuant, list[_Product | _Sigmoid]] = {}
    for operator_ in _operators(graph_module, modules, bases):
        free = [quant for quant in operator_.quants if not quant.fixed]
        if free:
            # The group with the fewest tensors binds the fewest other operators.
            users.setdefault(min(free, key=lambda quant: tensors[quant]), []).append(operator_)
    _settle_all(users)
    settle_borders(graph_module)


def _settle_all(users: Mapping[FakeQuant, list[_Product | _Sigmoid]]) -> None:
    for _ in range(SWEEPS):
        unsettled = [quant for quant, operators in users.items() if not all(o.agrees() for o in operators)]
        if not unsettled:
            return
        for quant in unsettled:
            _settle(quant, users[quant])
    # What is left costs one step in one code, between two interpreters.


@dataclass(frozen=True, eq=False)
class _Operand:
    """A tensor of an operator."""

    quant: FakeQuant  # that decides its scale
    border: bool  # the tensor is the int16 copy of an int8 one

    @property
    def params(self) -> AffineParams:
        return self.quant.params.widened if self.border else self.quant.params


@dataclass(frozen=True, eq=False)
class _Sigmoid:
    """A LOGISTIC."""

    source: _Operand

    @property
    def quants(self) -> tuple[FakeQuant, ...]:
        return (self.source.quant,)

    def agrees(self) -> bool:
        return logistic_agrees(self.source.params)

    def error(self, quant: FakeQuant, scales: np.ndarray) -> np.ndarray:
        """Nothing is known beforehand about a candidate: float64 zeros, shape of `scales`."""
        return np.zeros(scales.shape)


@dataclass(frozen=True, eq=False)
class _Product:
    """A MUL."""

    first: _Operand
    second: _Operand
    target: _Operand

    @property
    def quants(self) -> tuple[FakeQuant, ...]:
        return self.first.quant, self.second.quant, self.target.quant

    def agrees(self) -> bool:
        return mul_agrees(self.first.params, self.second.params, self.target.params)

    def error(self, quant: FakeQuant, scales: np.ndarray) -> np.ndarray:
        """Relative difference of the two multipliers, float64, for each candidate scale of `quant`, float32."""
        # At a border all scales are divided by the same power of two, which changes no relative difference.
        first, second, target = (scales if q is quant else np.full_like(scales, q.params.scale) for q in self.quants)
        exact = first.astype(np.float64) * second.astype(np.float64) / target.astype(np.float64)
        return np.abs((first * second / target).astype(np.float64) / exact - 1.0)


def _operators(
    graph_module: GraphModule, modules: dict[str, nn.Module], bases: Mapping[FakeQuant, FakeQuant]
) -> Iterator[_Product | _Sigmoid]:
    def operand(node: Node) -> _Operand:
        quant = quantized_by(node, modules)
        return _Operand(bases.get(quant, quant), quant in bases)

    for node in graph_module.graph.nodes:
        if node.op == "call_module" and isinstance(modules[str(node.target)], nn.Sigmoid):
            yield _Sigmoid(operand(node.all_input_nodes[0]))
        elif node.target is operator.mul:
            inputs = [operand(source) for source in node.all_input_nodes]
            yield _Product(inputs[0], inputs[-1], operand(node))


def _settle(quant: FakeQuant, operators: list[_Product | _Sigmoid]) -> None:
    """Take the next larger float32 scale on which all these operators agree; the old one when there is none near."""
    before = quant.params
    bits = np.float32(before.scale).view(np.int32) + np.arange(CANDIDATES, dtype=np.int32)
    scales = bits.view(np.float32)
    errors = np.sum([o.error(quant, scales) for o in operators], axis=0)
    # A LOGISTIC needs a visible change, for a MUL any will do: the best of each of CHECKED equal parts, smallest first.
    parts = errors.reshape(CHECKED, -1)
    best = parts.argmin(axis=1) + np.arange(CHECKED) * parts.shape[1]
    for scale in scales[best]:
        quant.set_params(AffineParams(scale, before.zero_point, before.bits))
        if all(o.agrees() for o in operators):
            return
    quant.set_params(before)
