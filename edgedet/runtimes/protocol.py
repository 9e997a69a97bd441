"""The protocol that every way to run a model follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgedet.contracts import Detections, OutputSpec, PreprocessSpec
from edgedet.data.pictures.preprocess import normalize, quantize_input
from edgedet.errors import ShapeError
from edgedet.graph.model import Int8Model
from edgedet.notebook import short_path
from edgedet.numerics.decode import decode_int8, dequantize_output
from edgedet.numerics.heads.decode import decode_outputs
from edgedet.numerics.heads.layout import grid_maps

# inputs in the order of the file, for a detector one int8 (1, H, W, C) -> outputs in the order of the file
Run = Callable[..., Sequence[np.ndarray]]


class Runtime(Protocol):
    """A model that can be run on one image at a time."""

    @property
    def name(self) -> str:
        """Short name, as on the command line."""

    @property
    def arithmetic(self) -> str:
        """Which arithmetic and which package run, in words."""

    @property
    def preprocess(self) -> PreprocessSpec:
        """Preprocessing contract of the model."""

    @property
    def outputs(self) -> OutputSpec:
        """Output contract of the model."""

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Network input (1, height, width, channels) from resized pixels, uint8 (height, width, channels)."""

    def invoke(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Raw outputs in contract order."""

    def decode(self, raw: Sequence[np.ndarray], score_threshold: float | None) -> Detections:
        """Detections in pixels of the network's input, best first; threshold None: the contract's, of each class."""


def network_input(model: Int8Model, pixels: np.ndarray) -> np.ndarray:
    """Network input from pixels: quantized for the input tensor, or normalized floats for a float one.

    Args:
        model: with its contracts.
        pixels: uint8 (height, width, channels), from `resize_to_input`.
    Returns:
        (1, height, width, channels), or (1, channels, height, width) where the file has it so; dtype of the input.
    Raises:
        ShapeError: not uint8, or another number of channels.
    """
    if model.input_dtype == "float32":
        x = normalize(pixels, model.preprocess)[None]
    else:
        dtype = np.dtype(model.input_dtype)
        x = quantize_input(pixels, model.preprocess, model.input_scale, model.input_zero_point, dtype)[None]
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if model.channels_first else x


def decode_raw(model: Int8Model, raw: Sequence[np.ndarray], score_threshold: float | None = None) -> Detections:
    """Decode the outputs of one image; what C gives is equal to this in every bit.

    Args:
        model: with its contracts.
        raw: outputs in contract order, of the shapes and dtypes of the file.
        score_threshold: 0 <= t < 1; None: the contract's.
    Returns:
        Detections in pixels of the network's input.
    """
    size = (model.preprocess.width, model.preprocess.height)
    if model.c_decoder == "levels":
        maps = grid_maps(raw, model.outputs, size)
        return decode_int8(maps, model.scales, model.zero_points, model.outputs, score_threshold=score_threshold)
    return decode_outputs(_real_outputs(model, raw), model.outputs, size, score_threshold)


def _real_outputs(model: Int8Model, raw: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    parameters = zip(raw, model.scales, model.zero_points, strict=True)
    return tuple(
        array if array.dtype == np.float32 else dequantize_output(array, scale, zero_point)
        for array, scale, zero_point in parameters
    )


@dataclass(frozen=True, eq=False)
class Int8Runtime:
    """Runtime over an int8 file; follows the protocol `Runtime`."""

    name: str
    arithmetic: str
    model: Int8Model
    run: Run
    measured: Callable[[bool], tuple[str, ...]] = lambda per_operator: ()  # see `details`
    decoder: Callable[[Sequence[np.ndarray], float | None], Detections] | None = (
        None  # None: `decode_raw`, which is equal
    )

    def __repr__(self) -> str:
        return f"<Int8Runtime {self.name} of {short_path(self.model.path)}>"

    @property
    def preprocess(self) -> PreprocessSpec:
        """Preprocessing contract of the file."""
        return self.model.preprocess

    @property
    def outputs(self) -> OutputSpec:
        """Output contract of the file."""
        return self.model.outputs

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Network input from pixels: quantized for the input tensor, or normalized floats for a float one.

        Args:
            pixels: uint8 (height, width, channels), from `resize_to_input`.
        Returns:
            (1, height, width, channels), dtype of the input tensor.
        Raises:
            ShapeError: another size than the contract's.
        """
        expected = (self.preprocess.height, self.preprocess.width, self.preprocess.channels)
        if pixels.shape != expected:
            raise ShapeError(
                f"{self.model.path}: input pixels: expected {expected}, found {pixels.shape}; resize first"
            )
        return network_input(self.model, pixels)

    def invoke(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the network.

        Args:
            x: from `prepare`.
        Returns:
            Outputs in contract order, of the shapes and dtypes of the file.
        """
        raw = self.run(x)
        return tuple(raw[position] for position in self.model.output_positions)

    def details(self, per_operator: bool) -> tuple[str, ...]:
        """What the runtime measured besides time, lines for a report; `per_operator`: of every operator."""
        return self.measured(per_operator)

    def decode(self, raw: Sequence[np.ndarray], score_threshold: float | None) -> Detections:
        """Decode outputs; thresholds other than the score's come from the contract. Runtime c99 does it in C.

        Args:
            raw: what `invoke` returned.
            score_threshold: 0 <= t < 1; None: the contract's, of each class.
        Returns:
            Detections in pixels of the network's input.
        """
        if self.decoder is not None and score_threshold != 0.0:  # what C compares with is above 0
            return self.decoder(raw, score_threshold)
        return decode_raw(self.model, raw, score_threshold)

    def real_outputs(self, raw: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Real values of outputs.

        Args:
            raw: what `invoke` returned.
        Returns:
            float32, same shapes.
        """
        return _real_outputs(self.model, raw)
