"""Versions of operators: the smallest one with a kernel for an operator's types and options.

Source: TFLite, tensorflow/lite/tools/versioning/op_version.cc.
"""

from __future__ import annotations

from edgedet.graph import graph as g

# Smallest operator version with an int8 kernel, where it is not 2.
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
