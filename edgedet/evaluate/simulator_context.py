"""What a simulated operator is built from, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgedet.convert.graph import Graph, Operator, Quantization, Tensor
from edgedet.errors import ConversionError, UnsupportedOpError
from edgedet.numerics.tables import Params

Kernel = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], None]  # (inputs, outputs to write)


class Workspace:
    """Scratch memory that the operators of one simulator share; a slot's content lives until its next `take`."""

    def __init__(self) -> None:
        self._slots: dict[str, np.ndarray] = {}

    def take(self, slot: str, shape: tuple[int, ...], dtype: type) -> np.ndarray:
        """Uninitialized C-contiguous array on the slot's memory, which grows when needed."""
        size_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        if slot not in self._slots or self._slots[slot].nbytes < size_bytes:
            self._slots[slot] = np.empty(size_bytes, np.uint8)
        return self._slots[slot][:size_bytes].view(dtype).reshape(shape)


@dataclass(frozen=True)
class OpContext:
    """One operator with its surroundings."""

    graph: Graph
    number: int  # in graph.operators
    workspace: Workspace
    dtype: str = "int8"  # of the activations, int8 or int16

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest code of the activations."""
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    @property
    def operator(self) -> Operator:
        """The operator itself."""
        return self.graph.operators[self.number]

    @property
    def where(self) -> str:
        """Operator and output tensor, for errors."""
        name = self.graph.tensors[self.operator.outputs[0]].name
        return f"operator {self.number} ({self.operator.kind}, writes {name!r})"

    def input(self, position: int) -> Tensor:
        """Tensor of an input that is present."""
        return self.graph.tensors[self.operator.inputs[position]]

    def output(self, position: int = 0) -> Tensor:
        """Tensor of an output."""
        return self.graph.tensors[self.operator.outputs[position]]

    def unsupported(self, reason: str) -> UnsupportedOpError:
        """Error to raise: what about this operator is not supported."""
        return UnsupportedOpError(f"{self.where}: {reason}")

    def constant(self, position: int, what: str) -> np.ndarray:
        """Data of an input that must be a constant."""
        tensor = self.input(position)
        if tensor.data is None:
            raise self.unsupported(f"{what} must be a constant, but {tensor.name!r} is computed")
        return tensor.data

    def quantization(self, tensor: Tensor) -> Quantization:
        """Quantization of a tensor that must have one."""
        if tensor.quantization is None:
            raise ConversionError(f"{self.where}: tensor {tensor.name!r} has no scale and zero point")
        return tensor.quantization

    def params(self, tensor: Tensor) -> Params:
        """(scale, zero point) of an activation, of the operator's dtype, with one scale."""
        if tensor.dtype != self.dtype:
            raise self.unsupported(f"tensor {tensor.name!r} is {tensor.dtype}, expected {self.dtype} here")
        return self.any_params(tensor)

    def any_params(self, tensor: Tensor) -> Params:
        """(scale, zero point) of a tensor of any dtype with one scale."""
        quantization = self.quantization(tensor)
        if quantization.scale.size != 1:
            raise self.unsupported(f"activation {tensor.name!r} has {quantization.scale.size} scales, expected 1")
        return float(quantization.scale[0]), int(quantization.zero_point[0])

    def require_one_scale(self, *tensors: Tensor) -> Params:
        """(scale, zero point) of activations that the operator copies between and that must therefore agree."""
        params = [self.params(tensor) for tensor in tensors]
        if len(set(params)) != 1:
            found = ", ".join(f"{t.name!r} {p}" for t, p in zip(tensors, params, strict=True))
            raise self.unsupported(f"its tensors must share one (scale, zero point), found {found}")
        return params[0]

    def require_shape(self, expected: Sequence[int], position: int = 0) -> None:
        """Raise when the output is declared with another shape than the operator computes."""
        tensor = self.output(position)
        if tensor.shape != tuple(expected):
            raise ConversionError(f"{self.where}: {tensor.name!r} has shape {tensor.shape}, computed {tuple(expected)}")

    def require_rank(self, tensor: Tensor, rank: int) -> None:
        """Raise when a tensor has another number of axes."""
        if len(tensor.shape) != rank:
            raise self.unsupported(f"tensor {tensor.name!r} has shape {tensor.shape}, expected {rank} axes")


def window_padding(size: int, window: int, stride: int, padding: str, where: str) -> tuple[int, int, int]:
    """Output size and padding of a sliding window along one axis.

    Args:
        size: input.
        window: of the (dilated) filter.
        stride: step.
        padding: SAME or VALID.
        where: operator, for the error.
    Returns:
        (output size, padding before, padding after); SAME puts the odd one after.
    Raises:
        ConversionError: VALID, and the window does not fit.
    """
    if padding == "SAME":
        out = -(-size // stride)
        total = max((out - 1) * stride + window - size, 0)
        return out, total // 2, total - total // 2
    if size < window:
        raise ConversionError(f"{where}: a window of {window} does not fit an input of {size} without padding")
    return (size - window) // stride + 1, 0, 0
