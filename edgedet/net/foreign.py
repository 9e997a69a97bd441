"""Operators of networks from elsewhere that torch.nn lacks, as a torch.fx graph calls them.

Axis 0 is always the batch: shapes leave it out, so that a network that was exported for one picture calibrates on many.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

# How a position of the output is one of the input; names of ONNX's Resize.
COORDINATES = ("half_pixel", "asymmetric", "align_corners")


def reshape_samples(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Reshape every sample.

    Args:
        x: (N, ...).
        shape: of one sample, without the batch axis.
    Returns:
        (N, *shape).
    """
    return x.reshape(len(x), *shape)


def take_slice(x: Tensor, axis: int, start: int, stop: int, step: int) -> Tensor:
    """Elements start, start + step, ... below stop along one axis.

    Args:
        x: (N, ...).
        axis: not the batch axis.
        start: 0 <= start < stop.
        stop: at most the length of the axis.
        step: at least 1.
    """
    key = [slice(None)] * x.ndim
    key[axis] = slice(start, stop, step)
    return x[tuple(key)]


def add_relu(first: Tensor, second: Tensor) -> Tensor:
    """max(first + second, 0): one operator in TFLite."""
    return functional.relu(first + second)


def add_relu6(first: Tensor, second: Tensor) -> Tensor:
    """First + second inside 0..6: one operator in TFLite."""
    return functional.relu6(first + second)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """X where it is positive, slope * x elsewhere; the slope broadcasts."""
    return torch.where(x >= 0, x, slope * x)


class Constant(nn.Module):
    """A tensor that does not depend on the picture.

    Args:
        value: float32 (1, ...); the batch axis broadcasts.
    """

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value)

    def forward(self) -> Tensor:
        """The tensor, float32 (1, ...)."""
        return self.value


class Requantize(nn.Module):
    """The same values, which may have another scale than those in front: TFLite's QUANTIZE."""

    def forward(self, x: Tensor) -> Tensor:
        """X."""
        return x.clone()


class LoneReLU6(nn.ReLU6):
    """A ReLU6 that no convolution can take in: input and output share one scale (TFLite and TFLM differ otherwise)."""


class PaddedMaxPool2d(nn.Module):
    """Max pooling whose padding may differ from side to side; what lies outside never wins.

    Args:
        kernel: (height, width).
        stride: (height, width).
        padding: (left, right, top, bottom).
    """

    def __init__(self, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = kernel, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, H, W) -> (N, C, H', W')."""
        if any(self.padding):
            x = functional.pad(x, self.padding, value=float("-inf"))
        return functional.max_pool2d(x, self.kernel, self.stride)


class ResizeLinear(nn.Module):
    """Bilinear resizing.

    Args:
        source: (height, width) of the input.
        size: (height, width) of the output.
        coordinates: one of COORDINATES.
    """

    rows: Tensor  # float32 (height of the output, height of the input)
    columns: Tensor  # float32 (width of the output, width of the input)

    def __init__(self, source: tuple[int, int], size: tuple[int, int], coordinates: str) -> None:
        super().__init__()
        self.size, self.coordinates = size, coordinates
        self.register_buffer("rows", _linear_weights(source[0], size[0], coordinates))
        self.register_buffer("columns", _linear_weights(source[1], size[1], coordinates))

    def forward(self, x: Tensor) -> Tensor:
        """float32 (N, C, H, W) -> (N, C, *size)."""
        return torch.matmul(torch.matmul(self.rows, x), self.columns.T)


def source_positions(length: int, new: int, coordinates: str) -> np.ndarray:
    """Where the elements of a resized axis lie in the old one.

    Args:
        length: of the old axis.
        new: of the new axis.
        coordinates: one of COORDINATES.
    Returns:
        float64 (new,), may lie outside 0..length - 1.
    Source: ONNX, operator Resize.
    """
    index = np.arange(new, dtype=np.float64)
    if coordinates == "align_corners":
        return index * ((length - 1) / (new - 1) if new > 1 else 0.0)
    if coordinates == "asymmetric":
        return index * (length / new)
    return (index + 0.5) * (length / new) - 0.5


def _linear_weights(length: int, new: int, coordinates: str) -> Tensor:
    position = np.clip(source_positions(length, new, coordinates), 0, length - 1)
    lower = np.floor(position).astype(np.int64)
    upper = np.minimum(lower + 1, length - 1)
    weights = np.zeros((new, length))
    np.add.at(weights, (np.arange(new), lower), 1.0 - (position - lower))
    np.add.at(weights, (np.arange(new), upper), position - lower)
    return torch.from_numpy(weights.astype(np.float32))
