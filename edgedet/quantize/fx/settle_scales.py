"""Scales on which all kernels compute the same codes.

TFLite's reference kernels and TFLite Micro use one integer arithmetic, with two exceptions, both measured with
ai-edge-litert 2.3.0 and tflite-micro 0.dev20261023:

- LOGISTIC works in fixed point, and the two round differently where the exact result lies within 1.5e-5 steps of a
  tie: once in about 1,000 pairs of input scale and zero point, for one code.
- MUL: TFLite multiplies and divides its three scales in float32, TFLite Micro in float64, so that their multipliers
  differ in the 24th bit, and with them a few of the 65,536 pairs of codes.

With int16 activations LOGISTIC agrees everywhere, and MUL where both multipliers are equal: 2^32 pairs of codes are too
many to look at.

Calibrated ranges are not sharp to a part in a thousand. So one scale of the operator is widened by up to a few
thousandths, to one where every code has the same result in both. The file then means the same everywhere, bit for bit.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch import nn
from torch.fx import GraphModule, Node

from edgedet.numerics.integer import multiply_by_quantized_multiplier, quantize_multiplier
from edgedet.quantize.fx.fake_quant import FakeQuant
from edgedet.quantize.fx.int16 import border_bases, settle_borders
from edgedet.quantize.fx.prepare import quantized_by
from edgedet.quantize.fx.qparams import QMAX, QMIN, AffineParams

LOGISTIC_MARGIN = 1e-4  # output steps; seven times the largest distance at which kernels were seen to disagree
CANDIDATES = 1 << 15  # neighbouring float32 scales that are searched: 0.2 to 0.4 % wide
CHECKED = 64  # of them, at most, are checked code by code; the first or second is usually right
NEIGHBOURS = 32  # of them are tried for a second tensor, where one is not enough
SWEEPS = 8  # over the graph, because an operator's scales may also belong to other operators


def logistic_agrees(source: AffineParams) -> bool:
    """True when no input code of a LOGISTIC has a result close to a tie.

    Args:
        source: scale and zero point of the input.
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
    if len(multipliers) == 1 or target.bits == 16:
        return len(multipliers) == 1
    codes = np.arange(QMIN, QMAX + 1)
    products = np.multiply.outer(codes - first.zero_point, codes - second.zero_point)
    results = [
        np.clip(multiply_by_quantized_multiplier(products, *multiplier) + target.zero_point, QMIN, QMAX)
        for multiplier in multipliers
    ]
    return np.array_equal(*results)


def settle_scales(graph_module: GraphModule) -> None:
    """Widen scales of a calibrated graph, in place, until all kernels agree on it; then settle its borders.

    Each operator on which kernels disagree gets another scale for one of its tensors: the first on which this operator
    agrees and no other stops agreeing. Where none is found, `disagreements` names the operator.

    Args:
        graph_module: calibrated.
    """
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    tensors = Counter(modules.get(str(node.target)) for node in graph_module.graph.nodes)
    operators = list(_operators(graph_module, modules))
    touching: dict[FakeQuant, list[_Product | _Sigmoid]] = {}
    for operator_ in operators:
        for quant in operator_.quants:
            touching.setdefault(quant, []).append(operator_)
    for _ in range(SWEEPS):
        unsettled = [operator_ for operator_ in operators if not operator_.agrees()]
        if not unsettled:
            break
        for operator_ in unsettled:
            # The group with the fewest tensors binds the fewest other operators.
            free = sorted({q for q in operator_.quants if not q.fixed}, key=lambda quant: (tensors[quant], quant.name))
            bound = {q: [other for other in touching[q] if other is operator_ or other.agrees()] for q in free}
            if not any(_settle(quant, bound[quant]) for quant in free):
                pairs = [(one, other) for one in free for other in free if one is not other]
                any(_settle_pair(one, bound[one], other, bound[other]) for one, other in pairs)
    settle_borders(graph_module)


def disagreements(graph_module: GraphModule) -> tuple[str, ...]:
    """Names of the operators (their nodes) on which TFLite's reference kernels and TFLite Micro may differ by a step.

    Args:
        graph_module: calibrated.
    """
    modules = dict(graph_module.named_modules(remove_duplicate=False))
    return tuple(operator_.name for operator_ in _operators(graph_module, modules) if not operator_.agrees())


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

    name: str
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

    name: str
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
        result: np.ndarray = np.abs((first * second / target).astype(np.float64) / exact - 1.0)
        return result


def _operators(graph_module: GraphModule, modules: dict[str, nn.Module]) -> Iterator[_Product | _Sigmoid]:
    bases = border_bases(graph_module)

    def operand(node: Node) -> _Operand:
        quant = quantized_by(node, modules)
        return _Operand(bases.get(quant, quant), quant in bases)

    for node in graph_module.graph.nodes:
        if node.op == "call_module" and isinstance(modules[str(node.target)], nn.Sigmoid):
            yield _Sigmoid(node.name, operand(node.all_input_nodes[0]))
        elif node.target is operator.mul:
            inputs = [operand(source) for source in node.all_input_nodes]
            yield _Product(node.name, inputs[0], inputs[-1], operand(node))


def _settle_pair(
    one: FakeQuant,
    of_one: list[_Product | _Sigmoid],
    other: FakeQuant,
    of_other: list[_Product | _Sigmoid],
) -> bool:
    """Try neighbouring scales of one tensor until `_settle` finds a scale for another tensor of the operator.

    For int16 products whose float32 rounding error is so large that no scale of one tensor alone makes up for it. Other
    operators of the first tensor may stop agreeing: the next sweep takes care of them.
    """
    before = one.params
    for scale in _larger_scales(before.scale)[:: CANDIDATES // NEIGHBOURS]:
        one.set_params(AffineParams(scale, before.zero_point, before.bits))
        if _settle(other, [o for o in of_other if o in of_one or o.agrees()]):
            return True
    one.set_params(before)
    return False


def _settle(quant: FakeQuant, operators: list[_Product | _Sigmoid]) -> bool:
    """Take the next larger float32 scale on which all these operators agree; False, and nothing, if none is near."""
    before = quant.params
    scales = _larger_scales(before.scale)
    errors = np.sum([o.error(quant, scales) for o in operators], axis=0)
    # A LOGISTIC needs a visible change, for a MUL any will do: the best of each of CHECKED equal parts, smallest first.
    parts = errors.reshape(CHECKED, -1)
    best = parts.argmin(axis=1) + np.arange(CHECKED) * parts.shape[1]
    for scale in scales[best]:
        quant.set_params(AffineParams(scale, before.zero_point, before.bits))
        if all(o.agrees() for o in operators):
            return True
    quant.set_params(before)
    return False


def _larger_scales(scale: np.float32) -> np.ndarray:
    """The scale and the next CANDIDATES - 1 larger float32 numbers."""
    return (np.float32(scale).view(np.int32) + np.arange(CANDIDATES, dtype=np.int32)).view(np.float32)
