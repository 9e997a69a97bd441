"""Whether a QDQ model computes what the int8 file computes: each operator alone, and all of them together.

Floats round the exact result of an operator once, the chip's arithmetic twice, so that one code in some hundred differs
by one step. Alone, that is all that may happen. Together, a code that differs changes sums behind it, so that after a
hundred operators about half of the output codes differ by some steps, no more in one direction than in the other: that
is no error of the file, and AP tells it (tests/exchange/export/qdq/test_check.py). A wrong scale, weight or order is
seen at its operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.data.pictures.drawn_picture import draw_pixels
from edgedet.data.pictures.preprocess import load_pixels, normalize, quantize_input
from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.exchange.export.check import Check
from edgedet.exchange.export.onnx_file import run_onnx, with_contracts
from edgedet.exchange.export.qdq.model import operators_apart, qdq_model
from edgedet.graph.graph import Graph
from edgedet.graph.model import Int8Model, load_int8_model
from edgedet.numerics.affine import dequantize
from edgedet.simulate.simulator import Simulator

DRAWN = "a drawn picture"
ONE_STEP = 1  # of an operator alone
QDQ_NOTE = (
    "on processors with AVX2 but without VNNI, onnxruntime's integer convolutions overflow for large weights; give its "
    "session the option session.x64quantprecision=1, as the check does"
)
MEAN_STEPS = 8.0  # of the outputs of a whole network; measured: 0.8 to 2.1 on the networks of models/


@dataclass(frozen=True)
class Steps:
    """Differences of codes, in steps."""

    equal: float  # fraction of codes, 0..1
    within_one: float
    mean: float
    largest: int

    def text(self) -> str:
        """One phrase."""
        return (
            f"{100 * self.equal:.1f} % of codes equal, {100 * self.within_one:.1f} % within 1 step, "
            f"mean {self.mean:.2f}, largest {self.largest}"
        )


def steps_between(ours: list[np.ndarray], theirs: list[np.ndarray]) -> Steps:
    """Differences of all codes of several tensors.

    Args:
        ours: integer arrays.
        theirs: of the same shapes.
    """
    pairs = zip(ours, theirs, strict=True)
    gaps = np.concatenate([np.abs(a.astype(np.int64) - b.astype(np.int64)).ravel() for a, b in pairs])
    return Steps(float(np.mean(gaps == 0)), float(np.mean(gaps <= 1)), float(gaps.mean()), int(gaps.max()))


def write_qdq(source: Path, path: Path, opset: int | None = None, image: Path | None = None) -> Check:
    """Write the QDQ ONNX of an int8 file, checked in onnxruntime against the chip's arithmetic.

    Args:
        source: int8 `.tflite` with contracts, NHWC.
        path: to write.
        opset: 13..21; None: 17, and 21 where the file has int16 activations.
        image: picture; None: one is drawn.
    Returns:
        The check.
    Raises:
        ConversionError: not an int8 file with contracts, or the written file computes something else.
        UnsupportedOpError: an operator or type that has no form in QDQ ONNX.
        ConfigError: opset outside the range.
        DataError: the picture can't be read.
    """
    model = load_int8_model(source)
    if model.channels_first:
        raise UnsupportedOpError(f"{source}: its input is NCHW; QDQ ONNX is written from NHWC files only")
    roles = zip(model.outputs.tensor_names, model.output_positions, strict=True)
    names = {role: model.graph.tensors[model.graph.outputs[position]].name for role, position in roles}
    data = qdq_model(model.graph, model.output_positions, opset)
    data = with_contracts(data, model.preprocess, model.outputs, names)
    pixels = _pixels(model, image)
    codes, x = _inputs(model, pixels)
    alone = check_operators(model.graph, codes, opset)
    together = check_network(model, data, codes, x)
    path.write_bytes(data)
    operators = f"{len(model.graph.operators)} operators, each alone from the same codes: {alone.text()}"
    result = f"onnxruntime: {operators}; all together: {together.text()}, mean {MEAN_STEPS:g} allowed"
    return Check(str(image or DRAWN), "the int8 file in the chip's arithmetic", result)


def check_operators(graph: Graph, codes: np.ndarray, opset: int | None = None) -> Steps:
    """Run each operator in onnxruntime on the codes that the simulator gave the operator.

    Args:
        graph: the int8 graph, one input.
        codes: of its input.
        opset: of the model.
    Returns:
        Differences over the results of all operators.
    Raises:
        ConversionError: an operator differs by more than one step; names it.
    """
    known = Simulator(graph).invoke_all(codes)
    data, read, made = operators_apart(graph, opset)
    found = run_onnx(data, *(_real(graph, index, known[index]) for index in read))
    values = {index: value for index, value in zip(made, found, strict=True) if graph.tensors[index].quantization}
    results = {index: _codes(graph, index, value) for index, value in values.items()}
    for index, ours in results.items():
        gap = int(np.abs(ours - known[index].astype(np.int64)).max(initial=0))
        if gap > ONE_STEP:
            raise ConversionError(
                f"onnxruntime computes {graph.tensors[index].name!r} up to {gap} steps away from the int8 file, from "
                f"the same inputs; allowed is {ONE_STEP}. Nothing was kept; please report this network"
            )
    return steps_between([known[index] for index in results], list(results.values()))


def check_network(model: Int8Model, data: bytes, codes: np.ndarray, x: np.ndarray) -> Steps:
    """Run the whole model in onnxruntime and compare its outputs with the simulator's.

    Args:
        model: the int8 file.
        data: its QDQ model, outputs in contract order.
        codes: input of the int8 file.
        x: the same picture for the QDQ model, float32 NCHW.
    Raises:
        ConversionError: the mean difference is above `MEAN_STEPS`.
    """
    expected = Simulator(model.graph).invoke(codes)
    indices = [model.graph.outputs[position] for position in model.output_positions]
    found = [_codes(model.graph, i, value) for i, value in zip(indices, run_onnx(data, x), strict=True)]
    steps = steps_between([expected[position] for position in model.output_positions], found)
    if not steps.mean <= MEAN_STEPS:
        raise ConversionError(
            f"onnxruntime's outputs differ from the int8 file's by {steps.mean:.1f} steps in the mean, allowed is "
            f"{MEAN_STEPS:g}; nothing was kept. Please report this network"
        )
    return steps


def _pixels(model: Int8Model, image: Path | None) -> np.ndarray:
    spec = model.preprocess
    return draw_pixels(spec.height, spec.width, 0, spec.channels) if image is None else load_pixels(image, spec)


def _inputs(model: Int8Model, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The picture as the int8 file takes it, and as the QDQ model takes it."""
    real = normalize(pixels, model.preprocess)[None]
    x = np.ascontiguousarray(real.transpose(0, 3, 1, 2))
    if model.input_dtype == "float32":
        return real, x
    dtype = np.dtype(model.input_dtype)
    return quantize_input(pixels, model.preprocess, model.input_scale, model.input_zero_point, dtype)[None], x


def _real(graph: Graph, index: int, codes: np.ndarray) -> np.ndarray:
    """Codes of a tensor as the model's float input."""
    quantization = graph.tensors[index].quantization
    value = codes
    if codes.dtype != np.float32:
        assert quantization is not None
        value = dequantize(codes, quantization.scale[0], quantization.zero_point[0])
    return np.ascontiguousarray(value.transpose(0, 3, 1, 2)) if value.ndim == 4 else value


def _codes(graph: Graph, index: int, value: np.ndarray) -> np.ndarray:
    """Codes, int64, of a float output, in the axes of the graph."""
    value = value.transpose(0, 2, 3, 1) if value.ndim == 4 else value
    quantization = graph.tensors[index].quantization
    if quantization is None:
        raise ConversionError(f"output {graph.tensors[index].name!r} has no scale, so that its steps can't be compared")
    codes: np.ndarray = np.rint(value / quantization.scale[0]).astype(np.int64) + quantization.zero_point[0]
    return codes
