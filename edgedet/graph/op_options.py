"""The operators that edgedet reads and writes: their operands, and how their options lie in the TFLite schema."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import tflite

from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.graph import graph as g


@dataclass(frozen=True)
class _Field:
    """One field of an options dataclass and its slots in the schema's table."""

    name: str  # in the dataclass of graph.py
    slots: tuple[str, ...]  # accessor names of the schema; two for a (height, width) pair
    kind: str  # int, positive, mask, float, bool, ints, padding, activation


@dataclass(frozen=True)
class OperatorSpec:
    """What the schema says of one operator."""

    min_inputs: int
    max_inputs: int
    options: type  # dataclass of graph.py
    table: str = ""  # options table of the schema; empty: the operator has none
    fields: tuple[_Field, ...] = ()
    must_be_zero: tuple[str, ...] = ()  # slots whose non-default values edgedet has no meaning for
    optional_inputs: tuple[int, ...] = ()  # positions that may hold -1
    max_outputs: int = 1


_PADDING = _Field("padding", ("Padding",), "padding")
_STRIDE = _Field("stride", ("StrideH", "StrideW"), "positive")
_DILATION = _Field("dilation", ("DilationHFactor", "DilationWFactor"), "positive")
_ACTIVATION = _Field("activation", ("FusedActivationFunction",), "activation")
_POT_SCALE = _Field("pot_scale_int16", ("PotScaleInt16",), "bool")
_POOL = (_Field("filter", ("FilterHeight", "FilterWidth"), "positive"), _STRIDE, _PADDING, _ACTIVATION)
_RESIZE = (
    _Field("align_corners", ("AlignCorners",), "bool"),
    _Field("half_pixel_centers", ("HalfPixelCenters",), "bool"),
)
_REDUCE = (_Field("keep_dims", ("KeepDims",), "bool"),)
_ARG = (_Field("output_type", ("OutputType",), "int"),)
_BLOCK = (_Field("block_size", ("BlockSize",), "positive"),)
_MASKS = tuple(
    _Field(f"{name.lower()}_mask", (f"{name.title().replace('_', '')}Mask",), "mask")
    for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
)

MANY = 4096  # operands of CONCATENATION, PACK, SPLIT; far more than any detector has

