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
from edgedet.graph.tflite.opaque import compiled_reason


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
    "NEG": OperatorSpec(1, 1, g.NoOptions, "NegOptions"),
    "ABS": OperatorSpec(1, 1, g.NoOptions, "AbsOptions"),
    "ARG_MAX": OperatorSpec(2, 2, g.ArgOptions, "ArgMaxOptions", _ARG),
    "ARG_MIN": OperatorSpec(2, 2, g.ArgOptions, "ArgMinOptions", _ARG),
}


def operator_spec(kind: str) -> OperatorSpec:
    """Spec of an operator.

    Args:
        kind: name in TFLite's BuiltinOperator.
    Raises:
        UnsupportedOpError: edgedet has no meaning for this operator; a clause that follows its name.
    """
    if kind not in SPECS:
        raise UnsupportedOpError(
            compiled_reason(kind)
            or f"is not supported; supported are {', '.join(sorted(SPECS))}. Leave it out of the exported model "
            "(detection post-processing is edgedet's own)"
        )
    return SPECS[kind]


def read_options(kind: str, operator: tflite.Operator) -> g.Options:
    """Options of an operator of a flatbuffer.

    Args:
        kind: name in TFLite's BuiltinOperator.
        operator: schema object.
    Raises:
        UnsupportedOpError: an unknown operator, an option that edgedet has no meaning for, options of another operator
            or none where it can't do without; a clause that follows its name.
    """
    spec = operator_spec(kind)
    found = operator.BuiltinOptionsType()
    union = operator.BuiltinOptions()
    if found == 0:
        return _absent_options(spec)
    if not spec.fields:
        result: g.Options = spec.options()
        return result
    if found != getattr(tflite.BuiltinOptions, spec.table) or union is None:
        raise UnsupportedOpError(f"needs {spec.table}, found options type {found}; export the model again")
    table = getattr(tflite, spec.table)()
    table.Init(union.Bytes, union.Pos)
    for slot in spec.must_be_zero:
        if getattr(table, slot)():
            raise UnsupportedOpError(f"with {slot} = {getattr(table, slot)()} is not supported, only 0")
    options: g.Options = spec.options(**{f.name: _read_field(table, f) for f in spec.fields})
    for field_spec in spec.fields:
        _require_range(field_spec, options)
    return options


def check_operands(kind: str, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
    """Check how many tensors an operator has, and that only optional inputs are absent.

    Args:
        kind: name in TFLite's BuiltinOperator.
        inputs: tensors, -1 for absent.
        outputs: tensors.
    Raises:
        UnsupportedOpError: an unknown operator, or other operands than it takes; a clause that follows its name.
    """
    spec = operator_spec(kind)
    if not spec.min_inputs <= len(inputs) <= spec.max_inputs:
        raise UnsupportedOpError(f"has {len(inputs)} inputs, expected {spec.min_inputs} to {spec.max_inputs}")
    if not 1 <= len(outputs) <= spec.max_outputs:
        raise UnsupportedOpError(f"has {len(outputs)} outputs, expected 1 to {spec.max_outputs}")
    for position, index in enumerate(inputs):
        if index < 0 and position not in spec.optional_inputs:
            raise UnsupportedOpError(f"lacks input {position}, which is tensor {index}")


# What TFLite and TFLite Micro take for a field whose table is absent: zero, also where the schema's default is another.
_ABSENT = {"int": 0, "mask": 0, "float": 0.0, "bool": False, "ints": (), "padding": "SAME", "activation": "NONE"}


def _absent_options(spec: OperatorSpec) -> g.Options:
    """Options of an operator without a table, as many converters write RESHAPE: its shape is input 1 then."""
    needed = [f.name for f in spec.fields if f.kind not in _ABSENT]
    if needed:
        raise UnsupportedOpError(f"needs {spec.table} with {', '.join(needed)}, found no options; export again")
    result: g.Options = spec.options(**{f.name: _ABSENT[f.kind] for f in spec.fields})
    return result


def _read_field(table: Any, spec: _Field) -> Any:
    if spec.kind == "ints":
        slot = spec.slots[0]
        length = getattr(table, f"{slot}Length")()
        if length > 8:
            raise UnsupportedOpError(f"has a {spec.name} of {length} entries, expected at most 8")
        return tuple(int(getattr(table, slot)(i)) for i in range(length))
    values = tuple(getattr(table, slot)() for slot in spec.slots)
    if spec.kind in ("padding", "activation"):
        names = g.PADDINGS if spec.kind == "padding" else _ACTIVATION_NAMES
        if not 0 <= values[0] < len(names):
            raise UnsupportedOpError(f"has {spec.name} number {values[0]}, which is not one of {', '.join(names)}")
        return names[values[0]]
    converted = tuple({"float": float, "bool": bool}.get(spec.kind, int)(v) for v in values)
    return converted if len(converted) > 1 else converted[0]


# Numbers of the schema's ActivationFunctionType.
_ACTIVATION_NAMES = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")


def check_options(kind: str, options: g.Options, where: str) -> None:
    """Check the options' class and the range of every field.

    Args:
        kind: name in TFLite's BuiltinOperator, one of `SPECS`.
        options: not opaque.
        where: file and operator, for errors.
    Raises:
        ConversionError: wrong class, or a value that no kernel takes.
    """
    spec = SPECS[kind]
    if type(options) is not spec.options:
        raise ConversionError(f"{where} takes {spec.options.__name__}, got {type(options).__name__}")
    try:
        for field_spec in spec.fields:
            _require_range(field_spec, options)
    except UnsupportedOpError as reason:
        raise ConversionError(f"{where} {reason}") from reason


def _require_range(spec: _Field, options: g.Options) -> None:
    value = getattr(options, spec.name)
    if not _in_range(spec, value):
        raise UnsupportedOpError(f"has {spec.name} = {value!r}, which is out of range")


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
            return bool(abs(value) < 2**15)
        case "mask":
            return bool(0 <= value < 2**8)
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
