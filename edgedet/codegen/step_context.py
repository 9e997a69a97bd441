"""What the C text of a step is made from: constants in flash, places of tensors, and C initializers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgedet.codegen.c_source import C_TYPES
from edgedet.codegen.memory.plan import Plan
from edgedet.codegen.steps import Step
from edgedet.errors import UnsupportedOpError
from edgedet.graph.graph import Graph, Tensor
from edgedet.graph.operators import OpContext

MAX_SIDE = 2**15 - 1  # sides and pixel strides are int16_t in the kernels


class Pool:
    """Constants of one element type, laid end to end; equal ones are stored once."""

    def __init__(self, name: str, dtype: type) -> None:
        self.name, self.dtype = name, np.dtype(dtype)
        self._parts: list[np.ndarray] = []
        self._known: dict[tuple[int, bytes], int] = {}
        self._size = 0  # elements

    def add(self, values: np.ndarray, align: int = 4) -> str:
        """Store values and give the C expression of their address.

        Args:
            values: any shape; every value must fit the element type.
            align: of the address, in elements.
        """
        flat = np.ascontiguousarray(values).astype(self.dtype).ravel()
        assert np.array_equal(flat, np.ravel(values)), f"{self.name}: a value does not fit {self.dtype}"
        key = (align, flat.tobytes())
        if key not in self._known:
            gap = -self._size % align
            self._known[key] = self._size + gap
            self._parts += [np.zeros(gap, self.dtype), flat]
            self._size += gap + flat.size
        return f"{self.name} + {self._known[key]}"

    def values(self) -> np.ndarray:
        """Everything stored, one zero at least (C has no empty arrays)."""
        return np.concatenate(self._parts) if self._size else np.zeros(1, self.dtype)

    @property
    def short_name(self) -> str:
        """Of its files and values; the name is the macro for its array in model.c."""
        return self.name.lower()

    def little_endian(self) -> bytes:
        """`values()` as little-endian memory holds them."""
        return self.values().astype(self.dtype.newbyteorder("<")).tobytes()


@dataclass(frozen=True)
class Constants:
    """The constant arrays of a model."""

    weights: Pool = field(default_factory=lambda: Pool("WEIGHTS", np.int8))
    words: Pool = field(default_factory=lambda: Pool("WORDS", np.int32))
    indices: Pool = field(default_factory=lambda: Pool("INDICES", np.int16))

    @property
    def pools(self) -> tuple[Pool, ...]:
        """All of them."""
        return self.weights, self.words, self.indices

    @property
    def nbytes(self) -> int:
        """Of all of them, as they lie in flash."""
        return sum(pool.values().nbytes for pool in self.pools)


@dataclass(frozen=True)
class Call:
    """One call of a kernel."""

    kernel: str  # function; memcpy is one, too
    params_type: str  # struct, empty for memcpy
    params: str  # initializer with braces
    arguments: tuple[str, ...]  # C expressions after the params
    scratch: bool = False


@dataclass(frozen=True)
class StepContext:
    """A step with everything around it."""

    graph: Graph
    step: Step
    plan: Plan
    constants: Constants

    @property
    def op(self) -> OpContext:
        """The last operator of the step, for parameters and errors."""
        return OpContext(self.graph, self.step.operators[-1], "int16" if self.is_wide else "int8")

    @property
    def is_wide(self) -> bool:
        """Whether the step writes int16, for which most kernels that compute have a variant of their own."""
        return self.graph.tensors[self.step.outputs[0]].dtype == "int16"

    @property
    def suffix(self) -> str:
        """End of the name of a kernel for the type that the step writes."""
        return "s16" if self.is_wide else "s8"

    def tensor(self, index: int) -> Tensor:
        """Tensor by index."""
        return self.graph.tensors[index]

    def unsupported(self, reason: str) -> UnsupportedOpError:
        """Error to raise: what about this operator the C kernels can't do."""
        return UnsupportedOpError(f"{self.op.where}: {reason}")

    def pointer(self, index: int, offset: int = 0) -> str:
        """C expression of a tensor's address as `int8_t *`, plus an offset in bytes."""
        data, window = self.tensor(index).data, self.step.window(index)
        if window is not None:
            elements = window.top * self.row_stride(index) + window.left * self.pitch(index)
            offset += elements * self.item_bytes(index)
        if data is not None and data.dtype == np.int16:
            return _plus(f"(const int8_t *)({self.constants.indices.add(data)})", offset)
        if data is not None:
            return _plus(self.constants.weights.add(data), offset)
        view = self.plan.views[index]
        root = self.plan.buffers[view.buffer].tensors[0]
        if root in self.graph.inputs:
            name, dtype = input_name(self.graph, root), self.tensor(root).dtype
            return _plus(name if dtype == "int8" else f"(const int8_t *){name}", view.offset + offset)
        return _plus("arena", self.plan.address(index) + offset)

    def typed_pointer(self, index: int, offset: int = 0, written: bool = False) -> str:
        """`pointer` as one to the tensor's own type."""
        dtype, plain = self.tensor(index).dtype, self.pointer(index, offset)
        if dtype == "int8":
            return plain
        if index in self.graph.inputs and plain == f"(const int8_t *){input_name(self.graph, index)}":
            return input_name(self.graph, index)
        # By way of void: every tensor is aligned, which a compiler can't know of an int8_t pointer.
        const = "" if written else "const "
        return f"({const}{C_TYPES[dtype]} *)({const}void *)({plain})"

    def kernel_pointer(self, index: int, offset: int = 0, written: bool = False) -> str:
        """Pointer for a kernel of the step's `suffix`."""
        return self.typed_pointer(index, offset, written) if self.is_wide else self.pointer(index, offset)

    def item_bytes(self, index: int) -> int:
        """Of one element."""
        return np.dtype(self.tensor(index).dtype).itemsize

    def pitch(self, index: int) -> int:
        """Elements from a pixel to the next."""
        if self.tensor(index).data is not None:
            return (self.tensor(index).shape or (1,))[-1]
        return self.plan.views[index].pitch

    def row_stride(self, index: int) -> int:
        """Elements from a row to the next."""
        return (1, 1, *self.tensor(index).shape)[-2] * self.pitch(index)

    def view(self, index: int) -> str:
        """`edk_view` of one image of what the step touches of a tensor."""
        _, height, width, channels = self.nhwc(index)
        return c_struct(height, width, channels, self.pitch(index), self.row_stride(index))

    def byte_view(self, index: int) -> str:
        """`view` in bytes, for kernels that only move codes: a wider code is several channels."""
        size = self.item_bytes(index)
        _, height, width, channels = self.nhwc(index)
        if max(channels, self.pitch(index)) * size > MAX_SIDE:
            raise self.unsupported(f"pixels of {channels} codes of {size} bytes; {MAX_SIDE} bytes fit")
        return c_struct(height, width, size * channels, size * self.pitch(index), size * self.row_stride(index))

    def image_bytes(self, index: int) -> int:
        """Distance between the images of a batch, bytes."""
        return self.nhwc(index)[1] * self.row_stride(index) * self.item_bytes(index)

    def nhwc(self, index: int) -> tuple[int, int, int, int]:
        """Shape that the step touches, with exactly four sides: leading sides are added or multiplied together."""
        shape = self.step.shape(self.graph, index)
        padded = (1,) * (4 - len(shape)) + shape
        lead = int(np.prod(padded[:-3], dtype=np.int64))
        sides = (lead, padded[-3], padded[-2], padded[-1])
        if max(*sides[1:], self.pitch(index)) > MAX_SIDE:
            raise self.unsupported(f"tensor {self.tensor(index).name!r} of shape {shape}: sides go up to {MAX_SIDE}")
        return sides


def input_name(graph: Graph, index: int) -> str:
    """Parameter of edgedet_invoke() for a graph input."""
    return "input" if len(graph.inputs) == 1 else f"input{graph.inputs.index(index)}"


def c_struct(*values: object) -> str:
    """Brace initializer."""
    return "{" + ", ".join(str(value) for value in values) + "}"


def c_fields(fields: Sequence[tuple[str, object]]) -> str:
    """Designated initializer, one field a line."""
    return "{\n" + "".join(f"    .{name} = {value},\n" for name, value in fields) + "}"


def _plus(base: str, offset: int) -> str:
    return f"{base} + {offset}" if offset else base