SPECS: dict[str, OperatorSpec] = {
    "CONV_2D": OperatorSpec(
        2,
        3,
        g.ConvOptions,
        "Conv2DOptions",
        (_PADDING, _STRIDE, _DILATION, _ACTIVATION),
        ("QuantizedBiasType",),
        (2,),
    ),
    "DEPTHWISE_CONV_2D": OperatorSpec(
        2,
        3,
        g.DepthwiseConvOptions,
        "DepthwiseConv2DOptions",
        (_PADDING, _STRIDE, _DILATION, _ACTIVATION, _Field("depth_multiplier", ("DepthMultiplier",), "int")),
        optional_inputs=(2,),
    ),
    "TRANSPOSE_CONV": OperatorSpec(
        3,
        4,
        g.TransposeConvOptions,
        "TransposeConvOptions",
        (_PADDING, _STRIDE, _ACTIVATION),
        ("QuantizedBiasType",),
        (3,),
    ),
    "FULLY_CONNECTED": OperatorSpec(
        2,
        3,
        g.FullyConnectedOptions,
        "FullyConnectedOptions",
        (_ACTIVATION, _Field("keep_num_dims", ("KeepNumDims",), "bool")),
        ("WeightsFormat", "QuantizedBiasType"),
        (2,),
    ),
    "MAX_POOL_2D": OperatorSpec(1, 1, g.PoolOptions, "Pool2DOptions", _POOL),
    "AVERAGE_POOL_2D": OperatorSpec(1, 1, g.PoolOptions, "Pool2DOptions", _POOL),
    "ADD": OperatorSpec(2, 2, g.ElementwiseOptions, "AddOptions", (_ACTIVATION, _POT_SCALE)),
    "SUB": OperatorSpec(2, 2, g.ElementwiseOptions, "SubOptions", (_ACTIVATION, _POT_SCALE)),
    "MUL": OperatorSpec(2, 2, g.ElementwiseOptions, "MulOptions", (_ACTIVATION,)),
    "CONCATENATION": OperatorSpec(
        1, MANY, g.ConcatOptions, "ConcatenationOptions", (_Field("axis", ("Axis",), "int"), _ACTIVATION)
    ),
    "RESIZE_NEAREST_NEIGHBOR": OperatorSpec(2, 2, g.ResizeOptions, "ResizeNearestNeighborOptions", _RESIZE),
    "RESIZE_BILINEAR": OperatorSpec(2, 2, g.ResizeOptions, "ResizeBilinearOptions", _RESIZE),
    "RESHAPE": OperatorSpec(1, 2, g.ReshapeOptions, "ReshapeOptions", (_Field("new_shape", ("NewShape",), "ints"),)),
    "MEAN": OperatorSpec(2, 2, g.ReduceOptions, "ReducerOptions", _REDUCE),
    "SUM": OperatorSpec(2, 2, g.ReduceOptions, "ReducerOptions", _REDUCE),
    "REDUCE_MAX": OperatorSpec(2, 2, g.ReduceOptions, "ReducerOptions", _REDUCE),
    "REDUCE_MIN": OperatorSpec(2, 2, g.ReduceOptions, "ReducerOptions", _REDUCE),
    "SOFTMAX": OperatorSpec(1, 1, g.SoftmaxOptions, "SoftmaxOptions", (_Field("beta", ("Beta",), "float"),)),
    "LEAKY_RELU": OperatorSpec(1, 1, g.LeakyReluOptions, "LeakyReluOptions", (_Field("alpha", ("Alpha",), "float"),)),
    "SQUEEZE": OperatorSpec(
        1, 1, g.SqueezeOptions, "SqueezeOptions", (_Field("squeeze_dims", ("SqueezeDims",), "ints"),)
    ),
    "SPLIT": OperatorSpec(
        2, 2, g.SplitOptions, "SplitOptions", (_Field("num_splits", ("NumSplits",), "positive"),), max_outputs=MANY
    ),
    "PACK": OperatorSpec(
        1,
        MANY,
        g.PackOptions,
        "PackOptions",
        (_Field("values_count", ("ValuesCount",), "positive"), _Field("axis", ("Axis",), "int")),
    ),
    "SPLIT_V": OperatorSpec(
        3, 3, g.SplitOptions, "SplitVOptions", (_Field("num_splits", ("NumSplits",), "positive"),), max_outputs=MANY
    ),
    "UNPACK": OperatorSpec(
        1,
        1,
        g.UnpackOptions,
        "UnpackOptions",
        (_Field("num", ("Num",), "positive"), _Field("axis", ("Axis",), "int")),
        max_outputs=MANY,
    ),
    "GATHER": OperatorSpec(
        2,
        2,
        g.GatherOptions,
        "GatherOptions",
        (_Field("axis", ("Axis",), "int"), _Field("batch_dims", ("BatchDims",), "int")),
    ),
    "STRIDED_SLICE": OperatorSpec(4, 4, g.StridedSliceOptions, "StridedSliceOptions", _MASKS, ("Offset",)),
    "SPACE_TO_DEPTH": OperatorSpec(1, 1, g.BlockSizeOptions, "SpaceToDepthOptions", _BLOCK),
    "DEPTH_TO_SPACE": OperatorSpec(1, 1, g.BlockSizeOptions, "DepthToSpaceOptions", _BLOCK),
    "LOGISTIC": OperatorSpec(1, 1, g.NoOptions),
    "TANH": OperatorSpec(1, 1, g.NoOptions),
    "RELU": OperatorSpec(1, 1, g.NoOptions),
    "RELU6": OperatorSpec(1, 1, g.NoOptions),
    "RELU_N1_TO_1": OperatorSpec(1, 1, g.NoOptions),
    "PRELU": OperatorSpec(2, 2, g.NoOptions),
    "HARD_SWISH": OperatorSpec(1, 1, g.NoOptions, "HardSwishOptions"),
    "QUANTIZE": OperatorSpec(1, 1, g.NoOptions, "QuantizeOptions"),
    "DEQUANTIZE": OperatorSpec(1, 1, g.NoOptions, "DequantizeOptions"),
    "EXP": OperatorSpec(1, 1, g.NoOptions, "ExpOptions"),
    "PAD": OperatorSpec(2, 2, g.NoOptions, "PadOptions"),
    "PADV2": OperatorSpec(3, 3, g.NoOptions, "PadV2Options"),
    "TRANSPOSE": OperatorSpec(2, 2, g.NoOptions, "TransposeOptions"),
    "SLICE": OperatorSpec(3, 3, g.NoOptions, "SliceOptions"),
    "MAXIMUM": OperatorSpec(2, 2, g.NoOptions, "MaximumMinimumOptions"),
    "MINIMUM": OperatorSpec(2, 2, g.NoOptions, "MaximumMinimumOptions"),
    "EXPAND_DIMS": OperatorSpec(2, 2, g.NoOptions, "ExpandDimsOptions"),
    "TILE": OperatorSpec(2, 2, g.NoOptions, "TileOptions"),
    "ABS": OperatorSpec(1, 1, g.NoOptions, "AbsOptions"),
    "ARG_MAX": OperatorSpec(2, 2, g.ArgOptions, "ArgMaxOptions", _ARG),
    "ARG_MIN": OperatorSpec(2, 2, g.ArgOptions, "ArgMinOptions", _ARG),
}


