"""The int8 file with the outputs that SSCMA-Micro's firmware takes.

Read in its source at 60e2ede (core/model/ma_model_rtmdet.cpp, ma_model_detector.cpp, core/utils/ma_anchors.cpp):
one input (1, side, side, 1 or 3), side a multiple of 32, codes pixel - 128; six outputs (1, cells, channels), told
apart by the last axis (4: boxes) and by the number of cells; logits without sigmoid, ltrb distances in strides. Its
priors are the centres of the cells. RTMDet as MMDetection, SSCMA and edgedet train it has them at the cells' upper
left corners, so the firmware's boxes lie half a stride too far right and down, unless the distances are moved half
a cell the other way: `centre_priors`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgedet.contracts import OutputSpec
from edgedet.data.pictures.drawn_picture import draw_pixels
from edgedet.data.pictures.preprocess import load_pixels, quantization_table, quantize_input
from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.exchange.export.check import Check
from edgedet.graph.flatbuffer import parse_tflite, serialize
from edgedet.graph.graph import Graph, Operator, Quantization, ReshapeOptions, Tensor
from edgedet.graph.metadata import METADATA_NAME, contract_metadata
from edgedet.graph.model import Int8Model, load_int8_model
from edgedet.head_spec import HeadSpec
from edgedet.simulate.simulator import Simulator

STRIDES = (8, 16, 32)
ORDER = tuple(f"{part}_{stride}" for part in ("cls", "box") for stride in STRIDES)  # SSCMA's; the firmware takes any
CENTRE = 0.5  # of a cell: the firmware's prior
_SIGNS = np.array([1.0, 1.0, -1.0, -1.0])  # l, t grow and r, b shrink when the prior moves right and down
_ROLE_SUFFIX = ".map"  # of a tensor whose name its flat copy takes over


def write_sscma(
    source: Path, path: Path, image: Path | None = None, centre_priors: bool = False
) -> tuple[Check, tuple[str, ...]]:
    """Write the file, checked in the chip's arithmetic against the one that it was made from.

    Args:
        source: int8 `.tflite` with contracts and RTMDet's head.
        path: to write.
        image: picture; None: one is drawn.
        centre_priors: move the distances, so that the firmware's boxes lie where the network means them; the box
            tensors get a slightly wider scale.
    Returns:
        (the check, what a user should know).
    Raises:
        UnsupportedOpError: a file that the firmware refuses or misreads; says why.
        ConversionError: not an int8 file with contracts.
        DataError: the picture can't be read.
    """
    model = load_int8_model(source)
    _require_firmware_contract(model)
    graph = sscma_graph(model, centre_priors)
    data = serialize(graph)
    spec = model.preprocess
    pixels = draw_pixels(spec.height, spec.width, 0, spec.channels) if image is None else load_pixels(image, spec)
    codes = quantize_input(pixels, spec, model.input_scale, model.input_zero_point)[None]
    result = _compare(model, parse_tflite(data, str(path)), codes, centre_priors)
    path.write_bytes(data)
    return Check(str(image or "a drawn picture"), "the int8 file", result), _notes(model, centre_priors)


def sscma_graph(model: Int8Model, centre_priors: bool = False) -> Graph:
    """The graph with six flat outputs, class tensors first.

    Args:
        model: with RTMDet's head, outputs (1, rows, columns, channels) or flat already.
        centre_priors: as in `write_sscma`.
    Returns:
        The graph with its contracts.
    Raises:
        UnsupportedOpError: `centre_priors`, and boxes that no convolution writes.
    """
    graph = model.graph
    spec = model.outputs
    outputs = dict(zip(spec.tensor_names, (graph.outputs[p] for p in model.output_positions), strict=True))
    tensors, operators, ends = list(graph.tensors), list(graph.operators), []
    if centre_priors:
        spec = replace(spec, head=replace(spec.head, offset=CENTRE))
        for role in ORDER[3:]:
            _move_priors(tensors, operators, outputs[role])
    for role in ORDER:
        index = outputs[role]
        tensor = tensors[index]
        if len(tensor.shape) == 4:
            _, rows, columns, channels = tensor.shape
            shape = (1, rows * columns, channels)
            tensors[index] = replace(tensor, name=tensor.name + _ROLE_SUFFIX)
            tensors.append(Tensor(f"{role}.shape", (3,), "int32", None, np.array(shape, np.int32)))
            tensors.append(replace(tensor, shape=shape))
            operators.append(Operator("RESHAPE", (index, len(tensors) - 2), (len(tensors) - 1,), ReshapeOptions(shape)))
            index = len(tensors) - 1
        ends.append(index)
    names = {role: tensors[index].name for role, index in zip(ORDER, ends, strict=True)}
    # Plans and signatures number or name the old tensors.
    kept = tuple(entry for entry in graph.metadata if entry[0] not in (METADATA_NAME, "OfflineMemoryAllocation"))
    return replace(
        graph,
        tensors=tuple(tensors),
        operators=tuple(operators),
        outputs=tuple(ends),
        metadata=(*kept, contract_metadata(model.preprocess, spec, names)),
        signatures=(),
    )


def _move_priors(tensors: list[Tensor], operators: list[Operator], index: int) -> None:
    """Add half a cell to l and t, and take it from r and b, in the bias of the convolution that writes the boxes."""
    tensor = tensors[index]
    writers = [operator for operator in operators if index in operator.outputs]
    readers = [operator for operator in operators if index in operator.inputs]
    plain = len(writers) == 1 and writers[0].kind == "CONV_2D" and len(writers[0].inputs) == 3 and not readers
    bias = tensors[writers[0].inputs[2]] if plain else None
    if bias is None or bias.data is None or bias.quantization is None or tensor.quantization is None:
        raise UnsupportedOpError(
            f"`centre_priors`: boxes {tensor.name!r} must be written by a CONV_2D with a bias, and nothing else may "
            "read them; export without it"
        )
    if getattr(writers[0].options, "activation", "NONE") != "NONE":
        raise UnsupportedOpError(f"`centre_priors`: the CONV_2D that writes {tensor.name!r} has a fused activation")
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])
    wide = float(np.float32((255 * scale + 2 * CENTRE) / 255))  # half a cell more at both ends of the range
    low = (-128 - zero_point) * scale - CENTRE
    moved = np.clip(np.rint(-128 - low / wide), -128, 127).astype(np.int64)
    tensors[index] = replace(tensor, quantization=Quantization(np.array([wide], np.float32), moved.reshape(1)))
    steps = np.rint(CENTRE * _SIGNS / bias.quantization.scale.astype(np.float64)).astype(np.int64)
    limits = np.iinfo(np.int32)
    data = np.clip(bias.data.astype(np.int64) + steps, limits.min, limits.max).astype(bias.data.dtype)
    tensors[writers[0].inputs[2]] = replace(bias, data=data)


def _require_firmware_contract(model: Int8Model) -> None:
    """Raises UnsupportedOpError with the first reason why the firmware would not take the file, or misread it."""
    spec, outputs = model.preprocess, model.outputs
    table = quantization_table(spec, model.input_scale, model.input_zero_point) if model.input_dtype == "int8" else None
    reasons = (
        (outputs.head != HeadSpec() or outputs.strides != STRIDES, _head_reason(outputs)),
        (table is None or model.channels_first, f"its input must be int8 NHWC, found {model.input_dtype}"),
        (set(model.dtypes) != {"int8"}, f"its outputs must all be int8, found {', '.join(sorted(set(model.dtypes)))}"),
        (
            spec.width != spec.height or spec.width % 32 != 0,
            f"its input must be square with a side divisible by 32, found {spec.width}x{spec.height}",
        ),
        (spec.channel_order == "BGR", "the firmware gives RGB or grey pixels, the network takes BGR"),
        (
            table is not None and not np.array_equal(table, np.broadcast_to(np.arange(256) - 128, table.shape)),
            "the firmware gives the pixel less 128, but this network's normalization gives other codes; train it with "
            "mean 0 and std 255",
        ),
        (
            len(outputs.class_names) == 4,
            "with 4 classes the firmware can't tell class tensors from box tensors and refuses the model; train with a "
            "fifth class",
        ),
    )
    for wrong, reason in reasons:
        if wrong:
            raise UnsupportedOpError(f"{model.path}: SSCMA-Micro does not take this file: {reason}")


def _head_reason(outputs: OutputSpec) -> str:
    if outputs.head.coding == "log_distance":
        return (
            "it takes linear distances, but this file's boxes are their logarithms, because the network's boxes are "
            "exponentials; fine-tune the checkpoint with linear boxes (`exp_boxes` false) and quantize that"
        )
    return f"it takes RTMDet's head with strides 8, 16, 32, found {outputs.head.kind}, strides {outputs.strides}"


def _compare(model: Int8Model, graph: Graph, codes: np.ndarray, centre_priors: bool) -> str:
    """Both files on one picture; raises ConversionError when they differ."""
    names = model.outputs.tensor_names
    ours = dict(zip(names, _in_contract_order(model, codes), strict=True))
    theirs = dict(zip(ORDER, Simulator(graph).invoke(codes), strict=True))
    for role in ORDER:
        if centre_priors and role.startswith("box"):
            before, after = _distances(model, role, ours[role]), theirs[role].reshape(-1, 4).astype(np.float64)
            at, quantization = names.index(role), graph.tensors[graph.outputs[ORDER.index(role)]].quantization
            assert quantization is not None
            scale, zero_point = float(quantization.scale[0]), int(quantization.zero_point[0])
            back = (after - zero_point) * scale - CENTRE * _SIGNS
            low, high = ((code - model.zero_points[at]) * model.scales[at] for code in (-128, 127))
            gap = float(np.abs(np.clip(back, low, high) - before).max())
            if gap > 2 * scale:  # half a step of rounding in each file, and one step of the second rounding
                raise ConversionError(
                    f"output {role}: moved distances differ by {gap:.3g} cells; please report this network"
                )
        elif ours[role].tobytes() != theirs[role].tobytes():
            raise ConversionError(f"output {role}: the written file gives other codes; please report this network")
    if centre_priors:
        return "class codes equal, distances equal within two steps after moving the priors"
    return "all codes of the six outputs equal"


def _in_contract_order(model: Int8Model, codes: np.ndarray) -> list[np.ndarray]:
    outputs = Simulator(model.graph).invoke(codes)
    return [outputs[position] for position in model.output_positions]


def _distances(model: Int8Model, role: str, codes: np.ndarray) -> np.ndarray:
    position = model.outputs.tensor_names.index(role)
    real: np.ndarray = (codes.reshape(-1, 4).astype(np.float64) - model.zero_points[position]) * model.scales[position]
    return real


def _notes(model: Int8Model, centre_priors: bool) -> tuple[str, ...]:
    notes = []
    if not centre_priors:
        notes.append(
            "SSCMA-Micro puts priors at the centres of the cells, this network has them at their corners: its boxes "
            "come out 4, 8 or 16 px (half a stride) too far right and down; `centre_priors` moves the distances instead"
        )
    if model.preprocess.resize == "letterbox":
        notes.append(
            "the firmware stretches camera frames to the input, this network knows letterboxed pictures: set the "
            "camera to square frames"
        )
    notes.append("thresholds are the firmware's: score 0.25 and IoU 0.45 until they are set on the device")
    return tuple(notes)
