"""What edgedet knows of each operator: where it runs, what it is like, where its limits are.

The one place for such facts. `edgedet operators` prints it, docs/operators.md is made from it, the C generator, the
memory planner and lint take their sets of operators from it, and tests/graph/test_operator_table.py holds it against
the reader, the simulator, the C emitters and a small graph of every kind. To add an operator: its options in
op_options.py, its builder in simulate/, its emitter in codegen/, and a row here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from edgedet.graph.tflite.op_options import SPECS
from edgedet.graph.tflm_ops import RESOLVER_METHODS

INT8, INT16, BORDER = "int8", "int16", "border"
_ALL = (INT8, INT16)
_ONLY_8 = (INT8,)
_NOWHERE: tuple[str, ...] = ()


class Trait(StrEnum):
    """What kinds of operators have in common."""

    WEIGHTED = "weighted"  # inputs are an activation, constant weights and an optional bias
    CONVOLUTION = "convolution"  # weighted, input 0 is (N, H, W, C), pads with the zero point
    SLIDING = "sliding"  # a window over rows and columns: a part of the output needs a part of the input
    COPYING = "copying"  # every output code is an input code, or made of codes of one scale: all tensors share it
    MOVING = "moving"  # copying, and every output is a strided view of the input, or (GATHER) a list of its parts
    RESHAPING = "reshaping"  # copying, and bytes and order stay: no code at all where memory is shared
    UNARY = "unary"  # a function of one int8 code: a table of 256 in C
    BINARY = "binary"  # a function of two codes with broadcasting: a table where one of them is a constant number
    IN_PLACE = "in place"  # the C kernel may write its output over an input of the same shape
    NO_INT16 = "no int16"  # no int16 kernel in TFLite (ai-edge-litert 2.3.0) or TFLite Micro (0.dev20261023); tried
    ON_SHAPES = "on shapes"  # of int32 or int64 shapes and constants: computed once, by fold_shapes
    PITCHED = "pitched"  # the C kernel reads and writes tensors inside the pixels of a wider one


@dataclass(frozen=True)
class OperatorSupport:
    """One row: what is supported where."""

    kind: str  # name in TFLite's BuiltinOperator
    # Activations that it takes: INT8; INT16 (weights int8, 16x8); BORDER (float32, uint8, int32, ... at the inputs and
    # outputs of a model, and QUANTIZE between types).
    simulator: tuple[str, ...] = _NOWHERE
    c: tuple[str, ...] = _NOWHERE
    traits: frozenset[Trait] = frozenset()
    limits: str = ""  # of the simulator and, after "C:", of the generated C; empty: none beyond TFLite's own

    @property
    def reader(self) -> bool:
        """Whether its options are understood: read, checked and written."""
        return self.kind in SPECS

    @property
    def tflm(self) -> str:
        """Method of TFLite Micro's resolver; empty: TFLite Micro has no kernel."""
        return RESOLVER_METHODS.get(self.kind, "")

    def to_json(self) -> dict[str, object]:
        """For `edgedet operators --json`."""
        return {
            "kind": self.kind,
            "reader": self.reader,
            "simulator": list(self.simulator),
            "c": list(self.c),
            "tflm": self.tflm or None,
            "traits": sorted(self.traits),
            "limits": self.limits,
        }


def _row(
    kind: str, simulator: tuple[str, ...], c: tuple[str, ...], traits: Iterable[Trait] = (), limits: str = ""
) -> OperatorSupport:
    folded = (Trait.ON_SHAPES,) if kind in _ON_SHAPES else ()
    return OperatorSupport(kind, simulator, c, frozenset((*traits, *folded)), limits)


