"""Golden vectors: one input, and the outputs that the chip must give for it, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.contracts import Detections
from edgedet.data.pictures.drawn_picture import draw_pixels
from edgedet.data.pictures.preprocess import load_pixels, to_rgb
from edgedet.deploy.output_folder import sha256
from edgedet.errors import ConversionError
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model
from edgedet.runtimes.protocol import network_input


def golden_input(model: Int8Model, image: Path | None, seed: int) -> np.ndarray:
    """Network input from an image through the preprocessing contract, or from a seed.

    Args:
        model: whose contract and input quantization hold.
        image: picture; None: a picture is drawn from the seed.
        seed: of the drawn picture; not used with an image.
    Returns:
        (1, height, width, channels), dtype of the input tensor.
    Raises:
        DataError: the image is missing or broken.
    """
    return network_input(model, _golden_pixels(model, image, seed))


def golden_origin(image: Path | None, seed: int) -> str:
    """Where the golden inputs come from, one line."""
    return f"drawn with seed {seed}" if image is None else f"image {image.name}, sha256 {sha256(image.read_bytes())}"


def _golden_pixels(model: Int8Model, image: Path | None, seed: int) -> np.ndarray:
    spec = model.preprocess
    return draw_pixels(spec.height, spec.width, seed, spec.channels) if image is None else load_pixels(image, spec)


@dataclass(frozen=True, eq=False)
class Scene:
    """The golden picture as a camera would give it, and what is seen in it: for programs that begin with a frame."""

    pixels: np.ndarray  # uint8 (height, width, 3) RGB, or (height, width, 1) grey; of the network's input size
    detections: Detections  # of the golden outputs
    class_names: tuple[str, ...]


def golden_scene(model: Int8Model, image: Path | None, seed: int, detections: Detections) -> Scene:
    """The picture behind the golden input.

    Args:
        model: with its contracts.
        image, seed: as of `golden_input`.
        detections: in the golden outputs.
    Raises:
        DataError: the image is missing or broken.
    """
    pixels = _golden_pixels(model, image, seed)
    if model.preprocess.channels == 3:
        pixels = to_rgb(pixels, model.preprocess)
    return Scene(pixels, detections, tuple(model.outputs.class_names))


def drawn_input(graph: Graph, index: int, seed: int) -> np.ndarray:
    """An input of a network without a contract, over the whole range of its codes, of any type.

    Args:
        graph: the network.
        index: of the input's tensor.
        seed: of everything that is drawn.
    Returns:
        A picture where the shape is one's, else noise; of the tensor's dtype. float32: around the codes of the
        QUANTIZE that reads it, with every rounding. int32, int64: small numbers; indices stay inside their axis.
    Raises:
        ConversionError: a type that no number can be drawn for.
    """
    tensor, rng = graph.tensors[index], np.random.default_rng(seed)
    codes = _drawn_codes(tensor.shape, seed)
    match tensor.dtype:
        case "int8":
            return codes
        case "uint8":
            return codes.view(np.uint8) ^ np.uint8(128)
        case "int16":
            result: np.ndarray = (codes.astype(np.int16) << 8) | rng.integers(0, 256, tensor.shape, np.int16)
            return result
        case "int32" | "int64":
            limit = _index_limit(graph, index)
            numbers = codes if limit is None else rng.integers(0, limit, tensor.shape)
            return numbers.astype(tensor.dtype)
        case "bool":
            return codes < 0
        case "float32":
            scale, zero_point, step = _read_as(graph, index)
            fine = codes.astype(np.float64) * step + rng.uniform(-0.6 * step, 0.6 * step, tensor.shape)
            return ((fine - zero_point) * scale).astype(np.float32)
    raise ConversionError(
        f"model input {tensor.name!r} is {tensor.dtype}; golden vectors are drawn for int8, uint8, int16, int32, "
        "int64, float32 and bool: convert the model with another input type"
    )


def _drawn_codes(shape: tuple[int, ...], seed: int) -> np.ndarray:
    if len(shape) == 4 and shape[3] == 3:
        batch, height, width, _ = shape
        pictures = [draw_pixels(height, width, seed + number) for number in range(batch)]
        return (np.stack(pictures).astype(np.int16) - 128).astype(np.int8)
    return np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)


def _read_as(graph: Graph, index: int) -> tuple[float, int, int]:
    """(scale, zero point, codes per drawn code) that the first QUANTIZE gives a float input; -1..1 without one."""
    for operator in graph.operators:
        target = graph.tensors[operator.outputs[0]]
        if operator.kind == "QUANTIZE" and operator.inputs[0] == index and target.quantization is not None:
            affine = target.quantization
            return float(affine.scale[0]), int(affine.zero_point[0]), 256 if target.dtype == "int16" else 1
    return 1 / 128, 0, 1


def _index_limit(graph: Graph, index: int) -> int | None:
    """How many entries an integer input may choose from; None where it is no index."""
    limits = []
    for operator in graph.operators:
        if index not in operator.inputs:
            continue
        match operator.kind:
            case "GATHER" if operator.inputs[1] == index:
                limits.append(min(graph.tensors[operator.inputs[0]].shape))  # whatever its axis is
            case "EMBEDDING_LOOKUP" if operator.inputs[0] == index:
                limits.append(graph.tensors[operator.inputs[1]].shape[0])
            case "GATHER_ND" | "SLICE" | "STRIDED_SLICE" | "DYNAMIC_UPDATE_SLICE":
                limits.append(1)
    return min(limits, default=None)


def check_equal(names: Sequence[str], simulated: Sequence[np.ndarray], measured: Sequence[np.ndarray]) -> None:
    """Compare the simulator's outputs with TFLite Micro's.

    Args:
        names: of the outputs.
        simulated: arrays of the NumPy simulator.
        measured: arrays of TFLite Micro.
    Raises:
        ConversionError: a byte differs.
    """
    for name, ours, theirs in zip(names, simulated, measured, strict=True):
        if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            raise ConversionError(
                f"output {name}: simulator {ours.dtype} {ours.shape}, TFLite Micro {theirs.dtype} {theirs.shape}"
            )
        if ours.tobytes() != theirs.tobytes():
            gap = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
            raise ConversionError(
                f"output {name}: {np.count_nonzero(gap)} of {gap.size} values differ between the simulator and TFLite "
                f"Micro, by up to {gap.max():g}; the chip would not repeat the evaluated AP. Please report this model"
            )


@dataclass(frozen=True, eq=False)
class Golden:
    """Inputs and the outputs for them."""

    source: str  # where the inputs come from, one line
    inputs: tuple[np.ndarray, ...]  # in the order of the file
    outputs: tuple[np.ndarray, ...]  # in contract order; without a contract in the order of the file
    unchecked: str = ""  # why the simulator can't confirm what TFLite Micro computed; empty: both gave these bytes
