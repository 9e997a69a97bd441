"""What decodes the outputs behind the network in edgedet_run(): the kernel, its constants and its scratch."""

from __future__ import annotations

from typing import Any

from edgedet.codegen.c_source import float_literal
from edgedet.graph.model import Int8Model
from edgedet.numerics.decode import MAX_CANDIDATES, score_table
from edgedet.numerics.heads.layout import grid

_KERNELS = {"levels": "edk_detect", "cells": "edk_detect_cells"}  # of Int8Model.c_decoder
_CANDIDATE_BYTES = 8  # of edk_detect_scratch_bytes()
_CELL_BYTES = 4  # of edk_detect_cells_scratch_bytes()


def decoder_kernel(model: Int8Model) -> str:
    """Name of the kernel that decodes a head; the model has one."""
    return _KERNELS[model.c_decoder]


def decoder_scratch_bytes(model: Int8Model) -> int:
    """Scratch of that kernel, bytes."""
    if model.c_decoder == "levels":
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
                "score_rows": "\n".join(
                    "        " + " ".join(f"{float_literal(value)}," for value in scores[i : i + 8].tolist())
                    for i in range(0, 256, 8)
                ),
            }
        )
    return levels
