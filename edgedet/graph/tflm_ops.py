"""Names of TFLite Micro's resolver methods, one for each operator, custom ones included."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from edgedet.errors import UnsupportedOpError
from edgedet.graph.graph import Graph

# Method of tflite::MicroMutableOpResolver that registers each operator, at tflite-micro 90b983c (2026-08): all that it
# has. The python wheel registers the same, but has no kernel behind AddEthosU: that one is linked on the chip.
RESOLVER_METHODS = {
    "ABS": "AddAbs",
    "ADD": "AddAdd",
    "ADD_N": "AddAddN",
    "ARG_MAX": "AddArgMax",
    "ARG_MIN": "AddArgMin",
    "ASSIGN_VARIABLE": "AddAssignVariable",
    "AVERAGE_POOL_2D": "AddAveragePool2D",
    "BATCH_MATMUL": "AddBatchMatMul",
    "BATCH_TO_SPACE_ND": "AddBatchToSpaceNd",
    "BROADCAST_ARGS": "AddBroadcastArgs",
    "BROADCAST_TO": "AddBroadcastTo",
    "CALL_ONCE": "AddCallOnce",
    "CAST": "AddCast",
    "CEIL": "AddCeil",
    "CONCATENATION": "AddConcatenation",
    "CONV_2D": "AddConv2D",
    "COS": "AddCos",
    "CUMSUM": "AddCumSum",
    "CUSTOM (CIRCULAR_BUFFER)": "AddCircularBuffer",
    "CUSTOM (SignalDelay)": "AddDelay",
    "CUSTOM (SignalEnergy)": "AddEnergy",
    "CUSTOM (SignalFftAutoScale)": "AddFftAutoScale",
    "CUSTOM (SignalFilterBank)": "AddFilterBank",
    "CUSTOM (SignalFilterBankLog)": "AddFilterBankLog",
    "CUSTOM (SignalFilterBankSpectralSubtraction)": "AddFilterBankSpectralSubtraction",
    "CUSTOM (SignalFilterBankSquareRoot)": "AddFilterBankSquareRoot",
    "CUSTOM (SignalFramer)": "AddFramer",
    "CUSTOM (SignalIrfft)": "AddIrfft",
    "CUSTOM (SignalOverlapAdd)": "AddOverlapAdd",
    "CUSTOM (SignalPCAN)": "AddPCAN",
    "CUSTOM (SignalRfft)": "AddRfft",
    "CUSTOM (SignalStacker)": "AddStacker",
    "CUSTOM (SignalWindow)": "AddWindow",
    "CUSTOM (TFLM_DECODE)": "AddDecode",
    "CUSTOM (TFLite_Detection_PostProcess)": "AddDetectionPostprocess",
    "CUSTOM (ethos-u)": "AddEthosU",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D",
    "DEPTH_TO_SPACE": "AddDepthToSpace",
    "DEQUANTIZE": "AddDequantize",
    "DIV": "AddDiv",
    "DYNAMIC_UPDATE_SLICE": "AddDynamicUpdateSlice",
    "ELU": "AddElu",
    "EMBEDDING_LOOKUP": "AddEmbeddingLookup",
    "EQUAL": "AddEqual",
    "EXP": "AddExp",
    "EXPAND_DIMS": "AddExpandDims",
    "FILL": "AddFill",
    "FLOOR": "AddFloor",
    "FLOOR_DIV": "AddFloorDiv",
    "FLOOR_MOD": "AddFloorMod",
    "FULLY_CONNECTED": "AddFullyConnected",
    "GATHER": "AddGather",
    "GATHER_ND": "AddGatherNd",
    "GREATER": "AddGreater",
    "GREATER_EQUAL": "AddGreaterEqual",
    "HARD_SWISH": "AddHardSwish",
    "IF": "AddIf",
    "L2_NORMALIZATION": "AddL2Normalization",
    "L2_POOL_2D": "AddL2Pool2D",
    "LEAKY_RELU": "AddLeakyRelu",
    "LESS": "AddLess",
    "LESS_EQUAL": "AddLessEqual",
    "LOG": "AddLog",
    "LOGICAL_AND": "AddLogicalAnd",
    "LOGICAL_NOT": "AddLogicalNot",
    "LOGICAL_OR": "AddLogicalOr",
    "LOGISTIC": "AddLogistic",
    "LOG_SOFTMAX": "AddLogSoftmax",
    "MAXIMUM": "AddMaximum",
    "MAX_POOL_2D": "AddMaxPool2D",
    "MEAN": "AddMean",
    "MINIMUM": "AddMinimum",
    "MIRROR_PAD": "AddMirrorPad",
    "MUL": "AddMul",
    "NEG": "AddNeg",
    "NOT_EQUAL": "AddNotEqual",
    "PACK": "AddPack",
    "PAD": "AddPad",
    "PADV2": "AddPadV2",
    "PRELU": "AddPrelu",
    "QUANTIZE": "AddQuantize",
    "READ_VARIABLE": "AddReadVariable",
    "REDUCE_ALL": "AddReduceAll",
    "REDUCE_MAX": "AddReduceMax",
    "REDUCE_MIN": "AddReduceMin",
    "RELU": "AddRelu",
    "RELU6": "AddRelu6",
    "RESHAPE": "AddReshape",
    "RESIZE_BILINEAR": "AddResizeBilinear",
    "RESIZE_NEAREST_NEIGHBOR": "AddResizeNearestNeighbor",
    "REVERSE_V2": "AddReverseV2",
    "ROUND": "AddRound",
    "RSQRT": "AddRsqrt",
    "SELECT_V2": "AddSelectV2",
    "SHAPE": "AddShape",
    "SIN": "AddSin",
    "SLICE": "AddSlice",
    "SOFTMAX": "AddSoftmax",
    "SPACE_TO_BATCH_ND": "AddSpaceToBatchNd",
    "SPACE_TO_DEPTH": "AddSpaceToDepth",
    "SPLIT": "AddSplit",
    "SPLIT_V": "AddSplitV",
    "SQRT": "AddSqrt",
    "SQUARE": "AddSquare",
    "SQUARED_DIFFERENCE": "AddSquaredDifference",
    "SQUEEZE": "AddSqueeze",
    "STRIDED_SLICE": "AddStridedSlice",
    "SUB": "AddSub",
    "SUM": "AddSum",
    "SVDF": "AddSvdf",
    "TANH": "AddTanh",
    "TRANSPOSE": "AddTranspose",
    "TRANSPOSE_CONV": "AddTransposeConv",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
    "UNPACK": "AddUnpack",
    "VAR_HANDLE": "AddVarHandle",
    "WHILE": "AddWhile",
    "ZEROS_LIKE": "AddZerosLike",
}

# Kernels for int8 alone: with CMSIS-NN they leave out those for other types. Every resolver method of these takes them.
INT8_REGISTRATIONS = {
    "ADD": "Register_ADD_INT8",
    "AVERAGE_POOL_2D": "Register_AVERAGE_POOL_2D_INT8",
    "CONV_2D": "Register_CONV_2D_INT8",
    "DEPTHWISE_CONV_2D": "Register_DEPTHWISE_CONV_2D_INT8",
    "FULLY_CONNECTED": "Register_FULLY_CONNECTED_INT8",
    "MAX_POOL_2D": "Register_MAX_POOL_2D_INT8",
    "MUL": "Register_MUL_INT8",
    "SOFTMAX": "Register_SOFTMAX_INT8",
}


@dataclass(frozen=True)
class OperatorUse:
    """One kind of operator in a graph."""

    kind: str  # name in BuiltinOperator, or "CUSTOM (name)"
    count: int
    method: str  # of MicroMutableOpResolver; empty for other targets
    registration: str = ""  # what the method is given, a kernel for int8 alone; empty: the one for all types

    @property
    def custom(self) -> str:
        """Name of a custom operator; empty for TFLite's own."""
        return self.kind.removeprefix("CUSTOM (")[:-1] if self.kind.startswith("CUSTOM (") else ""


