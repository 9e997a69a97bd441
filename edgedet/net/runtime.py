"""A float detector behind the evaluator's Runtime protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from edgedet.contracts import AS_IN_CONTRACT, RTMDET_HEAD, Detections, NmsChoice, OutputSpec, PreprocessSpec
from edgedet.data.pictures.preprocess import normalize
from edgedet.errors import ShapeError
from edgedet.net.checkpoint import load_checkpoint
from edgedet.net.device import CPU, describe_device, exact_float32
from edgedet.net.rtmdet import channels_last
from edgedet.numerics.decode import decode_float
from edgedet.numerics.heads.decode import decode_outputs


class TorchRuntime:
    """Run a float32 detector on one image at a time; follows `edgedet.runtimes.protocol.Runtime`.

    Args:
        model: the detector, in evaluation mode.
        preprocess: preprocessing contract.
        outputs: output contract.

    The network computes where its weights are; only the arrays come and go through the CPU.
    """

    name = "torch"

    def __init__(self, model: torch.nn.Module, preprocess: PreprocessSpec, outputs: OutputSpec) -> None:
        self._model = model
        self.preprocess = preprocess
        self.outputs = outputs
        self._device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), CPU)
        where = "" if self._device == CPU else f" on {describe_device(self._device)}"
        self.arithmetic = f"float32, torch {torch.__version__}{where}"

    def __repr__(self) -> str:
        side = f"{self.preprocess.width}x{self.preprocess.height}"
        return f"<TorchRuntime {side}, {len(self.outputs.class_names)} classes, {self.arithmetic}>"

    @classmethod
    def from_checkpoint(cls, path: Path, device: torch.device = CPU, nms: NmsChoice = AS_IN_CONTRACT) -> TorchRuntime:
        """Open a checkpoint of edgedet, on a device of `choose_device`. Raises CheckpointError, ConfigError."""
        checkpoint = load_checkpoint(path)
        outputs = nms.applied(checkpoint.outputs)
        return cls(channels_last(checkpoint.build()).to(device), checkpoint.preprocess, outputs)

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        """Normalize pixels, uint8 (height, width, channels), to the network's float32 input, (1, ...) in front."""
        expected = (self.preprocess.height, self.preprocess.width, self.preprocess.channels)
        if pixels.shape != expected:
            raise ShapeError(f"input pixels: expected {expected}, found {pixels.shape}; resize first")
        return normalize(pixels, self.preprocess)[None]

    def invoke(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        """Float32 outputs in contract order, each (1, h, w, c), of a float32 input (1, height, width, channels)."""
        with torch.inference_mode(), exact_float32(self._device):
            outputs = self._model(torch.from_numpy(x).permute(0, 3, 1, 2).to(self._device))
        return tuple(output.permute(0, 2, 3, 1).contiguous().cpu().numpy() for output in outputs)

    def decode(self, raw: Sequence[np.ndarray], score_threshold: float | None) -> Detections:
        """Detections in pixels of the network's input, best first; threshold None: the contract's, of each class."""
        if self.outputs.head != RTMDET_HEAD:
            size = (self.preprocess.width, self.preprocess.height)
            return decode_outputs(raw, self.outputs, size, score_threshold)
        return decode_float(raw, self.outputs, score_threshold=score_threshold)
