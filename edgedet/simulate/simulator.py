"""NumPy integer simulator of an int8 graph: the chip's arithmetic, fast enough for AP runs.

Operators may also have int16 activations (weights int8, biases int64), with QUANTIZE at the borders. Inputs and outputs
may be float32 or uint8, behind QUANTIZE and DEQUANTIZE.

Bit-exact with TFLite Micro (0 LSB on every tensor); with TFLite's reference kernels, too, but for a few codes of three
operators: runtimes/interpreters.py. Convolutions run on BLAS with floats
that hold every sum exactly; everything else is integers, tables, or float64 proven to give the integers' bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edgedet.errors import ShapeError, UnsupportedOpError
from edgedet.graph.check import check_graph
from edgedet.graph.graph import Graph
from edgedet.graph.operator_table import Trait, kinds_with
from edgedet.graph.prepare.fold_shapes import fold_shapes
from edgedet.simulate import borders, elementwise, int16, shapes, softmax, transpose_conv, weighted
from edgedet.simulate.workspace import Kernel, KernelContext, Workspace

_BUILDERS: dict[str, Callable[[KernelContext], Kernel]] = {
    "CONV_2D": weighted.conv_2d,
    "DEPTHWISE_CONV_2D": weighted.depthwise_conv_2d,
    "TRANSPOSE_CONV": transpose_conv.transpose_conv,
    "FULLY_CONNECTED": weighted.fully_connected,
    "ADD": elementwise.binary,
    "SUB": elementwise.binary,
    "MUL": elementwise.binary,
    "MAXIMUM": elementwise.maximum_minimum,
    "MINIMUM": elementwise.maximum_minimum,
    "PRELU": elementwise.binary,
    "ABS": elementwise.unary,
    "LOGISTIC": elementwise.unary,
    "TANH": elementwise.unary,
    "HARD_SWISH": elementwise.unary,
    "RELU": elementwise.unary,
    "RELU6": elementwise.unary,
    "RELU_N1_TO_1": elementwise.unary,
    "LEAKY_RELU": elementwise.unary,
    "QUANTIZE": elementwise.unary,
    "SOFTMAX": softmax.softmax_kernel,
    "MAX_POOL_2D": elementwise.max_pool_2d,
    "AVERAGE_POOL_2D": elementwise.average_pool_2d,
    "MEAN": elementwise.reduce,
    "SUM": elementwise.reduce,
    "ARG_MAX": elementwise.arg_extreme,
    "ARG_MIN": elementwise.arg_extreme,
    "REDUCE_MAX": elementwise.reduce,
    "REDUCE_MIN": elementwise.reduce,
    "RESIZE_NEAREST_NEIGHBOR": elementwise.resize_nearest,
    "RESIZE_BILINEAR": elementwise.resize_bilinear,
    "CONCATENATION": shapes.concatenation,
    "PACK": shapes.pack,
    "PAD": shapes.pad,
    "PADV2": shapes.pad,
    "RESHAPE": shapes.reshape,
    "SQUEEZE": shapes.reshape,
    "EXPAND_DIMS": shapes.reshape,
    **dict.fromkeys(kinds_with(Trait.MOVING), shapes.move),
}


class Simulator:
    """One graph, prepared to run again and again; not to be shared between threads."""

    def __init__(self, graph: Graph) -> None:
        """Pack weights, build tables, prove requantizations and check every shape.

        Args:
            graph: int8, or int8 and int16, as `read_tflite` returns it.
        Raises:
            UnsupportedOpError: names the operator, its output tensor, and what is not supported.
            ConversionError: the graph does not pass `check_graph`, or a tensor's shape contradicts its operator.
        """
        graph = fold_shapes(graph)
        check_graph(graph, "this model")
        self.graph = graph
        workspace = Workspace()
        self._kernels = [
            _build(KernelContext(graph, number, workspace=workspace)) for number in range(len(graph.operators))
        ]
        made = {index for operator in graph.operators for index in operator.outputs}
        self._values: list[np.ndarray | None] = [
            np.zeros(tensor.shape, tensor.dtype) if index in made else tensor.data
            for index, tensor in enumerate(graph.tensors)
        ]

    def invoke(self, *q_inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the graph.

        Args:
            q_inputs: one array per graph input, of its shape and dtype; they are not changed.
        Returns:
            Copies of the outputs, in the order of `graph.outputs`.
        Raises:
            ShapeError: an input has another shape or dtype.
        """
        self._run(q_inputs)
        return tuple(self._value(index).copy() for index in self.graph.outputs)

    def invoke_all(self, *q_inputs: np.ndarray) -> dict[int, np.ndarray]:
        """Run the graph and keep everything.

        Args:
            q_inputs: as in `invoke`.
        Returns:
            Tensor index -> copy of its value, for the inputs and everything that an operator wrote.
        """
        self._run(q_inputs)
        return {
            index: value.copy()
            for index, value in enumerate(self._values)
            if value is not None and self.graph.tensors[index].data is None
        }

    def _run(self, q_inputs: Sequence[np.ndarray]) -> None:
        if len(q_inputs) != len(self.graph.inputs):
            raise ShapeError(f"the graph has {len(self.graph.inputs)} inputs, got {len(q_inputs)} arrays")
        for index, array in zip(self.graph.inputs, q_inputs, strict=True):
            tensor = self.graph.tensors[index]
            if array.shape != tensor.shape or array.dtype != np.dtype(tensor.dtype):
                raise ShapeError(
                    f"input {tensor.name!r} takes {tensor.dtype} {tensor.shape}, got {array.dtype} {array.shape}"
                )
            self._values[index] = np.ascontiguousarray(array)
        for operator, kernel in zip(self.graph.operators, self._kernels, strict=True):
            inputs = [self._value(index) for index in operator.inputs if index >= 0]
            kernel(inputs, [self._value(index) for index in operator.outputs])

    def _value(self, index: int) -> np.ndarray:
        value = self._values[index]
        assert value is not None, f"tensor {index} has no value; the graph was not checked"
        return value


def _build(ctx: KernelContext) -> Kernel:
    builders, dtype = _BUILDERS, "int8"
    if int16.uses_int16(ctx):
        builders, dtype = int16.BUILDERS, "int16"
    border = borders.border_dtype(ctx)
    if border is not None:
        builders, dtype = borders.BUILDERS, border
    kind = ctx.operator.kind
    if kind not in builders:
        have = ", ".join(sorted(builders))
        hint = "; edgedet convert --int8 turns a uint8 file into int8" if dtype == "uint8" else ""
        raise UnsupportedOpError(f"{ctx.where}: the simulator has no {dtype} {kind}; in {dtype} it has {have}{hint}")
    return builders[kind](replace(ctx, dtype=dtype))