def operators_used(graph: Graph, source: str) -> tuple[OperatorUse, ...]:
    """The operators that a resolver for this graph must register, each once.

    Args:
        graph: any graph.
        source: name of its file, for errors.
    Returns:
        In order of the operators' names.
    Raises:
        UnsupportedOpError: TFLite Micro has no kernel for an operator.
    """
    counts = Counter(operator.kind for operator in graph.operators)
    missing = sorted(set(counts) - set(RESOLVER_METHODS))
    if missing:
        raise UnsupportedOpError(
            f"{source}: TFLite Micro has no kernel for {', '.join(missing)}; replace these operators in the model. "
            f"It has kernels for {', '.join(RESOLVER_METHODS)}"
        )
    return tuple(
        OperatorUse(kind, counts[kind], RESOLVER_METHODS[kind], _int8_registration(graph, kind))
        for kind in sorted(counts)
    )


def kinds_used(graph: Graph) -> tuple[OperatorUse, ...]:
    """The kinds of operators in a graph, for targets without a resolver; in order of their names."""
    counts = Counter(operator.kind for operator in graph.operators)
    return tuple(OperatorUse(kind, counts[kind], "") for kind in sorted(counts))


def _int8_registration(graph: Graph, kind: str) -> str:
    """Kernel for int8 alone, where one exists and every operator of the kind computes from int8 to int8."""
    for operator in graph.operators:
        if operator.kind == kind:
            ends = (*operator.inputs[:2], *operator.outputs)  # activations, and weights where there are any
            if any(index < 0 or graph.tensors[index].dtype != "int8" for index in ends):
                return ""
    return INT8_REGISTRATIONS.get(kind, "")
