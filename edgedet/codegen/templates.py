"""Jinja environment of the firmware templates, and the contract values that every target shares."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from edgedet.codegen.c_source import int8_rows
from edgedet.codegen.module_name import UNNAMED, ModuleName
from edgedet.data.pictures.preprocess import quantization_table
from edgedet.errors import missing_extra
from edgedet.escape import c_decimal, c_string, template_value
from edgedet.graph.model import Int8Model
from edgedet.graph.tflite.dtypes import tensor_bytes
from edgedet.numerics.decode import MAX_CANDIDATES, class_codes, quantized_threshold
from edgedet.numerics.heads.fomo import quantized_score_threshold
from edgedet.numerics.heads.layout import class_channels, grid
from edgedet.resources import resource_dir


def require_jinja2(target: str) -> None:
    """Raises ToolchainError when Jinja2 is not installed; every target has an extra of its name that brings it."""
    if importlib.util.find_spec("jinja2") is None:
        raise missing_extra("jinja2", target)


def contract_values(model: Int8Model) -> dict[str, Any]:
    """Values of the template contract.h.j2, which every target shares."""
    return {**_input_values(model), **_output_values(model)}


def _input_values(model: Int8Model) -> dict[str, Any]:
    spec = model.preprocess
    table = quantization_table(spec, model.input_scale, model.input_zero_point)
    shifted = bool((table == np.arange(-128, 128)).all())
    return {
        "preprocess": spec,
        "mean": [c_decimal(value) for value in spec.mean],
        "std": [c_decimal(value) for value in spec.std],
        "input_scale": c_decimal(model.input_scale),
        "input_zero_point": model.input_zero_point,
        "pixel_minus_128": shifted,
        "input_table_rows": [] if shifted else [int8_rows(channel) for channel in table],
    }


def _output_values(model: Int8Model) -> dict[str, Any]:
    spec = model.outputs
    return {
        "decoder": model.c_decoder,
        "head": spec.head,
        "outputs": _outputs(model),
        "class_names": [c_string(name) for name in spec.class_names],
        "score_threshold": c_decimal(spec.score_threshold),
        "score_threshold_decimal": spec.score_threshold,
        "class_thresholds": [c_decimal(value) for value in spec.class_thresholds],
        "nms_iou": c_decimal(spec.nms_iou),
        "max_detections": spec.max_detections,
        "max_candidates": MAX_CANDIDATES,
    }


def _outputs(model: Int8Model) -> list[dict[str, Any]]:
    match model.c_decoder:
        case "cells":
            return [_heat_map(model)]
        case "rows":
            return _row_outputs(model)
    return _level_outputs(model)


def _row_outputs(model: Int8Model) -> list[dict[str, Any]]:
    """Tensors of a head with rows of boxes."""
    graph = model.graph
    return [
        {
            "name": name,
            "position": position,
            "bytes": tensor_bytes(graph.tensors[graph.outputs[position]]),
            "scale": c_decimal(scale),
            "zero_point": zero_point,
        }
        for name, position, scale, zero_point in zip(
            model.outputs.tensor_names, model.output_positions, model.scales, model.zero_points, strict=True
        )
    ]


def _level_outputs(model: Int8Model) -> list[dict[str, Any]]:
    """Class and box tensors of RTMDet's head."""
    spec = model.outputs
    outputs = []
    for index, name in enumerate(spec.tensor_names):
        position = model.output_positions[index]
        channels = model.graph.tensors[model.graph.outputs[position]].shape[-1]
        kind, stride = name.split("_")
        # Of the contract, not of the tensor: SSCMA's are (1, cells, channels), with the same bytes.
        height, width = grid((model.preprocess.width, model.preprocess.height), int(stride))
        scale, zero_point = model.scales[index], model.zero_points[index]
        threshold = quantized_threshold(spec.score_threshold, scale, zero_point) if kind == "cls" else 0
        classes = class_codes(spec.class_thresholds, scale, zero_point).tolist() if kind == "cls" else []
        outputs.append(
            {
                "name": name,
                "position": position,
                "stride": int(stride),
                "kind": kind,
                "height": height,
                "width": width,
                "channels": channels,
                "scale": c_decimal(scale),
                "zero_point": zero_point,
                "q_threshold": threshold,
                "q_thresholds": classes,
            }
        )
    return outputs


def _heat_map(model: Int8Model) -> dict[str, Any]:
    """The one output of FOMO's head."""
    spec, (scale,), (zero_point,) = model.outputs, model.scales, model.zero_points
    height, width = grid((model.preprocess.width, model.preprocess.height), spec.strides[0])
    return {
        "name": spec.tensor_names[0],
        "position": model.output_positions[0],
        "stride": spec.strides[0],
        "height": height,
        "width": width,
        "channels": class_channels(spec),
        "background": int(spec.head.background),
        "scale": c_decimal(scale),
        "zero_point": zero_point,
        "q_threshold": quantized_score_threshold(spec.score_threshold, scale, zero_point),
        "q_thresholds": [quantized_score_threshold(t, scale, zero_point) for t in spec.class_thresholds],
    }


def template_environment(target: str, name: ModuleName = UNNAMED) -> Any:
    """The one jinja2.Environment of all generated sources; a missing value is an error.

    Args:
        target: folder of firmware_export whose templates come first; those of tflm, c99 and device follow: contract.h,
            the tables of run.c, the kernels' part of CMakeLists.txt and the serial protocol are the same.
        name: of the module.
    """
    import jinja2

    templates = resource_dir("firmware_export")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([templates / folder for folder in (target, "tflm", "c99", "device")]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML; every text from outside goes through c_string or c_comment
        finalize=template_value,
    )
    environment.globals.update(
        prefix=name.prefix, macro=name.macro, camel=name.camel, stem=name.stem, is_given=name.is_given, unit=name.unit
    )
    return environment
