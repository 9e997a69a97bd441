"""ONNX graph -> torch.fx graph of the same function, float32, NCHW."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Node

from edgedet.errors import ConversionError, EdgedetError, UnsupportedOpError
from edgedet.exchange.onnx_in import ops_elementwise, ops_moves, ops_spatial, ops_weighted
from edgedet.exchange.onnx_in.fx_builder import FxBuilder, Operator
from edgedet.exchange.onnx_in.load import OnnxNetwork
from edgedet.exchange.onnx_in.moved_view import MovedView
from edgedet.exchange.onnx_in.qdq import CODES, PAIR
from edgedet.quantize.fx.fake_quant import FakeQuant

Made = Node | MovedView | list[Node | MovedView]


def _pair(builder: FxBuilder, operator: Operator) -> Node:
    """Where a quantized network rounds."""
    source = builder.node(operator)
    node = builder.module(FakeQuant(operator.name, operator.attributes["params"]), (source,), operator.name)
    node.meta[CODES] = (operator.attributes["codes"],)
    return node


CONVERTERS: dict[str, Callable[[FxBuilder, Operator], Any]] = {
    "Add": ops_elementwise.add,
    "AveragePool": ops_spatial.average_pool,
    "BatchNormalization": ops_weighted.batch_norm,
    "Cast": ops_moves.same,
    "Clip": ops_elementwise.clip,
    "Concat": ops_moves.concat,
    "Conv": ops_weighted.convolution,
    "ConvTranspose": ops_weighted.transposed_convolution,
    "DepthToSpace": ops_moves.depth_to_space,
    "Div": ops_elementwise.divide,
    "Dropout": ops_moves.same,
    "Flatten": ops_moves.flatten,
    "Gather": ops_moves.gather,
    "Gemm": ops_weighted.gemm,
    "GlobalAveragePool": ops_spatial.global_average_pool,
    "GlobalMaxPool": ops_spatial.global_max_pool,
    "HardSigmoid": ops_elementwise.hard_sigmoid,
    "HardSwish": ops_elementwise.hard_swish,
    "Identity": ops_moves.same,
    "LeakyRelu": ops_elementwise.leaky_relu,
    "MatMul": ops_weighted.matmul,
    "MaxPool": ops_spatial.max_pool,
    "Mul": ops_elementwise.multiply,
    "Neg": ops_elementwise.negate,
    PAIR: _pair,
    "PRelu": ops_elementwise.parametric_relu,
    "Pad": ops_spatial.pad,
    "ReduceMean": ops_spatial.reduce_mean,
    "Relu": ops_elementwise.relu,
    "Reshape": ops_moves.reshape,
    "Resize": ops_spatial.resize,
    "Sigmoid": ops_elementwise.sigmoid,
    "Slice": ops_moves.slice_,
    "Softmax": ops_elementwise.softmax,
    "SpaceToDepth": ops_moves.space_to_depth,
    "Split": ops_moves.split,
    "Squeeze": ops_moves.squeeze,
    "Sub": ops_elementwise.subtract,
    "Tanh": ops_elementwise.tanh,
    "Transpose": ops_moves.transpose,
    "Unsqueeze": ops_moves.unsqueeze,
    "Upsample": ops_spatial.resize,
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
