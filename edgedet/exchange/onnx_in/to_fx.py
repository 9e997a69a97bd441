"""ONNX graph -> torch.fx graph of the same function, float32, NCHW."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgedet.errors import ConversionError, EdgedetError, UnsupportedOpError
from edgedet.exchange.onnx_in.load import OnnxNetwork
from edgedet.exchange.onnx_in.ops import elementwise, moves, spatial, weighted
from edgedet.exchange.onnx_in.ops.builder import FxBuilder, Operator
from edgedet.exchange.onnx_in.ops.moved_view import MovedView
from edgedet.exchange.onnx_in.qdq.pairs import CODES, PAIR
from edgedet.quantize.fx.fake_quant import FakeQuant

Made = Node | MovedView | list[Node | MovedView]


def _pair(builder: FxBuilder, operator: Operator) -> Node:
    """Where a quantized network rounds."""
    source = builder.node(operator)
    node = builder.module(FakeQuant(operator.name, operator.attributes["params"]), (source,), operator.name)
    node.meta[CODES] = (operator.attributes["codes"],)
    return node


CONVERTERS: dict[str, Callable[[FxBuilder, Operator], Any]] = {
    "Add": elementwise.add,
    "AveragePool": spatial.average_pool,
    "BatchNormalization": weighted.batch_norm,
    "Cast": moves.same,
    "Clip": elementwise.clip,
    "Concat": moves.concat,
    "Conv": weighted.convolution,
    "ConvTranspose": weighted.transposed_convolution,
    "DepthToSpace": moves.depth_to_space,
    "Div": elementwise.divide,
    "Dropout": moves.same,
    "Flatten": moves.flatten,
    "Gather": moves.gather,
    "Gemm": weighted.gemm,
    "GlobalAveragePool": spatial.global_average_pool,
    "GlobalMaxPool": spatial.global_max_pool,
    "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.hard_swish,
    "Identity": moves.same,
    "LeakyRelu": elementwise.leaky_relu,
    "MatMul": weighted.matmul,
    "MaxPool": spatial.max_pool,
    "Mul": elementwise.multiply,
    "Neg": elementwise.negate,
    PAIR: _pair,
    "PRelu": elementwise.parametric_relu,
    "Pad": spatial.pad,
    "ReduceMean": spatial.reduce_mean,
    "Relu": elementwise.relu,
    "Reshape": moves.reshape,
    "Resize": spatial.resize,
    "Sigmoid": elementwise.sigmoid,
    "Slice": moves.slice_,
    "Softmax": elementwise.softmax,
    "SpaceToDepth": moves.space_to_depth,
    "Split": moves.split,
    "Squeeze": moves.squeeze,
    "Sub": elementwise.subtract,
    "Tanh": elementwise.tanh,
    "Transpose": moves.transpose,
    "Unsqueeze": moves.unsqueeze,
    "Upsample": spatial.resize,
}


def fx_from_onnx(
    network: OnnxNetwork,
    operators: Sequence[Operator],
    constants: dict[str, np.ndarray],
    outputs: Sequence[str],
    weights: dict[str, tuple[str, str]] | None = None,
) -> GraphModule:
    """Build the torch.fx graph.

    Args:
        network: where the graph comes from.
        operators: of the graph, in the order of its data.
        constants: name of a tensor -> its value.
        outputs: names of the tensors that become the network's outputs.
        weights: of quantized networks, filled: path of a layer -> names of its constants, which nothing is moved into.
    Returns:
        float32 (N, C, H, W) -> a tuple of the outputs.
    Raises:
        UnsupportedOpError: an operator, or an option of one, that has no int8 form; its node is named.
    """
    needed = _needed(operators, outputs)
    readers = Counter(name for op in operators if op.name in needed for name in op.inputs)
    readers.update(outputs)
    builder = FxBuilder(network.path, network.model.opset_import[0].version, constants, dict(readers))
    if weights is not None:
        builder.exact, builder.weights = True, weights
    rng = np.random.default_rng(0)
    builder.placeholder(network.input_name, torch.from_numpy(rng.random(network.input_shape, np.float32)))
    for operator in operators:
        if operator.name in needed:
            add_operator(builder, operator)
    return builder.finish(outputs)


def add_operator(builder: FxBuilder, operator: Operator) -> None:
    """Convert one operator."""
    convert = CONVERTERS.get(operator.kind)
    if convert is None:
        raise builder.unsupported(operator, f"operator {operator.kind} is not supported")
    try:
        made = convert(builder, operator)
    except EdgedetError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError, KeyError) as error:
        # A file that contradicts itself: torch and NumPy say what does not fit.
        text = " ".join(str(error).split())[:200]
        raise ConversionError(
            f"{builder.where(operator)}: can't be computed: {text or type(error).__name__}"
        ) from error
    results = made if isinstance(made, list) else [made]
    for name, result in zip(operator.outputs, results, strict=False):
        builder.nodes[name] = result


def operators_of(graph: Any) -> tuple[list[Operator], dict[str, np.ndarray]]:
    """Operators and constants of an onnx_graphsurgeon graph; every operator gets a name of its own."""
    import onnx_graphsurgeon as gs

    constants = {name: tensor.values for name, tensor in graph.tensors().items() if isinstance(tensor, gs.Constant)}
    operators: list[Operator] = []
    taken: set[str] = set()
    for node in graph.nodes:
        inputs = tuple("" if tensor.is_empty() else tensor.name for tensor in node.inputs)
        outputs = tuple(tensor.name for tensor in node.outputs)
        if node.op == "Constant":
            value = node.attrs.get("value")
            if value is None:
                raise UnsupportedOpError(f"node {node.name or outputs[0]!r}: a Constant without a tensor")
            constants[outputs[0]] = value.values if hasattr(value, "values") else np.asarray(value)
            continue
        name = node.name or outputs[0]
        while name in taken:
            name += "_"
        taken.add(name)
        operators.append(Operator(name, node.op, inputs, outputs, dict(node.attrs)))
    return operators, constants


def _needed(operators: Sequence[Operator], outputs: Sequence[str]) -> set[str]:
    """Names of the operators that the outputs depend on."""
    makers = {name: op for op in operators for name in op.outputs if name}
    needed: set[str] = set()
    pending = list(outputs)
    while pending:
        maker = makers.get(pending.pop())
        if maker is not None and maker.name not in needed:
            needed.add(maker.name)
            pending += maker.inputs
    return needed
