"""The smallest graph of every kind of operator that the table claims, and of one that nothing runs; not a test itself.

Add a case with each row of edgedet/graph/operator_table.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from edgedet.graph import graph as g

SCALE = 0.05  # of activations, and of weights
PLANE = (1, 4, 4, 4)
# (scale, zero point) of outputs that TFLite prescribes.
PRESCRIBED = {
    ("LOGISTIC", "int8"): (1 / 256, -128),
    ("LOGISTIC", "int16"): (1 / 32768, 0),
    ("TANH", "int8"): (1 / 128, 0),
    ("SOFTMAX", "int8"): (1 / 256, -128),
}


@dataclass(frozen=True)
class Case:
    """One operator. Operands in the file's order: a shape is an activation, an array a constant."""

    operands: tuple[tuple[int, ...] | np.ndarray, ...]
    outputs: tuple[tuple[int, ...], ...]
    options: g.Options = field(default_factory=g.NoOptions)
    positions: bool = False  # outputs are int32, not activations


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(-127, 128, shape).astype(np.int8)


_BIAS = _ints(1, -2, 3, -4)
_SAME = Case((PLANE,), (PLANE,))
_PAIR = Case((PLANE, PLANE), (PLANE,))
_ELEMENTWISE = Case((PLANE, PLANE), (PLANE,), g.ElementwiseOptions(pot_scale_int16=False))
_POOL = Case((PLANE,), ((1, 2, 2, 4),), g.PoolOptions((2, 2), (2, 2)))
_REDUCE = Case((PLANE, _ints(1, 2)), ((1, 4),), g.ReduceOptions())
_RESIZE = Case((PLANE, _ints(8, 8)), ((1, 8, 8, 4),), g.ResizeOptions())
_PADS = np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32)

CASES: dict[str, Case] = {
    "CONV_2D": Case((PLANE, _weights(4, 3, 3, 4), _BIAS), (PLANE,), g.ConvOptions()),
    "DEPTHWISE_CONV_2D": Case((PLANE, _weights(1, 3, 3, 4), _BIAS), (PLANE,), g.DepthwiseConvOptions()),
    "FULLY_CONNECTED": Case(((1, 8), _weights(4, 8), _BIAS), ((1, 4),), g.FullyConnectedOptions()),
    "TRANSPOSE_CONV": Case(
        (_ints(1, 8, 8, 4), _weights(4, 3, 3, 4), PLANE, _BIAS), ((1, 8, 8, 4),), g.TransposeConvOptions(stride=(2, 2))
    ),
    "ADD": _ELEMENTWISE,
    "SUB": _ELEMENTWISE,
    "MUL": _ELEMENTWISE,
    "MAXIMUM": _PAIR,
    "MINIMUM": _PAIR,
    "PRELU": _PAIR,
    "ABS": _SAME,
    "NEG": _SAME,  # read, but neither simulated nor generated
    "LOGISTIC": _SAME,
    "TANH": _SAME,
    "HARD_SWISH": _SAME,
    "RELU": _SAME,
    "RELU6": _SAME,
    "RELU_N1_TO_1": _SAME,
    "LEAKY_RELU": Case((PLANE,), (PLANE,), g.LeakyReluOptions(0.1)),
    "QUANTIZE": _SAME,
    "SOFTMAX": Case((PLANE,), (PLANE,), g.SoftmaxOptions()),
    "MAX_POOL_2D": _POOL,
    "AVERAGE_POOL_2D": _POOL,
    "MEAN": _REDUCE,
    "SUM": _REDUCE,
    "ARG_MAX": Case((PLANE, _ints(3)), ((1, 4, 4),), g.ArgOptions(), positions=True),
    "ARG_MIN": Case((PLANE, _ints(3)), ((1, 4, 4),), g.ArgOptions(), positions=True),
    "REDUCE_MAX": _REDUCE,
    "REDUCE_MIN": _REDUCE,
    "RESIZE_NEAREST_NEIGHBOR": _RESIZE,
    "RESIZE_BILINEAR": _RESIZE,
    "CONCATENATION": Case((PLANE, PLANE), ((1, 4, 4, 8),), g.ConcatOptions(3)),
    "PACK": Case(((4, 4), (4, 4)), ((2, 4, 4),), g.PackOptions(2)),
    "SPLIT": Case((_ints(3), PLANE), ((1, 4, 4, 2), (1, 4, 4, 2)), g.SplitOptions(2)),
    "SPLIT_V": Case((PLANE, _ints(3, 1), _ints(3)), ((1, 4, 4, 3), (1, 4, 4, 1)), g.SplitOptions(2)),
    "UNPACK": Case(((2, 4, 4),), ((4, 4), (4, 4)), g.UnpackOptions(2)),
    "GATHER": Case((PLANE, _ints(3, 0, 0)), ((1, 4, 4, 3),), g.GatherOptions(-1)),
    "TILE": Case((PLANE, _ints(1, 2, 1, 1)), ((1, 8, 4, 4),)),
    "PAD": Case((PLANE, _PADS), ((1, 6, 6, 4),)),
    "PADV2": Case((PLANE, _PADS, np.array([7], np.int8)), ((1, 6, 6, 4),)),
    "RESHAPE": Case((PLANE, _ints(1, 64)), ((1, 64),), g.ReshapeOptions((1, 64))),
    "SQUEEZE": Case((PLANE,), ((4, 4, 4),), g.SqueezeOptions((0,))),
    "EXPAND_DIMS": Case(((4, 4), np.array(0, np.int32)), ((1, 4, 4),)),
    "TRANSPOSE": Case((PLANE, _ints(0, 3, 1, 2)), (PLANE,)),
    "STRIDED_SLICE": Case(
        (PLANE, _ints(0, 0, 0, 0), _ints(1, 4, 4, 4), _ints(1, 2, 2, 1)), ((1, 2, 2, 4),), g.StridedSliceOptions()
    ),
    "SLICE": Case((PLANE, _ints(0, 1, 1, 0), _ints(1, 2, 2, 4)), ((1, 2, 2, 4),)),
    "SPACE_TO_DEPTH": Case((PLANE,), ((1, 2, 2, 16),), g.BlockSizeOptions(2)),
    "DEPTH_TO_SPACE": Case((PLANE,), ((1, 8, 8, 1),), g.BlockSizeOptions(2)),
}


