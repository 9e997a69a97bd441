"""What decodes the outputs behind the network in edgedet_run(): the kernel, its constants and its scratch."""

from __future__ import annotations

from typing import Any

from edgedet.codegen.row_decoder import BOX_CODINGS, SCORE_CODINGS, CodeValues, RowDecoder, RowLevel, View, row_decoder
from edgedet.escape import c_double, c_float
from edgedet.graph.model import Int8Model
from edgedet.numerics.decode import MAX_CANDIDATES, score_table
from edgedet.numerics.heads.layout import grid

_KERNELS = {"levels": "edk_detect", "rows": "edk_detect_rows", "cells": "edk_detect_cells"}  # of Int8Model.c_decoder
_CANDIDATE_BYTES = 8  # of edk_detect_scratch_bytes()
_CELL_BYTES = 4  # of edk_detect_cells_scratch_bytes()


def decoder_kernel(model: Int8Model) -> str:
    """Name of the kernel that decodes a head; the model has one."""
    return _KERNELS[model.c_decoder]


def decoder_scratch_bytes(model: Int8Model) -> int:
    """Scratch of that kernel, bytes."""
    if model.c_decoder != "cells":
        return _CANDIDATE_BYTES * MAX_CANDIDATES
    rows, columns = grid((model.preprocess.width, model.preprocess.height), model.outputs.strides[0])
    return _CELL_BYTES * rows * columns


def decoder_values(model: Int8Model, contract: dict[str, Any]) -> dict[str, Any]:
    """Values of the templates run.h.j2 and run.c.j2.

    Args:
        model: with its contracts.
        contract: its `contract_values`.
    """
    values = {"decoder": model.c_decoder, "detect_kernel": decoder_kernel(model)}
    if model.c_decoder == "cells":
        return {**values, "cells": contract["outputs"][0]}
    if model.c_decoder == "rows":
        return {**values, "rows": row_texts(decoder_of(model))}
    return {**values, "levels": _levels(model, contract["outputs"])}


def _levels(model: Int8Model, outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Constants of each stride level of RTMDet's head."""
    levels = []
    for number, (cls, box) in enumerate(zip(outputs[0::2], outputs[1::2], strict=True)):
        scores = score_table(model.scales[2 * number], model.zero_points[2 * number])
        levels.append(
            {
                "height": cls["height"],
                "width": cls["width"],
                "stride": cls["stride"],
                "cls_scale": cls["scale"],
                "box_scale": box["scale"],
                "cls_zero_point": cls["zero_point"],
                "box_zero_point": box["zero_point"],
                "q_threshold": cls["q_threshold"],
                "q_thresholds": cls["q_thresholds"],
                "score_rows": _table_lines([c_float(value) for value in scores.tolist()]),
            }
        )
    return levels


def decoder_of(model: Int8Model) -> RowDecoder:
    """Constants of `edk_detect_rows` for a model whose `c_decoder` is `rows`."""
    graph = model.graph
    shapes = [graph.tensors[graph.outputs[position]].shape for position in model.output_positions]
    size = (model.preprocess.width, model.preprocess.height)
    return row_decoder(model.outputs, shapes, model.scales, model.zero_points, size)


def row_texts(decoder: RowDecoder) -> dict[str, Any]:
    """Values of the template run_rows.c.j2: the constants as C text."""
    return {
        "tables": [_table_lines([c_float(value) for value in table.tolist()]) for table in decoder.tables],
        "powers": [_table_lines([c_double(value) for value in table.tolist()]) for table in decoder.powers],
        "tensor_bytes": decoder.tensor_bytes,
        "levels": [_row_level(level) for level in decoder.levels],
        "class_thresholds": [c_float(value) for value in decoder.class_thresholds],
        "fields": {
            "input_width": decoder.width,
            "input_height": decoder.height,
            "num_classes": decoder.num_classes,
            "bins": decoder.bins,
            "box_coding": f"EDK_BOX_{BOX_CODINGS[decoder.box_coding]}",
            "score_coding": f"EDK_SCORE_{SCORE_CODINGS[decoder.score_coding]}",
            "background": decoder.background,
            "objectness": decoder.objectness,
            "agnostic": decoder.agnostic,
            "offset": c_float(decoder.offset),
            "score_threshold": c_float(decoder.score_threshold),
            "nms_iou": c_float(decoder.nms_iou),
        },
    }


def _row_level(level: RowLevel) -> dict[str, Any]:
    def view(place: View) -> str:
        steps = (place.tensor, place.offset, place.cell_step, place.anchor_step, place.channel_step)
        return "{" + ", ".join(map(str, steps)) + "}"

    def codes(values: CodeValues) -> str:
        table = "NULL" if values.table < 0 else f"row_tables[{values.table}]"
        return f"{{{table}, {c_float(values.scale)}, {values.zero_point}}}"

    def powers(index: int) -> str:
        return "NULL" if index < 0 else f"row_powers[{index}]"

    fields = {
        "height": level.height,
        "width": level.width,
        "stride": level.stride,
        "anchors": level.anchors,
        "cls": view(level.cls),
        "box": view(level.box),
        "obj": view(level.obj),
        "cls_codes": codes(level.cls_codes),
        "box_codes": "{" + ", ".join(codes(values) for values in level.box_codes) + "}",
        "obj_codes": codes(level.obj_codes),
        "cls_powers": powers(level.cls_powers),
        "bin_powers": powers(level.bin_powers),
        "cls_threshold": level.cls_threshold,
        "obj_threshold": level.obj_threshold,
    }
    return {"fields": fields, "anchors": _table_lines([c_float(value) for value in level.anchor_px], "    ")}


def _table_lines(literals: list[str], indent: str = "        ") -> str:
    """Eight numbers a line, each followed by a comma."""
    lines = (" ".join(f"{literal}," for literal in literals[i : i + 8]) for i in range(0, len(literals), 8))
    return "\n".join(indent + line for line in lines)
