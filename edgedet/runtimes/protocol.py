"""The protocol that every way to run a model follows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgedet.contracts import Detections, OutputSpec, PreprocessSpec
from edgedet.data.preprocess import quantize_input
from edgedet.errors import ShapeError
from edgedet.graph.model import Int8Model
from edgedet.numerics.decode import decode_int8

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
        """Raw outputs in contract order, each (1, h, w, c)."""

    def decode(self, raw: Sequence[np.ndarray], score_threshold: float) -> Detections:
        """Detections in pixels of the network's input, best first."""


@dataclass(frozen=True, eq=False)
class Int8Runtime:
    """Runtime over an int8 file; follows the protocol `Runtime`."""

    name: str
    arithmetic: str
    model: Int8Model
    run: Run
    measured: Callable[[bool], tuple[str, ...]] = lambda per_operator: ()  # see `details`

    @property
    def preprocess(self) -> PreprocessSpec:
        """Preprocessing contract of the file."""
        return self.model.preprocess

    @property
    def outputs(self) -> OutputSpec:
        """Output contract of the file."""
        return self.model.outputs

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Quantize pixels for the input tensor.

        Args:
            pixels: uint8 (height, width, channels), from `resize_to_input`.
        Returns:
            int8 (1, height, width, channels).
        Raises:
            ShapeError: another size than the contract's.
        """
        expected = (self.preprocess.height, self.preprocess.width, self.preprocess.channels)
        if pixels.shape != expected:
            raise ShapeError(
                f"{self.model.path}: input pixels: expected {expected}, found {pixels.shape}; resize first"
            )
        return quantize_input(pixels, self.preprocess, self.model.input_scale, self.model.input_zero_point)[None]

    def invoke(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the network.

        Args:
            x: int8 (1, height, width, channels).
        Returns:
            int8 outputs in contract order, each (1, h, w, c).
        """
        raw = self.run(x)
        return tuple(raw[position] for position in self.model.output_positions)

    def details(self, per_operator: bool) -> tuple[str, ...]:
        """What the runtime measured besides time, lines for a report; `per_operator`: of every operator."""
        return self.measured(per_operator)

    def decode(self, raw: Sequence[np.ndarray], score_threshold: float) -> Detections:
        """Decode int8 outputs; thresholds other than the score's come from the contract.

        Args:
            raw: what `invoke` returned.
            score_threshold: 0 <= t < 1.
        Returns:
            Detections in pixels of the network's input.
        """
        model = self.model
        return decode_int8(raw, model.scales, model.zero_points, model.outputs, score_threshold=score_threshold)