def operator_spec(kind: str, where: str) -> OperatorSpec:
    """Spec of an operator.

    Args:
        kind: name in TFLite's BuiltinOperator.
        where: file and operator, for the error.
    Raises:
        UnsupportedOpError: edgedet can't carry this operator's options; lists those that it can.
    """
    if kind not in SPECS:
        raise UnsupportedOpError(
            f"{where}: operator {kind} is not supported; supported are {', '.join(sorted(SPECS))}. "
            "Leave it out of the exported model (detection post-processing is edgedet's own)"
        )
    return SPECS[kind]


def read_options(kind: str, operator: tflite.Operator, where: str) -> g.Options:
    """Options of an operator of a flatbuffer.

    Args:
        kind: name in TFLite's BuiltinOperator.
        operator: schema object.
        where: file and operator, for errors.
    Raises:
        UnsupportedOpError: an unknown operator, or an option that edgedet has no meaning for.
        ConversionError: options that the operator can't do without are missing, or they are of another operator.
    """
    spec = operator_spec(kind, where)
    found = operator.BuiltinOptionsType()
    union = operator.BuiltinOptions()
    if found == 0:
        return _absent_options(spec, kind, where)
    expected = getattr(tflite.BuiltinOptions, spec.table) if spec.table else 0
    if found != expected or union is None:
        raise ConversionError(f"{where}: {kind} needs {spec.table or 'no options'}, found options type {found}")
    if not spec.fields:
        return spec.options()
    table = getattr(tflite, spec.table)()
    table.Init(union.Bytes, union.Pos)
    for slot in spec.must_be_zero:
        if getattr(table, slot)():
            raise UnsupportedOpError(f"{where}: {kind} with {slot} = {getattr(table, slot)()} is not supported, only 0")
    return spec.options(**{f.name: _read_field(table, f, f"{where}: {kind}") for f in spec.fields})


# What TFLite and TFLite Micro take for a field whose table is absent: zero, also where the schema's default is another.
_ABSENT = {"int": 0, "mask": 0, "float": 0.0, "bool": False, "ints": (), "padding": "SAME", "activation": "NONE"}


