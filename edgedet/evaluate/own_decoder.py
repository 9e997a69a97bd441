"""A runtime whose outputs a function of the caller decodes, for heads that edgedet does not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

import numpy as np

from edgedet.contracts import Detections, OutputSpec, PreprocessSpec
from edgedet.errors import ConfigError
from edgedet.evaluate.detect import OnDevice

if TYPE_CHECKING:  # the training loop evaluates without loading simulator and flatbuffer
    from edgedet.runtimes.protocol import Runtime

# (outputs, preprocess, score threshold) -> detections in pixels of the network's input, best first.
# outputs: real values, float32, in contract order (of a contract with head none: the order of the file), of the shapes
# of the file. labels index the contract's class names. The function does its own NMS.
Decoder: TypeAlias = Callable[[tuple[np.ndarray, ...], PreprocessSpec, float], Detections]


@runtime_checkable
class Quantized(Protocol):
    """A runtime whose raw outputs are codes."""

    def real_outputs(self, raw: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
        """Real values, float32, of what `invoke` returned."""


@dataclass(frozen=True, eq=False)
class OwnDecoder:
    """Follows the protocol `Runtime`: everything is the inner runtime's but `decode`."""

    runtime: Runtime
    function: Decoder

    def __post_init__(self) -> None:
        if isinstance(self.runtime, OnDevice) and self.runtime.takes_images:
            raise ConfigError("`decode`: a device that gets images detects itself; leave `send` at tensor")

    @property
    def name(self) -> str:
        """Short name of the runtime."""
        return self.runtime.name

    @property
    def arithmetic(self) -> str:
        """Which arithmetic and package run."""
        return self.runtime.arithmetic

    @property
    def preprocess(self) -> PreprocessSpec:
        """Preprocessing contract of the model."""
        return self.runtime.preprocess

    @property
    def outputs(self) -> OutputSpec:
        """Output contract of the model."""
        return self.runtime.outputs

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Network input from resized pixels, as the inner runtime's."""
        return self.runtime.prepare(pixels)

    def invoke(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Raw outputs, as the inner runtime's."""
        return self.runtime.invoke(x)

    def decode(self, raw: Sequence[np.ndarray], score_threshold: float | None) -> Detections:
        """What the function finds in the real values of the outputs; it takes one threshold for all classes."""
        score_threshold = self.outputs.score_threshold if score_threshold is None else score_threshold
        values = self.runtime.real_outputs(raw) if isinstance(self.runtime, Quantized) else tuple(raw)
        return self.function(values, self.preprocess, score_threshold)

    def details(self, per_operator: bool) -> tuple[str, ...]:
        """What the inner runtime measured besides time."""
        measured = getattr(self.runtime, "details", None)
        return () if measured is None else tuple(measured(per_operator))