_ON_SHAPES = frozenset(
    (
        *("SHAPE", "ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "FLOOR_DIV", "FLOOR_MOD", "CAST"),
        *("SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"),
        *("CONCATENATION", "PACK", "UNPACK", "SPLIT", "SPLIT_V", "GATHER", "TILE", "TRANSPOSE", "SLICE"),
        *("STRIDED_SLICE", "RESHAPE", "SQUEEZE", "EXPAND_DIMS"),
    )
)
_T = Trait
_CONVOLUTION = (_T.WEIGHTED, _T.CONVOLUTION, _T.SLIDING, _T.PITCHED)
_ELEMENTWISE = (_T.BINARY, _T.IN_PLACE, _T.PITCHED)
_POOL = (_T.SLIDING, _T.COPYING, _T.PITCHED)
_SAME_BYTES = (_T.COPYING, _T.RESHAPING)
_FIXED_SCALE = "the output's scale and zero point are prescribed"
_MOVE = (_T.COPYING, _T.MOVING)
_QUANTIZE_TYPES = "float32 to int8 or int16; uint8 to int8 and back; int8 and int16, any way; not float32 to uint8"
_ONE_WEIGHT_ZERO = "weights constant, int8, zero point 0; int16: bias int64"

# Operators that edgedet can run somewhere, compute in advance, or whose options it reads.
ROWS: tuple[OperatorSupport, ...] = (
    _row("CONV_2D", _ALL, _ALL, _CONVOLUTION, f"{_ONE_WEIGHT_ZERO}; no grouped convolution"),
    _row("DEPTHWISE_CONV_2D", _ALL, _ALL, _CONVOLUTION, _ONE_WEIGHT_ZERO),
    _row(
        "TRANSPOSE_CONV",
        _ONLY_8,
        _ONLY_8,
        (_T.PITCHED,),
        "output shape constant; weights constant, int8, zero point 0",
    ),
    _row("FULLY_CONNECTED", _ONLY_8, _ONLY_8, (_T.WEIGHTED,), "weights constant, int8, zero point 0"),
    _row("ADD", _ALL, _ALL, _ELEMENTWISE, "int16: not pot_scale_int16 with power-of-two scales"),
    _row("SUB", _ALL, _ALL, _ELEMENTWISE, "int16: not pot_scale_int16 with power-of-two scales"),
    _row("MUL", _ALL, _ALL, _ELEMENTWISE),
    _row("MAXIMUM", _ALL, _ALL, (*_ELEMENTWISE, _T.COPYING)),
    _row("MINIMUM", _ALL, _ALL, (*_ELEMENTWISE, _T.COPYING)),
    _row("LOGISTIC", _ALL, _ALL, (_T.UNARY, _T.IN_PLACE, _T.PITCHED), _FIXED_SCALE),
    _row("TANH", _ONLY_8, _ONLY_8, (_T.UNARY,), _FIXED_SCALE),
    _row("HARD_SWISH", _ONLY_8, _ONLY_8, (_T.UNARY, _T.NO_INT16)),
    _row("RELU", _ONLY_8, _ONLY_8, (_T.UNARY,)),
    _row("RELU6", _ONLY_8, _ONLY_8, (_T.UNARY,), "input and output of one scale: TFLite rescales, TFLM does not"),
    _row("RELU_N1_TO_1", _ONLY_8, _ONLY_8, (_T.UNARY,), "input and output of one scale"),
    _row("LEAKY_RELU", _ONLY_8, _ONLY_8, (_T.UNARY,)),
    _row("ABS", _ONLY_8, _ONLY_8, (_T.UNARY,)),
    _row("NEG", _NOWHERE, _NOWHERE),
    _row("ARG_MAX", _ONLY_8, _ONLY_8, (), "axis constant; output int32"),
    _row("ARG_MIN", _ONLY_8, _ONLY_8, (), "axis constant; output int32"),
    _row("PRELU", _ONLY_8, _ONLY_8, _ELEMENTWISE),
    _row(
        "SOFTMAX",
        _ONLY_8,
        _ONLY_8,
        (_T.IN_PLACE, _T.PITCHED),
        f"{_FIXED_SCALE}; up to 4095 values in a row; TFLite Micro's arithmetic, LiteRT's can differ by 1",
    ),
    _row("QUANTIZE", (*_ALL, BORDER), (*_ALL, BORDER), (_T.UNARY, _T.PITCHED), _QUANTIZE_TYPES),
    _row("DEQUANTIZE", (BORDER,), (BORDER,), (), "from int8, uint8 or int16 to float32"),
    _row("EXP", (BORDER,), (BORDER,), (), "float32; C: between DEQUANTIZE and QUANTIZE, which make it a table"),
    _row("MAX_POOL_2D", _ALL, _ALL, _POOL),
    _row("AVERAGE_POOL_2D", _ALL, _ALL, _POOL),
    _row("MEAN", _ALL, _ALL, (), "axes constant; C: neighbouring axes"),
    _row("SUM", _ONLY_8, _ONLY_8, (_T.NO_INT16,), "axes constant; C: neighbouring axes"),
    _row("REDUCE_MAX", _ONLY_8, _ONLY_8, (_T.COPYING, _T.NO_INT16), "axes constant; C: neighbouring axes"),
    _row("REDUCE_MIN", _ONLY_8, _ONLY_8, (_T.COPYING, _T.NO_INT16), "axes constant; C: neighbouring axes"),
    _row("RESIZE_NEAREST_NEIGHBOR", _ALL, _ALL, (_T.COPYING, _T.PITCHED), "size constant"),
    _row("RESIZE_BILINEAR", _ONLY_8, _ONLY_8, (_T.COPYING, _T.PITCHED, _T.NO_INT16), "size constant"),
    _row("CONCATENATION", _ALL, _ALL, (_T.COPYING, _T.PITCHED), "no fused activation"),
    _row("PACK", _ONLY_8, _ONLY_8, (_T.COPYING,)),
    _row("SPLIT", _ONLY_8, _ONLY_8, _MOVE, "axis constant"),
    _row("SPLIT_V", _ONLY_8, _ONLY_8, _MOVE, "sizes and axis constant"),
    _row("UNPACK", _ONLY_8, _ONLY_8, _MOVE),
    _row("GATHER", _ONLY_8, _ONLY_8, _MOVE, "indices constant; batch_dims 0; TFLite Micro: int32 indices"),
    _row("TILE", _ONLY_8, _ONLY_8, _MOVE, "multiples constant"),
    _row("PAD", _ALL, _ALL, (_T.COPYING, _T.PITCHED), "padding constant; C: height, width and channels only"),
    _row(
        "PADV2",
        _ONLY_8,
        _ONLY_8,
        (_T.COPYING, _T.PITCHED),
        "padding and value constant; C: height, width and channels only",
    ),
    _row("RESHAPE", _ALL, _ALL, _SAME_BYTES),
    _row("SQUEEZE", _ONLY_8, _ONLY_8, _SAME_BYTES),
    _row("EXPAND_DIMS", _ONLY_8, _ONLY_8, _SAME_BYTES),
    _row("TRANSPOSE", _ALL, _ALL, _MOVE, "permutation constant; TFLite Micro: up to 5 axes"),
    _row("STRIDED_SLICE", _ALL, _ALL, _MOVE, "bounds constant; no ellipsis, no new axes"),
    _row("SLICE", _ALL, _ALL, _MOVE, "bounds constant"),
    _row("SPACE_TO_DEPTH", _ONLY_8, _ONLY_8, (*_MOVE, _T.NO_INT16)),
    _row("DEPTH_TO_SPACE", _ONLY_8, _ONLY_8, (*_MOVE, _T.NO_INT16)),
    *(_row(kind, _NOWHERE, _NOWHERE) for kind in ("SHAPE", "FLOOR_DIV", "FLOOR_MOD", "REDUCE_PROD", "CAST")),
)
_BY_KIND = {row.kind: row for row in ROWS}


def support(kind: str) -> OperatorSupport:
    """Row of a kind; an empty one for those that edgedet only knows by name, or not at all.

    Args:
        kind: name in TFLite's BuiltinOperator.
    """
    return _BY_KIND.get(kind, OperatorSupport(kind))


def known_operators() -> tuple[OperatorSupport, ...]:
    """Every operator that the reader, the simulator, the C kernels or TFLite Micro knows, by name."""
    return tuple(support(kind) for kind in sorted({*_BY_KIND, *SPECS, *RESOLVER_METHODS}))


def kinds_with(trait: Trait) -> tuple[str, ...]:
    """Kinds of operators that have something in common, in the table's order."""
    return tuple(row.kind for row in ROWS if trait in row.traits)