def _absent_options(spec: OperatorSpec, kind: str, where: str) -> g.Options:
    """Options of an operator without a table, as many converters write RESHAPE: its shape is input 1 then."""
    needed = [f.name for f in spec.fields if f.kind not in _ABSENT]
    if needed:
        raise ConversionError(f"{where}: {kind} needs {spec.table} with {', '.join(needed)}, found no options")
    return spec.options(**{f.name: _ABSENT[f.kind] for f in spec.fields})


def _read_field(table: Any, spec: _Field, where: str) -> Any:
    if spec.kind == "ints":
        slot = spec.slots[0]
        length = getattr(table, f"{slot}Length")()
        if length > 8:
            raise ConversionError(f"{where}: {spec.name} has {length} entries, expected at most 8")
        return tuple(int(getattr(table, slot)(i)) for i in range(length))
    values = tuple(getattr(table, slot)() for slot in spec.slots)
    if spec.kind in ("padding", "activation"):
        names = g.PADDINGS if spec.kind == "padding" else _ACTIVATION_NAMES
        if not 0 <= values[0] < len(names):
            raise UnsupportedOpError(f"{where}: {spec.name} number {values[0]} is not one of {', '.join(names)}")
        return names[values[0]]
    converted = tuple({"float": float, "bool": bool}.get(spec.kind, int)(v) for v in values)
    return converted if len(converted) > 1 else converted[0]


# Numbers of the schema's ActivationFunctionType.
_ACTIVATION_NAMES = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")


def check_options(kind: str, options: g.Options, where: str) -> None:
    """Check the options' class and the range of every field.

    Raises:
        UnsupportedOpError: unknown operator.
        ConversionError: wrong class, or a value that no kernel takes.
    """
    spec = operator_spec(kind, where)
    if type(options) is not spec.options:
        raise ConversionError(f"{where}: {kind} takes {spec.options.__name__}, got {type(options).__name__}")
    for field_spec in spec.fields:
        value = getattr(options, field_spec.name)
        if not _in_range(field_spec, value):
            raise ConversionError(f"{where}: {kind} has {field_spec.name} = {value!r}, which is out of range")


def _in_range(spec: _Field, value: Any) -> bool:
    match spec.kind:
        case "padding":
            return value in g.PADDINGS
        case "activation":
            return value in g.ACTIVATIONS
        case "float":
            return math.isfinite(value)
        case "bool":
            return isinstance(value, bool)
        case "ints":
            return all(abs(v) < 2**31 for v in value)
        case "int":
            return abs(value) < 2**15
        case "mask":
            return 0 <= value < 2**8
        case _:
            values = value if isinstance(value, tuple) else (value,)
            return len(values) == len(spec.slots) and all(1 <= v < 2**15 for v in values)


def write_options(builder: flatbuffers.Builder, kind: str, options: g.Options) -> tuple[int, int]:
    """Write an options table.

    Args:
        builder: flatbuffer under construction.
        kind: name in TFLite's BuiltinOperator, checked by `check_options`.
        options: checked options.
    Returns:
        (number in the schema's BuiltinOptions union, offset of the table); (0, 0) for an operator without one.
    """
    spec = SPECS[kind]
    if not spec.table:
        return 0, 0
    vectors = {
        f.name: builder.CreateNumpyVector(np.array(getattr(options, f.name), np.int32))
        for f in spec.fields
        if f.kind == "ints" and getattr(options, f.name)
    }
    getattr(tflite, f"{spec.table}Start")(builder)
    for field_spec in spec.fields:
        value = getattr(options, field_spec.name)
        if field_spec.kind == "ints":
            if field_spec.name in vectors:
                getattr(tflite, f"{spec.table}Add{field_spec.slots[0]}")(builder, vectors[field_spec.name])
            continue
        if field_spec.kind == "padding":
            value = g.PADDINGS.index(value)
        elif field_spec.kind == "activation":
            value = _ACTIVATION_NAMES.index(value)
        for slot, part in zip(field_spec.slots, value if isinstance(value, tuple) else (value,), strict=True):
            getattr(tflite, f"{spec.table}Add{slot}")(builder, part)
    return getattr(tflite.BuiltinOptions, spec.table), getattr(tflite, f"{spec.table}End")(builder)