def graph_of(kind: str, dtype: str, output_scale: float | None = None) -> g.Graph:
    """Graph with one operator.

    Args:
        kind: key of `CASES`.
        dtype: of the activations, int8 or int16.
        output_scale: other than that of the inputs.
    """
    case = CASES[kind]
    zero_point = 3 if dtype == "int8" else 0
    tensors: list[g.Tensor] = []
    for operand in case.operands:
        name = f"t{len(tensors)}"
        if isinstance(operand, tuple):
            tensors.append(g.Tensor(name, operand, dtype, _quantization(SCALE, zero_point)))
        else:
            tensors.append(_constant(name, operand, dtype, zero_point, weighted=operand is case.operands[-1]))
    made = tuple(range(len(tensors), len(tensors) + len(case.outputs)))
    params = PRESCRIBED.get((kind, dtype), (output_scale or SCALE, zero_point))
    tensors += [
        g.Tensor(f"t{index}", shape, *(("int32", None) if case.positions else (dtype, _quantization(*params))))
        for index, shape in zip(made, case.outputs, strict=True)
    ]
    operands = tuple(range(len(case.operands)))
    inputs = tuple(index for index in operands if tensors[index].data is None)
    return g.Graph(tuple(tensors), (g.Operator(kind, operands, made, case.options),), inputs, made)


def _constant(name: str, data: np.ndarray, dtype: str, zero_point: int, weighted: bool) -> g.Tensor:
    """Weights, a bias, a pad value, or parameters such as axes."""
    if data is _BIAS:
        wide = data.astype(np.int64) if dtype == "int16" else data
        return g.Tensor(name, data.shape, str(wide.dtype), _quantization(SCALE * SCALE), wide)
    if data.dtype == np.int8:
        quantization = _quantization(SCALE, zero_point if weighted else 0)  # PADV2's value is an activation
        return g.Tensor(name, data.shape, "int8", quantization, data)
    return g.Tensor(name, data.shape, "int32", None, data)


def _quantization(scale: float, zero_point: int = 0) -> g.Quantization:
    return g.Quantization(np.array([scale], np.float32), np.array([zero_point], np.int64))


def _float_ends(*kinds: str) -> g.Graph:
    """Float operators one after the other, from int8 or float32 to int8 or float32."""
    codes = g.Tensor("codes", PLANE, "int8", _quantization(SCALE, 3))
    start = codes if kinds[0] == "DEQUANTIZE" else g.Tensor("codes", PLANE, "float32")
    tensors = [start]
    for number, kind in enumerate(kinds):
        made = replace(codes, name=f"t{number}") if kind == "QUANTIZE" else g.Tensor(f"t{number}", PLANE, "float32")
        tensors.append(made)
    operators = tuple(g.Operator(kind, (number,), (number + 1,)) for number, kind in enumerate(kinds))
    return g.Graph(tuple(tensors), operators, (0,), (len(kinds),))


# Of kinds that the table says to run at borders: the smallest graph with such a type.
BORDER_GRAPHS: dict[str, g.Graph] = {
    "QUANTIZE": _float_ends("QUANTIZE"),
    "DEQUANTIZE": _float_ends("DEQUANTIZE"),
    "EXP": _float_ends("DEQUANTIZE", "EXP", "QUANTIZE"),
}


def random_inputs(graph: g.Graph) -> tuple[np.ndarray, ...]:
    """Codes over the whole range, always the same."""
    rng = np.random.default_rng(0)
    tensors = [graph.tensors[index] for index in graph.inputs]
    return tuple(_random(rng, tensor) for tensor in tensors)


def _random(rng: np.random.Generator, tensor: g.Tensor) -> np.ndarray:
    if tensor.dtype == "float32":
        return rng.normal(0, 3, tensor.shape).astype(np.float32)
    limits = np.iinfo(tensor.dtype)
    return rng.integers(limits.min, limits.max, tensor.shape, endpoint=True).astype(tensor.dtype)
