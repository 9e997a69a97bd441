"""The source files of a TFLite Micro deployment, rendered from firmware_export/tflm/*.j2."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedet import __version__
from edgedet.data.preprocess import quantization_table
from edgedet.deploy.arena import ArenaReport
from edgedet.deploy.c_source import byte_rows, float_literal, int8_rows, string_literal
from edgedet.deploy.tflm_ops import OperatorUse
from edgedet.errors import missing_extra
from edgedet.evaluate.runtimes import Int8Model
from edgedet.numerics.decode import MAX_CANDIDATES, quantized_threshold
from edgedet.resources import resource_dir

FILES = ("model_data.h", "model_data.cc", "op_resolver.h", "contract.h", "golden.h", "golden.cc")


@dataclass(frozen=True, eq=False)
class Golden:
    """One input and its outputs."""

    source: str  # where the input comes from, one line
    q_input: np.ndarray  # int8 (1, H, W, 3)
    q_outputs: tuple[np.ndarray, ...]  # int8 (1, h, w, c), contract order


def require_jinja2(target: str) -> None:
    """Raises ToolchainError when Jinja2 is not installed; every target has an extra of its name that brings it."""
    if importlib.util.find_spec("jinja2") is None:
        raise missing_extra("jinja2", target)


def render_sources(
    model: Int8Model, model_sha256: str, operators: tuple[OperatorUse, ...], arena: ArenaReport, golden: Golden
) -> dict[str, str]:
    """Text of every source file.

    Args:
        model: the model with its contracts.
        model_sha256: of the file, hexadecimal.
        operators: that the resolver registers.
        arena: its size.
        golden: input and outputs for the self-test.
    Returns:
        File name -> text, in the order of `FILES`.
    Raises:
        ToolchainError: Jinja2 or the templates are missing.
    """
    require_jinja2("tflm")
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource_dir("firmware_export") / "tflm"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # C, not HTML; every text from outside goes through string_literal
    )
    values = {
        "edgedet_version": __version__,
        "model_sha256": model_sha256,
        "model_bytes": len(model.data),
        "model_rows": byte_rows(model.data),
        "operators": operators,
        "operator_total": sum(operator.count for operator in operators),
        "arena": arena,
        "golden_source": golden.source.encode("ascii", "replace").decode().replace("\n", " "),
        "golden_input_rows": int8_rows(golden.q_input),
        "golden_input_bytes": golden.q_input.size,
        "golden_outputs": _golden_values(model.outputs.tensor_names, golden.q_outputs),
        **contract_values(model),
    }
    return {name: environment.get_template(f"{name}.j2").render(values) for name in FILES}


def contract_values(model: Int8Model) -> dict[str, Any]:
    """Values of the template contract.h.j2, which every target shares."""
    return {**_input_values(model), **_output_values(model)}


def _input_values(model: Int8Model) -> dict[str, Any]:
    spec = model.preprocess
    table = quantization_table(spec, model.input_scale, model.input_zero_point)
    shifted = bool((table == np.arange(-128, 128)).all())
    return {
        "preprocess": spec,
        "mean": [float_literal(value) for value in spec.mean],
        "std": [float_literal(value) for value in spec.std],
        "input_scale": float_literal(model.input_scale),
        "input_zero_point": model.input_zero_point,
        "pixel_minus_128": shifted,
        "input_table_rows": [] if shifted else [int8_rows(channel) for channel in table],
    }


def _output_values(model: Int8Model) -> dict[str, Any]:
    spec = model.outputs
    outputs = []
    for index, name in enumerate(spec.tensor_names):
        position = model.output_positions[index]
        _, height, width, channels = model.graph.tensors[model.graph.outputs[position]].shape
        kind, stride = name.split("_")
        scale, zero_point = model.scales[index], model.zero_points[index]
        threshold = quantized_threshold(spec.score_threshold, scale, zero_point) if kind == "cls" else 0
        outputs.append(
            {
                "name": name,
                "position": position,
                "stride": int(stride),
                "kind": kind,
                "height": height,
                "width": width,
                "channels": channels,
                "scale": float_literal(scale),
                "zero_point": zero_point,
                "q_threshold": threshold,
            }
        )
    return {
        "outputs": outputs,
        "class_names": [string_literal(name) for name in spec.class_names],
        "score_threshold": float_literal(spec.score_threshold),
        "score_threshold_decimal": spec.score_threshold,
        "nms_iou": float_literal(spec.nms_iou),
        "max_detections": spec.max_detections,
        "max_candidates": MAX_CANDIDATES,
    }


def _golden_values(names: Sequence[str], q_outputs: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    return [
        {"name": name, "rows": int8_rows(array), "bytes": array.size}
        for name, array in zip(names, q_outputs, strict=True)
    ]