# Smallest operator version with an int8 kernel, where it is not 2; TFLite, tools/versioning/op_version.cc.
_INT8_VERSION = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4}
# DEPTH_TO_SPACE should be 2 by that table, but the interpreters register version 1 only, int8 included.
_INT8_SINCE_1 = ("RESHAPE", "HARD_SWISH", "QUANTIZE", "SQUEEZE", "LEAKY_RELU", "PRELU", "EXPAND_DIMS", "DEPTH_TO_SPACE")
# The same for int16, where it is not 3. ADD and SUB need theirs for general scales; QUANTIZE has a rule of its own.
_INT16_VERSION = {
    "LEAKY_RELU": 2,
    "CONV_2D": 4,
    "DEPTHWISE_CONV_2D": 5,
    "MUL": 4,
    "SUB": 5,
    "MAXIMUM": 4,
    "MINIMUM": 4,
    "RESIZE_NEAREST_NEIGHBOR": 4,
    "RESIZE_BILINEAR": 4,
    "SPLIT": 4,
    "SLICE": 4,
    "TRANSPOSE": 5,
}
# They have no version of their own for int16.
_INT16_SINCE_1 = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "STRIDED_SLICE")


def operator_version(operator: g.Operator, tensors: tuple[g.Tensor, ...]) -> int:
    """Smallest version of an operator that has a kernel for its types and options.

    Args:
        operator: its own `version` is not looked at.
        tensors: of the graph.
    Returns:
        1 or higher; interpreters refuse an int8 operator whose version says that it is a float one.
    Source: TFLite, tensorflow/lite/tools/versioning/op_version.cc.
    """
    kind, options = operator.kind, operator.options
    operands = [tensors[i] for i in operator.inputs if i >= 0]
    position = {"SPLIT": 1, "TRANSPOSE_CONV": 1}.get(kind, 0)
    first = operands[position]
    if isinstance(options, g.ResizeOptions) and first.dtype != "int16":
        # RESIZE_BILINEAR has had align_corners since version 1.
        corners = options.align_corners and kind == "RESIZE_NEAREST_NEIGHBOR"
        if options.half_pixel_centers or corners:
            return 3
    if isinstance(options, g.StridedSliceOptions) and (options.ellipsis_mask or options.new_axis_mask):
        return 6
    if kind == "FULLY_CONNECTED" and first.dtype == "int8":
        return 6 if len(operands) == 2 else 5 if operator.options.keep_num_dims else 4  # type: ignore[union-attr]
    if isinstance(options, g.TransposeConvOptions):
        return 4 if options.activation != "NONE" else 3 if len(operands) == 4 else 2
    if kind == "MUL" and first.dtype == "int8" and _mul_rescale(operator, tensors) >= 1.0:
        return 3
    if kind == "CONV_2D" and first.shape[-1:] != operands[1].shape[-1:]:
        return 6
    if kind == "QUANTIZE":
        return 2 if tensors[operator.outputs[0]].dtype == "int16" else 1
    if first.dtype == "int16":
        return 1 if kind in _INT16_SINCE_1 else _INT16_VERSION.get(kind, 3)
    if first.dtype != "int8" or kind in _INT8_SINCE_1:
        return 1
    return _INT8_VERSION.get(kind, 2)


def _mul_rescale(operator: g.Operator, tensors: tuple[g.Tensor, ...]) -> float:
    scales = [tensors[i].quantization for i in (*operator.inputs, *operator.outputs)]
    if any(q is None for q in scales):
        return 0.0
    first, second, output = (float(q.scale[0]) for q in scales if q is not None)
    return first * second / output
