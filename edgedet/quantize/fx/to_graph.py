"""Fake-quantized FX graph -> int8 graph: every scale, zero point and code is carried over, nothing is estimated again.

torch is NCHW, TFLite NHWC. No operator of edgedet's detectors mixes the spatial axes with the channels, so it is enough
to turn the axes of shapes, weights and axis arguments; no TRANSPOSE appears. Of networks from elsewhere `graph_builder`
says where one does.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch.fx import GraphModule, Node

from edgedet.contracts import OutputSpec, PreprocessSpec
from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.graph import graph as g
from edgedet.graph.check import check_graph
from edgedet.graph.graph import Graph
from edgedet.graph.metadata import contract_metadata
from edgedet.net.foreign import Constant
from edgedet.numerics.heads.layout import accepts, forms_of
from edgedet.quantize.fx.emit_layers import ELEMENTWISE, emit_elementwise, emit_layer
from edgedet.quantize.fx.emit_moves import MOVES, emit_move
from edgedet.quantize.fx.fake_quant import FakeQuant
from edgedet.quantize.fx.graph_builder import BORDER_SUFFIX, GraphBuilder
from edgedet.quantize.fx.prepare import requantizes
from edgedet.quantize.fx.shapes import nchw_shapes

__all__ = ["BORDER_SUFFIX", "INPUT_NAME", "QuantizedModel", "graph_from_fx"]

INPUT_NAME = "input"


def graph_from_fx(frozen: GraphModule, preprocess: PreprocessSpec, outputs: OutputSpec) -> g.Graph:
    """Convert a fake-quantized network to the int8 graph.

    Args:
        frozen: from `edgedet.quantize.fx.prepare.freeze`; one input, a tuple of outputs in contract order.
        preprocess: input contract; decides the input size.
        outputs: output contract; names the outputs.
    Returns:
        The graph with batch 1, NHWC, both contracts in its metadata, operators in the order of the FX graph.
    Raises:
        ConversionError: not calibrated or not frozen, or outputs that contradict the contract.
        UnsupportedOpError: an operator, or an option of one, that int8 TFLite can't do exactly.
    """
    shapes = _shapes(frozen, preprocess)
    modules = dict(frozen.named_modules(remove_duplicate=False))
    builder = GraphBuilder(modules, shapes, _output_names(frozen, outputs))
    for node in frozen.graph.nodes:
        _add(builder, node)
    result = g.Graph(
        tensors=tuple(builder.tensors),
        operators=tuple(builder.operators),
        inputs=tuple(builder.inputs),
        outputs=tuple(builder.outputs),
        metadata=(contract_metadata(preprocess, outputs),),
    )
    _check_output_shapes(result, preprocess, outputs)
    check_graph(result, "converted network")
    return result


def _shapes(frozen: GraphModule, preprocess: PreprocessSpec) -> dict[Node, tuple[int, ...]]:
    """Shape of every tensor in torch's order."""
    for module in frozen.modules():
        if isinstance(module, FakeQuant):
            _ = module.params  # raises
    return nchw_shapes(frozen, (1, preprocess.channels, preprocess.height, preprocess.width))


def _output_names(frozen: GraphModule, outputs: OutputSpec) -> dict[Node, str]:
    """Contract name of each output node."""
    result = next(node for node in frozen.graph.nodes if node.op == "output").args[0]
    nodes = [result] if isinstance(result, Node) else list(result)
    if len(nodes) != len(outputs.tensor_names) or len(set(nodes)) != len(nodes):
        raise ConversionError(
            f"the network gives {len(set(nodes))} different outputs, expected {len(outputs.tensor_names)}: "
            f"{', '.join(outputs.tensor_names)}"
        )
    return dict(zip(nodes, outputs.tensor_names, strict=True))


def _check_output_shapes(graph: g.Graph, preprocess: PreprocessSpec, outputs: OutputSpec) -> None:
    size = (preprocess.width, preprocess.height)
    for index, role in zip(graph.outputs, outputs.tensor_names, strict=True):
        tensor = graph.tensors[index]
        if not accepts(tensor.shape, role, outputs, size):
            forms = " or ".join(str(form.shape) for form in forms_of(role, outputs, size)[:1]) or "another"
            raise ConversionError(
                f"output {role} has shape {tensor.shape}, expected {forms}; the network does not fit the "
                f"contract (input {preprocess.width}x{preprocess.height} px, {len(outputs.class_names)} classes)"
            )


def _add(builder: GraphBuilder, node: Node) -> None:
    """Convert one node."""
    module = builder.module_of(node)
    if node.op == "output":
        builder.finish()
    elif node.op == "placeholder":
        builder.inputs.append(builder.result(node, INPUT_NAME))
    elif requantizes(node, builder.modules):
        builder.emit("QUANTIZE", node, order=builder.order_of(node.all_input_nodes[0]))
    elif isinstance(module, FakeQuant):
        builder.pass_on(node)
    elif isinstance(module, Constant):
        return  # made where it is read, in the order that its reader has
    elif module is not None:
        emit_layer(builder, node, module)
    elif node.target in ELEMENTWISE:
        emit_elementwise(builder, node)
    elif node.target in MOVES:
        emit_move(builder, node)
    else:
        raise UnsupportedOpError(f"{node.name}: {node.target} has no int8 form")


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """A network in its two forms, with the same numbers in both."""

    fake_quant: GraphModule  # float32 NCHW in and out, every value on its int8 grid
    graph: Graph  # int8, NHWC

    @property
    def scale_groups(self) -> int:
        """Number of groups of activations that share a scale."""
        return len({m.name for m in self.fake_quant.modules() if isinstance(m, FakeQuant)})
